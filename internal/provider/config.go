package provider

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	defaultTimeout = 5 * time.Second
	// maxTimeout leaves the server, which must answer within 30 s, the time to do so.
	maxTimeout = 15 * time.Second

	maxAPIToken = 4 << 10
)

// The paths of the calls, below their base URLs.
const (
	exchangePath        = "/bff/session-tokens"
	authenticationsPath = "/authentications/"
	facesPath           = "/v1/faces/attempts/"
)

// Config is what New needs. The zero value calls nobody.
type Config struct {
	// SessionURL, IdentityURL and FacesURL are the base URLs of the three calls, such as
	// https://web.us.prd.caf.io, https://api.identity.combateafraude.com and
	// https://api.combateafraude.com. A path is kept in front of the call's own. Empty means that the call
	// is not configured. HTTPS, or HTTP if the host is localhost or a loopback address; no user, password,
	// query or fragment.
	SessionURL, IdentityURL, FacesURL string
	// Bearer sends "Bearer <jwt>" to the session exchange instead of the JWT alone. Caf documents both.
	Bearer bool
	// APIToken is the static credential of FacesURL; required exactly when that is set. Visible ASCII. New
	// copies it; the caller may wipe it.
	APIToken []byte
	// Timeout bounds one call, its retry included. 0 is 5 s; at most 15 s.
	Timeout time.Duration
	// Transport makes the HTTP exchanges. Nil means our own, which uses no proxy. One that is given should
	// end an exchange when its context ends.
	Transport http.RoundTripper
	// Now is the clock of circuit breakers and Retry-After. Nil means time.Now.
	Now func() time.Time
	// Log gets the opening and closing of circuit breakers. Nil discards it.
	Log *slog.Logger
	// Observe is told of every call that was wanted, made or not: which, how it ended in one word, and how long it
	// took with its retry. Nil tells nobody.
	Observe func(call, outcome string, took time.Duration)
}

const unprintable = "[provider configuration]"

// Format prints nothing of the configuration, which holds a credential.
func (Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, unprintable) }

// LogValue logs nothing of the configuration, which holds a credential.
func (Config) LogValue() slog.Value { return slog.StringValue(unprintable) }

// Client calls the provider. It may be used by many goroutines.
type Client struct {
	exchange, smartAuth, faces *lane

	bearer    bool
	apiToken  func() string // a closure, because fmt prints fields by reflection
	timeout   time.Duration
	transport http.RoundTripper
	now       func() time.Time
	observe   func(call, outcome string, took time.Duration)
	jitter    func(time.Duration) time.Duration // a random part of it
}

// lane is one kind of call.
type lane struct {
	gate
	base string // without a slash at the end; "" when the call is not configured
	// missing is the detail for whoever makes the call all the same.
	missing string
	// recheck says that the call is about an id that somebody outside chose.
	recheck bool
}

// New checks the whole configuration and reports every mistake in it at once. It calls nobody.
func New(c Config) (*Client, error) {
	var errs []error
	base := func(field, raw string) string {
		if raw == "" {
			return ""
		}
		u, err := checkURL(raw)
		if err == nil {
			for _, own := range []string{exchangePath, authenticationsPath, facesPath} {
				if strings.HasSuffix(u, strings.TrimSuffix(own, "/")) {
					err = fmt.Errorf("must be the base URL alone: %s is added to it", own)
				}
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %w", field, err))
		}
		return u
	}
	session := base("session_url", c.SessionURL)
	identity := base("identity_url", c.IdentityURL)
	faces := base("faces_url", c.FacesURL)
	switch {
	case c.FacesURL == "" && len(c.APIToken) > 0:
		errs = append(errs, errors.New("api_token_file is set without faces_url, which it is for"))
	case c.FacesURL != "" && len(c.APIToken) == 0:
		errs = append(errs, errors.New("api_token_file is required with faces_url"))
	case len(c.APIToken) > maxAPIToken:
		errs = append(errs, fmt.Errorf("api_token_file is longer than %d bytes", maxAPIToken))
	case !isVisible(string(c.APIToken)):
		errs = append(errs, errors.New("api_token_file must be visible ASCII, without spaces or line breaks"))
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		errs = append(errs, fmt.Errorf("timeout must be between 0 and %v", maxTimeout))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	timeout := cmp.Or(c.Timeout, defaultTimeout)
	if c.Transport == nil {
		c.Transport = newTransport(timeout)
	}
	guard := func(name string) gate { return gate{name: name, now: c.Now, log: c.Log} }
	apiToken := string(c.APIToken)
	return &Client{
		exchange: &lane{gate: guard("exchange"), base: session,
			missing: "the session exchange is not configured (session_url)"},
		smartAuth: &lane{gate: guard("smart-auth"), base: identity, recheck: true,
			missing: "the re-check of Smart Auth attempts is not configured (identity_url)"},
		faces: &lane{gate: guard("faces"), base: faces, recheck: true,
			missing: "the re-check of face attempts is not configured (faces_url)"},
		bearer:    c.Bearer,
		apiToken:  func() string { return apiToken },
		timeout:   timeout,
		transport: c.Transport,
		now:       c.Now,
		observe:   c.Observe,
		// It spreads load and guards nothing, so it need not be unpredictable.
		jitter: func(most time.Duration) time.Duration { return rand.N(most) }, //nolint:gosec // G404, see above
	}, nil
}

// Exchanges reports whether the session exchange is configured.
func (c *Client) Exchanges() bool { return c.exchange.base != "" }

// RechecksSmartAuth reports whether the re-check of Smart Auth attempts is configured.
func (c *Client) RechecksSmartAuth() bool { return c.smartAuth.base != "" }

// RechecksFaces reports whether the re-check of face attempts is configured.
func (c *Client) RechecksFaces() bool { return c.faces.base != "" }

// checkURL refuses what would send a credential in a way that somebody in between could read. It returns
// the URL as a prefix. The errors do not repeat it: it may hold a password.
func checkURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("is not a URL")
	case u.User != nil:
		return "", errors.New("must not contain a user or password")
	case u.Hostname() == "" || u.Opaque != "":
		return "", errors.New("must be an absolute URL with a host")
	case strings.ContainsAny(raw, "?#"): // also the empty ones, which Parse leaves out
		return "", errors.New("must not have a query or fragment")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return strings.TrimRight(u.String(), "/"), nil
	}
	return "", errors.New("must be https (http only on localhost)")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// isVisible reports whether s has only ASCII that shows: what can stand in a header and in a token.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// newTransport makes a transport that goes where it is told and nowhere else.
func newTransport(timeout time.Duration) *http.Transport {
	// A call that ends does not end the dial that it began, so that needs bounds of its own.
	dialer := &net.Dialer{Timeout: timeout}
	// HTTP/1.1, because there a connection on which the peer fell silent dies with the one call that met
	// it. With HTTP/2 every later call would be put on it too.
	var only http.Protocols
	only.SetHTTP1(true)
	return &http.Transport{
		// Whoever sets HTTP_PROXY and its kin in the environment should not choose who sees our tokens.
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		Protocols:              &only,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout,
		DisableCompression:     true,
		MaxConnsPerHost:        3 * maxInFlight, // the three kinds may have one host
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

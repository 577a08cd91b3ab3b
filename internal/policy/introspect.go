package policy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

const (
	// introspectTimeout bounds the wait for a turn and for the answer together.
	introspectTimeout = 5 * time.Second
	maxIntrospections = 16 // at once
	maxIntrospection  = 64 << 10
	maxClientSecret   = 4 << 10
)

// Introspection is the endpoint that says what an opaque token is (RFC 7662), and as whom we ask it. A token
// does not say which app it is for before it was asked about, so that every app that has one has the same.
type Introspection struct {
	// URL is HTTPS, or HTTP if the host is localhost or a loopback address.
	URL string
	// ClientID and ClientSecret are sent as HTTP Basic, encoded as RFC 6749 section 2.3.1 has it. New copies
	// the secret to where nothing can print it; the caller may wipe it.
	ClientID     string
	ClientSecret []byte
}

// Format prints the endpoint and not the secret, for every verb.
func (i Introspection) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s %s [secret]}", i.URL, i.ClientID)
}

func (i *Introspection) check() (errs []error) {
	if err := checkKeyURL(i.URL); err != nil {
		errs = append(errs, fmt.Errorf("introspection: url %w", err))
	}
	if !isText(i.ClientID) {
		errs = append(errs, fmt.Errorf("introspection: client_id must be 1 to %d bytes without control characters", maxText))
	}
	if n := len(i.ClientSecret); n == 0 || n > maxClientSecret {
		errs = append(errs, fmt.Errorf("introspection: the client secret must be 1 to %d bytes", maxClientSecret))
	}
	return errs
}

func (i *Introspection) equal(other *Introspection) bool {
	return i.URL == other.URL && i.ClientID == other.ClientID &&
		subtle.ConstantTimeCompare(i.ClientSecret, other.ClientSecret) == 1
}

// newIntrospector makes the one introspector of all these apps, or none if none of them has an endpoint. The
// apps forget the secret.
func newIntrospector(apps []*app, client *http.Client, now func() time.Time) (*introspector, error) {
	var out *introspector
	var first *Introspection
	for _, one := range apps {
		endpoint := one.Introspection
		one.Introspection = nil
		switch {
		case endpoint == nil:
			continue
		case first == nil:
			first = endpoint
			id, secret := url.QueryEscape(endpoint.ClientID), url.QueryEscape(string(endpoint.ClientSecret))
			out = &introspector{
				url: endpoint.URL, client: client, now: now,
				// A function, since fmt cannot print what one captures; see selo.Secret.
				authorize: func(r *http.Request) { r.SetBasicAuth(id, secret) },
				turns:     make(chan struct{}, maxIntrospections),
				flights:   make(map[[sha256.Size]byte]*flight),
			}
		case !first.equal(endpoint):
			return nil, fmt.Errorf("app %q: introspection must have the url and client of app %q: an opaque token does not say "+
				"who made it, so that the tokens of one would be shown to the endpoint of the other", one.Name, out.apps[0].Name)
		}
		out.apps = append(out.apps, one)
	}
	return out, nil
}

// introspector asks what opaque tokens are.
type introspector struct {
	url       string
	apps      []*app
	client    *http.Client
	now       func() time.Time
	authorize func(*http.Request)
	turns     chan struct{} // holds one for each introspection that is running

	mu      sync.Mutex
	flights map[[sha256.Size]byte]*flight
}

// flight is one introspection, which every request with the same token waits for. It ends when none does.
type flight struct {
	waiting int // guarded by introspector.mu
	cancel  context.CancelFunc

	done    chan struct{}
	found   *verified // set, as is refused, before done is closed
	refused *selo.Error
}

// isOpaque reports whether a credential is one to ask the endpoint about: a b64token of RFC 6750 that is no JWT
// and none of ours. An API key that was mistyped is not shown to anybody.
func (i *introspector) isOpaque(credential string) bool {
	body := strings.TrimRight(credential, "=")
	return i != nil && body != "" && strings.Count(credential, ".") != 2 && !strings.HasPrefix(credential, "selo_") &&
		!strings.ContainsFunc(body, func(r rune) bool { return !isBase64URL(r) && !strings.ContainsRune(".~+/", r) })
}

// ask returns what the endpoint says of a token. The error, where the fault is not the caller's, has a cause.
func (i *introspector) ask(ctx context.Context, sum [sha256.Size]byte, token string) (*verified, *selo.Error) {
	i.mu.Lock()
	f := i.flights[sum]
	if f == nil {
		// Not cancelled with the request that happened to come first: others may wait for it too.
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), introspectTimeout)
		f = &flight{cancel: cancel, done: make(chan struct{})}
		i.flights[sum] = f
		go func() {
			f.found, f.refused = i.fly(detached, token)
			i.mu.Lock()
			defer i.mu.Unlock()
			i.land(sum, f)
			close(f.done)
		}()
	}
	f.waiting++
	i.mu.Unlock()

	select {
	case <-f.done:
		return f.found, f.refused
	case <-ctx.Done():
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		i.land(sum, f)
	}
	return nil, cannotIntrospect(ctx.Err())
}

// land ends a flight: who comes now starts another. The caller holds the lock.
func (i *introspector) land(sum [sha256.Size]byte, f *flight) {
	f.cancel()
	if i.flights[sum] == f {
		delete(i.flights, sum)
	}
}

func (i *introspector) fly(ctx context.Context, token string) (*verified, *selo.Error) {
	select {
	case i.turns <- struct{}{}:
		defer func() { <-i.turns }()
	case <-ctx.Done():
		return nil, cannotIntrospect(fmt.Errorf("waiting for one of %d at once: %w", maxIntrospections, ctx.Err()))
	}
	v := &verified{at: i.now()} // before the answer, which says what was so at some time since
	answer, err := i.post(ctx, token)
	if err != nil {
		return nil, cannotIntrospect(err)
	}
	var refused *selo.Error
	v.caller, v.exp, refused = readIntrospection(i.apps, answer, i.now())
	if refused != nil {
		return nil, refused
	}
	return v, nil
}

func (i *introspector) post(ctx context.Context, token string) ([]byte, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the URL makes no request")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	i.authorize(req)
	answer, err := exchange(i.client, req, maxIntrospection)
	return answer, withoutAnswer(err)
}

// withoutAnswer returns err if nothing in it can be of the answer, which may repeat the token: net/http quotes
// a status line or a Location that it does not understand.
func withoutAnswer(err error) error {
	var (
		status  *statusError
		long    *tooLongError
		network *net.OpError
		peer    *tls.CertificateVerificationError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status), errors.As(err, &long), errors.As(err, &peer),
		errors.As(err, &network) && network.Op == "dial",
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return errors.New("the connection broke, or what came is no HTTP answer")
}

// cannotIntrospect refuses because the endpoint did not answer as one that knows us does.
func cannotIntrospect(cause error) *selo.Error {
	return unavailable("the token cannot be introspected now", fmt.Errorf("introspecting an opaque token: %w", cause))
}

// readIntrospection makes a caller of what the endpoint answered.
func readIntrospection(apps []*app, answer []byte, now time.Time) (*Caller, time.Time, *selo.Error) {
	var active bool
	var refused *selo.Error
	refuse := func(field, detail string) {
		if refused == nil {
			refused = unauthenticated(field, detail)
		}
	}
	err := readObject(answer, func(name string, value jsontext.Value) {
		member, exact := match([]string{"active", "token_type", "token_use", "token_name", "typ"}, name)
		text, _ := unquote(value)
		switch {
		case member != "" && !exact:
			refuse(member, anotherSpelling)
		case member == "active":
			active = bytes.Equal(value, []byte("true"))
		case member == "token_type" && !asciiEqualFold(text, "bearer"):
			refuse("token_type", "must be absent or Bearer: this is a token of another kind")
		case member == "token_use" && text != "access_token" && text != "access":
			refuse("token_use", "must be absent, access_token or access: this is a token of another kind")
		case member == "token_name" && text != "access_token": // of ForgeRock
			refuse("token_name", "must be absent or access_token: this is a token of another kind")
		case member == "typ" && !slices.ContainsFunc([]string{"bearer", "jwt", "at+jwt"}, func(typ string) bool { return asciiEqualFold(text, typ) }):
			refuse("typ", "must be absent, Bearer, JWT or at+jwt: this is a token of another kind") // Keycloak has Refresh, Offline and ID
		}
	})
	switch {
	case err != nil:
		return nil, time.Time{}, cannotIntrospect(fmt.Errorf("the answer %w", err))
	case !active:
		return nil, time.Time{}, unauthenticated("active", "is not true: the issuer does not know the token, or ended it")
	case refused != nil:
		return nil, time.Time{}, refused
	}
	c, refused := readClaims(answer, opaqueRequires(), nil)
	if refused != nil {
		return nil, time.Time{}, refused
	}
	one, refused := chooseApp(apps, &c)
	if refused != nil {
		return nil, time.Time{}, refused
	}
	return one.readCaller(answer, opaqueRequires(), now)
}

package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

func TestNewReportsEveryMistake(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config Config
		want   []string // "" for none
	}{
		{"nothing", Config{}, nil},
		{"all", Config{SessionURL: "https://a.example", IdentityURL: "https://b.example/caf/", FacesURL: "https://c.example:8443", APIToken: []byte("x"), Timeout: 15 * time.Second}, nil},
		{"loopback", Config{SessionURL: "http://localhost:1", IdentityURL: "http://127.3.2.1", FacesURL: "http://[::1]:80", APIToken: []byte("x")}, nil},
		{"http", Config{SessionURL: "http://a.example", IdentityURL: "http://10.0.0.1", FacesURL: "http://localhost.example", APIToken: []byte("x")},
			[]string{"session_url must be https", "identity_url must be https", "faces_url must be https"}},
		{"all at once", Config{
			SessionURL: "https://user:" + apiToken + "@a.example", IdentityURL: "https://b.example?x=" + apiToken, FacesURL: "https://c.example#x",
			APIToken: []byte(apiToken + "\n"), Timeout: 16 * time.Second,
		}, []string{"session_url must not contain a user", "identity_url must not have a query", "faces_url must not have a query", "api_token_file must be visible", "timeout must be"}},
		{"empty query and fragment", Config{SessionURL: "https://a.example?", IdentityURL: "https://a.example#"}, []string{"session_url must not have", "identity_url must not have"}},
		{"no host", Config{SessionURL: "https:///x", IdentityURL: "b.example", FacesURL: "https:c.example", APIToken: []byte("x")},
			[]string{"session_url must be an absolute", "identity_url must be an absolute", "faces_url must be an absolute"}},
		{"other schemes", Config{SessionURL: "ftp://a.example", IdentityURL: "HTTPX://b.example"}, []string{"session_url must be https", "identity_url must be https"}},
		{"no URL", Config{SessionURL: "https://a b/" + apiToken, IdentityURL: "https://a.example/%zz" + apiToken}, []string{"session_url is not a URL", "identity_url is not a URL"}},
		{"the whole URL", Config{SessionURL: "https://a.example/bff/session-tokens"}, []string{"session_url must be the base URL alone"}},
		{"the whole URL, with a slash", Config{IdentityURL: "https://a.example/x/authentications/"}, []string{"identity_url must be the base URL alone"}},
		{"faces without a token", Config{FacesURL: "https://c.example"}, []string{"api_token_file is required"}},
		{"a token without faces", Config{APIToken: []byte(apiToken)}, []string{"api_token_file is set without faces_url"}},
		{"a token with a space", Config{FacesURL: "https://c.example", APIToken: []byte("a b")}, []string{"api_token_file must be visible"}},
		{"a token beyond ASCII", Config{FacesURL: "https://c.example", APIToken: []byte("ação")}, []string{"api_token_file must be visible"}},
		{"a token that is no UTF-8", Config{FacesURL: "https://c.example", APIToken: []byte{'a', 0xff}}, []string{"api_token_file must be visible"}},
		{"a huge token", Config{FacesURL: "https://c.example", APIToken: bytes.Repeat([]byte("a"), maxAPIToken+1)}, []string{"api_token_file is longer"}},
		{"negative timeout", Config{Timeout: -1}, []string{"timeout must be"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := New(tc.config)
			if (c == nil) != (len(tc.want) > 0) || (err == nil) == (c == nil) {
				t.Fatalf("got %v and %v", c != nil, err)
			}
			if transcript.Error(err) == nil {
				return
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("got %q, want %q", lines, tc.want)
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("got %q, want %q", lines[i], want)
				}
			}
		})
	}
}

func TestNotConfigured(t *testing.T) {
	c := mustNew(t, Config{})
	if c.Exchanges() || c.RechecksSmartAuth() || c.RechecksFaces() {
		t.Error("something is configured")
	}
	for name, field := range map[string]string{"exchange": "session_url", "smart-auth": "identity_url", "faces": "faces_url"} {
		_, err := calls[name](t.Context(), c)
		wantUnavailable(t, err, "is not configured ("+field+")", "")
	}
	c = newBench(t).Client
	if !c.Exchanges() || !c.RechecksSmartAuth() || !c.RechecksFaces() {
		t.Error("something is not configured")
	}
}

func TestNothingPrintsTheAPIToken(t *testing.T) {
	config := Config{FacesURL: "https://c.example", APIToken: []byte(apiToken)}
	c := mustNew(t, config)
	out := transcript.Log()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{config, &config, c, *c.faces.pointers(), struct{ C Config }{config}, []*Client{c}} {
			fmt.Fprintf(out, verb+"\n", v)
		}
	}
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(transcript.LogTo(&logged), nil), slog.NewJSONHandler(transcript.LogTo(&logged), nil)} {
		slog.New(h).Info("planted", "config", config, "client", c)
	}
	if strings.Count(logged.String(), unprintable) != 2 {
		t.Errorf("logged %s", &logged)
	}
	// The caller may wipe what it gave.
	clear(config.APIToken)
	if c.apiToken() != apiToken {
		t.Error("New kept the caller's bytes")
	}
}

// pointers lets a test print what a lane holds without copying its lock.
func (l *lane) pointers() *struct{ Base, Missing *string } {
	return &struct{ Base, Missing *string }{&l.base, &l.missing}
}

func TestOurTransport(t *testing.T) {
	c := mustNew(t, Config{SessionURL: "https://a.example"})
	tr := c.transport.(*http.Transport)
	if tr.Proxy != nil || tr.TLSClientConfig.MinVersion < tls.VersionTLS12 || tr.TLSClientConfig.InsecureSkipVerify || !tr.DisableCompression ||
		tr.MaxIdleConns == 0 || tr.MaxConnsPerHost == 0 || tr.IdleConnTimeout == 0 || tr.DisableKeepAlives {
		t.Errorf("%+v", tr)
	}
}

func TestNoProxyOfTheEnvironment(t *testing.T) {
	proxy := &caf{}
	proxy.status(http.StatusBadGateway)
	srv := httptest.NewServer(proxy)
	defer srv.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, srv.URL)
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	// Not a loopback host, which no proxy is used for, and one that does not exist.
	const host = "https://provider.invalid"
	c := mustNew(t, Config{SessionURL: host, Timeout: 2 * time.Second})
	if _, err := calls["exchange"](t.Context(), c); err == nil {
		t.Error("there is no such host")
	}
	proxy.wantHits(t, 0, "our transport")

	// A transport that obeys the environment does ask the proxy. (http.ProxyFromEnvironment reads it once per
	// process, which may have been before this test.)
	obeys := &http.Transport{DisableKeepAlives: true, Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(os.Getenv("HTTPS_PROXY")) }}
	c = mustNew(t, Config{SessionURL: host, Transport: obeys})
	c.jitter = func(time.Duration) time.Duration { return 0 }
	if _, err := calls["exchange"](t.Context(), c); err == nil {
		t.Error("there is no such host")
	}
	if proxy.request() == nil {
		t.Error("the positive control does not reach the proxy")
	}
}

func TestCertificates(t *testing.T) {
	p := &caf{}
	p.wellExchanging()
	srv := httptest.NewUnstartedServer(p)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.StartTLS()
	defer srv.Close()
	_, err := calls["exchange"](t.Context(), mustNew(t, Config{SessionURL: srv.URL}))
	wantUnavailable(t, err, detailUnreachable, "its certificate does not verify")
	p.wantHits(t, 0, "a stranger's certificate")

	if _, err := calls["exchange"](t.Context(), mustNew(t, Config{SessionURL: srv.URL, Transport: srv.Client().Transport})); err != nil {
		t.Error(err)
	}

	// Our own transport, over TLS.
	c := mustNew(t, Config{SessionURL: srv.URL})
	c.transport.(*http.Transport).TLSClientConfig.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if _, err := calls["exchange"](t.Context(), c); err != nil {
		t.Error(err)
	}
}

// roundTripper is a transport that breaks its promises.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestBadTransport(t *testing.T) {
	for name, f := range map[string]roundTripper{
		"nothing":   func(*http.Request) (*http.Response, error) { return nil, nil },
		"no body":   func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
		"chatters":  func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("%v: %s", r, said) },
		"says much": func(*http.Request) (*http.Response, error) { return nil, &selo.Error{Detail: ourJWT + ana} },
	} {
		t.Run(name, func(t *testing.T) {
			c := mustNew(t, Config{SessionURL: "https://a.example", Transport: f})
			_, err := calls["exchange"](context.Background(), c)
			wantUnavailable(t, err, detailUnreachable, "did not speak HTTP")
		})
	}
	t.Run("panics", func(t *testing.T) {
		c := mustNew(t, Config{SessionURL: "https://a.example", Transport: roundTripper(func(*http.Request) (*http.Response, error) { panic(said) })})
		c.exchange.failures = failuresToOpen - 1
		for range maxInFlight + 1 {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("did not panic")
					}
				}()
				_, _ = calls["exchange"](context.Background(), c)
			}()
		}
		if c.exchange.inFlight != 0 || c.exchange.failures != failuresToOpen-1 {
			t.Errorf("%d calls in flight after all panicked, %d failures", c.exchange.inFlight, c.exchange.failures)
		}
	})
}

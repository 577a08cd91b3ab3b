package policy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// discovered is an Authenticator with one app whose issuer has a document of discovery, and its keys elsewhere.
type discovered struct {
	*remote
	url      string  // the issuer
	document *issuer // at the well-known address
}

func newDiscovered(t *testing.T) *discovered {
	t.Helper()
	d := &discovered{remote: &remote{issuer: &issuer{}, clock: newClock(), log: &bytes.Buffer{}}, document: &issuer{}}
	mux := http.NewServeMux()
	mux.Handle("/realms/bank/.well-known/openid-configuration", d.document)
	mux.Handle("/keys", d.issuer)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	d.url = srv.URL + "/realms/bank"
	d.names(d.url, srv.URL+"/keys")
	d.issuer.down()
	d.Authenticator = mustNew(t, Config{
		Apps: []App{{Name: "bank", Issuer: d.url, Audience: "bank-app"}},
		Now:  d.clock.now, Log: slog.New(slog.NewTextHandler(transcript.LogTo(d.log), nil)),
	})
	d.keys = d.apps[0].keys.(*remoteKeys)
	return d
}

func (d *discovered) names(issuer, jwksURI string) {
	d.document.publish([]byte(fmt.Sprintf(`{"issuer":%s,"authorization_endpoint":"https://x.example","jwks_uri":%s}`, quote(issuer), quote(jwksURI))))
}

func (d *discovered) token(s *signer) string {
	return s.token(body(map[string]string{"iss": quote(d.url)}))
}

func (d *discovered) ask(t *testing.T, s *signer) error {
	t.Helper()
	_, err := bearer(t.Context(), d.Authenticator, d.token(s))
	d.settle()
	return err
}

func TestDiscovery(t *testing.T) {
	d := newDiscovered(t)
	key := edSigner(t, "one")
	d.issuer.publish(jwksOf(t, key))
	d.document.wantHits(t, 0, "after New")
	for range 7 { // an hour and ten minutes
		if err := d.ask(t, key); err != nil {
			t.Fatal(err)
		}
		d.clock.advance(10 * time.Minute)
	}
	d.issuer.wantHits(t, 7, "within 70 minutes")
	d.document.wantHits(t, 2, "within 70 minutes") // is remembered for an hour
}

// Every issuer is itself, also under a trailing slash, which is not part of the address of its document.
func TestDiscoveryWithTrailingSlash(t *testing.T) {
	key := edSigner(t, "one")
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration" {
			_, _ = fmt.Fprintf(w, `{"issuer":"%s/","jwks_uri":"%s/keys"}`, srv.URL, srv.URL)
		} else if r.URL.Path == "/keys" {
			_, _ = w.Write(jwksOf(t, key))
		}
	}))
	defer srv.Close()
	a := mustNew(t, Config{Apps: []App{{Name: "bank", Issuer: srv.URL + "/", Audience: "bank-app"}}})
	if _, err := bearer(t.Context(), a, key.token(body(map[string]string{"iss": quote(srv.URL + "/")}))); err != nil {
		t.Error(err)
	}
}

func TestDiscoveryIsBelievedLittle(t *testing.T) {
	key := edSigner(t, "one")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("was asked"); _, _ = w.Write(jwksOf(t, key)) }))
	defer other.Close()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(bytes.Repeat([]byte(" "), 8<<20))
	_ = zip.Close()
	for _, tc := range []struct {
		name   string
		answer func(d *discovered)
		cause  string
	}{
		{"another issuer", func(d *discovered) { d.names("https://evil.example", other.URL) }, `the issuer "https://evil.example"`},
		{"issuer with a slash more", func(d *discovered) { d.names(d.url+"/", other.URL) }, "set issuer to it"},
		{"issuer too long to print", func(d *discovered) { d.names(d.url+strings.Repeat("x", 300), other.URL) }, "names another issuer or none"},
		{"issuer that moves the cursor", func(d *discovered) { d.names("\u001b[2J", other.URL) }, "names another issuer or none"},
		{"issuer with a mark to the left", func(d *discovered) { d.names("https://\u202egnab", other.URL) }, "names another issuer or none"},
		{"no issuer", func(d *discovered) { d.document.publish([]byte(`{"jwks_uri":` + quote(other.URL) + `}`)) }, "names another issuer or none"},
		{"Issuer", func(d *discovered) {
			d.document.publish([]byte(`{"Issuer":` + quote(d.url) + `,"jwks_uri":` + quote(other.URL) + `}`))
		}, "names another issuer or none"},
		{"issuer twice", func(d *discovered) {
			d.document.publish([]byte(`{"issuer":"a","issuer":` + quote(d.url) + `,"jwks_uri":` + quote(other.URL) + `}`))
		}, "not strict JSON"},
		{"array", func(d *discovered) { d.document.publish([]byte(`[]`)) }, "not a JSON object"},
		{"web page", func(d *discovered) { d.document.publish([]byte(`<html>`)) }, "not strict JSON"},
		{"no jwks_uri", func(d *discovered) { d.document.publish([]byte(`{"issuer":` + quote(d.url) + `}`)) }, "jwks_uri must be"},
		{"http jwks_uri", func(d *discovered) { d.names(d.url, "http://keys.example/") }, "jwks_uri must be https"},
		{"file", func(d *discovered) { d.names(d.url, "file:///etc/passwd") }, "jwks_uri must be"},
		{"password", func(d *discovered) { d.names(d.url, "https://u:p@keys.example/") }, "jwks_uri must not contain a user"},
		{"long jwks_uri", func(d *discovered) { d.names(d.url, "https://keys.example/"+strings.Repeat("a", 2048)) }, "jwks_uri is longer than"},
		{"redirect", func(d *discovered) {
			d.document.set(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
		}, "answered 302"},
		{"huge", func(d *discovered) { d.document.publish(bytes.Repeat([]byte(" "), maxKeySetSize+1)) }, "longer than 262144 bytes"},
		{"huge when unpacked", func(d *discovered) {
			d.document.set(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Accept-Encoding"); got != "identity" {
					t.Errorf("Accept-Encoding: %s", got)
				}
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(packed.Bytes())
			})
		}, "not strict JSON"},
		{"down", func(d *discovered) { d.document.down() }, "answered 503"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDiscovered(t)
			d.issuer.publish(jwksOf(t, key))
			tc.answer(d)
			token := d.token(key)
			caller, err := bearer(t.Context(), d.Authenticator, token)
			e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", token)
			if e.Err == nil || !strings.Contains(e.Err.Error(), tc.cause) || strings.ContainsAny(e.Err.Error(), "\u001b\u202e") {
				t.Errorf("got %q, want %q", e.Err, tc.cause)
			}
			d.issuer.wantHits(t, 0, "without a good document")
		})
	}
}

// What is found under https cannot send us to where somebody in between can change the keys, be it ourselves.
func TestDiscoveryStaysOnHTTPS(t *testing.T) {
	const issuer = "https://id.bank.example"
	for uri, ok := range map[string]bool{
		"https://keys.example/jwks": true, "https://localhost/jwks": true,
		"http://localhost/jwks": false, "http://127.0.0.1/jwks": false, "HTTP://localhost/jwks": false, "http://keys.example": false, "": false,
	} {
		_, err := readDiscovery([]byte(`{"issuer":`+quote(issuer)+`,"jwks_uri":`+quote(uri)+`}`), issuer)
		if (err == nil) != ok {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestStormOfUnknownKeysWithDiscovery(t *testing.T) {
	d := newDiscovered(t)
	key := edSigner(t, "one")
	d.issuer.publish(jwksOf(t, key))
	storm := func() {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				unknown := &signer{kid: fmt.Sprint("random-", i), alg: "EdDSA", sign: key.sign}
				if _, err := bearer(t.Context(), d.Authenticator, d.token(unknown)); err == nil {
					t.Error("authenticated")
				}
			})
		}
		wg.Wait()
	}
	for half := range 10 {
		for range 3 {
			storm()
		}
		d.issuer.wantHits(t, half+1, "within 30 seconds")
		d.document.wantHits(t, 1, "within an hour")
		d.clock.advance(30 * time.Second)
	}
	d.document.down()
	d.issuer.down()
	for range 3 {
		storm()
	}
	d.issuer.wantHits(t, 11, "in an outage")
	d.document.wantHits(t, 1, "in an outage")
	d.clock.advance(30 * time.Second)
	storm()
	d.issuer.wantHits(t, 11, "in an outage, later") // the URL was forgotten
	d.document.wantHits(t, 2, "in an outage, later")
}

func TestIssuerWithDiscoveryDown(t *testing.T) {
	d := newDiscovered(t)
	key := edSigner(t, "one")
	d.issuer.publish(jwksOf(t, key))
	if err := d.ask(t, key); err != nil {
		t.Fatal(err)
	}
	d.issuer.down()
	d.document.down()
	for range 5 {
		d.clock.advance(10 * time.Minute)
		if err := d.ask(t, key); err != nil {
			t.Errorf("down: %v", err)
		}
	}
	d.clock.advance(10 * time.Minute)
	if err := d.ask(t, key); err == nil {
		t.Error("authenticated an hour after the last good set")
	}
	// It comes back with its keys elsewhere.
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwksOf(t, key)) }))
	defer moved.Close()
	d.names(d.url, moved.URL)
	d.clock.advance(5 * time.Second)
	if err := d.ask(t, key); err != nil {
		t.Errorf("up again: %v", err)
	}
}

// A reload of the configuration while the issuer is down locks nobody out.
func TestKeysAreCarriedOver(t *testing.T) {
	key := edSigner(t, "one")
	i := &issuer{}
	i.publish(jwksOf(t, key))
	srv := httptest.NewServer(i)
	defer srv.Close()
	clock := newClock()
	app := App{Name: "bank", Issuer: testIssuer, Audience: "bank-app", JWKSURL: srv.URL}
	second := App{Name: "shop", Issuer: testIssuer, Audience: "shop-app", JWKSURL: srv.URL}
	other := App{Name: "other", Issuer: "https://other.example", Audience: "bank-app", JWKSURL: srv.URL}
	first := mustNew(t, Config{Apps: []App{app}, Now: clock.now})
	if _, err := bearer(t.Context(), first, key.token(body(nil))); err != nil {
		t.Fatal(err)
	}
	i.down()

	renamed := app
	renamed.Name = "renamed"
	next := mustNew(t, Config{Apps: []App{renamed, second, other}, Now: clock.now, Previous: first})
	next = mustNew(t, Config{Apps: []App{renamed, second, other}, Now: clock.now, Previous: next})
	for _, aud := range []string{`"bank-app"`, `"shop-app"`} {
		if _, err := bearer(t.Context(), next, key.token(body(map[string]string{"aud": aud}))); err != nil {
			t.Errorf("%s: %v", aud, err)
		}
	}
	i.wantHits(t, 1, "with the keys that were there")
	// The same URL under the name of another issuer is another set.
	if _, err := bearer(t.Context(), next, key.token(body(map[string]string{"iss": `"https://other.example"`}))); err == nil {
		t.Error("the keys of one issuer are another's")
	}
	i.wantHits(t, 2, "for the other issuer")

	stats := next.Keys()
	if len(stats) != 2 || stats[0] != (KeyStats{Source: srv.URL, Usable: true, Fetches: 1}) ||
		stats[1] != (KeyStats{Source: srv.URL, Failing: true, Fetches: 1, Failures: 1}) {
		t.Errorf("got %+v", stats)
	}
	clock.advance(time.Hour)
	if s := next.Keys()[0]; s.Usable || s.Age != time.Hour {
		t.Errorf("an hour later: %+v", s)
	}
	if got := newDiscovered(t); len(got.Keys()) != 1 || got.Keys()[0] != (KeyStats{Source: got.url}) {
		t.Errorf("before the first fetch: %+v", got.Keys())
	}
}

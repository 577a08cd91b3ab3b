package policy

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

const (
	opaqueToken  = "mF_9.B5f-4.1JqM+x/~z.w=="
	clientSecret = "s3cret+of the/client%"
)

// active is a good answer, with members replaced by other JSON, or removed when empty.
func active(replace map[string]string) string {
	all := map[string]string{"active": "true", "iss": "", "iat": "", "exp": ""}
	for name, value := range replace {
		all[name] = value
	}
	return body(all)
}

func opaqueApp(url string) App {
	return App{Name: "bank", Issuer: testIssuer, Audience: "bank-app",
		Introspection: &Introspection{URL: url, ClientID: "selo:1", ClientSecret: transcript.Secret([]byte(clientSecret))}}
}

type introspected struct {
	*Authenticator
	endpoint *issuer
	clock    *fakeClock
}

func newIntrospected(t *testing.T, apps ...App) *introspected {
	t.Helper()
	i := &introspected{endpoint: &issuer{}, clock: newClock()}
	srv := httptest.NewServer(i.endpoint)
	t.Cleanup(srv.Close)
	apps = append(apps, opaqueApp(srv.URL+"/introspect"))
	for n := range apps {
		apps[n].Introspection = apps[len(apps)-1].Introspection
	}
	i.Authenticator = mustNew(t, Config{Apps: apps, Now: i.clock.now})
	return i
}

func (i *introspected) says(answer string) { i.endpoint.publish([]byte(answer)) }

func TestIntrospection(t *testing.T) {
	i := newIntrospected(t)
	i.endpoint.set(func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != "selo%3A1" || secret != "s3cret%2Bof+the%2Fclient%25" {
			t.Errorf("asked as %q, %q", id, secret)
		}
		if got := r.Header.Get("Content-Type"); r.Method != http.MethodPost || got != "application/x-www-form-urlencoded" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%s of %s", r.Method, got)
		}
		if err := r.ParseForm(); err != nil || len(r.PostForm) != 2 || r.PostForm.Get("token") != opaqueToken || r.PostForm.Get("token_type_hint") != "access_token" {
			t.Errorf("asked for %v, %v", r.PostForm, err)
		}
		_, _ = io.WriteString(w, active(map[string]string{"scope": `"a b"`, "token_type": `"bearer"`, "token_use": `"access_token"`}))
	})
	got, err := bearer(t.Context(), i.Authenticator, opaqueToken)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kind != KindEndUser || got.App != "bank" || got.Subject != (selo.Subject{Issuer: testIssuer, ID: testSub}) ||
		got.CPF.Digits() != testCPF || len(got.Claims["scope"].([]string)) != 2 {
		t.Errorf("got %+v", got)
	}
	// An opaque token is remembered for 10 seconds.
	i.clock.advance(10*time.Second - 1)
	if _, err := bearer(t.Context(), i.Authenticator, opaqueToken); err != nil {
		t.Error(err)
	}
	i.endpoint.wantHits(t, 1, "within 10 seconds")
	i.clock.advance(1)
	i.says(`{"active":false}`)
	caller, err := bearer(t.Context(), i.Authenticator, opaqueToken)
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "active", opaqueToken)
	i.endpoint.wantHits(t, 2, "after 10 seconds")
}

func TestIntrospectionAnswers(t *testing.T) {
	other := App{Name: "other", Issuer: "https://other.example", Audience: "bank-app"}
	shop := App{Name: "shop", Issuer: testIssuer, Audience: "shop-app", AuthorizedParties: []string{"ios"}}
	for _, tc := range []struct {
		name, answer string
		apps         []App
		app, field   string // "payload": the endpoint's fault
	}{
		{"plain", active(nil), nil, "bank", ""},
		{"Bearer", active(map[string]string{"token_type": `"Bearer"`, "token_use": `"access"`}), nil, "bank", ""},
		{"iss", active(map[string]string{"iss": quote(testIssuer)}), nil, "bank", ""},
		{"aud array", active(map[string]string{"aud": `["x","bank-app"]`}), nil, "bank", ""},
		{"exp in a second", active(map[string]string{"exp": at(time.Second)}), nil, "bank", ""},
		{"client", active(map[string]string{"aud": `"shop-app"`, "client_id": `"ios"`}), []App{shop}, "shop", ""},
		{"iss chooses", active(map[string]string{"iss": `"https://other.example"`}), []App{other}, "other", ""},

		{"inactive", `{"active":false}`, nil, "", "active"},
		{"inactive, and all the rest", active(map[string]string{"active": "false"}), nil, "", "active"},
		{"active as a string", active(map[string]string{"active": `"true"`}), nil, "", "active"},
		{"active 1", active(map[string]string{"active": `1`}), nil, "", "active"},
		{"active null", active(map[string]string{"active": `null`}), nil, "", "active"},
		{"no active", active(map[string]string{"active": ``}), nil, "", "active"},
		{"Active", active(map[string]string{"active": ``, "Active": "true"}), nil, "", "active"},
		{"Active beside active", active(map[string]string{"Active": "false"}), nil, "", "active"},
		{"active twice", `{"active":false,` + active(nil)[1:], nil, "", "payload"},
		{"refresh token", active(map[string]string{"token_use": `"refresh_token"`}), nil, "", "token_use"},
		{"ID token", active(map[string]string{"token_use": `"id"`}), nil, "", "token_use"},
		{"token_use null", active(map[string]string{"token_use": `null`}), nil, "", "token_use"},
		{"Token_use", active(map[string]string{"Token_use": `"access"`}), nil, "", "token_use"},
		{"DPoP", active(map[string]string{"token_type": `"DPoP"`}), nil, "", "token_type"},
		{"token_type null", active(map[string]string{"token_type": `null`}), nil, "", "token_type"},
		{"cnf", active(map[string]string{"cnf": `{"x5t#S256":"bwcK"}`}), nil, "", "cnf"},
		{"other aud", active(map[string]string{"aud": `"web"`}), nil, "", "aud"},
		{"no aud", active(map[string]string{"aud": ``}), nil, "", "aud"},
		{"aud of two apps", active(map[string]string{"aud": `["bank-app","shop-app"]`}), []App{shop}, "", "aud"},
		{"aud of two issuers", active(nil), []App{other}, "", "aud"},
		{"other iss", active(map[string]string{"iss": `"https://evil.example"`}), nil, "", "iss"},
		{"iss empty", active(map[string]string{"iss": `""`}), nil, "", "iss"},
		{"iss null", active(map[string]string{"iss": `null`}), nil, "", "iss"},
		{"no sub", active(map[string]string{"sub": ``}), nil, "", "sub"},
		{"exp passed", active(map[string]string{"exp": at(0)}), nil, "", "exp"},
		{"exp null", active(map[string]string{"exp": `null`}), nil, "", "exp"},
		{"nbf ahead", active(map[string]string{"nbf": at(time.Minute)}), nil, "", "nbf"},
		{"iat ahead", active(map[string]string{"iat": at(time.Minute)}), nil, "", "iat"},
		{"other client", active(map[string]string{"aud": `"shop-app"`, "azp": `"web"`}), []App{shop}, "", "azp"},
		{"no client", active(map[string]string{"aud": `"shop-app"`}), []App{shop}, "", "azp"},
		{"scope a number", active(map[string]string{"scope": `1`}), nil, "", "scope"},
		{"CPF beside cpf", active(map[string]string{"CPF": quote(testCPF)}), nil, "", "cpf"},
		{"not JSON", `hello`, nil, "", "payload"},
		{"array", `[` + active(nil) + `]`, nil, "", "payload"},
		{"true", `true`, nil, "", "payload"},
		{"two answers", active(nil) + active(nil), nil, "", "payload"},
		{"empty", ``, nil, "", "payload"},
		{"web page", `<html>` + opaqueToken + `</html>`, nil, "", "payload"},
		{"deep", active(map[string]string{"x": strings.Repeat("[", 40) + strings.Repeat("]", 40)}), nil, "", "payload"},
		{"huge", active(map[string]string{"x": quote(strings.Repeat("x", maxIntrospection))}), nil, "", "payload"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIntrospected(t, tc.apps...)
			i.says(tc.answer)
			got, err := bearer(t.Context(), i.Authenticator, opaqueToken)
			switch tc.field {
			case "":
				if err != nil || got.App != tc.app || got.Subject.Issuer != got.Issuer {
					t.Errorf("got %+v, %v", got, err)
				}
			case "payload":
				e := wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, "authorization", opaqueToken, clientSecret)
				if e.Err == nil {
					t.Error("has no cause")
				}
			default:
				if e := wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, tc.field, opaqueToken); e.Err != nil {
					t.Errorf("has a cause: %v", e.Err)
				}
			}
			if i.Recognise(t.Context(), "Bearer "+opaqueToken) != (tc.field == "") {
				t.Error("remembers a refusal, or forgets a success")
			}
		})
	}
}

// What is wrong with the endpoint is nobody's token's fault, and says nothing of the token, though it says all.
func TestIntrospectionFails(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("was asked")
		_, _ = io.WriteString(w, active(nil))
	}))
	defer elsewhere.Close()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, "%s %s %s", sent, opaqueToken, r.Header.Get("Authorization"))
		}
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(bytes.Repeat([]byte(" "), 8<<20))
	_ = zip.Close()
	// raw answers with bytes that are no HTTP, which net/http likes to quote.
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		cause  string
	}{
		{"500", status(500), "answered 500"},
		{"401", status(401), "answered 401"},
		{"400", status(400), "answered 400"},
		{"201", status(201), "answered 201"},
		{"302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "answered 302"},
		{"307", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "answered 307"},
		{"gzip", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		}, "answer is not strict JSON"}, // since it is not unpacked
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for chunk := bytes.Repeat([]byte(" "), 1<<14); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "longer than 65536 bytes"},
		{"token in the status line", raw("HTTP/1.1 " + opaqueToken + "\r\n\r\n"), "no HTTP answer"},
		{"token as the protocol", raw(opaqueToken + "\r\n\r\n"), "no HTTP answer"},
		{"token in a header", raw("HTTP/1.1 200 OK\r\n" + opaqueToken + "\r\n\r\n"), "no HTTP answer"},
		{"token as the length", raw("HTTP/1.1 200 OK\r\nContent-Length: " + opaqueToken + "\r\n\r\n"), "no HTTP answer"},
		{"token in Location", raw("HTTP/1.1 302 Found\r\nLocation: http://[" + opaqueToken + "\r\n\r\n"), "no HTTP answer"},
		{"closed", raw(""), "EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIntrospected(t)
			i.endpoint.set(tc.answer)
			got, err := bearer(t.Context(), i.Authenticator, opaqueToken)
			e := wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, "authorization", opaqueToken, clientSecret, "mF_9", "mF_9.B5f")
			if e.Err == nil || !strings.Contains(e.Err.Error(), tc.cause) {
				t.Errorf("got %v, want %q", e.Err, tc.cause)
			}
			i.says(active(nil))
			if _, err := bearer(t.Context(), i.Authenticator, opaqueToken); err != nil {
				t.Errorf("well again: %v", err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		a := mustNew(t, Config{Apps: []App{opaqueApp(gone.URL)}})
		got, err := bearer(t.Context(), a, opaqueToken)
		if e := wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, "authorization", opaqueToken); e.Err == nil || !strings.Contains(e.Err.Error(), "refused") {
			t.Errorf("got %v", e.Err)
		}
	})
}

func TestWhatIsOpaque(t *testing.T) {
	i := newIntrospected(t)
	i.says(active(nil))
	key := edSigner(t, "a")
	apiKey := NewAPIKey(store.CredentialService)
	for credential, asks := range map[string]bool{
		"x": true, "2YotnFZFEjr1zCsicMWpAA": true, "a.b": true, "a.b.c.d.e": true, "a~+/-_": true, "a=": true, "a===": true, "~": true,
		strings.Repeat("a", selo.MaxTokenSize):   true,
		strings.Repeat("a", selo.MaxTokenSize+1): false,
		"":                                       false, "=": false, "a=b": false, "a b": false, " a": false, "a ": false, "a,b": false, "a\r\nb": false, "\"a\"": false, "á": false, "a%": false,
		apiKey: false, apiKey[:20]: false, "selo_": false, "selo_other": false,
		"a.b.c": false, "a.b.c=": false, key.token(`{`): false,
	} {
		before := i.endpoint.count()
		_, _ = bearer(t.Context(), i.Authenticator, credential)
		if asked := i.endpoint.count() > before; asked != asks {
			t.Errorf("%.40q: asked %v", credential, asked)
		}
	}
	// Without introspection nothing is opaque.
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}})
	caller, err := bearer(t.Context(), a, opaqueToken)
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", opaqueToken)
}

func TestIntrospectionConfiguration(t *testing.T) {
	base := func() App { return opaqueApp("https://id.bank.example/introspect") }
	second := func(change func(*Introspection)) App {
		app := base()
		app.Name, app.Audience = "shop", "shop-app"
		change(app.Introspection)
		return app
	}
	only := func(change func(*Introspection)) []App {
		app := base()
		change(app.Introspection)
		return []App{app}
	}
	const differs = `app "shop": introspection must have the url and client of app "bank"`
	for _, tc := range []struct {
		name string
		apps []App
		want string
	}{
		{"one", []App{base()}, ""},
		{"two alike", []App{base(), second(func(*Introspection) {})}, ""},
		{"another URL", []App{base(), second(func(i *Introspection) { i.URL += "2" })}, differs},
		{"another client", []App{base(), second(func(i *Introspection) { i.ClientID += "2" })}, differs},
		{"another secret", []App{base(), second(func(i *Introspection) { i.ClientSecret = []byte("hunter2") })}, differs},
		{"http", only(func(i *Introspection) { i.URL = "http://id.bank.example/introspect" }), "introspection: url must be https"},
		{"password", only(func(i *Introspection) { i.URL = "https://u:hunter2@id.bank.example" }), "must not contain a user"},
		{"no client", only(func(i *Introspection) { i.ClientID = "" }), "client_id must be"},
		{"no secret", only(func(i *Introspection) { i.ClientSecret = nil }), "client secret must be"},
		{"huge secret", only(func(i *Introspection) { i.ClientSecret = make([]byte, 4097) }), "client secret must be"},
	} {
		a, err := New(t.Context(), Config{Apps: tc.apps})
		if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			text := fmt.Sprintf(verb+verb+verb, a, tc.apps[0].Introspection, *tc.apps[0].Introspection)
			if a != nil {
				if a.apps[0].Introspection != nil {
					t.Error("the app has the secret still")
				}
				text += fmt.Sprintf(verb+verb+verb, a.opaque, a.apps, a.apps[0])
			}
			for _, form := range []string{"%s", "%v", "%x", "%#v"} {
				if secret := strings.Trim(fmt.Sprintf(form, []byte(clientSecret)), "[]{}"); strings.Contains(text, secret) {
					t.Errorf("%s: %s prints the secret", tc.name, verb)
				}
			}
		}
	}
}

// inOpaqueBubble runs f with an endpoint that answers what it is told, and the bubble's clock.
func inOpaqueBubble(t *testing.T, answer http.HandlerFunc, f func(t *testing.T, a *Authenticator, i *issuer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		i, network := &issuer{answer: answer}, make(pipes)
		srv := &http.Server{Handler: i}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(network) }()
		transport := &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				network <- theirs
				return ours, nil
			},
		}
		f(t, mustNew(t, Config{Apps: []App{opaqueApp("http://localhost/")}, HTTPClient: &http.Client{Transport: transport}, Now: time.Now}), i)
		synctest.Wait()
		close(network)
		<-done
		_ = srv.Close()
	})
}

func TestOneIntrospectionForAll(t *testing.T) {
	inOpaqueBubble(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second) // the bubble's time
		_, _ = io.WriteString(w, active(nil))
	}, func(t *testing.T, a *Authenticator, i *issuer) {
		var wg sync.WaitGroup
		callers := make([]*Caller, 100)
		for n := range callers {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if n == 0 { // the first one goes away, and the others do not mind
					time.AfterFunc(time.Millisecond, cancel)
				}
				var err error
				if callers[n], err = bearer(ctx, a, opaqueToken); (err != nil) != (n == 0) {
					t.Error(n, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		i.wantHits(t, 1, "100 with the same token")
		if callers[1] == callers[2] {
			t.Error("two requests have one Caller")
		}
		if len(a.opaque.flights) > 0 || len(a.opaque.turns) > 0 {
			t.Error("something is left over")
		}
	})
}

func TestSlowEndpoint(t *testing.T) {
	inOpaqueBubble(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		<-r.Context().Done()
	}, func(t *testing.T, a *Authenticator, i *issuer) {
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				began := time.Now()
				token := fmt.Sprint("opaque-", n)
				caller, err := bearer(t.Context(), a, token)
				e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", token)
				if waited := time.Since(began); waited != introspectTimeout || !errors.Is(e, context.DeadlineExceeded) {
					t.Errorf("after %v: %v", waited, e)
				}
			})
		}
		synctest.Wait()
		i.wantHits(t, maxIntrospections, "20 tokens at once")
		wg.Wait()

		// When nobody waits any more, nobody is asked any more.
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		caller, err := bearer(ctx, a, opaqueToken)
		wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", opaqueToken)
		synctest.Wait()
		if waited := time.Since(began); waited != time.Second || len(a.opaque.flights) > 0 || len(a.opaque.turns) > 0 {
			t.Errorf("after %v there are %d flights and %d turns", waited, len(a.opaque.flights), len(a.opaque.turns))
		}
	})
}

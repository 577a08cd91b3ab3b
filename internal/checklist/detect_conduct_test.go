package checklist

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/checklist/testdata/servers"
	"github.com/selo-id/selo/internal/finding"
)

func unchanged(*rig) {}

// flawedRig is a rig with a right server of servers.Flawed, and something round it.
func flawedRig(t *testing.T, change func(*rig), round func(http.Handler) http.Handler) (*rig, *httptest.Server) {
	t.Helper()
	r := newRig(t, faceAuthentication)
	r.describe(t)
	change(r)
	made, err := servers.NewFlawed(r.config, "")
	s := r.serve(t, round(must(t, made, err)))
	return r, s
}

// from calls f before the probe of that ID, and returns the IDs of those that come from there on.
func from(id string, f func()) (func(int, int, Probe, *finding.Finding), *[]string) {
	var rest []string
	return func(_, _ int, p Probe, came *finding.Finding) {
		switch {
		case came != nil:
		case p.ID == id:
			f()
			fallthrough
		case len(rest) > 0:
			rest = append(rest, p.ID)
		}
	}, &rest
}

// onlyLooks are probes that send nothing: what they look at had come before.
var onlyLooks = []string{"token-exp", "token-exp-seconds", "token-exp-reasonable", "token-not-in-url", "secret-not-disclosed", "image-not-fetched", "keys-not-fetched", "no-stack-trace", "no-echo",
	"no-server-error", "refusal-status"}

// TestLimitIsNoPass shows that a 429 is neither a pass nor a failure, of any probe that sends something.
func TestLimitIsNoPass(t *testing.T) {
	t.Parallel()
	var limited atomic.Bool
	r, _ := flawedRig(t, unchanged, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if limited.Load() {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	progress, rest := from("cpf-from-body", func() { limited.Store(true) })
	r.wantInconclusive(t, r.run(t, Options{Version: "test", Progress: progress}), *rest)
}

// TestDeathIsNoPass shows that a target that dies in the middle ends no check, and passes nothing.
func TestDeathIsNoPass(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"cpf-from-body", "unsigned", "malformed"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			r, s := flawedRig(t, unchanged, func(next http.Handler) http.Handler { return next })
			progress, rest := from(id, func() {
				_ = s.Listener.Close()
				s.CloseClientConnections()
			})
			began := time.Now()
			report := r.run(t, Options{Version: "test", Progress: progress})
			r.wantInconclusive(t, report, *rest)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

// wantInconclusive wants nothing to be known of probes that send something.
func (r *rig) wantInconclusive(t *testing.T, report *finding.Report, ids []string) {
	t.Helper()
	if len(ids) < 15 {
		t.Fatalf("only %d probes came after", len(ids))
	}
	notApplicable := []string{"other-policy", "expired-credentials", "wrong-audience"} // nothing to try, and nothing sent
	for _, f := range report.Findings {
		if slices.Contains(ids, f.Rule) && !slices.Contains(onlyLooks, f.Rule) && f.Outcome != finding.Inconclusive && !slices.Contains(notApplicable, f.Rule) {
			t.Errorf("%s came to %s", f.Rule, messageOf(report, f.Rule))
		}
	}
}

// TestNothingPlanted shows that what nobody could fetch was not left unfetched by anybody's merit.
func TestNothingPlanted(t *testing.T) {
	t.Parallel()
	var refused atomic.Int32
	r, _ := flawedRig(t, unchanged, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body) // a body that ends early is refused further on
			for part := range strings.FieldsFuncSeq(string(body), notEncoded) {
				if text, err := base64.RawURLEncoding.DecodeString(part); err == nil && strings.Contains(string(text), "/selo-check/") {
					refused.Add(1)
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
			}
			req.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, req)
		})
	})
	report := r.run(t, Options{Version: "test", Only: []string{"image-not-fetched", "keys-not-fetched", "honest-granted"}})
	if got := outcomes(report, finding.Inconclusive); !slices.Equal(got, []string{"image-not-fetched", "keys-not-fetched"}) || refused.Load() == 0 {
		t.Errorf("inconclusive: %q, and %d responses with a URL were refused", got, refused.Load())
	}
}

// TestProduction shows that against a production server only the harmless probes run, without an access key, and that no
// response is handed in.
func TestProduction(t *testing.T) {
	t.Parallel()
	var responses, webhooks, odd atomic.Int32
	r, _ := flawedRig(t, unchanged, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/caf/response":
				responses.Add(1)
			case "/webhooks/caf":
				webhooks.Add(1)
			case "/login", "/caf/token":
			default:
				odd.Add(1)
			}
			next.ServeHTTP(w, req)
		})
	})
	r.target.Environment, r.target.Key, r.target.OtherKeys = environmentProduction, nil, Others{}
	report := r.run(t, Options{Version: "test"})
	var want []string
	for _, p := range Probes() {
		if p.Production {
			want = append(want, p.ID)
		}
	}
	var got []string
	for _, f := range report.Findings {
		got = append(got, f.Rule)
		if f.Outcome != finding.Pass && f.Rule != "expired-credentials" && f.Rule != "wrong-audience" {
			t.Errorf("%s came to %s", f.Rule, messageOf(report, f.Rule))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("these ran: %q, want %q", got, want)
	}
	if responses.Load()+webhooks.Load()+odd.Load() > 0 {
		t.Errorf("%d responses and %d events were handed in, and %d other requests sent; want none", responses.Load(), webhooks.Load(), odd.Load())
	}
}

// TestRedirectIsNotFollowed shows that a credential goes nowhere but where the description says.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		var followed atomic.Int32
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
		r, _ := flawedRig(t, unchanged, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/caf/token" {
					http.Redirect(w, req, elsewhere.URL+"/caf/token", status)
					return
				}
				next.ServeHTTP(w, req)
			})
		})
		c, err := New(t.Context(), r.target, r.dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Run(t.Context(), Options{Version: "test"})
		if !errors.As(err, new(*CannotRunError)) || !strings.Contains(err.Error(), "no token for ana") {
			t.Errorf("%d: the check said %v; want that there is no token", status, err)
		}
		elsewhere.Close()
		if followed.Load() > 0 {
			t.Errorf("%d: %d requests followed it", status, followed.Load())
		}
	}
}

// TestYesToEverything is about a server that says yes to whatever anybody asks.
func TestYesToEverything(t *testing.T) {
	t.Parallel()
	r, _ := flawedRig(t, unchanged, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/login" {
				next.ServeHTTP(w, req)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"granted":true,"session":"1","acted":true,"token":"the-same-for-everybody"}`))
		})
	})
	report := r.run(t, Options{Version: "test"})
	// None of these is a promise about who is refused, but for the claims and origins that such a server knows nothing of,
	// and for signing in, which is left right here.
	pass := []string{"token-claims-from-client", "token-not-in-url", "secret-not-disclosed", "wrong-password", "cors", honestID, "image-not-fetched", "keys-not-fetched",
		"no-stack-trace", "no-echo", "no-server-error", "webhook-accepted"}
	if got := outcomes(report, finding.Pass); !slices.Equal(got, pass) {
		t.Errorf("pass: %q, want %q", got, pass)
	}
	if got := outcomes(report, finding.Warn); !slices.Equal(got, []string{"signature-reencoded", "older-than-session"}) { // which never fail
		t.Errorf("warn: %q", got)
	}
	// The one is not signed with the key, and might be a session token; the other has no refusal to look at.
	if got := outcomes(report, finding.Inconclusive); !slices.Equal(got, []string{"token-key", "refusal-status"}) {
		t.Errorf("inconclusive: %q", got)
	}
	if n := report.Count(finding.Fail); n < 70 {
		t.Errorf("%d probes failed", n)
	}
}

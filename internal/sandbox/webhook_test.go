package sandbox_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// delivery is one request that a webhook got.
type delivery struct {
	body, contentType string
	genuine           bool // the signature is right
}

func (d delivery) event(t testing.TB) (event map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(d.body), &event); err != nil {
		t.Fatal(err)
	}
	return event
}

// webhook receives deliveries and answers them with statuses, the last one for ever; 0 is no answer.
func webhook(t testing.TB, statuses ...int) (url string, got chan delivery) {
	t.Helper()
	got = make(chan delivery, 1000)
	i := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		mac := hmac.New(sha256.New, []byte(hookSecret))
		mac.Write(body)
		status := statuses[min(i, len(statuses)-1)] // one delivery at a time, so i is not shared
		i++
		got <- delivery{string(body), r.Header.Get("Content-Type"), r.Header.Get("X-Caf-Signature") == hex.EncodeToString(mac.Sum(nil))}
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

// running runs s until the returned function is called, which waits for its end.
func running(t testing.TB, s *sandbox.Sandbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

func withWebhooks(urls ...string) func(*sandbox.Config) {
	return func(c *sandbox.Config) {
		c.WebhookRetry = time.Millisecond
		for _, u := range urls {
			c.Webhooks = append(c.Webhooks, sandbox.Webhook{URL: u, Secret: []byte(hookSecret)})
		}
	}
}

func TestEvents(t *testing.T) {
	one, first := webhook(t, 204)
	two, second := webhook(t, 200)
	s, log := newSandboxWith(t, withWebhooks(one+"/hook?x=1", two))
	stop := running(t, s)

	var want []map[string]any // of the data
	face := func(path string, outcome sandbox.Outcome, match bool) {
		w := post(t, s, path, body(ana, outcome), sign(payload("")))
		_, got := decode(t, signedResponse(t, w), bothSecret)
		if path == authentication {
			want = append(want, map[string]any{"attemptId": w.Header().Get("X-Sandbox-Attempt"), "requestId": got["requestId"], "personId": ana, "isMatch": match})
		}
	}
	face(liveness, "approve", true) // compares nobody, so it is no event
	face(authentication, "approve", true)
	face(authentication, "no-match", false)
	face(authentication, "not-alive", false)
	w := send(t, s, "POST", "/faces/authenticate", `{`+image+`,"peopleId":"52998224725"}`, "Authorization", sign(payload("")))
	want = append(want, map[string]any{"attemptId": w.Header().Get("X-Sandbox-Attempt"), "requestId": wantOK(t, w)["requestId"], "personId": ana, "isMatch": true})
	faces := len(want)
	for outcome, authorized := range map[sandbox.Outcome]any{"approve": true, "known-context": true, "reauthenticated": true, "not-authorized": false, "pending": nil} {
		_, attempt := startSmart(t, s, outcome)
		if authorized == nil { // pending is no event, and its end is one
			wantOK(t, send(t, s, "POST", smart+"/"+attempt, `{"outcome":"not-authorized"}`, "Authorization", identityToken))
			authorized = false
		}
		want = append(want, map[string]any{"attemptId": attempt, "personId": ana, "isAuthorized": authorized})
	}
	seen := map[any]bool{}
	for i, data := range want {
		d := <-first
		event := d.event(t)
		kind := "FACEAUTHENTICATIONEVENT"
		if i >= faces {
			kind = "smart_auth"
		}
		if diff := cmp.Diff(map[string]any{
			"specversion": "1.0", "id": event["id"], "source": "caf-sandbox", "type": kind, "time": "2023-11-14T22:13:20Z", "data": data,
		}, event); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
		if id, _ := event["id"].(string); len(id) != 36 || seen[id] {
			t.Errorf("event %d: id %q", i, id)
		}
		seen[event["id"]] = true
		if diff := cmp.Diff(delivery{d.body, "application/cloudevents+json", true}, d, cmp.AllowUnexported(delivery{})); diff != "" {
			t.Error(diff)
		}
		if d2 := <-second; d2 != d {
			t.Errorf("event %d: the two webhooks got different things", i)
		}
	}
	stop()
	if len(first)+len(second) != 0 {
		t.Error("there were more deliveries")
	}
	wantNothingSecret(t, log.Bytes())
}

func TestWebhookRetries(t *testing.T) {
	for _, tt := range []struct {
		name     string
		statuses []int
		tries    int
	}{
		{"at once", []int{200}, 1},
		{"refused", []int{400, 200}, 1},
		{"redirected", []int{302, 200}, 1},
		{"second time", []int{500, 200}, 2},
		{"no answer", []int{0, 503, 204}, 3},
		{"last time", []int{500, 500, 500, 200}, 4},
		{"given up", []int{500, 500, 500, 500, 200}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, got := webhook(t, append(tt.statuses, 200)...)
			s, log := newSandboxWith(t, withWebhooks(url))
			stop := running(t, s)
			run := func() string {
				return post(t, s, authentication, body(ana, "approve"), sign(payload(""))).Header().Get("X-Sandbox-Attempt")
			}
			attempt := run()
			var one delivery
			for i := range tt.tries {
				d := <-got
				if i > 0 && d != one {
					t.Error("a retry is another body")
				}
				one = d
				if data, _ := d.event(t)["data"].(map[string]any); data["attemptId"] != attempt || !d.genuine {
					t.Errorf("try %d: another attempt, or a wrong signature", i)
				}
			}
			// What comes after is the next event and not one more try.
			attempt = run()
			if data, _ := (<-got).event(t)["data"].(map[string]any); data["attemptId"] != attempt {
				t.Error("one try too many")
			}
			stop()
			if gaveUp := strings.Contains(log.String(), "given up"); gaveUp != (tt.name == "given up") {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestBadSignatures(t *testing.T) {
	url, got := webhook(t, 200)
	s, _ := newSandboxWith(t, func(c *sandbox.Config) {
		withWebhooks(url)(c)
		c.BadSignatureEvery = 2
	})
	running(t, s)
	var genuine []bool
	ids := map[any]int{}
	for range 4 {
		post(t, s, authentication, body(ana, "approve"), sign(payload("")))
	}
	for range 6 {
		d := <-got
		genuine = append(genuine, d.genuine)
		ids[d.event(t)["id"]]++
	}
	if diff := cmp.Diff([]bool{true, false, true, true, false, true}, genuine); diff != "" || len(ids) != 4 {
		t.Errorf("%d events (-want +got):\n%s", len(ids), diff)
	}
}

func TestOutOfOrder(t *testing.T) {
	url, got := webhook(t, 200)
	s, _ := newSandboxWith(t, withWebhooks(url))
	queue(t, s, `{"path":"/sdk/caf/face-authentication","fault":"out-of-order","count":2}`)
	var attempts []string
	run := func() {
		attempts = append(attempts, post(t, s, authentication, body(ana, "approve"), sign(payload(""))).Header().Get("X-Sandbox-Attempt"))
	}
	for range 4 {
		run()
	}
	running(t, s) // what waited is sent now
	var order []string
	next := func() {
		data, _ := (<-got).event(t)["data"].(map[string]any)
		order = append(order, data["attemptId"].(string))
	}
	for range 4 {
		next()
	}
	if diff := cmp.Diff([]string{attempts[2], attempts[1], attempts[0], attempts[3]}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	// One that is held back when the sandbox is reset never comes.
	queue(t, s, `{"path":"/","fault":"out-of-order"}`)
	run()
	wantOK(t, send(t, s, "POST", "/_sandbox/reset", ""))
	run()
	run()
	next()
	next()
	if diff := cmp.Diff(attempts[5:], order[4:]); diff != "" {
		t.Errorf("order after a reset (-want +got):\n%s", diff)
	}
}

// TestFullQueue makes more events than may wait while nobody sends them.
func TestFullQueue(t *testing.T) {
	url, got := webhook(t, 200)
	s, log := newSandboxWith(t, withWebhooks(url))
	for range 257 {
		post(t, s, authentication, body(ana, "approve"), sign(payload("")))
	}
	if n := strings.Count(log.String(), "webhook event dropped"); n != 1 {
		t.Errorf("%d dropped", n)
	}
	running(t, s)
	for range 256 {
		<-got
	}
}

// TestRunEnds stops it while it waits for an answer, and before a retry.
func TestRunEnds(t *testing.T) {
	s, _ := newSandbox(t) // no webhooks at all
	running(t, s)()

	entered, leave := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	}))
	defer server.Close()
	defer close(leave)
	s, _ = newSandboxWith(t, withWebhooks(server.URL))
	stop := running(t, s)
	post(t, s, authentication, body(ana, "approve"), sign(payload("")))
	<-entered
	stop()

	url, got := webhook(t, 500)
	s, _ = newSandboxWith(t, func(c *sandbox.Config) {
		withWebhooks(url)(c)
		c.WebhookRetry = time.Hour
	})
	stop = running(t, s)
	post(t, s, authentication, body(ana, "approve"), sign(payload("")))
	<-got
	stop()
}

// TestWebhookClient stays at home even when a name that was accepted leads elsewhere.
func TestWebhookClient(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9/")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://192.0.2.1/", nil) // RFC 5737: nobody's
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sandbox.WebhookClient().Do(r)
	if err == nil {
		answer.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "not a loopback address") {
		t.Errorf("got %v", err)
	}
}

func TestWebhookConfig(t *testing.T) {
	hook := func(url string) sandbox.Config {
		return sandbox.Config{Webhooks: []sandbox.Webhook{{URL: url, Secret: []byte("hush-hush")}}}
	}
	for _, tt := range []struct {
		name string
		cfg  sandbox.Config
		want string // "" is good
	}{
		{"IPv4", hook("http://127.0.0.1:8080/hook"), ""},
		{"IPv6", hook("https://[::1]/hook"), ""},
		{"localhost", hook("https://localhost:8443/hook?secret=hush"), ""},
		{"another host", hook("https://hush.example/"), "loopback"},
		{"all addresses", hook("http://0.0.0.0:8080/"), "loopback"},
		{"begins like loopback", hook("http://127.0.0.1.hush.example/"), "loopback"},
		{"no host", hook("http:///hush"), "loopback"},
		{"user", hook("http://hush:hush@127.0.0.1/"), "without user"},
		{"fragment", hook("http://127.0.0.1/#hush"), "without user"},
		{"file", hook("file://localhost/hush"), "http or https"},
		{"opaque", hook("http:127.0.0.1"), "http or https"},
		{"not a URL", hook("http://127.0.0.1/%zzhush"), "http or https"},
		{"no URL", hook(""), "http or https"},
		{"no secret", sandbox.Config{Webhooks: []sandbox.Webhook{{URL: "http://127.0.0.1/"}}}, "no Secret"},
		{"bad signatures of nothing", sandbox.Config{BadSignatureEvery: 1}, "without Webhooks"},
		{"retries of nothing", sandbox.Config{WebhookRetry: 1}, "without Webhooks"},
		{"negative", sandbox.Config{BadSignatureEvery: -1}, "must not be negative"},
		{"negative pause", sandbox.Config{WebhookRetry: -1}, "must not be negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Keys = testConfig(nil).Keys
			s, err := sandbox.New(tt.cfg)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v; want an error alone with %q, and no part of the URL", err, tt.want)
			}
		})
	}
}

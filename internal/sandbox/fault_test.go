package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

func queue(t testing.TB, h http.Handler, fault string) {
	t.Helper()
	wantOK(t, send(t, h, "POST", "/_sandbox/faults", fault))
}

// serve serves h over real HTTP, by a client that follows no redirects.
func serve(t testing.TB, h http.Handler) (*http.Client, string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, server.URL
}

type reply struct {
	status int
	header http.Header
	body   string
}

// exchange asks for a session token over real HTTP.
func exchange(t testing.TB, client *http.Client, base string) (*reply, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/bff/session-tokens", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", sign(payload("")))
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return &reply{answer.StatusCode, answer.Header, string(b)}, err
}

func TestAnswersThatAreFaults(t *testing.T) {
	s, log := newSandbox(t)
	client, base := serve(t, s)
	for _, tt := range []struct {
		fault  string
		status int
		header string // "Name: value"
		body   func(string) bool
	}{
		{"429", 429, "Retry-After: 2", contains(`"error":"rate_limited"`)},
		{"500", 500, "", contains(`"error":"internal"`)},
		{"503", 503, "", contains(`"error":"provider_unavailable"`)},
		{"401", 401, "", contains(`"error":"tokenException"`)},
		{"empty", 200, "Content-Type: application/json", func(b string) bool { return b == "" }},
		{"wrong-shape", 200, "Content-Type: application/json", func(b string) bool { return json.Valid([]byte(b)) && !strings.Contains(b, "sessionToken") }},
		{"not-json", 200, "Content-Type: text/html; charset=utf-8", func(b string) bool { return !json.Valid([]byte(b)) }},
		{"huge", 200, "", func(b string) bool {
			return len(b) > 1<<20 && json.Valid([]byte(b)) && strings.Contains(b, "sessionToken")
		}},
		{"redirect", 302, "Location: /_sandbox/elsewhere", func(b string) bool { return b == "" }},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			queue(t, s, `{"path":"/bff/session-tokens","fault":"`+tt.fault+`"}`)
			got, err := exchange(t, client, base)
			if err != nil {
				t.Fatal(err)
			}
			name, value, _ := strings.Cut(tt.header, ": ")
			if got.status != tt.status || name != "" && got.header.Get(name) != value || !tt.body(got.body) || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %v %.200s", got.status, got.header, got.body)
			}
			if got, err := exchange(t, client, base); err != nil || got.status != 200 || !strings.Contains(got.body, "sessionToken") || len(got.body) > 1000 {
				t.Errorf("the request after it: %v, %v", got, err)
			}
		})
	}
	wantNothingSecret(t, log.Bytes())
}

func contains(want string) func(string) bool {
	return func(b string) bool { return strings.Contains(b, want) }
}

func TestHangUp(t *testing.T) {
	s, _ := newSandbox(t)
	client, base := serve(t, s)
	queue(t, s, `{"path":"/bff","fault":"hang-up"}`)
	if got, err := exchange(t, client, base); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, %v; want no answer at all", got, err)
	}
	if _, err := exchange(t, client, base); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// TestSlow waits in the fake time of a bubble.
func TestSlow(t *testing.T) {
	for _, tt := range []struct {
		delay string
		want  time.Duration
	}{{"", 3 * time.Second}, {`,"delay":"30s"`, 30 * time.Second}, {`,"delay":"1ms"`, time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := newSandbox(t)
			queue(t, s, `{"path":"/sdk/caf/face-liveness","fault":"slow"`+tt.delay+`}`)
			before := time.Now()
			signedResponse(t, post(t, s, liveness, body(ana, "approve"), sign(payload(""))))
			if took := time.Since(before); took != tt.want {
				t.Errorf("took %v, want %v", took, tt.want)
			}
			signedResponse(t, post(t, s, liveness, body(ana, "approve"), sign(payload(""))))
			if took := time.Since(before); took != tt.want {
				t.Error("the request after it was slow as well")
			}
		})
	}
}

// TestSlowEndsWithTheClient posts a body, because net/http does not notice that a client left while there is
// some of its body to read.
func TestSlowEndsWithTheClient(t *testing.T) {
	s, _ := newSandbox(t)
	ended := make(chan any)
	entered := make(chan struct{})
	client, base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			ended <- p
			if p != nil {
				panic(p)
			}
		}()
		close(entered)
		s.ServeHTTP(w, r)
	}))
	queue(t, s, `{"path":"/","fault":"slow","delay":"30s"}`)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-entered
		leave()
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+liveness, strings.NewReader(body(ana, "approve")))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := client.Do(r); err == nil {
		answer.Body.Close()
		t.Error("answered")
	}
	before := time.Now()
	if got := <-ended; got != http.ErrAbortHandler {
		t.Errorf("ended with %v", got)
	}
	if took := time.Since(before); took > 20*time.Second {
		t.Errorf("went on for %v", took)
	}
}

// TestSlowOutlastsTheServer checks that deadlines of the server that are shorter do not end the wait.
func TestSlowOutlastsTheServer(t *testing.T) {
	s, _ := newSandbox(t)
	server := httptest.NewUnstartedServer(s)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	queue(t, s, `{"path":"/","fault":"slow","delay":"400ms"}`)
	if got, err := exchange(t, server.Client(), server.URL); err != nil || got.status != http.StatusOK {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEchoToken(t *testing.T) {
	s, _ := newSandbox(t)
	queue(t, s, `{"path":"/","fault":"echo-token"}`)
	// A run is not where this fault can happen, so it takes nothing away.
	signedResponse(t, post(t, s, liveness, body(ana, "approve"), sign(payload(""))))
	token := sign(payload(""))
	if got := exchanged(t, s, "Bearer "+token); got != token {
		t.Error("another token than was sent")
	}
	if got := exchanged(t, s, token); got == token {
		t.Error("the fault goes on")
	}
}

func TestClockSkew(t *testing.T) {
	s, _ := newSandbox(t)
	skew := func() { queue(t, s, `{"path":"/","fault":"clock-skew","skew":"-10m"}`) }
	skew()
	_, got := decode(t, signedResponse(t, post(t, s, liveness, `{"personId":"52998224725","shape":"web-2d"}`, sign(payload("")))), bothSecret)
	if got["iat"] != 1.7e9-600 || got["createdAt"] != "2023-11-14T22:03:20.000Z" {
		t.Errorf("web: %v %v", got["iat"], got["createdAt"])
	}
	skew()
	answer, attempt := startSmart(t, s, sandbox.OutcomePending)
	if _, got = decode(t, answer["signedResponse"].(string), smartSecret); got["iat"] != 1.7e9-600 || got["exp"] != 1.7e9-480 {
		t.Errorf("Smart Auth: %v %v", got["iat"], got["exp"])
	}
	if got := authenticationRecord(t, s, attempt, identityToken); got["createdAt"] != "2023-11-14T22:13:20.000Z" {
		t.Errorf("the record has the time of the skewed clock: %v", got["createdAt"])
	}
	skew()
	if got := authenticationRecord(t, s, attempt, identityToken); got["createdAt"] != "2023-11-14T22:03:20.000Z" {
		t.Errorf("record: %v", got["createdAt"])
	}
	skew()
	w := send(t, s, "POST", smart+"/"+attempt, `{"outcome":"approve"}`, "Authorization", identityToken)
	if _, got = decode(t, signedResponse(t, w), smartSecret); got["iat"] != 1.7e9-600 {
		t.Errorf("finish: %v", got["iat"])
	}
}

func TestDuplicate(t *testing.T) {
	s, _ := newSandbox(t)
	run := func(path, person string) (request, attempt string) {
		w := post(t, s, path, body(person, "approve"), sign(payload("")))
		_, got := decode(t, signedResponse(t, w), bothSecret)
		return got["requestId"].(string), w.Header().Get("X-Sandbox-Attempt")
	}
	queue(t, s, `{"path":"/sdk","fault":"duplicate"}`)
	request, attempt := run(liveness, ana) // there was nothing to repeat
	if len(request) != 36 || len(attempt) != 36 {
		t.Fatalf("first run: %q %q", request, attempt)
	}
	startSmart(t, s, sandbox.OutcomeApprove) // another client's, which is not repeated
	queue(t, s, `{"path":"/sdk","fault":"duplicate"}`)
	if r, a := run(authentication, bruno); r != request || a != attempt {
		t.Errorf("got %s %s, want those of before", r, a)
	}
	if got := faceRecord(t, s, attempt); got["personId"] != bruno {
		t.Error("the record is of the run before")
	}
	if r, a := run(liveness, ana); r == request || a == attempt {
		t.Error("the fault goes on")
	}
}

func TestFalseRecords(t *testing.T) {
	s, log := newSandbox(t)
	_, attempt := startSmart(t, s, sandbox.OutcomeApprove)
	alive := post(t, s, liveness, body(ana, "approve"), sign(payload(""))).Header().Get("X-Sandbox-Attempt")
	match := post(t, s, authentication, body("30000000116", "approve"), sign(payload(""))).Header().Get("X-Sandbox-Attempt")
	honest := []any{authenticationRecord(t, s, attempt, identityToken), faceRecord(t, s, alive), faceRecord(t, s, match)}

	queue(t, s, `{"path":"/authentications/`+attempt+`","fault":"wrong-person"}`)
	queue(t, s, `{"path":"/v1/","fault":"wrong-person","count":2}`)
	if got := authenticationRecord(t, s, attempt, identityToken)["identity"]; !cmp.Equal(got, map[string]any{"personId": "30000000116"}) {
		t.Errorf("Smart Auth: %v", got)
	}
	if got := faceRecord(t, s, alive)["personId"]; got != "30000000116" {
		t.Errorf("liveness: %v", got)
	}
	if got := faceRecord(t, s, match)["personId"]; got != "30000000205" {
		t.Errorf("authentication of the first stranger: %v", got)
	}
	queue(t, s, `{"path":"/","fault":"refused","count":3}`)
	if got := authenticationRecord(t, s, attempt, identityToken); got["status"] != "reproved" || len(got["authenticationMethods"].(map[string]any)) != 0 {
		t.Errorf("Smart Auth: %v", got["status"])
	}
	if got := faceRecord(t, s, alive); !cmp.Equal(got["liveness"], map[string]any{"isAlive": false, "probability": 0.04}) {
		t.Errorf("liveness: %v", got["liveness"])
	}
	if got := faceRecord(t, s, match); got["isMatch"] != false {
		t.Errorf("authentication: %v", got["isMatch"])
	}
	if diff := cmp.Diff(honest, []any{authenticationRecord(t, s, attempt, identityToken), faceRecord(t, s, alive), faceRecord(t, s, match)}, ignoreRequest); diff != "" {
		t.Errorf("the records themselves were changed (-want +got):\n%s", diff)
	}
	wantNothingSecret(t, log.Bytes())
}

var ignoreRequest = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == `["requestId"]` }, cmp.Ignore())

// TestFaultQueue checks the order, the counting and the forgetting.
func TestFaultQueue(t *testing.T) {
	s, _ := newSandbox(t)
	status := func(path string) int { return send(t, s, "POST", path, body(ana, "approve")).Code }
	queue(t, s, `{"path":"/sdk/caf/face-l","fault":"503","count":2}`)
	queue(t, s, `{"path":"/","fault":"500"}`)
	queue(t, s, `{"path":"/sdk","fault":"slow","delay":"90ms"}`)
	queue(t, s, `{"path":"/sdk","fault":"clock-skew","skew":"1h"}`)
	if diff := cmp.Diff(map[string]any{"faults": []any{
		map[string]any{"path": "/sdk/caf/face-l", "fault": "503", "count": 2.0},
		map[string]any{"path": "/", "fault": "500", "count": 1.0},
		map[string]any{"path": "/sdk", "fault": "slow", "count": 1.0, "delay": "90ms"},
		map[string]any{"path": "/sdk", "fault": "clock-skew", "count": 1.0, "skew": "1h0m0s"},
	}}, wantOK(t, send(t, s, "GET", "/_sandbox/faults", ""))); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
	for i, want := range []int{503, 503, 500, 401} { // the last one is slow, and has no token
		if got := status(liveness); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	wantOK(t, send(t, s, "POST", "/_sandbox/reset", ""))
	if got := wantOK(t, send(t, s, "GET", "/_sandbox/faults", "")); !cmp.Equal(got, map[string]any{"faults": []any{}}) {
		t.Errorf("after the reset: %v", got)
	}
	for range 100 {
		queue(t, s, `{"path":"/x","fault":"500"}`)
	}
	wantRefusal(t, send(t, s, "POST", "/_sandbox/faults", `{"path":"/x","fault":"500"}`), 429, "rate_limited", "100 faults")
}

func TestFaultRefusals(t *testing.T) {
	s, log := newSandbox(t)
	for _, tt := range []struct{ name, body, message string }{
		{"unknown", `{"path":"/","fault":"52998224725"}`, "429, 500, 503, 401, slow, empty, wrong-shape, not-json, huge, redirect, hang-up, echo-token, clock-skew, duplicate, wrong-person, refused, out-of-order"},
		{"no fault", `{"path":"/"}`, "fault must be one of"},
		{"a number", `{"path":"/","fault":429}`, "one JSON object"},
		{"no path", `{"fault":"429"}`, "path must begin"},
		{"no slash", `{"path":"sdk","fault":"429"}`, "path must begin"},
		{"long path", `{"path":"/` + strings.Repeat("x", 256) + `","fault":"429"}`, "path must begin"},
		{"control path", `{"path":"/_sandbox/reset","fault":"429"}`, "have no faults"},
		{"negative count", `{"path":"/","fault":"429","count":-1}`, "1 to 1000"},
		{"large count", `{"path":"/","fault":"429","count":1001}`, "1 to 1000"},
		{"count a fraction", `{"path":"/","fault":"429","count":1.5}`, "one JSON object"},
		{"never at this path", `{"path":"/sdk","fault":"echo-token"}`, "it happens at /bff/session-tokens"},
		{"never at this path either", `{"path":"/faces/liveness","fault":"duplicate"}`, "it happens at /sdk/caf/{product}"},
		{"delay of another", `{"path":"/","fault":"429","delay":"1s"}`, "delay is for slow"},
		{"delay too long", `{"path":"/","fault":"slow","delay":"30.001s"}`, "at most 30s"},
		{"delay negative", `{"path":"/","fault":"slow","delay":"-1s"}`, "more than 0"},
		{"delay none", `{"path":"/","fault":"slow","delay":"0s"}`, "more than 0"},
		{"delay no duration", `{"path":"/","fault":"slow","delay":"3"}`, "Go durations"},
		{"no skew", `{"path":"/","fault":"clock-skew"}`, "not 0"},
		{"skew none", `{"path":"/","fault":"clock-skew","skew":"0"}`, "not 0"},
		{"skew too far", `{"path":"/","fault":"clock-skew","skew":"-9000h"}`, "at most 8784h"},
		{"skew of another", `{"path":"/","fault":"slow","skew":"1h"}`, "skew is for clock-skew"},
		{"unknown name", `{"path":"/","fault":"429","times":1}`, "one JSON object"},
		{"name twice", `{"path":"/","fault":"429","fault":"500"}`, "one JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := send(t, s, "POST", "/_sandbox/faults", tt.body)
			wantRefusal(t, w, 400, "request_invalid", tt.message)
			wantNothingSecret(t, w.Body.Bytes())
		})
	}
	wantNothingSecret(t, log.Bytes())
	if got := wantOK(t, send(t, s, "GET", "/_sandbox/faults", "")); len(got["faults"].([]any)) != 0 {
		t.Errorf("queued all the same: %v", got)
	}
}

// TestEveryFaultIsDocumented reads the list that a refusal gives.
func TestEveryFaultIsDocumented(t *testing.T) {
	s, _ := newSandbox(t)
	var got refusal
	if err := json.Unmarshal(send(t, s, "POST", "/_sandbox/faults", `{}`).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	doc := readFile(t, "doc.go")
	_, list, _ := strings.Cut(got.Message, "one of ")
	for _, name := range strings.Split(list, ", ") {
		if !strings.Contains(doc, "//	"+name+" ") && !strings.Contains(doc, "  "+name+" ") {
			t.Errorf("doc.go does not have fault %q", name)
		}
	}
	for _, p := range sandbox.TestPeople() {
		if !strings.Contains(doc, fmt.Sprintf("%s  %s", p.CPF.Digits(), p.Outcome)) {
			t.Errorf("doc.go does not have the test person of %q", p.Outcome)
		}
	}
}

func TestCounts(t *testing.T) {
	s, _ := newSandbox(t)
	exchanged(t, s, sign(payload("")))
	queue(t, s, `{"path":"/bff","fault":"redirect"}`)
	send(t, s, "GET", "/bff/session-tokens", "", "Authorization", sign(payload("")))
	send(t, s, "GET", "/_sandbox/elsewhere", "")
	post(t, s, liveness, body(ana, "approve"), sign(payload("")))
	post(t, s, documents, body(ana, "approve"), sign(payload("")))
	send(t, s, "DELETE", liveness, "")
	send(t, s, "GET", "/authentications/"+ana, "")
	send(t, s, "GET", "/"+ana, "")
	want := map[string]any{"counts": map[string]any{
		"/bff/session-tokens": 2.0, "/_sandbox/elsewhere": 1.0, "/sdk/caf/{product}": 3.0, "/authentications/{attemptId}": 1.0, "/": 1.0,
	}}
	for range 2 { // asking is not counted
		if diff := cmp.Diff(want, wantOK(t, send(t, s, "GET", "/_sandbox/requests", ""))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	got := wantOK(t, send(t, s, "POST", "/_sandbox/reset", ""))
	if diff := cmp.Diff(map[string]any{"status": "reset"}, got); diff != "" {
		t.Error(diff)
	}
	if got := wantOK(t, send(t, s, "GET", "/_sandbox/requests", "")); !cmp.Equal(got, map[string]any{"counts": map[string]any{}}) {
		t.Errorf("after the reset: %v", got)
	}
}

func TestResetForgetsAttempts(t *testing.T) {
	s, _ := newSandbox(t)
	_, attempt := startSmart(t, s, sandbox.OutcomePending)
	wantOK(t, send(t, s, "POST", "/_sandbox/reset", ""))
	wantRefusal(t, send(t, s, "GET", "/authentications/"+attempt, "", "Authorization", "Bearer "+identityToken), 404, "not_found", "no such attempt")
}

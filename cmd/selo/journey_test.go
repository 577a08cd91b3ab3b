package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/transcript"
)

const (
	liveness       = "caf/face-liveness"
	authentication = "caf/face-authentication"
)

func readURLs(t *testing.T, out io.Reader) (urls demoURLs) {
	t.Helper()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("waiting for the line of URLs: %v", err)
	}
	if err := json.Unmarshal(line, &urls, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return urls
}

// plantSecrets tells the transcript what must never come out.
func plantSecrets(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if !strings.HasPrefix(name, "secret-") && name != "kek" && name != serviceKeyFile && name != newServiceKeyFile && name != operatorKeyFile && name != lookupSecretFile && name != webhookSecretFile && name != apiTokenFile {
			continue
		}
		transcript.Secret(readSecret(t, file))
	}
}

func readSecret(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// answer is what any of the three servers said.
type answer struct {
	status int
	body   map[string]any
}

func (a answer) text(path ...string) string {
	var v any = a.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

func (s *server) call(t *testing.T, method, url, authorization, body string) answer {
	t.Helper()
	a, err := s.try(t.Context(), method, url, authorization, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *server) try(ctx context.Context, method, url, authorization, body string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	a.status = resp.StatusCode
	return a, json.Unmarshal(text, &a.body)
}

func (s *server) signIn(t *testing.T, user string) string {
	t.Helper()
	a := s.call(t, "POST", s.urls.IdP+"/idp/token", "", `{"user":"`+user+`"}`)
	if a.status != 200 {
		t.Fatalf("sign-in: %d", a.status)
	}
	return "Bearer " + a.text("access_token")
}

func (s *server) open(t *testing.T, bearer, product, purpose string) (id, token string) {
	t.Helper()
	a := s.call(t, "POST", s.urls.API+"/v1/sessions", bearer, `{"product":"`+product+`","purpose":"`+purpose+`"}`)
	if a.status != 201 {
		t.Fatalf("opening: %d %v", a.status, a.body["reasons"])
	}
	return a.text("session_id"), a.text("tokens", "mobile")
}

func (s *server) sdk(t *testing.T, product, token, user, outcome string) string {
	t.Helper()
	body := fmt.Sprintf(`{"personId":%q,"outcome":%q}`, sandbox.DemoUsers()[user].CPF.Digits(), outcome)
	a := s.call(t, "POST", s.urls.Sandbox+"/sdk/"+product, token, body)
	if a.status != 200 {
		t.Fatalf("sdk: %d %v", a.status, a.body["error"])
	}
	return a.text("signedResponse")
}

func (s *server) respond(t *testing.T, bearer, id, signed string) answer {
	t.Helper()
	return s.call(t, "POST", s.urls.API+"/v1/sessions/"+id+"/response", bearer, `{"signed_response":"`+signed+`"}`)
}

func wantReasons(t *testing.T, a answer, status int, reasons ...any) {
	t.Helper()
	got, _ := a.body["reasons"].([]any)
	if a.status != status || !cmp.Equal(got, reasons) {
		t.Errorf("got %d %v, want %d %v", a.status, got, status, reasons)
	}
}

func TestJourney(t *testing.T) {
	s := startDemo(t)
	ana, bruno := s.signIn(t, "ana"), s.signIn(t, "bruno")
	for _, one := range []struct{ product, purpose, assurance string }{
		{liveness, "login", "presence"},
		{authentication, "login", "match"},
		{authentication, "new-device", "match"},
	} {
		t.Run(one.product+" "+one.purpose, func(t *testing.T) {
			id, token := s.open(t, ana, one.product, one.purpose)
			signed := s.sdk(t, one.product, token, "ana", "approve")
			granted := s.respond(t, ana, id, signed)
			if granted.status != 200 || granted.text("assurance") != one.assurance {
				t.Fatalf("got %d %v, want a grant of %s", granted.status, granted.body["reasons"], one.assurance)
			}
			wantReasons(t, s.respond(t, ana, id, signed), 409, "session_not_open")

			again := s.call(t, "GET", s.urls.API+"/v1/sessions/"+id, ana, "")
			if again.status != 200 || again.text("receipt") != granted.text("receipt") {
				t.Errorf("a lost answer: %d, same receipt is %v", again.status, again.text("receipt") == granted.text("receipt"))
			}
			s.checkReceipt(t, granted.text("receipt"), one.purpose)

			// In another session of hers the used response is refused as well, and leaves it open.
			next, token := s.open(t, ana, one.product, one.purpose)
			wantReasons(t, s.respond(t, ana, next, signed), 409, "replayed")
			fresh := s.sdk(t, one.product, token, "ana", "approve")
			if a := s.respond(t, ana, next, fresh); a.status != 200 {
				t.Errorf("after a refused replay: %d", a.status)
			}
		})
	}
	t.Run("a signed no", func(t *testing.T) {
		id, token := s.open(t, ana, authentication, "new-device")
		wantReasons(t, s.respond(t, ana, id, s.sdk(t, authentication, token, "ana", "no-match")), 403, "not_approved")
		if a := s.call(t, "GET", s.urls.API+"/v1/sessions/"+id, ana, ""); a.text("state") != "denied" || a.text("receipt") != "" {
			t.Errorf("state %q", a.text("state"))
		}
	})
	t.Run("somebody else", func(t *testing.T) {
		id, _ := s.open(t, ana, liveness, "login")
		_, brunosToken := s.open(t, bruno, liveness, "login")
		brunos := s.sdk(t, liveness, brunosToken, "bruno", "approve")
		wantReasons(t, s.respond(t, ana, id, brunos), 403, "subject_mismatch")
		wantReasons(t, s.respond(t, bruno, id, brunos), 404, "session_unknown")
		wantReasons(t, s.call(t, "GET", s.urls.API+"/v1/sessions/"+id, bruno, ""), 404, "session_unknown")
	})
	t.Run("the mobile token as a response", func(t *testing.T) {
		id, token := s.open(t, ana, liveness, "login")
		wantReasons(t, s.respond(t, ana, id, token), 403, "token_confusion")
	})
	t.Run("too little", func(t *testing.T) {
		a := s.call(t, "POST", s.urls.API+"/v1/sessions", ana, `{"product":"caf/face-liveness","purpose":"new-device"}`)
		wantReasons(t, a, 403, "assurance_too_low")
	})
	t.Run("an end user's CPF", func(t *testing.T) {
		a := s.call(t, "POST", s.urls.API+"/v1/sessions", ana, `{"product":"caf/face-liveness","purpose":"login","cpf":"111.444.777-35"}`)
		wantReasons(t, a, 400, "request_invalid")
	})
	t.Run("a service", func(t *testing.T) {
		key := "Bearer " + readSecret(t, filepath.Join(s.dir, serviceKeyFile))
		a := s.call(t, "POST", s.urls.API+"/v1/sessions", key, `{"product":"caf/face-liveness","purpose":"login","subject":"ana","cpf":"529.982.247-25"}`)
		if a.status != 201 {
			t.Fatalf("opening: %d %v", a.status, a.body["reasons"])
		}
		id := a.text("session_id")
		wantReasons(t, s.call(t, "GET", s.urls.API+"/v1/sessions/"+id, ana, ""), 404, "session_unknown") // another namespace
		if a := s.respond(t, key, id, s.sdk(t, liveness, a.text("tokens", "mobile"), "ana", "approve")); a.status != 200 {
			t.Errorf("deciding: %d %v", a.status, a.body["reasons"])
		}
	})
}

// checkReceipt does what another service of the customer does.
func (s *server) checkReceipt(t *testing.T, receipt, purpose string) {
	t.Helper()
	resp, err := s.client.Get(s.urls.API + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := selo.ParseReceiptKeys(document)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := selo.VerifyReceipt(t.Context(), receipt, selo.ReceiptExpectation{
		Keys: keys, Issuer: demoReceiptIssuer, App: demoApp, Subject: selo.Subject{Issuer: demoIssuer, ID: "ana"},
		Purpose: purpose, Assurance: selo.AssurancePresence, Once: new(selo.MemoryOnce),
	}); err != nil {
		t.Error(transcript.Error(err))
	}
}

// Of 64 simultaneous posts of one response one is a grant.
func TestParallelPosts(t *testing.T) {
	s := startDemo(t)
	ana := s.signIn(t, "ana")
	id, token := s.open(t, ana, liveness, "login")
	body := `{"signed_response":"` + s.sdk(t, liveness, token, "ana", "approve") + `"}`
	const n = 64
	statuses := make(chan int, n)
	var ready, all sync.WaitGroup
	ready.Add(n)
	for range n {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			a, err := s.try(t.Context(), "POST", s.urls.API+"/v1/sessions/"+id+"/response", ana, body)
			if err != nil {
				t.Error(err)
			}
			statuses <- a.status
		})
	}
	all.Wait()
	close(statuses)
	got := map[int]int{}
	for status := range statuses {
		got[status]++
	}
	if want := map[int]int{200: 1, 409: n - 1}; !cmp.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
}

// Every line of the guide works as it is printed, and nothing is left behind.
func TestGuide(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"demo", "--listen-base", "127.0.0.1:0"}, streams{strings.NewReader(""), w, transcript.Log(), nil})
		_ = w.Close()
		ended <- code
	}()
	var script bytes.Buffer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "echo ") || strings.HasPrefix(line, "selo_") || strings.HasPrefix(line, "go run ") || strings.Contains(line, "=$(") {
			script.WriteString(line + "\n")
		}
		if strings.HasSuffix(line, "Ctrl-C stops it.") {
			break
		}
	}
	cmd := exec.CommandContext(ctx, "bash", "-eu")
	cmd.Stdin = &script
	cmd.Dir = "../.." // a clone, where the README has its reader
	pasted, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, pasted)
	}
	text := string(pasted)
	var statuses []string
	for _, line := range strings.Split(text, "\n") {
		if status, ok := strings.CutPrefix(line, "HTTP "); ok {
			statuses = append(statuses, status)
		}
	}
	// Granted and replayed; Smart Auth, web, mobile API; documents; exchanged for the wrong person and the right one; a CPF from
	// the backend; a sign-up.
	if want := strings.Fields("200 409 200 200 200 403 403 200 200 200"); !slices.Equal(statuses, want) || strings.Count(text, `"receipt":"eyJ`) != 7 {
		t.Errorf("statuses %v, want %v:\n%s", statuses, want, text)
	}
	for _, want := range []string{`"reasons":["rule_denied"]`, "rule second-factor: allow false", `"reasons":["cpf_missing"]`, `"sign_up":true`,
		"backend-exchanged", "3 cases, 0 failed", `"kind":"operator"`, "selo_acts_total"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %s:\n%s", want, text)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit status %d", code)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

package checklist

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo/internal/finding"
)

var quiet = log.New(io.Discard, "", 0)

// wantNothingLeaked wants nothing in a report that may stand in none.
func (r *rig) wantNothingLeaked(t *testing.T, report *finding.Report) {
	t.Helper()
	for _, leak := range r.leaks(report) {
		t.Errorf("%s: %s", r.name, leak)
	}
}

// leaks looks for client secrets, passwords, credentials, tokens and CPFs in every text of a report, as they are and in
// whatever there is in hex or base64. It shares no code with the redactor.
func (r *rig) leaks(report *finding.Report) (found []string) {
	var all strings.Builder
	reachable(reflect.ValueOf(report), func(s string) { all.WriteString(s + "\n") })
	text := all.String()
	runs := make(map[string]bool) // what could be encoded or random; most of it stands in every exchange
	for run := range strings.FieldsFuncSeq(text, notEncoded) {
		if len(run) >= 12 {
			runs[run] = true
		}
	}
	decoded := decodings(runs)
	look := func(what, secret string) {
		for form, text := range map[string]string{"as it is": text, "decoded": decoded} {
			if i := strings.Index(text, secret); i >= 0 {
				found = append(found, fmt.Sprintf("the report holds %s, %s: …%q…", what, form, text[max(0, i-60):min(len(text), i+60)]))
			}
		}
	}
	c := r.config
	for what, secret := range map[string]string{"the client secret": c.Key.Secret, "the secret of the face key": c.Face.Secret,
		"the retired secret": c.Retired.Secret, "the sandbox secret": c.Sandbox.Secret, "the webhook secret": c.WebhookSecret} {
		look(what, secret)
	}
	for _, u := range c.Users {
		look("the password of "+u.Name, u.Password)
		look("the CPF of "+u.Name, u.CPF)
		look("the CPF of "+u.Name+" as it is written", maskedText(u.CPF))
	}
	// There are hundreds of credentials and tokens, and the last part of each is one that no other text has.
	const part = 20
	ends := make(map[string]bool)
	r.mu.Lock()
	for _, secret := range r.told {
		ends[secret[len(secret)-part:]] = true
	}
	r.mu.Unlock()
	for run := range runs {
		for i := range max(0, len(run)-part+1) {
			if ends[run[i:i+part]] {
				found = append(found, fmt.Sprintf("the report holds a credential or token: %.60s…", run))
			}
		}
	}
	return found
}

func maskedText(cpf string) string { return cpf[:3] + "." + cpf[3:6] + "." + cpf[6:9] + "-" + cpf[9:] }

// TestLeaksAreSeen shows that what looks for leaks is not blind.
func TestLeaksAreSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t, faceAuthentication)
	r.tell("a-session-token-" + r.config.Face.Secret[:20])
	u, secret := r.config.Users[0], r.config.Key.Secret
	for name, text := range map[string]string{
		"secret": secret, "secret in base64": base64.StdEncoding.EncodeToString([]byte("id:" + secret)), "secret in base64url": base64.RawURLEncoding.EncodeToString([]byte("x" + secret)),
		"secret in hex": hex.EncodeToString([]byte(secret)), "password": "password=" + u.Password, "webhook secret": r.config.WebhookSecret,
		"CPF": "cpf " + u.CPF, "CPF as it is written": maskedText(u.CPF), "CPF in a payload": base64.RawURLEncoding.EncodeToString([]byte(`{"personId":"` + u.CPF + `"}`)),
		"token": "a-session-token-" + r.config.Face.Secret[:20],
	} {
		for where, report := range map[string]*finding.Report{
			"message": {Findings: []finding.Finding{{Message: text}}}, "place": {Findings: []finding.Finding{{Place: "http://127.0.0.1/" + text}}},
			"answer": {Findings: []finding.Finding{{Evidence: []finding.Exchange{{Answer: `{"x":"` + text + `"}`}}}}},
		} {
			if len(r.leaks(report)) == 0 {
				t.Errorf("%s in the %s was not seen", name, where)
			}
		}
	}
	if leaks := r.leaks(&finding.Report{Target: "http://127.0.0.1:8080", Findings: []finding.Finding{{Message: "refused"}}}); len(leaks) > 0 {
		t.Errorf("seen where there are none: %q", leaks)
	}
}

// TestPlantedLeak is about a server that tells its secrets, and whatever it was sent, in every answer: the checker says so,
// and its report does not repeat them.
func TestPlantedLeak(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*rig){func(*rig) {}, exchanged} { // a token that is a JWT, and one that is any text
		var r *rig
		_, _ = flawedRig(t, func(made *rig) { r = made; change(made) }, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(io.LimitReader(req.Body, 1<<20))
				req.Body = io.NopCloser(bytes.NewReader(body))
				inner := httptest.NewRecorder()
				next.ServeHTTP(inner, req)
				secret := []byte(r.config.Key.Secret)
				for name, values := range inner.Header() {
					w.Header()[name] = values
				}
				w.Header().Set("X-Debug", hex.EncodeToString(secret))
				w.WriteHeader(inner.Code)
				text := strings.TrimSuffix(inner.Body.String(), "}")
				debug, err := json.Marshal([]string{string(secret), base64.StdEncoding.EncodeToString(append([]byte("id:"), secret...)), hex.EncodeToString([]byte(r.config.WebhookSecret)),
					r.config.Users[0].CPF, maskedText(r.config.Users[1].CPF), req.Header.Get("Authorization"), string(body), base64.StdEncoding.EncodeToString(secret[:len(secret)-1])})
				if err != nil {
					panic(err)
				}
				_, _ = w.Write([]byte(text + `,"debug":` + string(debug) + "}"))
			})
		})
		report := r.run(t, Options{Version: "test"})
		if got := messageOf(report, "secret-not-disclosed"); !strings.HasPrefix(got, "fail: ") {
			t.Errorf("secret-not-disclosed came to %s", got)
		}
		i := slices.IndexFunc(report.Findings, func(f finding.Finding) bool { return f.Rule == "secret-not-disclosed" })
		if e := report.Findings[i].Evidence; len(e) != 1 || !strings.Contains(e[0].Answer, "⟨client secret⟩") {
			t.Errorf("the evidence is %q; want it to say where the secret stood", e)
		}
	}
}

// reachable calls f with every string that can be reached.
func reachable(v reflect.Value, f func(string)) {
	switch v.Kind() {
	case reflect.String:
		f(v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			reachable(v.Elem(), f)
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			reachable(field, f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			reachable(v.Index(i), f)
		}
	case reflect.Map:
		for k, e := range v.Seq2() {
			reachable(k, f)
			reachable(e, f)
		}
	}
}

// notEncoded is what stands in no base64, hex or random text.
func notEncoded(c rune) bool {
	return !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_')
}

// decodings returns what stands in hex or base64, whatever stands before it.
func decodings(runs map[string]bool) string {
	var all bytes.Buffer
	for run := range runs {
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for from := range 4 {
			for to := len(run); to > len(run)-4 && to > from; to-- {
				if b, err := base64.RawStdEncoding.DecodeString(run[from:to]); err == nil {
					all.Write(b)
					all.WriteByte('\n')
					break
				}
			}
		}
		for digits := range strings.FieldsFuncSeq(run, func(c rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", c) }) {
			for from := range min(2, len(digits)) {
				if b, err := hex.DecodeString(digits[from : from+(len(digits)-from)&^1]); err == nil {
					all.Write(b)
					all.WriteByte('\n')
				}
			}
		}
	}
	return all.String()
}

package checklist

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"log"
	"reflect"
	"strings"
	"testing"

	"github.com/selo-id/selo/internal/finding"
)

var quiet = log.New(io.Discard, "", 0)

// wantNothingLeaked looks for client secrets, passwords, credentials, tokens and CPFs in every text of a report, as they are
// and in whatever there is in hex or base64. It shares no code with the redactor.
func (r *rig) wantNothingLeaked(t *testing.T, report *finding.Report) {
	t.Helper()
	var all strings.Builder
	reachable(reflect.ValueOf(report), func(s string) { all.WriteString(s + "\n") })
	text := all.String()
	decoded := decodings(text)
	look := func(what, secret string) {
		for form, text := range map[string]string{"as it is": text, "decoded": decoded} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("the report holds %s, %s: …%q…", what, form, text[max(0, i-60):min(len(text), i+60)])
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
		look("the CPF of "+u.Name+" as it is written", u.CPF[:3]+"."+u.CPF[3:6]+"."+u.CPF[6:9]+"-"+u.CPF[9:])
	}
	// There are hundreds of credentials and tokens, and the last part of each is one that no other text has.
	const part = 20
	ends := make(map[string]bool)
	r.mu.Lock()
	for _, secret := range r.told {
		ends[secret[len(secret)-part:]] = true
	}
	r.mu.Unlock()
	for _, run := range strings.FieldsFunc(text, notEncoded) {
		for i := range max(0, len(run)-part+1) {
			if ends[run[i:i+part]] {
				t.Errorf("the report holds a credential or token: %.60s…", run)
			}
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

// decodings returns what stands in a text in hex or base64, whatever stands before it.
func decodings(text string) string {
	var all bytes.Buffer
	for _, run := range strings.FieldsFunc(text, notEncoded) {
		if len(run) < 12 {
			continue
		}
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for from := range 4 {
			for to := len(run); to > len(run)-4 && to > from; to-- {
				if b, err := base64.RawStdEncoding.DecodeString(run[from:to]); err == nil {
					all.Write(b)
					all.WriteByte('\n')
					break
				}
			}
			if from < 2 && len(run) > from {
				rest := run[from:]
				if b, err := hex.DecodeString(rest[:len(rest)&^1]); err == nil {
					all.Write(b)
					all.WriteByte('\n')
				}
			}
		}
	}
	return all.String()
}

package main

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

// Whatever a token says, explaining it shows neither its signature nor a CPF, and does not fail but by saying that
// it cannot be read.
func FuzzExplain(f *testing.F) {
	const cpf, dotted = "52998224725", "529.982.247-25"
	for _, seed := range []struct{ header, payload, signature string }{
		{sandbox.HS256Header, `{"requestId":"r","isAlive":true,"personId":"` + cpf + `","iat":1800000030}`, "signature of these bytes"},
		{sandbox.HS256Header, `{"attemptId":"a","requestId":"r","isAlive":false,"person":{"cpf":"` + dotted + `","name":"` + cpf + `"}}`, ""},
		{sandbox.HS256Header, `{"requestId":"` + cpf + `","isMatch":true}`, "\x00"},
		{sandbox.HS256Header, `{"attemptId":"a","policyId":"` + cpf + `","peopleId":"` + cpf + `","isAuthorized":false,"isNewContext":1,"iat":1,"exp":2}`, "s"},
		{`{"alg":"` + cpf + `","typ":"` + dotted + `"}`, `{"iss":"` + cpf + `","exp":1800000300000,"` + cpf + `":"` + dotted + `","x` + dotted + `":1}`, "s"},
		{`{"alg":"RS256"}`, `{"iss":"https://id.example/` + cpf + `","sub":"` + dotted + `","exp":1e99}`, "s"},
		{`{"alg":"none","typ":"selo-receipt+jwt"}`, `{"iss":"x","sub":"` + dotted + `","product":"` + cpf + `","purpose":"x` + cpf + `","assurance":"match"}`, "s"},
		// The signature once more, as a claim and as an algorithm: the bytes are its segment "c2lnbmF0dXJl".
		{`{"alg":"c2lnbmF0dXJl"}`, `{"c2lnbmF0dXJl":1,"xc2lnbmF0dXJl":2,"isAlive":true}`, "signature"},
		{`{}`, `{"a":[[]],"a":1}`, "s"},
		{`{}`, `null`, "s"},
	} {
		f.Add(seed.header, seed.payload, []byte(seed.signature), false)
		f.Add(seed.header, seed.payload, []byte(seed.signature), true)
	}
	raw := []byte("a secret of this test, of forty bytes ..")
	secret, err := selo.NewSecret(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header, payload string, signature []byte, signed bool) {
		b64 := base64.RawURLEncoding.EncodeToString
		token := b64([]byte(header)) + "." + b64([]byte(payload)) + "." + b64(signature)
		under := selo.Secret{}
		if signed {
			token, under = sandbox.Sign(raw, []byte(header), []byte(payload)), secret
		}
		segment := token[strings.LastIndexByte(token, '.')+1:]
		for _, input := range []string{
			token, "Bearer " + token, payload, header + "." + payload,
			`{"moduleName":"52998224725","signedResponse":"` + token + `"}`, `{"signed_response":"` + token + `"}`,
		} {
			var out strings.Builder
			err := explain(t.Context(), &out, input, under, time.Unix(1800000060, 0))
			if err != nil && !errors.Is(err, errNotGranted) {
				t.Fatal(err)
			}
			said := out.String()
			if said == "" {
				t.Error("says nothing")
			}
			// A signature that is a word of ours is no leak: random ones are not.
			isToken := strings.Contains(input, token)
			if isToken && len(segment) >= 8 && strings.ContainsAny(segment, "0123456789_") && strings.Contains(said, segment) {
				t.Errorf("shows the signature:\n%s", said)
			}
			if strings.Contains(said, string(raw)) {
				t.Error("shows the secret")
			}
			if showsCPF(said) {
				t.Errorf("shows a CPF:\n%s", said)
			}
		}
	})
}

// showsCPF reports whether a text has a CPF in it, bare, with punctuation or with spaces, also within more digits.
func showsCPF(text string) bool {
	for at := range text {
		if digits := cpfAt.FindStringSubmatch(text[at:]); digits != nil {
			if _, err := selo.ParseCPF(strings.Join(digits[1:], "")); err == nil {
				return true
			}
		}
	}
	return false
}

var cpfAt = regexp.MustCompile(`^(\d{3})[ .]?(\d{3})[ .]?(\d{3})[ -]?(\d{2})`)

// The search of FuzzExplain finds what it looks for.
func TestShowsCPF(t *testing.T) {
	for text, want := range map[string]bool{
		"52998224725":                      true,
		"for 529.982.247-25 (personId)":    true,
		"529 982 247 25":                   true,
		"x1529982247253":                   true,
		"***.***.***-25":                   false,
		"52998224720, a wrong check digit": false,
		"2027-01-15T08:00:30Z, 30s ago":    false,
	} {
		if got := showsCPF(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// No response of Caf's is of two shapes, so no script shows one.
func TestExplainTwoShapes(t *testing.T) {
	e, fault := readToken(t.Context(), sandbox.Sign([]byte("s"), []byte(sandbox.HS256Header), []byte(`{"isAlive":true}`)), selo.Secret{})
	if fault != nil {
		t.Fatal(fault)
	}
	faults := []*selo.Error{{Reason: selo.ReasonProductMismatch, Detail: "is a response in two shapes at once"}}
	lines := strings.Join(e.fitting(selo.CafFaceLiveness(), []string{"native", "web-2d"}, faults), "\n")
	const want = "fits in two shapes at once, native and web-2d; refused all the same:\n- is a response in two shapes at once (product_mismatch)"
	if lines != want {
		t.Errorf("got\n%s\nwant\n%s", lines, want)
	}
}

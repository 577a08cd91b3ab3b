package checklist

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/selo-id/selo"
)

// FuzzEvidence has a server answer anything at all, with a secret in it: nothing breaks, and no evidence has the secret, in
// none of its encodings, nor a token, nor a CPF of a test user.
func FuzzEvidence(f *testing.F) {
	const secret = "a-client-secret-that-nobody-has-0123456789"
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJlLW9mLW5vYm9keS1hdC1hbGwtMTIzNDU2"
	cpf, err := selo.ParseCPF("52998224725")
	if err != nil {
		f.Fatal(err)
	}
	env, err := expressionEnv()
	if err != nil {
		f.Fatal(err)
	}
	take, err := compile(env, "body.token", cel.StringType)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"token":"`, `"}`, uint8(0), "text/html")
	f.Add("Traceback (most recent call last)\n", "at x.js:1:2", uint8(3), "")
	f.Add("529.982.247-25 ", " 52998224725", uint8(9), "a\r\nb")
	f.Fuzz(func(t *testing.T, before, after string, which uint8, header string) {
		b := &bench{redact: new(redactor), watch: &watch{disclosed: make(map[string]sent), tokens: func(string) bool { return true }}}
		b.redact.hideSecret([]byte(secret), "client secret")
		b.redact.hideCPF(cpf, "ana")
		all := encodings([]byte(secret))
		b.watch.secrets = all
		leak := all[int(which)%len(all)].text
		base := &url.URL{Scheme: "http", Host: "127.0.0.1", Path: "/" + before}
		r := &request{method: http.MethodPost, url: base, header: http.Header{"X": {after}}, body: []byte(before + leak + after)}
		a := &answer{status: 200, header: http.Header{"Content-Type": {header}, "Set-Cookie": {header}}, body: []byte(before + " " + leak + " " + token + " " + after)}
		b.watch.look(r, a)
		take.take(a)
		readJWT(before)
		expOf(after + "." + before + ".")
		x := sent{request: r, answer: a, values: values{valueToken: token, "session": before}}
		e := b.evidence(x, "nothing")
		for _, text := range []string{e.Request, e.Answer} {
			for _, bad := range append(all, encoding{"CPF", cpf.Digits()}, encoding{"token", token}) {
				if strings.Contains(text, bad.text) {
					t.Errorf("evidence has the %s", bad.name)
				}
			}
		}
		if len(b.watch.disclosed) == 0 {
			t.Error("the leak was not seen")
		}
	})
}

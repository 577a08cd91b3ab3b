package checklist

import (
	"bytes"
	"compress/gzip"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/selo-id/selo"
)

// TestFilledURLStays is a bug: what an answer gave for a value of a path could be the host that the next request went to.
func TestFilledURLStays(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "bank.example", Path: "/api/"}
	for _, tc := range []struct{ url, value, want string }{
		{"/{{a}}/{{b}}/x", "evil.example:1", "https://bank.example/api//evil.example:1/x"},
		{"/{{b}}/x", "/evil.example", "https://bank.example/api/%2Fevil.example/x"},
		{"/{{b}}", "?a=b#c", "https://bank.example/api/%3Fa=b%23c"},
		{"/x?q={{b}}", "a&b=c", "https://bank.example/api/x?q=a%26b%3Dc"},
		{"https://login.example/{{b}}", "@evil.example/", "https://login.example/@evil.example%2F"},
		{"https://login.example{{b}}", ".evil.example", "https://login.example{{b}}/"},
	} {
		s := Step{URL: tc.url}
		r, err := s.build(base, values{"a": "", "b": tc.value})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.url.Scheme + "://" + r.url.Host + r.url.EscapedPath(); !strings.HasPrefix(tc.want, got) {
			t.Errorf("%s with %q: %s, want %s", tc.url, tc.value, got, tc.want)
		}
		if !strings.Contains(tc.url, r.url.Host) && r.url.Host != base.Host {
			t.Errorf("%s with %q goes to %s", tc.url, tc.value, r.url.Host)
		}
	}
	c := newClient("test", 100)
	c.hosts = map[string]bool{"https://bank.example": true}
	if _, err := c.send(t.Context(), &request{method: http.MethodGet, url: &url.URL{Scheme: "https", Host: "evil.example"}, header: http.Header{}}, true); err == nil {
		t.Error("a request to another host was sent")
	}
}

const oddSecret = "caf/Staging+9f8a7b6c5d4e3f2a1b0c"

// TestOddSpellings are forms in which servers show bytes and which no search for a text finds.
func TestOddSpellings(t *testing.T) {
	r := new(redactor)
	r.hideSecret([]byte(oddSecret), "client secret")
	cpf, err := selo.ParseCPF("01234567890")
	if err != nil {
		t.Fatal(err)
	}
	r.hideCPF(cpf, "ana")
	spaced := func(format, separator string) string { return eachByte([]byte(oddSecret), format, separator) }
	wrapped := base64.StdEncoding.EncodeToString([]byte("the key is " + oddSecret + ", as it was"))
	for name, text := range map[string]string{
		"Go's %v":               fmt.Sprint([]byte(oddSecret)),
		"a Node buffer":         "<Buffer " + spaced("%02x", " ") + ">",
		"hex with colons":       spaced("%02X", ":"),
		"a slash as PHP has it": strings.ReplaceAll(oddSecret, "/", `\/`),
		"JSON of .NET":          strings.ReplaceAll(oddSecret, "+", `\u002B`),
		"HTML":                  strings.ReplaceAll(oddSecret, "/", "&#x2F;"),
		"percent in lower case": strings.ReplaceAll(oddSecret, "/", "%2f"),
		"base64 in lines":       wrapped[:20] + "\r\n" + wrapped[20:40] + "\\n" + wrapped[40:],
		"base32":                base32.StdEncoding.EncodeToString([]byte(oddSecret)),
		"upper case":            strings.ToUpper(oddSecret),
		"hex of it":             hex.EncodeToString([]byte(oddSecret)),
		"CPF with spaces":       "012 345 678 90",
		"CPF with a slash":      "012.345.678/90",
		"CPF without its zero":  `{"cpf":1234567890}`,
		"CPF in full width":     "０１２３４５６７８９０",
	} {
		told := r.text("before " + text + " after")
		if name == "CPF in full width" {
			told = r.text(unescaped("before " + text + " after"))
		}
		if n := normalised(unescaped(told)); strings.Contains(n, normalised(oddSecret)) || strings.Contains(digits(told), "1234567890") || r.holds(told) {
			t.Errorf("%s: told as %q", name, told)
		}
	}
	if told := r.text(`{"id":"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9","iat":1795605909,"status":"denied"}`); strings.Contains(told, "withheld") || strings.Contains(told, "CPF") {
		t.Errorf("what is no secret was taken for one: %s", told)
	}
}

// TestSecretBrokenByAValue is a bug: a value that is a part of a secret was taken out first, and the rest of the secret stayed.
func TestSecretBrokenByAValue(t *testing.T) {
	b := &bench{redact: new(redactor), watch: &watch{}}
	b.redact.hideSecret([]byte("caf_staging_9f8a7b6c5d4e"), "client secret")
	x := sent{request: &request{method: "GET", url: &url.URL{Path: "/"}, header: http.Header{}}, values: values{"env": "staging"},
		answer: &answer{status: 500, header: http.Header{}, body: []byte(`{"error":"caf_staging_9f8a7b6c5d4e"}`)}}
	if e := b.evidence(x, ""); strings.Contains(e.Answer, "9f8a") {
		t.Errorf("told as %q", e.Answer)
	}
}

// TestCompressedAnswers is a bug: nobody looked into an answer that came compressed although nobody had asked for that.
func TestCompressedAnswers(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte("the secret"))
	_ = w.Close()
	if got := decoded("gzip", packed.Bytes()); string(got) != "the secret" {
		t.Errorf("gzip: %q", got)
	}
	for _, encoding := range []string{"br", "gzip", "zstd"} {
		if got := decoded(encoding, []byte("not packed")); bytes.Contains(got, []byte("packed")) {
			t.Errorf("%s: %q", encoding, got)
		}
	}
}

// TestPathsOfEveryForm is a bug: a path that ends in a slash broke the whole check.
func TestPathsOfEveryForm(t *testing.T) {
	for _, path := range []string{"/", "/token/", "/a/b", ""} {
		for _, d := range pathDoors() {
			d.edits[0](&request{method: "POST", url: &url.URL{Scheme: "http", Host: "a", Path: path}, header: http.Header{}})
		}
	}
}

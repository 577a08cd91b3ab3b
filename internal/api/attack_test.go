package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

// attempt is a way to be let in that must not work.
type attempt struct {
	name string
	// response makes what is posted, from a session's mobile token.
	response func(h *house, mobile string) string
}

func payload(h *house, cpf, more string) []byte {
	return fmt.Appendf(nil, `{"requestId":"r-%d","isAlive":true,"personId":"%s","iat":%d%s}`, h.clock.Now().UnixNano(), cpf, h.clock.Now().Unix(), more)
}

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// split takes a compact token apart.
func split(token string) (header, body, signature string) {
	parts := strings.Split(token, ".")
	return parts[0], parts[1], parts[2]
}

// good is what the phone of ana would post.
func good(h *house, mobile string) string {
	return h.sdk(mobile, "caf/face-liveness", anaCPF, "approve")
}

var attempts = []attempt{
	{"the mobile token with a decision in the header", func(_ *house, m string) string {
		_, body, signature := split(m)
		return encoded(`{"alg":"HS256","typ":"JWT","isAlive":true}`) + "." + body + "." + signature
	}},
	{"a decision put into a denial", func(h *house, m string) string {
		header, body, signature := split(h.sdk(m, "caf/face-liveness", anaCPF, "not-alive"))
		raw, _ := base64.RawURLEncoding.DecodeString(body)
		return header + "." + encoded(strings.Replace(string(raw), `"isAlive":false`, `"isAlive":true`, 1)) + "." + signature
	}},
	{"the payload of one, the signature of another", func(h *house, m string) string {
		header, body, _ := split(good(h, m))
		_, _, signature := split(good(h, m))
		return header + "." + body + "." + signature
	}},
	{"no signature", func(h *house, m string) string {
		header, body, _ := split(good(h, m))
		return header + "." + body + "."
	}},
	{"alg none", func(h *house, m string) string {
		_, body, signature := split(good(h, m))
		return encoded(`{"alg":"none"}`) + "." + body + "." + signature
	}},
	{"spare bits in the signature", func(h *house, m string) string {
		token := good(h, m)
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, token[len(token)-1])
		return token[:len(token)-1] + string(alphabet[last^1])
	}},
	{"padded", func(h *house, m string) string { return good(h, m) + "=" }},
	{"with a space before", func(h *house, m string) string { return " " + good(h, m) }},
	{"with a line break after", func(h *house, m string) string { return good(h, m) + `\n` }},
	{"with a line break inside", func(h *house, m string) string { t := good(h, m); return t[:50] + `\r\n` + t[50:] }},
	{"after Bearer", func(h *house, m string) string { return "Bearer " + good(h, m) }},
	{"in JSON serialization", func(h *house, m string) string {
		header, body, signature := split(good(h, m))
		return strings.ReplaceAll(`{"payload":"`+body+`","protected":"`+header+`","signature":"`+signature+`"}`, `"`, `\"`)
	}},
	{"signed with the client ID", func(h *house, _ string) string {
		return sandbox.Sign([]byte("client-liveness"), []byte(sandbox.HS256Header), payload(h, anaCPF.Digits(), ""))
	}},
	{"signed with nothing", func(h *house, _ string) string {
		return sandbox.Sign(nil, []byte(sandbox.HS256Header), payload(h, anaCPF.Digits(), ""))
	}},
	{"signed with 32 zero bytes", func(h *house, _ string) string {
		return sandbox.Sign(make([]byte, 32), []byte(sandbox.HS256Header), payload(h, anaCPF.Digits(), ""))
	}},
	{"signed with the public receipt key", func(h *house, _ string) string {
		return sandbox.Sign(h.send("GET", "/.well-known/jwks.json", "", "", nil).body, []byte(sandbox.HS256Header), payload(h, anaCPF.Digits(), ""))
	}},
	{"with a key of its own", func(h *house, _ string) string {
		return sandbox.Sign([]byte("k"), []byte(`{"alg":"HS256","jwk":{"kty":"oct","k":"aw"}}`), payload(h, anaCPF.Digits(), ""))
	}},
	{"with the kid of another key", func(h *house, _ string) string {
		return sandbox.Sign(faceAuthSecret, []byte(`{"alg":"HS256","kid":"client-faceauth"}`), payload(h, anaCPF.Digits(), ""))
	}},
	{"of the other product", func(h *house, _ string) string {
		_, mobile := h.opened("ana", "caf/face-authentication", "login")
		return h.sdk(mobile, "caf/face-authentication", anaCPF, "approve")
	}},
	{"of somebody else", func(h *house, _ string) string {
		_, mobile := h.opened("bruno", "caf/face-liveness", "login")
		return h.sdk(mobile, "caf/face-liveness", brunoCPF, "approve")
	}},
	{"of herself, before", func(h *house, m string) string {
		h.clock.move(-6 * time.Second)
		defer h.clock.move(6 * time.Second)
		return good(h, m)
	}},
	{"CPF in other digits", func(h *house, _ string) string {
		return sandbox.Sign(livenessSecret, []byte(sandbox.HS256Header), payload(h, strings.Map(func(r rune) rune { return r - '0' + '٠' }, anaCPF.Digits()), ""))
	}},
	{"two people", func(h *house, _ string) string {
		return sandbox.Sign(livenessSecret, []byte(sandbox.HS256Header), payload(h, brunoCPF.Digits(), `,"PersonId":"`+anaCPF.Digits()+`"`))
	}},
	{"two people, one name", func(h *house, _ string) string {
		return sandbox.Sign(livenessSecret, []byte(sandbox.HS256Header), payload(h, brunoCPF.Digits(), `,"person\u0049d":"`+anaCPF.Digits()+`"`))
	}},
	{"with a byte order mark", func(h *house, _ string) string {
		return sandbox.Sign(livenessSecret, []byte(sandbox.HS256Header), append([]byte("\ufeff"), payload(h, anaCPF.Digits(), "")...))
	}},
	{"in UTF-16", func(h *house, _ string) string {
		return sandbox.Sign(livenessSecret, []byte(sandbox.HS256Header), bytes.ReplaceAll(payload(h, anaCPF.Digits(), ""), nil, []byte{0}))
	}},
}

// Nothing that an app could post in place of a true response is granted, and the true one still is.
func TestAttempts(t *testing.T) {
	h := newHouse(t, settings{attempts: 100})
	id, mobile := h.opened("ana", "caf/face-liveness", "login")
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			got := h.send("POST", "/v1/sessions/"+id+"/response", "ana", `{"signed_response":"`+a.response(h, mobile)+`"}`, nil)
			if got.status != http.StatusForbidden {
				t.Errorf("status %d, want 403\n%s", got.status, got.body)
			}
			if state := got.json(t)["state"]; state != "open" {
				t.Errorf("state %v, want open", state)
			}
		})
	}
	if got := h.send("POST", "/v1/sessions/"+id+"/response", "ana", `{"signed_response":"`+good(h, mobile)+`"}`, nil); got.status != http.StatusOK {
		t.Errorf("the true response: %d %s", got.status, got.body)
	}
}

// A refusal says the same of somebody else's session as of none, in every byte but those of the request.
func TestSomebodyElsesSessionLooksLikeNone(t *testing.T) {
	h := newHouse(t, settings{})
	open, mobile := h.opened("ana", "caf/face-liveness", "login")
	granted, faceAuth := h.opened("ana", "caf/face-authentication", "login")
	response := good(h, mobile)
	if a := h.send("POST", "/v1/sessions/"+granted+"/response", "ana", `{"signed_response":"`+h.sdk(faceAuth, "caf/face-authentication", anaCPF, "approve")+`"}`, nil); a.status != http.StatusOK {
		t.Fatalf("granting: %d %s", a.status, a.body)
	}
	// And one that has run out of time, which reading notes.
	h.clock.move(10 * time.Minute)
	fresh, _ := h.opened("ana", "caf/face-liveness", "login")
	for _, who := range []string{"bruno", "opener", "shop-backend", "ana@shop"} {
		for _, request := range []struct{ method, path, body string }{
			{"GET", "", ""},
			{"POST", "/response", `{"signed_response":"` + response + `"}`},
			{"POST", "/response", `{"signed_response":"rubbish"}`},
		} {
			plain := func(id string) string {
				a := h.send(request.method, "/v1/sessions/"+id+request.path, who, request.body, nil)
				if a.status != http.StatusNotFound {
					t.Errorf("%s: status %d", who, a.status)
				}
				a.header.Del("Date")
				text := a.text()
				return strings.ReplaceAll(text, a.header.Get("X-Request-Id"), "ID")
			}
			none := plain("ses_AAAAAAAAAAAAAAAAAAAAAAAAAA")
			for _, id := range []string{open, granted, fresh} {
				if diff := cmp.Diff(none, plain(id)); diff != "" {
					t.Errorf("%s %s %s (-none +somebody else's):\n%s", who, request.method, request.path, diff)
				}
			}
		}
	}
}

// raw sends these bytes over a connection of its own and returns what comes back. The answers are not
// documented ones: net/http gives them before there is a request.
func raw(t *testing.T, h *house, bytes string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	return resp.Status
}

// Requests that a proxy and we might read differently are not read at all.
func TestRequestsThatCanBeReadTwoWays(t *testing.T) {
	h := newHouse(t, settings{})
	const open = `{"product":"caf/face-liveness","purpose":"login"}`
	for name, headers := range map[string]string{
		"two lengths":          "Content-Length: 50\r\nContent-Length: 49\r\n",
		"an unknown encoding":  "Transfer-Encoding: identity\r\nContent-Length: 49\r\n",
		"chunks of chunks":     "Transfer-Encoding: chunked, chunked\r\n",
		"a space in a header":  "Authorization : Bearer x\r\nContent-Length: 49\r\n",
		"two hosts":            "Host: other.test\r\nContent-Length: 49\r\n",
		"a folded header line": "X-A: b\r\n c: d\r\nContent-Length: 49\r\n",
	} {
		got := raw(t, h, "POST /v1/sessions HTTP/1.1\r\nHost: selo.test\r\nConnection: close\r\n"+headers+"\r\n"+open)
		if !strings.HasPrefix(got, "4") && !strings.HasPrefix(got, "5") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := raw(t, h, "POST /v1/sessions HTTP/1.1\r\nHost: selo.test\r\nConnection: close\r\nAuthorization: "+h.credential("ana")+"\r\nContent-Length: 49\r\n\r\n"+open); got != "201 Created" {
		t.Errorf("the same as it should be: %s", got)
	}
}

package servers

import (
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// event takes an event of the provider.
func (s *Flawed) event(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	if !s.isProviders(body, r.Header.Get(selo.WebhookSignatureHeader)) {
		refuse(w, http.StatusUnauthorized)
		return
	}
	var event struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &event); err != nil || event.ID == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	seen := s.events[event.ID]
	s.events[event.ID] = true
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"acted": !seen || s.is("webhook-acts-again")})
}

func (s *Flawed) isProviders(body []byte, signature string) bool {
	secret := []byte(s.c.WebhookSecret)
	mac := macOf(secret, string(body))
	want := hex.EncodeToString(mac)
	switch {
	case s.is("webhook-not-verified"):
		return true
	case s.is("webhook-header-optional"):
		return signature == "" || equal(signature, want)
	case s.is("webhook-header-present"):
		return signature != ""
	case s.is("webhook-begins-right"):
		return signature != "" && strings.HasPrefix(want, signature)
	case s.is("webhook-in-base64"): // as other providers send it
		return equal(signature, base64.StdEncoding.EncodeToString(mac))
	case s.is("webhook-of-parsed-json"): // hmac(JSON.stringify(req.body))
		return equal(signature, hex.EncodeToString(macOf(secret, writtenAgain(body))))
	case s.is("webhook-of-either"):
		return equal(signature, want) || equal(signature, hex.EncodeToString(macOf(secret, writtenAgain(body))))
	}
	return equal(signature, want)
}

// writtenAgain is a JSON text after it was parsed.
func writtenAgain(body []byte) string {
	var v any
	if stdjson.Unmarshal(body, &v) != nil {
		return ""
	}
	text, err := stdjson.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

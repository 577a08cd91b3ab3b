package servers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// credential is the payload of the credentials that the server makes of itself: JWTs with HS256.
type credential struct {
	Issuer   string `json:"iss,omitzero"`
	Audience string `json:"aud,omitzero"`
	Subject  string `json:"sub"`
	ID       string `json:"jti,omitzero"`
	Expires  int64  `json:"exp"`
}

// caller is who asks.
type caller struct {
	who   *person // nil for nobody
	in    credential
	tried bool // there was a credential, good or not
}

// Credential makes one of a user, for a test also one for another audience or one that has expired.
func (s *Flawed) Credential(user, audience string, lifetime time.Duration) string {
	if s.is("credential-is-the-name") {
		return base64.StdEncoding.EncodeToString([]byte("user=" + user))
	}
	payload, err := json.Marshal(credential{issuer, audience, user, randomID(), time.Now().Add(lifetime).Unix()})
	if err != nil {
		return ""
	}
	return s.c.tell(sign(s.appKey, `{"alg":"HS256","typ":"JWT"}`, payload))
}

func sign(key []byte, header string, payload []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(macOf(key, signed))
}

func macOf(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (s *Flawed) login(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		User     string `json:"user"`
		Password string `json:"password"`
	}
	err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, 4<<10), &asked)
	_, known := s.people[asked.User]
	if right := s.people[asked.User].knows(asked.Password) || s.is("any-password") && known; err != nil || !right {
		refuse(w, http.StatusUnauthorized)
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": s.Credential(asked.User, audience, 15*time.Minute)})
}

func (s *Flawed) logout(w http.ResponseWriter, c caller) {
	if c.who != nil && !s.is("logout-forgets-nothing", "credential-is-the-name") {
		s.mu.Lock()
		s.signedOut[c.in.ID] = true
		s.mu.Unlock()
	}
	answer(w, http.StatusOK, map[string]any{})
}

// callerOf reads the credential of a request.
func (s *Flawed) callerOf(r *http.Request) caller {
	var c caller
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.is("credential-in-url") && !bearer {
		token = r.URL.Query().Get("access_token")
	}
	c.tried = token != ""
	in, ok := s.readCredential(token)
	if !ok && !c.tried {
		in.Subject, ok = s.trusted(r)
	}
	if s.is("user-from-header") && ok && r.Header.Get("X-User-Id") != "" { // "the gateway sets it"
		in.Subject = r.Header.Get("X-User-Id")
	}
	who, known := s.people[in.Subject]
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok && known && !s.signedOut[in.ID] {
		c.who, c.in = &who, in
	}
	return c
}

// decodedOnly is whom a credential names, which nobody verifies.
func (s *Flawed) decodedOnly(r *http.Request) *person {
	var c credential
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) < 2 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return nil
	}
	who, known := s.people[c.Subject]
	if !known {
		return nil
	}
	return &who
}

// trusted is the user of a request without a credential, for servers that believe whoever is before them.
func (s *Flawed) trusted(r *http.Request) (user string, ok bool) {
	switch {
	case s.is("proxy-header-trusted"):
		user = r.Header.Get("X-Forwarded-User")
	case s.is("local-calls-trusted") && r.Header.Get("X-Forwarded-For") == "127.0.0.1":
		user = s.c.Users[0].Name // the service account
	}
	return user, user != ""
}

// readCredential verifies a credential.
func (s *Flawed) readCredential(token string) (c credential, ok bool) {
	if s.is("credential-is-the-name") {
		text, err := base64.StdEncoding.DecodeString(token)
		name, named := strings.CutPrefix(string(text), "user=")
		return credential{Subject: name}, err == nil && named
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	headerText, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	payload, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	signature, err3 := base64.RawURLEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || json.Unmarshal(headerText, &header) != nil || json.Unmarshal(payload, &c) != nil {
		return c, false
	}
	right := header.Algorithm == "HS256" && hmac.Equal(signature, macOf(s.appKey, parts[0]+"."+parts[1]))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch known, seen := s.verified[parts[2]]; {
	case s.is("credentials-only-decoded"):
	case s.is("credential-alg-none") && strings.EqualFold(header.Algorithm, "none"):
	case s.is("credentials-cached-by-signature") && seen:
		c = known
	case !right:
		return c, false
	}
	if s.verified[parts[2]] = c; len(s.verified) > 100 {
		clear(s.verified)
	}
	wrongAudience := c.Audience != audience
	switch {
	case s.is("audience-ignored"):
		wrongAudience = false
	case s.is("one-secret-for-both") && c.Audience == "": // as libraries do that check what is there
		wrongAudience = false
	}
	expired := time.Now().Unix() >= c.Expires && !s.is("credential-expiry-ignored")
	return c, !wrongAudience && !expired
}

package servers

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// errBroken is a refusal that nobody thought of, so that it ends in a 500.
var errBroken = errors.New("broken")

// read returns the payload of a response whose signature is right.
func (s *Flawed) read(ctx context.Context, response string) (object, error) {
	switch {
	case s.is("dies-of-nul") && strings.Contains(response, "\x00"): // PostgreSQL refuses it, and nobody awaits that
		s.die()
	case s.is("dies-of-a-megabyte") && len(response) > 1<<20: // out of memory
		s.die()
	case s.is("dies-of-depth"):
		s.descendInto(response)
	case len(response) > 16<<10:
		return nil, errRefused("too_large")
	}
	if s.is("decoded-payload-taken") && strings.HasPrefix(response, "{") { // "the test client sends it so"
		return s.payload([]byte(response))
	}
	parts := strings.Split(response, ".")
	if s.is("parts-not-counted", "panic-shows-stack") {
		_ = parts[2] // panics
	}
	if s.lenient() && len(parts) > 3 {
		parts = parts[:3]
	}
	if s.is("signature-optional") && len(parts) == 2 {
		parts = append(parts, "")
	}
	if len(parts) != 3 {
		return nil, errRefused("malformed")
	}
	header, err1 := s.decode(parts[0])
	payload, err2 := s.decode(parts[1])
	signature, err3 := s.decode(parts[2])
	if s.is("only-decoded") { // the signature is never looked at
		if err2 != nil {
			return nil, errRefused("malformed")
		}
		return s.payload(payload)
	}
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, errRefused("malformed")
	}
	if s.is("signature-optional") && len(signature) == 0 && bytes.Contains(header, []byte(`"HS256"`)) {
		return s.payload(payload)
	}
	algorithm, key, err := s.header(ctx, header)
	if err != nil {
		return nil, err
	}
	if algorithm == "none" {
		return s.payload(payload)
	}
	keys := [][]byte{key}
	switch {
	case s.is("retired-key-still-verifies"):
		keys = append(keys, []byte(s.c.Retired.Secret))
	case s.is("sandbox-key-verifies"):
		keys = append(keys, []byte(s.c.Sandbox.Secret))
	case s.is("client-id-verifies"): // the two arguments are swapped at one of two places
		keys = append(keys, []byte(s.c.Key.ClientID))
	}
	for _, k := range keys {
		if s.sameMAC(signature, algorithm, k, strings.TrimSpace(parts[0])+"."+parts[1]) {
			return s.payload(payload)
		}
	}
	return nil, errRefused("signature_invalid")
}

// lenient is the base64 of most languages.
func (s *Flawed) lenient() bool {
	return s.is("lenient-base64", "lenient-base64-and-guard-by-text", "only-decoded")
}

func (s *Flawed) decode(part string) ([]byte, error) {
	if s.lenient() {
		return base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(part), "=")) // and it passes over line breaks
	}
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != part {
		return nil, errRefused("malformed")
	}
	return b, nil
}

// header returns the algorithm to compute, and the key.
func (s *Flawed) header(ctx context.Context, text []byte) (algorithm string, key []byte, err error) {
	var header object
	if err := json.Unmarshal(text, &header); err != nil || header == nil {
		return "", nil, errRefused("header_refused")
	}
	key = []byte(s.c.Key.Secret)
	algorithm, _ = textOf(header["alg"])
	switch {
	case s.is("algorithm-not-read"):
		algorithm = "HS256"
	case s.is("algorithm-list") && (algorithm == "HS384" || algorithm == "HS512"):
	case s.is("alg-none-honoured") && strings.EqualFold(algorithm, "none"):
		algorithm = "none"
	case s.is("key-url-fetched") && header["jku"] != nil:
		url, _ := textOf(header["jku"])
		s.fetch(ctx, url) // and does not like what it gets
		return "", nil, errRefused("header_refused")
	case algorithm != "HS256":
		return "", nil, errRefused("algorithm_refused")
	}
	for name, value := range header {
		switch name {
		case "alg", "typ", "kid":
			continue
		case "crit", "b64", "selo-check":
			if s.is("crit-ignored") {
				continue
			}
		case "jwk":
			if s.is("key-of-the-header") {
				var jwk struct {
					K string `json:"k"`
				}
				if json.Unmarshal(value, &jwk) == nil {
					key, _ = base64.RawURLEncoding.DecodeString(jwk.K)
				}
				continue
			}
		}
		return "", nil, errRefused("header_refused")
	}
	return algorithm, key, nil
}

func (s *Flawed) sameMAC(signature []byte, algorithm string, key []byte, text string) bool {
	want := macOf(key, text)
	if h := map[string]func() hash.Hash{"HS384": sha512.New384, "HS512": sha512.New}[algorithm]; h != nil {
		mac := hmac.New(h, key)
		mac.Write([]byte(text))
		want = mac.Sum(nil)
	}
	switch {
	case s.is("compares-what-came"): // as many bytes as were sent
		return len(signature) > 0 && bytes.HasPrefix(want, signature)
	case s.is("compares-one-byte-less"): // a loop of its own "in constant time"
		return len(signature) == len(want) && hmac.Equal(signature[:len(want)-1], want[:len(want)-1])
	}
	return hmac.Equal(signature, want)
}

// payload reads one JSON object.
func (s *Flawed) payload(text []byte) (object, error) {
	var o object
	switch {
	case s.is("first-value-only"): // the decoder of a stream, asked once
		d := jsontext.NewDecoder(bytes.NewReader(text))
		v, err := d.ReadValue()
		if err != nil {
			return nil, errRefused("payload_invalid")
		}
		text = v
	case s.is("encoding-json"):
		return folded(text)
	}
	err := json.Unmarshal(text, &o, jsontext.AllowDuplicateNames(s.is("last-of-two-names")))
	if err != nil || o == nil {
		return nil, errRefused("payload_invalid")
	}
	if s.is("names-in-lower-case") { // one way to read what every SDK writes in another case
		for name, v := range o {
			for _, ours := range []string{"isAlive", "isMatch", "personId", "requestId"} {
				//lint:ignore SA6005 EqualFold would fold ſ to s as well, which is another flaw
				if strings.ToLower(name) == strings.ToLower(ours) && name != ours {
					o[ours] = v
				}
			}
		}
	}
	return o, nil
}

// folded reads with encoding/json: it folds the case of names, and keeps the last of two.
func folded(text []byte) (object, error) {
	var c struct {
		IsAlive      stdjson.RawMessage `json:"isAlive"`
		IsMatch      stdjson.RawMessage `json:"isMatch"`
		PersonID     stdjson.RawMessage `json:"personId"`
		RequestID    stdjson.RawMessage `json:"requestId"`
		IssuedAt     stdjson.RawMessage `json:"iat"`
		Expires      stdjson.RawMessage `json:"exp"`
		NotBefore    stdjson.RawMessage `json:"nbf"`
		Issuer       stdjson.RawMessage `json:"iss"`
		IsAuthorized stdjson.RawMessage `json:"isAuthorized"`
	}
	if err := stdjson.Unmarshal(text, &c); err != nil {
		return nil, errRefused("payload_invalid")
	}
	o := make(object)
	for name, v := range map[string]stdjson.RawMessage{"isAlive": c.IsAlive, "isMatch": c.IsMatch, "personId": c.PersonID, "requestId": c.RequestID,
		"iat": c.IssuedAt, "exp": c.Expires, "nbf": c.NotBefore, "iss": c.Issuer, "isAuthorized": c.IsAuthorized} {
		if v != nil {
			o[name] = jsontext.Value(v)
		}
	}
	return o, nil
}

// descendInto parses a payload before its signature was looked at, with a parser that calls itself for each level until
// there is no stack left.
func (s *Flawed) descendInto(response string) {
	_, rest, _ := strings.Cut(response, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil && bytes.Count(text, []byte("[")) > 50_000 {
		s.die()
	}
}

// fetch gets what somebody else chose. It goes to this machine only, so that the tests leave everybody else alone.
func (s *Flawed) fetch(ctx context.Context, url string) {
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	resp, err := s.fetcher.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // a picture
	_ = resp.Body.Close()
}

package scan

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// The lengths in bytes of the longest parts of a token that are looked at. Those of the provider's tokens have a few
// hundred.
const (
	maxHeader  = 1 << 10
	maxPayload = 16 << 10
)

// jwt is a token that was found, of which only what is needed is kept: it stands in the report of no tool of ours.
type jwt struct {
	signed    string // what its MAC is about
	mac       string
	algorithm string // HS256, HS384 or HS512

	issuer   string
	person   bool // names a person as the provider's tokens do
	cpf      bool // whose number is a CPF
	expires  time.Time
	noExpiry bool
	foreign  bool // has claims that the provider's mobile tokens do not have
}

// jwts calls found for each JWT in data, in ASCII, that is signed with a shared secret. What other letters stand before
// it or after it does no harm.
func jwts(data []byte, found func(offset int, t *jwt)) {
	for from := 0; ; {
		i := bytes.Index(data[from:], []byte("eyJ"))
		if i < 0 {
			return
		}
		i += from
		// Three neighbours of the segments between dots: each may be a header, each a payload, each a MAC.
		header, payload, start, end := []byte(nil), []byte(nil), i, i
		for ; ; end++ {
			if end < len(data) && isBase64URL[data[end]] {
				continue
			}
			if header != nil && len(payload) <= maxPayload {
				if at, t := tokenOf(header, payload, data[start:end]); t != nil {
					found(start-1-len(payload)-1-len(header)+at, t)
				}
			}
			if end == len(data) || data[end] != '.' {
				break
			}
			header, payload, start = payload, data[start:end], end+1
		}
		from = end
	}
}

// tokenOf looks for a token whose header is the end of one segment, whose payload is the next, and whose MAC begins the
// third. It returns where in the header it begins.
func tokenOf(header, payload, mac []byte) (int, *jwt) {
	skip := max(0, len(header)-maxHeader)
	for end, tries := len(header), 0; tries < 8; tries++ {
		i := bytes.LastIndex(header[skip:end], []byte("eyJ"))
		if i < 0 {
			break
		}
		end = skip + i
		if t := parseJWT(header[end:], payload, mac); t != nil {
			return end, t
		}
	}
	return 0, nil
}

// wideJWTs is jwts for UTF-16: of either order, for between the letters there are zeros.
func wideJWTs(data []byte, found func(offset int, t *jwt)) {
	start := []byte("e\x00y\x00J")
	for from := 0; ; {
		i := bytes.Index(data[from:], start)
		if i < 0 {
			return
		}
		i += from
		var narrow []byte
		at := i
		for at < len(data) && len(narrow) < maxHeader+maxPayload && (data[at] == '.' || isBase64URL[data[at]]) {
			narrow = append(narrow, data[at])
			at += 2
			if at-1 < len(data) && data[at-1] != 0 {
				break
			}
		}
		jwts(narrow, func(offset int, t *jwt) { found(i+2*offset, t) })
		from = min(max(at-1, i+len(start)), len(data))
	}
}

var isBase64URL = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		is[c] = true
	}
	return is
}()

// parseJWT returns nil for what is no JWT, and for one that is not signed with a shared secret. What follows the MAC,
// whose length the algorithm says, is left out.
func parseJWT(header, payload, mac []byte) *jwt {
	enc := base64.RawURLEncoding
	h, err1 := enc.DecodeString(string(header))
	p, err2 := enc.DecodeString(string(payload))
	if err1 != nil || err2 != nil {
		return nil
	}
	t := &jwt{signed: string(header) + "." + string(payload), noExpiry: true}
	if !members(h, func(name string, v jsontext.Token) {
		if name == "alg" && v.Kind() == '"' {
			t.algorithm = v.String()
		}
	}) {
		return nil
	}
	newHash := t.hash()
	if newHash == nil {
		return nil
	}
	n := enc.EncodedLen(newHash().Size())
	if len(mac) < n || !members(p, t.claim) {
		return nil
	}
	m, err := enc.DecodeString(string(mac[:n]))
	if err != nil {
		return nil
	}
	t.mac = string(m)
	return t
}

func (t *jwt) claim(name string, v jsontext.Token) {
	switch name {
	case "iss":
		if v.Kind() == '"' {
			t.issuer = v.String()
		}
	case "exp":
		if v.Kind() == '0' {
			t.noExpiry = false
			seconds, _ := v.Float() // of what is too large, the largest
			t.expires = time.Unix(int64(min(max(seconds, 0), 1<<40)), 0)
		}
	case "peopleId", "personId":
		t.person = true
		if v.Kind() == '"' {
			_, err := selo.ParseCPF(v.String())
			t.cpf = t.cpf || err == nil
		}
	case "iat", "nbf", "jti", "sub", "aud", "sessionId":
	default:
		t.foreign = true
	}
}

// members reads a JSON object and calls visit for each member whose value is no object and no array. It reads as
// leniently as a careless program would: this is not to trust tokens, but to find them.
func members(object []byte, visit func(name string, value jsontext.Token)) bool {
	d := jsontext.NewDecoder(bytes.NewReader(object), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return false
		}
		name := t.String()
		switch d.PeekKind() {
		case '{', '[':
			visit(name, jsontext.Null)
			err = d.SkipValue()
		default:
			if t, err = d.ReadToken(); err == nil {
				visit(name, t)
			}
		}
		if err != nil {
			return false
		}
	}
	return true
}

func (t *jwt) hash() func() hash.Hash {
	switch t.algorithm {
	case "HS256":
		return sha256.New
	case "HS384":
		return sha512.New384
	case "HS512":
		return sha512.New
	}
	return nil
}

// signedWith reports that the bytes of secret are the key of the token.
func (t *jwt) signedWith(secret []byte) bool {
	h := hmac.New(t.hash(), secret)
	h.Write([]byte(t.signed))
	return hmac.Equal(h.Sum(nil), []byte(t.mac))
}

// isProviders reports that a token is shaped like one that starts the SDK of the provider: made by a client that is known,
// or by one with an ID of the provider's form that either names a person or says nothing beside; or one for a CPF.
func (t *jwt) isProviders(clientIDs []string) bool {
	switch {
	case t.algorithm != "HS256":
		return false
	case t.issuer != "" && slices.Contains(clientIDs, t.issuer), t.cpf:
		return true
	case isClientID(t.issuer):
		return t.person || !t.foreign
	}
	return false
}

// isClientID reports that s looks as client IDs in Caf's samples do: 24 lower-case hexadecimal digits
// (docs/providers/caf.md).
func isClientID(s string) bool {
	if len(s) != 24 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

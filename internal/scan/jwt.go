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
	maxHeader  = 8 << 10
	maxPayload = 64 << 10
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
// it or after it does no harm. Tokens are known by their payload: "{" and a quote, a blank or a line break begin with "ey" or
// "ew" in base64url, "{}" with "e3", and before them is a dot.
func jwts(data []byte, found func(offset int, t *jwt)) {
	for from := 0; ; {
		dot := bytes.Index(data[from:], []byte(".e"))
		if dot < 0 {
			return
		}
		dot += from
		from = dot + 2
		if from == len(data) || data[from] != 'y' && data[from] != 'w' && data[from] != '3' {
			continue
		}
		second := dot + 1 + base64Run(data[dot+1:], maxPayload)
		if second == len(data) || data[second] != '.' {
			continue
		}
		mac := data[second+1:]
		mac = mac[:base64Run(mac, maxMAC)]
		if len(mac) < minMAC {
			continue
		}
		start := dot
		for start > 0 && dot-start < maxHeader && isBase64URL[data[start-1]] {
			start--
		}
		if at, t := tokenOf(data[start:dot], data[dot+1:second], mac); t != nil {
			found(start+at, t)
		}
	}
}

// The lengths in base64url of the shortest and the longest MAC: of HS256 and of HS512.
const (
	minMAC = 43
	maxMAC = 86
)

// base64Run returns how many bytes of base64url data begins with, of most.
func base64Run(data []byte, most int) int {
	n := 0
	for n < len(data) && n < most && isBase64URL[data[n]] {
		n++
	}
	return n
}

// tokenOf looks for a token whose header is the end of a text, and returns where it begins.
func tokenOf(header, payload, mac []byte) (int, *jwt) {
	for end, tries := len(header), 0; tries < 8; tries++ {
		i := max(bytes.LastIndex(header[:end], []byte("ey")), bytes.LastIndex(header[:end], []byte("ew")))
		if i < 0 {
			break
		}
		end = i
		if t := parseJWT(header[end:], payload, mac); t != nil {
			return end, t
		}
	}
	// The letters stand in a header too, by chance: of a long one, with certificates in it, the first place is the likeliest.
	for i := range header[:max(len(header)-1, 0)] {
		if header[i] == 'e' && (header[i+1] == 'y' || header[i+1] == 'w') {
			t := parseJWT(header[i:], payload, mac)
			return i, t
		}
	}
	return 0, nil
}

// wideJWTs is jwts for UTF-16: of either order, for between the letters there are zeros.
func wideJWTs(data []byte, found func(offset int, t *jwt)) {
	start := []byte(".\x00e\x00")
	for from := 0; ; {
		i := bytes.Index(data[from:], start)
		if i < 0 {
			return
		}
		i += from
		first := i
		for first >= 2 && i-first < 2*maxHeader && data[first-1] == 0 && isBase64URL[data[first-2]] {
			first -= 2
		}
		var narrow []byte
		at := first
		for at < len(data) && len(narrow) < maxHeader+maxPayload+maxMAC+2 && (data[at] == '.' || isBase64URL[data[at]]) {
			narrow = append(narrow, data[at])
			at += 2
			if at-1 < len(data) && data[at-1] != 0 {
				break
			}
		}
		jwts(narrow, func(offset int, t *jwt) { found(first+2*offset, t) })
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

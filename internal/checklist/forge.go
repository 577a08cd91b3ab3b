package checklist

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

// member is a claim as it is written.
type member struct {
	name  string
	value jsontext.Value
}

// payload is a JSON object of which every byte can be chosen: names may be there twice. Its methods return a changed copy.
type payload []member

func (p payload) has(name string) bool {
	return slices.ContainsFunc(p, func(m member) bool { return m.name == name })
}

// set gives a claim another value, or adds it.
func (p payload) set(name string, value any) payload { return p.raw(name, asJSON(value)) }

// raw is set for a value that is written already.
func (p payload) raw(name string, value jsontext.Value) payload {
	q := slices.Clone(p)
	for i := range q {
		if q[i].name == name {
			q[i].value = value
			return q
		}
	}
	return append(q, member{name, value})
}

func (p payload) del(name string) payload {
	return slices.DeleteFunc(slices.Clone(p), func(m member) bool { return m.name == name })
}

func (p payload) rename(name, to string) payload {
	q := slices.Clone(p)
	for i := range q {
		if q[i].name == name {
			q[i].name = to
		}
	}
	return q
}

// first and last add a claim, also one that is there already.
func (p payload) first(name string, value any) payload {
	return slices.Concat(payload{{name, asJSON(value)}}, p)
}

func (p payload) last(name string, value any) payload {
	return slices.Concat(p, payload{{name, asJSON(value)}})
}

func (p payload) encode() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(asJSON(m.name))
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// asJSON writes what probes are made of, which can always be written.
func asJSON(v any) jsontext.Value {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err) // a probe holds what JSON has not; any run of it finds that
	}
	return b
}

// parsePayload reads an object as a lenient app would, keeping order and repetitions, or returns nil.
func parsePayload(b []byte) payload {
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil
	}
	p := payload{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil
		}
		text := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil
		}
		p = append(p, member{text, value.Clone()})
	}
	return p
}

// forged is a signed response, good or bad, and what it is.
type forged struct {
	label    string // "signed with HS512"
	response string
}

const goodHeader = sandbox.HS256Header

// honestPayload is what the provider signs when all is well.
func (b *bench) honestPayload(u *user) payload { return b.payloadAt(u, b.now()) }

func (b *bench) payloadAt(u *user, at time.Time) payload {
	digits, iat := u.cpf.Digits(), at.Unix()
	face := sandbox.FaceLivenessResponse{
		RequestID: sandbox.NewUUID(), IsAlive: true, Token: sandbox.NewUUID(), UserID: sandbox.NewUUID(), ImageURL: "https://images.selo-check.invalid/1.jpg",
		PersonID: digits, SDKVersion: "0.0.0-selo-check", IssuedAt: iat,
	}
	var v any
	switch {
	case b.profile.Product == selo.CafSmartAuth().Product:
		v = sandbox.SmartAuthAttestation{AttemptID: sandbox.NewUUID(), PeopleID: digits, PolicyID: b.target.PolicyID,
			IsAuthorized: true, IsNewContext: true, IssuedAt: iat,
			Expires: max(iat, b.now().Unix()) + 120} // ahead, also of an old one: that a server looks at exp does not mean that it looks at iat
	case b.profile.Product == selo.CafFaceAuthentication().Product:
		v = sandbox.FaceAuthenticationResponse{FaceLivenessResponse: face, IsMatch: true, Message: "the face matches"}
	case b.shape.Name == shapeWeb:
		v = sandbox.WebLivenessResponse{SessionID: face.RequestID, PersonID: digits, IsAlive: true, ImageURL: face.ImageURL,
			CreatedAt: at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), IssuedAt: iat}
	default:
		v = face
	}
	p := parsePayload(asJSON(v))
	for _, name := range slices.Sorted(maps.Keys(b.target.Response)) {
		p = p.set(name, b.target.Response[name])
	}
	return p
}

// signed is a response with the signature of the access key under test.
func (b *bench) signed(label string, p payload) forged { return b.signedAs(label, goodHeader, p) }

func (b *bench) signedAs(label, header string, p payload) forged {
	return forged{label, sandbox.Sign(b.key.secret, []byte(header), p.encode())}
}

// signedBy is a response with another key's signature.
func signedBy(label string, secret []byte, p payload) forged {
	return forged{label, sandbox.Sign(secret, []byte(goodHeader), p.encode())}
}

// signedWith is a response under another HMAC of the same key.
func (b *bench) signedWith(label, alg string, h func() hash.Hash, p payload) forged {
	return forged{label, sandbox.SignWith(h, b.key.secret, []byte(`{"alg":"`+alg+`","typ":"JWT"}`), p.encode())}
}

// reSigned keeps the signature of a response and changes what stands before it.
func reSigned(label, response, header string, p payload) forged {
	_, _, signature := segments(response)
	return forged{label, b64(header) + "." + b64(string(p.encode())) + "." + signature}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func segments(token string) (header, body, signature string) {
	header, rest, _ := strings.Cut(token, ".")
	body, signature, _ = strings.Cut(rest, ".")
	return header, body, signature
}

// jwt is a token read without any trust, as its holder can read it.
type jwt struct {
	header, claims payload
}

// readJWT returns nil for what is no JWT.
func readJWT(token string) *jwt {
	h, c, _ := segments(token)
	header, err1 := base64.RawURLEncoding.DecodeString(strings.TrimRight(h, "="))
	claims, err2 := base64.RawURLEncoding.DecodeString(strings.TrimRight(c, "="))
	if strings.Count(token, ".") != 2 || err1 != nil || err2 != nil {
		return nil
	}
	t := &jwt{parsePayload(header), parsePayload(claims)}
	if t.header == nil || t.claims == nil {
		return nil
	}
	return t
}

// text returns a claim that is a JSON string, or "".
func (t *jwt) text(name string) string {
	for _, m := range t.claims {
		if m.name == name && m.value.Kind() == '"' {
			var s string
			_ = json.Unmarshal(m.value, &s, jsontext.AllowInvalidUTF8(true))
			return s
		}
	}
	return ""
}

// value returns a claim as it is written, nil when it is not there.
func (t *jwt) value(name string) jsontext.Value {
	for _, m := range t.claims {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// signedUnder reports whether a token has the HMAC-SHA256 of a secret.
func signedUnder(token string, secret []byte) bool {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(token[:i]))
	return err == nil && hmac.Equal(signature, mac.Sum(nil))
}

// describe shows a response to somebody who wants to know what was sent.
func (b *bench) describe(f forged) string {
	text := f.label
	if t := readJWT(f.response); t != nil && len(f.response) < 16<<10 {
		shown := func(p payload, most int) string { return string(cut([]byte(b.redact.text(string(p.encode()))), most)) }
		text += "\n  header " + shown(t.header, 200) + "\n  payload " + shown(t.claims, 400)
	}
	return b.redact.text(text)
}

func cut(b []byte, most int) []byte {
	if len(b) > most {
		for most > 0 && !utf8.RuneStart(b[most]) {
			most--
		}
		return append(b[:most:most], "…"...)
	}
	return b
}

package sandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
)

// HS256Header is the JOSE header of every token and response that is as it should be.
const HS256Header = `{"alg":"HS256","typ":"JWT"}`

// Sign returns the compact JWS of exactly these header and payload bytes, with an HMAC-SHA256 under
// secret, whatever the bytes say: they are not read, so a header that names another algorithm, a payload
// that is not JSON and an empty secret are all signed.
//
// This is a trap. The secret that signs responses is the secret that signs mobile tokens, and whoever can
// have bytes of their choice signed with it can approve anyone. It exists for the pretend provider and
// for tests and probes that need bad tokens; never call it with the secret of a production key, nor with
// anything that came in a request. To make a mobile token, use selo.Mint.
func Sign(secret []byte, header, payload []byte) string {
	return SignWith(sha256.New, secret, header, payload)
}

// SignWith is Sign with the HMAC of another hash, which no provider uses: for whoever must know that a verifier refuses
// HS384 and HS512.
func SignWith(h func() hash.Hash, secret []byte, header, payload []byte) string {
	b64 := base64.RawURLEncoding
	token := make([]byte, 0, b64.EncodedLen(len(header))+b64.EncodedLen(len(payload))+b64.EncodedLen(sha512.Size)+2)
	token = b64.AppendEncode(token, header)
	token = append(token, '.')
	token = b64.AppendEncode(token, payload)
	mac := hmac.New(h, secret)
	_, _ = mac.Write(token)
	token = append(token, '.')
	return string(b64.AppendEncode(token, mac.Sum(nil)))
}

// NewUUID returns a random UUID (RFC 9562, version 4).
func NewUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

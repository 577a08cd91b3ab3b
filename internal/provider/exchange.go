package provider

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// plausibleLife is the longest life that an exp may give a session token for us to believe that it is a
// number of seconds. One in milliseconds would live for 50,000 years.
const plausibleLife = 366 * 24 * time.Hour

// SessionToken starts the SDK for one session. Whoever holds it can use it: it goes to that session's app
// and is never shared.
type SessionToken struct {
	JWT string
	// ExpiresAt is the exp of the token when it has one that can be meant: a number of seconds, in the
	// future, within a year. Otherwise zero. The token is the provider's, its signature is not ours to
	// check: do not rely on it for more than a hint.
	ExpiresAt time.Time
}

// Exchange gives the provider a JWT that we signed and gets the token of one session for it. It returns the
// token or a *selo.Error, never both, and on no account the JWT that it was given.
func (c *Client) Exchange(ctx context.Context, jwt string) (*SessionToken, error) {
	if !c.Exchanges() {
		return nil, c.exchange.notConfigured()
	}
	claims, ok := readJWT(jwt)
	if !ok || claims.issuer == "" {
		return nil, badJWT()
	}
	authorization := jwt
	if c.bearer {
		authorization = "Bearer " + jwt
	}
	return call(ctx, c, c.exchange, exchangePath, authorization, func(answer []byte) (*SessionToken, *fault) {
		return readSessionToken(answer, jwt, claims.issuer, c.now())
	})
}

func (l *lane) notConfigured() *selo.Error {
	return &selo.Error{Reason: selo.ReasonProviderUnavailable, Detail: l.missing}
}

// badJWT refuses a JWT that Mint did not make; nothing is sent.
func badJWT() *selo.Error {
	return &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "jwt",
		Detail: fmt.Sprintf("must be a signed JWT with iss, of at most %d bytes", selo.MaxTokenSize)}
}

// readSessionToken reads the answer to an exchange of sent, whose iss is issuer.
func readSessionToken(answer []byte, sent, issuer string, now time.Time) (*SessionToken, *fault) {
	m, ok := readMembers(answer, "sessionToken")
	if !ok {
		return nil, wrongShape("the answer is not one strict JSON object with sessionToken spelled so")
	}
	token, _, ok := m.text("sessionToken")
	if !ok || token == "" {
		return nil, wrongShape("sessionToken is not a string, or empty")
	}
	if len(token) > selo.MaxTokenSize {
		return nil, wrongShape(fmt.Sprintf("sessionToken is longer than %d bytes", selo.MaxTokenSize))
	}
	claims, ok := readJWT(token)
	switch {
	case !ok:
		return nil, wrongShape("sessionToken is not a JWT: three base64url segments, the second of them a strict JSON object")
	case unsigned(token) == unsigned(sent):
		return nil, wrongShape("sessionToken is the JWT that we sent, or has its header and payload")
	case claims.issuer == issuer:
		return nil, wrongShape("sessionToken has our own client ID for its iss")
	}
	st := &SessionToken{JWT: token}
	if claims.expires.After(now) && claims.expires.Before(now.Add(plausibleLife)) {
		st.ExpiresAt = claims.expires
	}
	return st, nil
}

// unsigned is the header and payload of a token.
func unsigned(token string) string { return token[:max(strings.LastIndexByte(token, '.'), 0)] }

// jwtClaims is what a JWT says of itself; nothing of it is verified.
type jwtClaims struct {
	issuer  string    // "" when it has none
	expires time.Time // zero when it has none that is a number of seconds
}

// readJWT takes a compact JWS apart: three non-empty segments in canonical base64url, a payload that is a
// strict JSON object. The header is the business of whoever verifies it.
func readJWT(token string) (jwtClaims, bool) {
	if len(token) > selo.MaxTokenSize || !isVisible(token) { // Go's decoder would skip line breaks
		return jwtClaims{}, false
	}
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return jwtClaims{}, false
	}
	var payload []byte
	for i, s := range segments {
		b, err := base64.RawURLEncoding.Strict().DecodeString(s)
		if err != nil || len(b) == 0 {
			return jwtClaims{}, false
		}
		if i == 1 {
			payload = b
		}
	}
	m, ok := readMembers(payload, "iss", "exp")
	if !ok {
		return jwtClaims{}, false
	}
	var claims jwtClaims
	if claims.issuer, _, ok = m.text("iss"); !ok {
		return jwtClaims{}, false
	}
	claims.expires = readSeconds(m["exp"])
	return claims, true
}

// readSeconds reads a NumericDate from 0 to the year 9999; zero when it is none. A fraction is cut off.
func readSeconds(value jsontext.Value) time.Time {
	const most = 253402300799
	if value.Kind() != '0' {
		return time.Time{}
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(f >= 0 && f <= most) {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

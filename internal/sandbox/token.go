package sandbox

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// maxExp bounds exp: in seconds it is the year 5138, and milliseconds since 1973 are above it.
const maxExp = 1e11

// mobileToken is a mobile token that was accepted.
type mobileToken struct {
	key   *issuedKey
	cpf   selo.CPF // zero when the token is for nobody in particular
	noExp bool
}

type tokenHeader struct {
	Alg jsontext.Value `json:"alg"`
	Typ jsontext.Value `json:"typ"`
	Kid string         `json:"kid"`
}

type tokenClaims struct {
	Issuer   string         `json:"iss"`
	Expires  jsontext.Value `json:"exp"` // nil when absent
	PeopleID jsontext.Value `json:"peopleId"`
	PersonID jsontext.Value `json:"personId"`
}

func badToken(message string) *refusal {
	return &refusal{http.StatusUnauthorized, codeToken, message}
}

// readToken accepts or refuses the mobile token in the Authorization headers. The signature is checked
// with go-jose and not with the root package, so that an error in ours is not confirmed by itself.
func (s *Sandbox) readToken(authorization []string) (*mobileToken, *refusal) {
	if len(authorization) != 1 || authorization[0] == "" {
		return nil, badToken("send exactly one Authorization header, with the mobile token as it is or after Bearer")
	}
	compact := authorization[0]
	if scheme, rest, ok := strings.Cut(compact, " "); ok && strings.EqualFold(scheme, "Bearer") {
		compact = rest
	}
	header, payload, no := splitToken(compact)
	if no != nil {
		return nil, no
	}
	if no := checkHeader(header); no != nil {
		return nil, no
	}
	var claims tokenClaims
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Issuer == "" {
		return nil, badToken("the token's payload must be one JSON object, no name twice, with the client ID as iss")
	}
	key := s.keys[claims.Issuer]
	if key == nil {
		return nil, badToken("iss is not the client ID of a key that this sandbox knows")
	}
	parsed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, badToken("the token is not a JWS in compact form")
	}
	if key.verify(parsed) != nil {
		return nil, badToken("the signature is not an HMAC-SHA256 under this client's secret; use the secret's UTF-8 bytes, not decoded")
	}
	return s.judgeClaims(key, claims)
}

// splitToken checks size and shape, which go-jose does not: it takes line breaks and spare bits.
func splitToken(compact string) (header, payload []byte, _ *refusal) {
	if len(compact) > selo.MaxTokenSize {
		return nil, nil, badToken(fmt.Sprintf("the token must not be longer than %d bytes", selo.MaxTokenSize))
	}
	segments := strings.Split(compact, ".")
	if len(segments) != 3 || strings.ContainsAny(compact, "\r\n") {
		return nil, nil, badToken("the token must be three segments, header.payload.signature")
	}
	var decoded [3][]byte
	for i, segment := range segments {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(segment); err != nil {
			return nil, nil, badToken("the token's segments must be canonical base64url without padding")
		}
	}
	return decoded[0], decoded[1], nil
}

// checkHeader takes {"alg":"HS256"}, with or without typ and kid, and nothing more.
func checkHeader(header []byte) *refusal {
	var h tokenHeader
	if err := json.Unmarshal(header, &h, json.RejectUnknownMembers(true)); err != nil {
		return badToken("the token's header must be the JSON object " + HS256Header)
	}
	if alg, ok := text(h.Alg); !ok || alg != string(jose.HS256) {
		return badToken("alg must be HS256")
	}
	if typ, ok := text(h.Typ); h.Typ != nil && (!ok || typ != "JWT") {
		return badToken("typ must be JWT")
	}
	return nil
}

func (s *Sandbox) judgeClaims(key *issuedKey, claims tokenClaims) (*mobileToken, *refusal) {
	token := &mobileToken{key: key, noExp: claims.Expires == nil}
	if !token.noExp {
		expires, ok := readExp(claims.Expires)
		if !ok {
			return nil, badToken("exp must be a number of seconds since 1970: not a string, not milliseconds")
		}
		if !s.now().Before(expires) {
			return nil, badToken("the token has expired; make a new one for each attempt")
		}
	}
	for _, claim := range []jsontext.Value{claims.PeopleID, claims.PersonID} {
		if claim == nil {
			continue
		}
		digits, _ := text(claim)
		cpf, err := selo.ParseCPF(digits)
		if err != nil {
			return nil, badToken("peopleId (or personId) must be a string with a CPF whose check digits are correct")
		}
		if !token.cpf.IsZero() && token.cpf != cpf {
			return nil, badToken("peopleId and personId name two people; a token is for one, and needs one of the two claims")
		}
		token.cpf = cpf
	}
	return token, nil
}

// readExp reads a plausible NumericDate, whole or not.
func readExp(value jsontext.Value) (time.Time, bool) {
	if value.Kind() != '0' {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f <= 0 || f >= maxExp {
		return time.Time{}, false
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

// text returns the content of a JSON string.
func text(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

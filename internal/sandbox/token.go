package sandbox

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"slices"
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

// mobileToken is a mobile token, or a session token, that was accepted.
type mobileToken struct {
	jwt                string
	key                *issuedKey
	cpf                selo.CPF // zero when the token is for nobody in particular
	peopleID, personID bool     // the claims that name the CPF
	noExp              bool
}

// tokenRules says which tokens a path takes, beside a mobile token with or without exp.
type tokenRules struct {
	header  string // where the token is
	session bool   // a session token is good too
	exp     bool   // exp is required
	bearer  bool   // Bearer is required
}

var (
	startsSDK    = tokenRules{header: "Authorization", session: true}
	startsFace   = tokenRules{header: FaceTokenHeader, session: true}
	startsServer = tokenRules{header: "Authorization", exp: true}
	opensRecord  = tokenRules{header: "Authorization", exp: true, bearer: true}
)

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
	ClientID jsontext.Value `json:"clientId"` // of session tokens, which have no iss
}

func badToken(message string) *refusal {
	return &refusal{http.StatusUnauthorized, codeToken, message}
}

// admit reads the token of a request by rules and checks that its key is activated for the product.
func (s *Sandbox) admit(w http.ResponseWriter, r *http.Request, rules tokenRules, product string) (*mobileToken, *refusal) {
	token, no := s.readToken(r, rules)
	if no != nil {
		return nil, no
	}
	if token.noExp {
		w.Header().Set(WarningHeader, warnNoExp)
	}
	if product != "" && !slices.Contains(token.key.products, product) {
		return nil, &refusal{http.StatusForbidden, codeToken,
			"the access key of the token in " + rules.header + " is not activated for this product; use the key that is"}
	}
	return token, nil
}

// readToken accepts or refuses a token. The signature is checked with go-jose and not with the root
// package, so that an error in ours is not confirmed by itself.
func (s *Sandbox) readToken(r *http.Request, rules tokenRules) (*mobileToken, *refusal) {
	compact, no := rules.find(r.Header)
	if no != nil {
		return nil, no
	}
	header, payload, no := splitToken(compact)
	if no != nil {
		return nil, no
	}
	if no := checkHeader(header); no != nil {
		return nil, no
	}
	var claims tokenClaims
	err := json.Unmarshal(payload, &claims)
	isSession := err == nil && rules.session && claims.Issuer == "" && claims.ClientID != nil
	if err != nil || claims.Issuer == "" && !isSession {
		return nil, badToken("the token's payload must be one JSON object, no name twice, with the client ID as iss")
	}
	parsed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, badToken("the token is not a JWS in compact form")
	}
	if isSession {
		return s.readSession(compact, parsed, claims)
	}
	key := s.keys[claims.Issuer]
	if key == nil {
		return nil, badToken("iss is not the client ID of a key that this sandbox knows")
	}
	if key.verify(parsed) != nil {
		return nil, badToken("the signature is not an HMAC-SHA256 under this client's secret; use the secret's UTF-8 bytes, not decoded")
	}
	token := &mobileToken{jwt: compact, key: key, noExp: claims.Expires == nil}
	if token.noExp && rules.exp {
		return nil, badToken("exp is required here: the number of seconds since 1970 at which the token expires")
	}
	return s.judgeClaims(token, claims)
}

// find returns the token in the one header of that name.
func (rules tokenRules) find(h http.Header) (string, *refusal) {
	sent := h.Values(rules.header)
	if rules.bearer {
		if len(sent) == 1 {
			if compact, ok := bearer(sent[0]); ok {
				return compact, nil
			}
		}
		return "", badToken("send exactly one " + rules.header + " header, with the token after Bearer")
	}
	if len(sent) != 1 || sent[0] == "" {
		return "", badToken("send exactly one " + rules.header + " header, with the mobile token as it is or after Bearer")
	}
	if compact, ok := bearer(sent[0]); ok {
		return compact, nil
	}
	return sent[0], nil
}

// bearer returns what stands after Bearer and one space.
func bearer(header string) (string, bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	return rest, ok && strings.EqualFold(scheme, "Bearer")
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

// judgeClaims checks exp and the CPF, and returns token with what they say.
func (s *Sandbox) judgeClaims(token *mobileToken, claims tokenClaims) (*mobileToken, *refusal) {
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
	token.peopleID, token.personID = claims.PeopleID != nil, claims.PersonID != nil
	return token, nil
}

// isFor refuses a token that was made for somebody else. name is what the person is called in the request.
func (t *mobileToken) isFor(cpf selo.CPF, name string) *refusal {
	if !t.cpf.IsZero() && t.cpf != cpf {
		return &refusal{http.StatusForbidden, codeCPFMismatch,
			name + " is not the CPF in the token; each person needs a token of their own"}
	}
	return nil
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

package policy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

const (
	// clockSkew is how far the issuer's clock may be ahead of ours. It never lengthens a token's life.
	clockSkew = 30 * time.Second
	// maxDepth is how deeply objects and arrays may nest, the outermost object counted.
	maxDepth = 32
	// maxSeconds bounds times: up to here every whole second is exact in a float64, and none wraps a Time.
	maxSeconds = 1 << 53
)

// endUser authenticates the user whom a bearer token speaks of.
//
// The token is read twice. Before the signature is checked only what chooses the app and the key is looked
// at, and all that it can choose among is configured. What the caller gets comes from the second reading,
// of the bytes that the signature covers.
func (a *Authenticator) endUser(ctx context.Context, token string) (*Caller, *selo.Error) {
	rawHeader, rawPayload, refused := splitToken(token)
	if refused != nil {
		return nil, refused
	}
	h, refused := readHeader(rawHeader)
	if refused != nil {
		return nil, refused
	}
	one, refused := a.chooseApp(rawPayload)
	if refused != nil {
		return nil, refused
	}
	key, refused := one.keys.find(ctx, h.kid)
	if refused != nil {
		return nil, refused
	}
	if string(key.alg) != h.alg {
		return nil, unauthenticated("alg", "is not the algorithm that the key is for")
	}
	// The errors of go-jose may quote the token, so none is passed on.
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{key.alg})
	if err != nil {
		return nil, unauthenticated("", "is not a signed JWT")
	}
	payload, err := parsed.Verify(key.public)
	if err != nil {
		return nil, unauthenticated("signature", "is not by the issuer's key")
	}
	return one.readCaller(payload, a.now())
}

// splitToken decodes the header and the payload of a compact JWS of canonical base64url. The caller has
// refused every character that is not of base64url or a dot.
func splitToken(token string) (header, payload []byte, _ *selo.Error) {
	if len(token) > selo.MaxTokenSize {
		return nil, nil, unauthenticated("", fmt.Sprintf("is longer than %d bytes", selo.MaxTokenSize))
	}
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return nil, nil, unauthenticated("", "is neither an API key nor a JWT of three segments")
	}
	var decoded [3][]byte
	for i, s := range segments {
		var err error
		// Strict refuses bits that decode to nothing: with them one token would have several spellings.
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(s); err != nil || s == "" {
			return nil, nil, unauthenticated("", "is a JWT with a segment that is empty or not canonical base64url")
		}
	}
	return decoded[0], decoded[1], nil
}

// header is what a JOSE header may say to us.
type header struct {
	alg, kid string
}

// readHeader reads the header strictly. Parameters that hold or point to a key (jwk, jku, x5c, x5u) may be
// there, some issuers always write one, and are not looked at.
func readHeader(raw []byte) (h header, refused *selo.Error) {
	known := []string{"alg", "typ", "kid", "crit", "b64", "zip", "enc"}
	refuse := func(field, detail string) {
		if refused == nil {
			refused = unauthenticated(field, detail)
		}
	}
	err := readObject(raw, func(name string, value jsontext.Value) {
		param, exact := match(known, name)
		text, isString := unquote(value)
		switch {
		case param == "":
		case !exact:
			refuse(param, "is spelled another way in the header")
		case param == "alg":
			if h.alg = text; !isString || !slices.Contains(algorithms(), jose.SignatureAlgorithm(text)) {
				refuse("alg", "must be RS256, ES256 or EdDSA")
			}
		case param == "typ":
			if !isString || !asciiEqualFold(text, "jwt") && !asciiEqualFold(text, "at+jwt") {
				refuse("typ", "must be absent, JWT or at+jwt: this is a token of another kind")
			}
		case param == "kid":
			if h.kid = text; !isString || text == "" {
				refuse("kid", "must be a non-empty string")
			}
		default:
			refuse(param, "is not supported in the header")
		}
	})
	if err != nil {
		return header{}, unauthenticated("header", err.Error())
	}
	if h.alg == "" {
		refuse("alg", "is missing")
	}
	return h, refused
}

func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}
}

// chooseApp finds the one app that the payload is for. The payload is not verified yet.
func (a *Authenticator) chooseApp(payload []byte) (*app, *selo.Error) {
	c, refused := readClaims(payload, "")
	if refused != nil {
		return nil, refused
	}
	var found *app
	issuer := false
	for _, one := range a.apps {
		if one.Issuer != c.iss {
			continue
		}
		issuer = true
		if !slices.Contains(c.aud, one.Audience) {
			continue
		}
		if found != nil {
			return nil, unauthenticated("aud", "names several apps; want a token for one")
		}
		found = one
	}
	switch {
	case !issuer:
		return nil, unauthenticated("iss", "is no configured issuer")
	case found == nil:
		return nil, unauthenticated("aud", "names no app of this issuer")
	}
	return found, nil
}

// readCaller makes the caller of a verified payload.
func (one *app) readCaller(payload []byte, now time.Time) (*Caller, *selo.Error) {
	c, refused := readClaims(payload, one.CPFClaim)
	switch {
	case refused != nil:
		return nil, refused
	case c.iss != one.Issuer:
		return nil, unauthenticated("iss", "is not the app's issuer")
	case !slices.Contains(c.aud, one.Audience):
		return nil, unauthenticated("aud", "is not the app's audience")
	case !now.Before(c.exp):
		return nil, unauthenticated("exp", "has passed")
	case c.nbf.After(now.Add(clockSkew)):
		return nil, unauthenticated("nbf", fmt.Sprintf("is more than %v ahead of now", clockSkew))
	case c.iat.After(now.Add(clockSkew)):
		return nil, unauthenticated("iat", fmt.Sprintf("is more than %v ahead of now", clockSkew))
	}
	caller := &Caller{
		Kind:    KindEndUser,
		App:     one.Name,
		Issuer:  one.Issuer,
		Subject: selo.Subject{Issuer: one.Issuer, ID: c.sub},
	}
	if c.hasCPF {
		var err error
		if caller.CPF, err = selo.ParseCPF(c.cpf); err != nil {
			caller.CPFFault = &selo.Error{
				Reason: selo.ReasonCPFInvalid,
				Field:  one.CPFClaim,
				Detail: "in the bearer token must be a string of 11 digits, bare or as 000.000.000-00, with correct check digits",
			}
		}
	}
	return caller, nil
}

// claims are those that we read. A time that is absent is zero, which is in nobody's future.
type claims struct {
	iss, sub      string
	aud           []string
	exp, nbf, iat time.Time
	cpf           string // empty, which is no CPF either, when the claim is not a string
	hasCPF        bool
}

// readClaims reads a payload strictly. Without a cpfClaim no CPF is read.
func readClaims(payload []byte, cpfClaim string) (c claims, refused *selo.Error) {
	known := []string{"iss", "aud", "sub", "exp", "nbf", "iat"}
	if cpfClaim != "" && cpfClaim != "sub" {
		known = append(known, cpfClaim)
	}
	refuse := func(field, detail string) {
		if refused == nil {
			refused = unauthenticated(field, detail)
		}
	}
	seconds := func(field string, value jsontext.Value) time.Time {
		t, ok := parseSeconds(value)
		if !ok {
			refuse(field, "must be a number of seconds since 1970")
		}
		return t
	}
	seen := make(map[string]bool, len(known))
	err := readObject(payload, func(name string, value jsontext.Value) {
		claim, exact := match(known, name)
		if claim == "" {
			return
		}
		// Another program that reads this token might take the other spelling for the claim.
		if !exact {
			refuse(claim, "is spelled another way in the token")
			return
		}
		seen[claim] = true
		text, isString := unquote(value)
		switch claim {
		case "iss":
			if c.iss = text; !isString {
				refuse("iss", "must be a string")
			}
		case "aud":
			var ok bool
			if c.aud, ok = readAudience(value); !ok {
				refuse("aud", "must be a string or an array of strings")
			}
		case "sub":
			if c.sub = text; !isString || !isText(text) {
				refuse("sub", fmt.Sprintf("must be a string of 1 to %d bytes without control characters", maxText))
			}
		case "exp":
			c.exp = seconds("exp", value)
		case "nbf":
			c.nbf = seconds("nbf", value)
		case "iat":
			c.iat = seconds("iat", value)
		case cpfClaim:
			c.cpf, c.hasCPF = text, true
		}
	})
	if err != nil {
		return claims{}, unauthenticated("payload", err.Error())
	}
	if cpfClaim == "sub" {
		c.cpf, c.hasCPF = c.sub, true
	}
	for _, required := range []string{"iss", "aud", "sub", "exp"} {
		if !seen[required] {
			refuse(required, "is missing")
		}
	}
	return c, refused
}

// readAudience reads a string or an array of strings.
func readAudience(value jsontext.Value) ([]string, bool) {
	if text, ok := unquote(value); ok {
		return []string{text}, true
	}
	if value.Kind() != '[' {
		return nil, false
	}
	var aud []string
	d := jsontext.NewDecoder(bytes.NewReader(value))
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	for d.PeekKind() != ']' {
		one, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		text, ok := unquote(one)
		if !ok {
			return nil, false
		}
		aud = append(aud, text)
	}
	return aud, true
}

// match finds name among the known ones, exactly or in another case.
func match(known []string, name string) (as string, exact bool) {
	for _, k := range known {
		if k == name {
			return k, true
		}
	}
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k, false
		}
	}
	return "", false
}

var (
	errNotJSON   = errors.New("is not strict JSON (one value, valid UTF-8, no name twice, nothing after it)")
	errNotObject = errors.New("is not a JSON object")
	errTooDeep   = fmt.Errorf("nests deeper than %d", maxDepth)
)

// readObject reads data as exactly one JSON object and calls member for each of its members in order, with
// the unescaped name. The value is only valid during the call. The errors say nothing of the data.
func readObject(data []byte, member func(name string, value jsontext.Value)) error {
	if err := checkDepth(data); err != nil {
		return err
	}
	// Without options: refuses duplicate names, at every level, and invalid UTF-8.
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if d.PeekKind() != '{' {
		if _, err := d.ReadValue(); err != nil {
			return errNotJSON
		}
		return errNotObject
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotJSON
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return errNotJSON
		}
		text := name.String() // before the next read, which overwrites it
		value, err := d.ReadValue()
		if err != nil {
			return errNotJSON
		}
		member(text, value)
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotJSON
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errNotJSON
	}
	return nil
}

// checkDepth bounds nesting before anything recurses into data.
func checkDepth(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	for {
		switch _, err := d.ReadToken(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return errNotJSON
		case d.StackDepth() > maxDepth:
			return errTooDeep
		}
	}
}

// unquote returns the unescaped content of a JSON string.
func unquote(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, value)
	return string(b), err == nil
}

// parseSeconds reads a NumericDate: a JSON number of seconds since 1970 within [0, 2^53], whole or not.
// A fraction is cut off.
func parseSeconds(value jsontext.Value) (time.Time, bool) {
	if value.Kind() != '0' {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(f >= 0 && f <= maxSeconds) {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

package policy

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// clockSkew is how far the issuer's clock may be ahead of ours. It never lengthens a token's life.
const clockSkew = 30 * time.Second

// endUser authenticates the user whom a bearer token speaks of.
//
// The token is read twice. Before the signature is checked only what chooses the app and the key is looked
// at, and all that it can choose among is configured. What the caller gets comes from the second reading,
// of the bytes that the signature covers.
func (a *Authenticator) endUser(ctx context.Context, token string) (*verified, *selo.Error) {
	rawHeader, rawPayload, refused := splitToken(token)
	if refused != nil {
		return nil, refused
	}
	h, refused := readHeader(rawHeader)
	if refused != nil {
		return nil, refused
	}
	unproven, refused := readClaims(rawPayload, jwtRequires(), nil)
	if refused != nil {
		return nil, refused
	}
	one, refused := chooseApp(a.apps, &unproven)
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
	v := &verified{at: a.now(), keys: one.keys, kid: h.kid, key: key}
	v.caller, v.exp, refused = one.readCaller(payload, jwtRequires(), v.at)
	if refused != nil {
		return nil, refused
	}
	return v, nil
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
				refuse("alg", "must be RS256, RS384, RS512, PS256, ES256, ES384 or EdDSA")
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

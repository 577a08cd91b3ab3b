package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxKeys = 64

	minRSABits = 2048
	maxRSABits = 8192 // so that a signature cannot be made expensive to check
)

// publicKey is a key and the one algorithm that it is for.
type publicKey struct {
	alg    jose.SignatureAlgorithm
	public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// equal reports whether the other is the same key for the same algorithm.
func (k publicKey) equal(other publicKey) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.alg == other.alg && public.Equal(other.public)
}

func rsaAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256}
}

// algorithms are those that a key can be for.
func algorithms() []jose.SignatureAlgorithm {
	return append(rsaAlgorithms(), jose.ES256, jose.ES384, jose.EdDSA)
}

// keySet is the usable keys of a JWKS document (RFC 7517).
type keySet struct {
	keys    map[string]publicKey // by kid; "" only when it is the only one
	ignored []error              // why each of the others is not usable
}

// pick returns the key with this id, or, when the token names none, the only key. A nil set has no keys.
func (s *keySet) pick(kid string) (publicKey, bool) {
	switch {
	case s == nil:
		return publicKey{}, false
	case kid != "":
		key, ok := s.keys[kid]
		return key, ok
	case len(s.keys) == 1:
		for _, only := range s.keys {
			return only, true
		}
	}
	return publicKey{}, false
}

// parseKeySet reads a JWKS document. Keys that cannot sign bearer tokens as we take them are ignored,
// since issuers publish keys for other uses next to these; a document in which a kid means two keys is
// refused whole. The result may hold no key.
func parseKeySet(document []byte) (*keySet, error) {
	var set struct {
		Keys *[]jsontext.Value `json:"keys"`
	}
	// The cause is not wrapped: of a wrong file it could quote a private key.
	if err := json.Unmarshal(document, &set); err != nil || set.Keys == nil {
		return nil, errors.New("is not a JWKS document (a strict JSON object with an array keys)")
	}
	if len(*set.Keys) > maxKeys {
		return nil, fmt.Errorf("has more than %d keys", maxKeys)
	}
	out := &keySet{keys: make(map[string]publicKey)}
	var nameless []publicKey
	for i, raw := range *set.Keys {
		kid, key, err := parseKey(raw)
		switch _, twice := out.keys[kid]; {
		case err != nil:
			out.ignored = append(out.ignored, fmt.Errorf("key %d: %w", i+1, err))
		case kid == "":
			nameless = append(nameless, key)
		case twice:
			return nil, fmt.Errorf("has two keys with kid %q", kid)
		default:
			out.keys[kid] = key
		}
	}
	// Among several keys one without a kid could only be tried, and then a token would choose its key.
	if len(nameless) == 1 && len(out.keys) == 0 {
		out.keys[""] = nameless[0]
	} else if len(nameless) > 0 {
		out.ignored = append(out.ignored, fmt.Errorf("%d without a kid, among several keys", len(nameless)))
	}
	return out, nil
}

// jwk is one key of a document. Of the private parts only the presence counts.
type jwk struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv"`
	Use    *string  `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    *string  `json:"alg"`
	Kid    *string  `json:"kid"`

	N string `json:"n"`
	E string `json:"e"`
	X string `json:"x"`
	Y string `json:"y"`

	K   jsontext.Value `json:"k"`
	D   jsontext.Value `json:"d"`
	P   jsontext.Value `json:"p"`
	Q   jsontext.Value `json:"q"`
	DP  jsontext.Value `json:"dp"`
	DQ  jsontext.Value `json:"dq"`
	QI  jsontext.Value `json:"qi"`
	Oth jsontext.Value `json:"oth"`
}

// parseKey reads one key, or says why it is not usable.
func parseKey(raw jsontext.Value) (kid string, key publicKey, err error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil || raw.Kind() != '{' {
		return "", publicKey{}, errors.New("is not a JWK")
	}
	for _, part := range []jsontext.Value{j.K, j.D, j.P, j.Q, j.DP, j.DQ, j.QI, j.Oth} {
		if part != nil {
			return "", publicKey{}, errors.New("is a private or symmetric key, which must never be published")
		}
	}
	switch {
	case j.Use != nil && *j.Use != "sig":
		return "", publicKey{}, errors.New("use is not sig")
	case j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify"):
		return "", publicKey{}, errors.New("key_ops does not have verify")
	case j.Kid != nil && *j.Kid == "":
		return "", publicKey{}, errors.New("kid is empty")
	}
	switch {
	case j.Kty == "RSA":
		key, err = j.rsa()
	case j.Kty == "EC" && j.Crv == "P-256":
		key, err = j.ec(jose.ES256, elliptic.P256())
	case j.Kty == "EC" && j.Crv == "P-384":
		key, err = j.ec(jose.ES384, elliptic.P384())
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		key, err = j.ed25519()
	default:
		err = errors.New("is not RSA, P-256, P-384 or Ed25519")
	}
	if err != nil {
		return "", publicKey{}, err
	}
	if j.Alg != nil && *j.Alg != string(key.alg) {
		return "", publicKey{}, fmt.Errorf("alg is not %s", key.alg)
	}
	if j.Kid != nil {
		kid = *j.Kid
	}
	return kid, key, nil
}

// rsa reads a key for the algorithm that it says it is for, and for RS256 if it says none: the same key under
// two algorithms would let a token choose.
func (j *jwk) rsa() (publicKey, error) {
	alg := jose.RS256
	if j.Alg != nil {
		alg = jose.SignatureAlgorithm(*j.Alg)
	}
	n, errN := decode(j.N)
	e, errE := decode(j.E)
	exponent := new(big.Int).SetBytes(e)
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	switch bits := public.N.BitLen(); {
	case !slices.Contains(rsaAlgorithms(), alg):
		return publicKey{}, errors.New("alg is not RS256, RS384, RS512 or PS256")
	case errN != nil || errE != nil:
		return publicKey{}, errors.New("n or e is not unpadded base64url")
	case bits < minRSABits || bits > maxRSABits:
		return publicKey{}, fmt.Errorf("RSA of %d bits, want %d to %d", bits, minRSABits, maxRSABits)
	case exponent.BitLen() < 2 || exponent.BitLen() > 31 || exponent.Bit(0) == 0 || public.N.Bit(0) == 0:
		return publicKey{}, errors.New("is no RSA key: n and e must be odd, and e from 3 to 2^31-1")
	}
	public.E = int(exponent.Int64())
	return publicKey{alg, public}, nil
}

func (j *jwk) ec(alg jose.SignatureAlgorithm, curve elliptic.Curve) (publicKey, error) {
	x, errX := decode(j.X)
	y, errY := decode(j.Y)
	size := (curve.Params().BitSize + 7) / 8
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return publicKey{}, fmt.Errorf("x and y must be %d bytes in unpadded base64url", size)
	}
	// Checks that the point is on the curve.
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return publicKey{}, fmt.Errorf("is no point on %s", j.Crv)
	}
	return publicKey{alg, public}, nil
}

func (j *jwk) ed25519() (publicKey, error) {
	x, err := decode(j.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return publicKey{}, errors.New("x must be 32 bytes in unpadded base64url")
	}
	return publicKey{jose.EdDSA, ed25519.PublicKey(x)}, nil
}

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }

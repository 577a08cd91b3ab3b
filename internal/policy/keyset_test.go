package policy

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKeySet(t *testing.T) {
	rs, private := rsaSigner(t, "rsa")
	es, ed := p256Signer(t, "ec"), edSigner(t, "ed")
	weak := new(big.Int).Rsh(private.N, 1) // 2047 bits
	weak.SetBit(weak, 0, 1)
	huge := new(big.Int).Lsh(private.N, 8193-2048)
	huge.SetBit(huge, 0, 1)
	even := new(big.Int).SetBit(private.N, 0, 0)
	type with = map[string]any
	many := func(n int) []any {
		var keys []any
		for i := range n {
			keys = append(keys, ed.with(with{"kid": fmt.Sprint(i)}))
		}
		return keys
	}
	set := func(keys ...any) string { return string(jwksOf(t, keys...)) }
	for _, tc := range []struct {
		name, document string
		kids           []string // usable; nil: the document is refused
		ignored        string   // in the reason of the only one that is ignored
	}{
		{"all three kinds", set(rs, es, ed), []string{"ec", "ed", "rsa"}, ""},
		{"members we do not know", `{"x":1,` + set(ed.with(with{"x5t": "a", "ext": true}))[1:], []string{"ed"}, ""},
		{"use, alg and key_ops", set(rs.with(with{"use": "sig", "alg": "RS256", "key_ops": []string{"verify"}})), []string{"rsa"}, ""},
		{"one without kid", set(ed.with(with{"kid": nil})), []string{""}, ""},
		{"one without kid beside an encryption key", set(ed.with(with{"kid": nil}), rs.with(with{"use": "enc"})), []string{""}, "use is not sig"},
		{"without kid among several", set(ed.with(with{"kid": nil}), rs), []string{"rsa"}, "without a kid"},
		{"two without kid", set(ed.with(with{"kid": nil}), es.with(with{"kid": nil})), []string{}, "2 without a kid"},
		{"empty", `{"keys":[]}`, []string{}, ""},
		{"most keys", set(many(64)...), sorted(64), ""},

		{"encryption key", set(rs.with(with{"use": "enc"})), []string{}, "use"},
		{"empty use", set(rs.with(with{"use": ""})), []string{}, "use"},
		{"only for signing", set(ed.with(with{"key_ops": []string{"sign"}})), []string{}, "key_ops"},
		{"alg of another key", set(es.with(with{"alg": "RS256"})), []string{}, "alg is not ES256"},
		{"RSA for each", set(rs.with(with{"kid": "0", "alg": "RS256"}), rs.with(with{"kid": "1", "alg": "RS384"}),
			rs.with(with{"kid": "2", "alg": "RS512"}), rs.with(with{"kid": "3", "alg": "PS256"})), sorted(4), ""},
		{"RSA for RSA-OAEP", set(rs.with(with{"alg": "RSA-OAEP"})), []string{}, "alg is not RS256, RS384, RS512 or PS256"},
		{"RSA for PS512", set(rs.with(with{"alg": "PS512"})), []string{}, "alg is not"},
		{"RSA for HS256", set(rs.with(with{"alg": "HS256"})), []string{}, "alg is not"},
		{"RSA for ES256", set(rs.with(with{"alg": "ES256"})), []string{}, "alg is not"},
		{"RSA for none", set(rs.with(with{"alg": "none"})), []string{}, "alg is not"},
		{"RSA for nothing", set(rs.with(with{"alg": ""})), []string{}, "alg is not"},
		{"one kid for RS256 and for PS256", set(rs.with(with{"alg": "RS256"}), rs.with(with{"alg": "PS256"})), nil, ""},
		{"symmetric", set(with{"kty": "oct", "kid": "a", "k": "AAAA"}), []string{}, "private or symmetric"},
		{"private", set(ed.with(with{"d": "AAAA"})), []string{}, "private"},
		{"private, null", set(ed.with(with{"d": jsonNull{}})), []string{}, "private"},
		{"private RSA", set(rs.with(with{"p": "AAAA"})), []string{}, "private"},
		{"RSA of 2047 bits", set(rsaJWK("a", weak)), []string{}, "2047 bits"},
		{"RSA of 8193 bits", set(rsaJWK("a", huge)), []string{}, "8193 bits"},
		{"RSA, even modulus", set(rsaJWK("a", even)), []string{}, "odd"},
		{"RSA, e = 1", set(rs.with(with{"e": "AQ"})), []string{}, "odd"},
		{"RSA, e even", set(rs.with(with{"e": "Ag"})), []string{}, "odd"},
		{"RSA, e too large", set(rs.with(with{"e": "AQAAAAAB"})), []string{}, "odd"},
		{"RSA, e missing", set(rs.with(with{"e": nil})), []string{}, "odd"},
		{"RSA, n missing", set(rs.with(with{"n": nil})), []string{}, "0 bits"},
		{"RSA, n padded", set(rs.with(with{"n": rs.jwk["n"].(string) + "="})), []string{}, "base64url"},
		{"P-384", set(ecSigner(t, "a", elliptic.P384(), "P-384")), []string{"a"}, ""},
		{"P-384 for ES256", set(ecSigner(t, "a", elliptic.P384(), "P-384").with(with{"alg": "ES256"})), []string{}, "alg is not ES384"},
		{"P-256 for ES384", set(es.with(with{"alg": "ES384"})), []string{}, "alg is not ES256"},
		{"P-256 that says P-384", set(es.with(with{"crv": "P-384"})), []string{}, "48 bytes"},
		{"P-256 in 48 bytes", set(es.with(with{"crv": "P-384", "x": b64(make([]byte, 48)), "y": b64(make([]byte, 48))})), []string{}, "no point on P-384"},
		{"P-521", set(ecSigner(t, "a", elliptic.P521(), "P-521")), []string{}, "not RSA, P-256, P-384 or Ed25519"},
		{"P-384 that says P-256", set(ecSigner(t, "a", elliptic.P384(), "P-256")), []string{}, "32 bytes"},
		{"not on the curve", set(es.with(with{"x": es.jwk["y"], "y": es.jwk["x"]})), []string{}, "no point"},
		{"point at infinity", set(es.with(with{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})), []string{}, "no point"},
		{"X25519", set(ed.with(with{"crv": "X25519"})), []string{}, "not RSA"},
		{"Ed25519, short", set(ed.with(with{"x": b64(make([]byte, 31))})), []string{}, "32 bytes"},
		{"kty in other case", set(ed.with(with{"kty": "okp"})), []string{}, "not RSA"},
		{"no kty", set(ed.with(with{"kty": nil})), []string{}, "not RSA"},
		{"kid a number", set(ed.with(with{"kid": 1})), []string{}, "not a JWK"},
		{"kid empty", set(ed.with(with{"kid": ""})), []string{}, "kid is empty"},
		{"key null", `{"keys":[null]}`, []string{}, "not a JWK"},
		{"key a string", `{"keys":["a"]}`, []string{}, "not a JWK"},
		{"one bad beside a good one", set(ed, rs.with(with{"e": "Ag"})), []string{"ed"}, "odd"},

		{"same kid twice", set(ed, es.with(with{"kid": "ed"})), nil, ""},
		{"same key twice", set(ed, ed), nil, ""},
		{"too many", set(many(65)...), nil, ""},
		{"nothing", ``, nil, ""},
		{"not JSON", `<html>`, nil, ""},
		{"null", `null`, nil, ""},
		{"array", `[]`, nil, ""},
		{"no keys", `{}`, nil, ""},
		{"keys null", `{"keys":null}`, nil, ""},
		{"keys an object", `{"keys":{}}`, nil, ""},
		{"Keys", `{"Keys":[]}`, nil, ""},
		{"keys twice", `{"keys":[],"keys":[]}`, nil, ""},
		{"a member of a key twice", `{"keys":[{"kid":"a","kid":"b"}]}`, nil, ""},
		{"trailing", `{"keys":[]}{}`, nil, ""},
		{"deep", strings.Repeat(`{"keys":[`, 20000), nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseKeySet([]byte(tc.document))
			if tc.kids == nil {
				if err == nil || got != nil {
					t.Errorf("got %v, %v; want an error", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]bool)
			for _, kid := range tc.kids {
				want[kid] = true
			}
			usable := make(map[string]bool)
			for kid := range got.keys {
				usable[kid] = true
			}
			if diff := cmp.Diff(want, usable); diff != "" {
				t.Error(diff)
			}
			if tc.ignored == "" && len(got.ignored) > 0 {
				t.Errorf("ignored %v", got.ignored)
			}
			if tc.ignored != "" && (len(got.ignored) != 1 || !strings.Contains(got.ignored[0].Error(), tc.ignored)) {
				t.Errorf("ignored %v, want %q", got.ignored, tc.ignored)
			}
		})
	}
}

type jsonNull struct{}

func (jsonNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func sorted(n int) []string {
	var kids []string
	for i := range n {
		kids = append(kids, fmt.Sprint(i))
	}
	return kids
}

func TestOneKeyNeedsNoKid(t *testing.T) {
	ed := edSigner(t, "ed")
	nameless := ed.with(map[string]any{"kid": nil})
	withKid, without := ed.token(body(nil)), ed.raw(`{"alg":"EdDSA"}`, body(nil))
	for _, tc := range []struct {
		name  string
		jwks  []byte
		token string
		ok    bool
	}{
		{"neither has one", jwksOf(t, nameless), without, true},
		{"only the key has one", jwksOf(t, ed), without, true},
		{"only the token has one", jwksOf(t, nameless), withKid, false},
	} {
		a := mustNew(t, Config{Apps: []App{bankApp(t, tc.jwks)}})
		if _, err := bearer(t.Context(), a, tc.token); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestKeysThatAreTooWeakNeverVerify(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	set, err := parseKeySet(jwksOf(t, rsaJWK("a", small.N)))
	if err != nil || len(set.keys) != 0 {
		t.Errorf("got %v, %v", set, err)
	}
}

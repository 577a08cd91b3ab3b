package selo_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/selo-id/selo"
)

var wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,14})$`)

// acceptsReceipt says from the prose whether a receipt under a good signature is the expected one, five
// seconds after 1700000060.
func acceptsReceipt(header, payload []byte) bool {
	h, err := refObject(header)
	if err != nil || h["alg"] != any("EdDSA") || h["typ"] != any("selo-receipt+jwt") || h["kid"] != any(receiptKid(receiptSeed)) {
		return false
	}
	for name := range h {
		for _, known := range []string{"alg", "typ", "kid", "crit", "b64", "zip", "cty", "enc"} {
			if refSameSpelling(name, known) && (name != known || !slices.Contains([]string{"alg", "typ", "kid"}, name)) {
				return false
			}
		}
	}
	c, err := refObjectWithin(payload, 10_000)
	if err != nil {
		return false
	}
	for name, want := range map[string]string{
		"iss": "https://selo.bank.example", "aud": "bank-app", "sub": "ana", "sub_iss": "https://id.bank.example",
		"purpose": "new-device", "assurance": "match",
	} {
		if c[name] != any(want) {
			return false
		}
	}
	for _, name := range []string{"sid", "product", "jti"} {
		if s, ok := c[name].(string); !ok || s == "" {
			return false
		}
	}
	second := func(name string) int64 {
		n, _ := c[name].(json.Number)
		if !wholeNumber.MatchString(string(n)) {
			return -1
		}
		i, _ := strconv.ParseInt(string(n), 10, 64)
		return i
	}
	iat, exp := second("iat"), second("exp")
	return iat >= 0 && iat < exp && exp-iat <= 120 && iat <= 1_700_000_065+30 && exp > 1_700_000_065
}

func FuzzVerifyReceipt(f *testing.F) {
	good := signReceipt(receiptHeader(), receiptPayload())
	for _, header := range []string{receiptHeader(), `{"alg":"HS256"}`, `{"typ":"selo-receipt+jwt","kid":"` + receiptKid(receiptSeed) + `","alg":"EdDSA","x":[1]}`} {
		f.Add(good, []byte(header), []byte(receiptPayload()))
	}
	for _, m := range receiptMembers {
		for _, value := range []string{"", "null", `""`, "1", "1700000061", `"x"`, "{}", "-0", "1e9"} {
			f.Add(good, []byte(receiptHeader()), []byte(receiptPayload(m.name, value)))
		}
		f.Add(good, []byte(receiptHeader()), []byte(twice(receiptPayload(), m.name, m.value)))
		f.Add(good, []byte(receiptHeader()), []byte(receiptPayload(strings.ToUpper(m.name), m.value)))
	}
	f.Add(good, []byte(receiptHeader()), []byte(receiptPayload("iat", "9223372036854775800", "exp", "9223372036854775807")))
	key := receiptKeyOf(f, []byte(receiptSeed))
	f.Fuzz(func(t *testing.T, token string, header, payload []byte) {
		want := receiptExpecting(key)
		for _, token := range []string{token, signReceipt(string(header), string(payload)), signReceipt(receiptHeader(), string(payload))} {
			want.Once = new(selo.MemoryOnce)
			r, err := selo.VerifyReceipt(context.Background(), token, want)
			if (r == nil) == (err == nil) {
				t.Fatalf("VerifyReceipt(%q) = %v, %v; want exactly one nil", token, r, err)
			}
			if err == nil {
				if r.Subject != want.Subject || r.App != want.App || r.Issuer != want.Issuer || r.Purpose != want.Purpose || r.Assurance != selo.AssuranceMatch {
					t.Fatalf("accepted %+v", r)
				}
				if _, err := selo.VerifyReceipt(context.Background(), token, want); !errors.Is(err, selo.ReasonReplayed) {
					t.Errorf("accepted twice: %v", err)
				}
			} else {
				checkSilent(t, err.Error(), token)
			}
			if oracle := oracleReceipt(token); oracle != (err == nil) {
				t.Fatalf("VerifyReceipt(%q) = %v, the oracle says %v\nheader %q\npayload %q", token, err, oracle, header, payload)
			}
		}
	})
}

// oracleReceipt adds the signature and the encoding to acceptsReceipt.
func oracleReceipt(token string) bool {
	segments := strings.Split(token, ".")
	if len(token) > 16384 || len(segments) != 3 {
		return false
	}
	var decoded [3][]byte
	for i, s := range segments {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || segment(b) != s {
			return false
		}
		decoded[i] = b
	}
	return ed25519.Verify(receiptPublic(receiptSeed), []byte(segments[0]+"."+segments[1]), decoded[2]) && acceptsReceipt(decoded[0], decoded[1])
}

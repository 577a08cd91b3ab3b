package selo_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// checkSilent fails if text gives away what no error may contain.
func checkSilent(t testing.TB, text, token string) {
	t.Helper()
	for _, s := range []string{testSecret, testSandboxSecret, testCPF, "529.982.247-25"} {
		if strings.Contains(text, s) {
			t.Errorf("%q contains %q", text, s)
		}
	}
	// A shorter text is no token, and may be a word of the message.
	if len(token) >= 40 && strings.Contains(text, token) {
		t.Errorf("%q contains the whole token", text)
	}
}

// FuzzVerify tries tokens as they are, and headers and payloads under a valid MAC, which is where the
// parsers begin.
func FuzzVerify(f *testing.F) {
	products := []string{liveness, authentication, smartAuth, documents}
	var wants []selo.Expectation
	for _, product := range products {
		wants = append(wants, expecting(f, product))
	}
	// Four products by four assurances, in one byte.
	which := func(v vector) byte {
		return byte(slices.Index(products, v.Product)) | byte(v.assurance(f)-selo.AssurancePresence)<<2
	}
	for _, v := range readVectors(f) {
		var decoded [2][]byte
		for i, s := range strings.SplitN(v.Token, ".", 3) {
			if i < 2 {
				decoded[i], _ = base64.RawURLEncoding.DecodeString(s)
			}
		}
		f.Add(v.Token, decoded[0], decoded[1], which(v))
	}
	f.Fuzz(func(t *testing.T, token string, header, payload []byte, what byte) {
		want := wants[what&3]
		want.Assurance = selo.AssurancePresence + selo.Assurance(what>>2&3)
		ref := refWant{
			product: refProducts[want.Profile.Product], secret: testSecret, cpf: testCPF, policy: want.Policy, least: want.Assurance,
			opened: testOpened, at: testNow,
		}
		for _, token := range []string{token, signWith(string(header), string(payload)), sign(string(payload))} {
			want.Once = new(selo.MemoryOnce)
			r, err := selo.Verify(context.Background(), token, want)
			if (r == nil) == (err == nil) {
				t.Fatalf("Verify(%q) = %v, %v; want exactly one nil", token, r, err)
			}
			const slack = time.Microsecond
			if err == nil {
				if rs := refVerify(token, ref, slack); len(rs) > 0 {
					t.Fatalf("granted %q, which the reference refuses: %v\nheader %q\npayload %q", token, rs, header, payload)
				}
				continue
			}
			if len(selo.ReasonsOf(err)) == 0 {
				t.Errorf("error without a reason: %v", err)
			}
			if refVerify(token, ref, -slack) == nil {
				t.Errorf("refused %q, which the reference grants: %v\nheader %q\npayload %q", token, err, header, payload)
			}
			checkSilent(t, err.Error(), token)
		}
	})
}

var cpfText = regexp.MustCompile(`^([0-9]{11}|[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2})$`)

// oracleCPF checks with the ascending weights that the tax office's own formula reduces to: digit ten is
// the sum of place times digit mod 11, digit eleven the same one place on, and ten counts as zero.
func oracleCPF(s string) (digits string, ok bool) {
	if !cpfText.MatchString(s) || strings.HasSuffix(s, "\n") {
		return "", false
	}
	digits = strings.NewReplacer(".", "", "-", "").Replace(s)
	if strings.Count(digits, digits[:1]) == 11 {
		return "", false
	}
	for last, first := range map[int]int{9: 1, 10: 0} {
		sum := 0
		for i := range last {
			sum += (i + first) * int(digits[i]-'0')
		}
		if sum%11%10 != int(digits[last]-'0') {
			return "", false
		}
	}
	return digits, true
}

func FuzzParseCPF(f *testing.F) {
	for _, s := range []string{testCPF, "529.982.247-25", otherCPF, "00011122233", "00000000191", "11111111111", "", "529.982.24725", "５２９９８２２４７２５"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := oracleCPF(s)
		c, err := selo.ParseCPF(s)
		if (err == nil) != ok || c.Digits() != want || c.IsZero() == ok {
			t.Fatalf("ParseCPF(%q) = %q, %v; oracle %q, %v", s, c.Digits(), err, want, ok)
		}
		// The message shows the form, in zeros.
		if err != nil && len(s) >= 11 && strings.ContainsAny(s, "123456789") && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the input: %v", err)
		}
		if ok && strings.Contains(c.String(), want[:9]) {
			t.Errorf("String shows %q", c.String())
		}
	})
}

// FuzzMint reads the tokens with a parser of its own: no expiry that is missing or late, and nothing that
// was not asked for.
func FuzzMint(f *testing.F) {
	f.Add(testClientID, int64(1_700_000_000), int64(0), int64(0))
	f.Add(`","isAlive":true,"x":"`, int64(1_700_000_000), int64(999_999_999), int64(30*time.Minute))
	f.Add("\xff\u2028<>&\x00", int64(1<<53), int64(1), int64(time.Second))
	f.Add("a", int64(-62135596800), int64(0), int64(30*time.Minute+1))
	f.Add("a", int64(1<<63-1), int64(0), int64(time.Minute))
	f.Add("a", int64(-1<<63), int64(0), int64(-1<<63))
	p := selo.CafFaceLiveness()
	secret, cpf := secretOf(f, testSecret), cpfOf(f, testCPF)
	f.Fuzz(func(t *testing.T, clientID string, sec, nsec, lifetime int64) {
		at := time.Unix(sec, nsec)
		token, err := selo.Mint(selo.MintRequest{
			Profile: p, Key: selo.AccessKey{ClientID: clientID, Secret: secret}, CPF: cpf,
			Now: at, Lifetime: time.Duration(lifetime),
		})
		if (token == nil) == (err == nil) {
			t.Fatalf("Mint = %v, %v; want exactly one nil", token, err)
		}
		if err != nil {
			if lifetime == 0 && 0 <= sec && sec < 1<<40 && 0 <= nsec && nsec < 1e9 && clientID != "" && len(clientID) <= 256 && utf8.ValidString(clientID) {
				t.Fatalf("refused without a reason that the documentation gives: %v", err)
			}
			checkSilent(t, err.Error(), testSecret)
			return
		}
		claims := readMobileToken(t, token.JWT)
		if len(claims) != 3 || claims["iss"] != any(clientID) || claims["peopleId"] != any(testCPF) {
			t.Fatalf("claims %v, want exactly iss %q, exp and peopleId", claims, clientID)
		}
		exp, ok := claims["exp"].(json.Number)
		if !ok {
			t.Fatalf("exp is %v", claims["exp"])
		}
		seconds, ok := new(big.Int).SetString(string(exp), 10)
		if !ok || seconds.Int64() != token.ExpiresAt.Unix() {
			t.Fatalf("exp is %v, ExpiresAt %v", exp, token.ExpiresAt.Unix())
		}
		// In exact arithmetic, since a time near the end of the calendar wraps.
		latest := new(big.Int).Add(big.NewInt(sec), big.NewInt(nsec/1e9+int64(p.MaxLifetime/time.Second)+1))
		if sec != at.Unix() && nsec/1e9 == 0 && nsec >= 0 {
			t.Fatalf("time.Unix wrapped")
		}
		if at.IsZero() {
			latest.SetInt64(time.Now().Add(p.MaxLifetime).Unix())
		}
		if seconds.Cmp(latest) > 0 {
			t.Fatalf("exp %v is past the ceiling %v", seconds, latest)
		}
	})
}

// readMobileToken takes a mobile token apart and checks all of it but the values of its claims.
func readMobileToken(t testing.TB, token string) map[string]any {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 || token != seal(testSecret, segments[0]+"."+segments[1]) {
		t.Fatalf("%q is not signed with the secret", token)
	}
	if want := segment(plainHeader); segments[0] != want {
		t.Fatalf("header %q, want %q", segments[0], want)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	claims, err := refObject(raw)
	if err != nil {
		t.Fatalf("payload %q: %v", raw, err)
	}
	return claims
}

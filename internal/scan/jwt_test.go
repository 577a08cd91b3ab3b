package scan

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"
)

func hs256(secret, header, payload string) string {
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(signed))
	return signed + "." + enc.EncodeToString(h.Sum(nil))
}

const (
	plainHeader = `{"alg":"HS256","typ":"JWT"}`
	clientHex   = "5fc03087d337dd0f6b1e1e0f"
)

func TestJWTs(t *testing.T) {
	t.Parallel()
	token := hs256("k", plainHeader, `{"iss":"`+clientHex+`","exp":1900000000}`)
	enc := base64.RawURLEncoding.EncodeToString
	for _, tc := range []struct {
		name, text string
		at         []int
	}{
		{"alone", token, []int{0}},
		{"between quotes", `x = "` + token + `";`, []int{5}},
		{"after letters", "abc" + token, []int{3}},
		{"after letters that look like a header", "eyJhbGciOi" + token, []int{10}},
		{"before letters", token + "abc", []int{0}},
		{"before a full stop", token + ". Then", []int{0}},
		{"before a segment", token + ".abc", []int{0}},
		{"after a segment", "v1." + token, []int{3}},
		{"two, with a dot between", token + "." + token, []int{0, len(token) + 1}},
		{"two, with a blank between", token + " " + token, []int{0, len(token) + 1}},
		{"with blanks in its header", hs256("k", `{ "alg" : "HS256" }`, `{ "iss":"x"}`), []int{0}},
		{"with line breaks in its header", hs256("k", "{\n  \"alg\": \"HS256\"\n}", "{\r\n}"), []int{0}},
		{"with a long header", "x=" + hs256("k", `{"x5c":"`+string(textOf(1, 4000, mixed))+`","alg":"HS256"}`, `{"iss":"x"}`), []int{2}},
		{"with a long payload", hs256("k", plainHeader, `{"a":"`+string(textOf(2, 40000, mixed))+`"}`), []int{0}},
		{"cut short", token[:len(token)-1], nil},
		{"of another algorithm", enc([]byte(`{"alg":"RS256"}`)) + "." + enc([]byte(`{}`)) + "." + strings.Repeat("A", 342), nil},
		{"of no algorithm", enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(`{}`)) + ".", nil},
		{"whose payload is no object", enc([]byte(`{"alg":"HS256"}`)) + "." + enc([]byte(`[]`)) + "." + strings.Repeat("A", 43), nil},
		{"a public token of Mapbox", "pk.eyJ1IjoibWFwYm94IiwiYSI6ImNpejY4NXVycTA2emYycXBndHRqcmZ3N3gifQ.rJcFIG214AriISLbB6B5aw", nil},
		{"rubbish", strings.Repeat("eyJ", 1000) + strings.Repeat(".eyJ", 1000), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var at []int
			jwts([]byte(tc.text), func(i int, _ *jwt) { at = append(at, i) })
			if !slices.Equal(at, tc.at) {
				t.Errorf("found at %v, want %v", at, tc.at)
			}
			for _, bigEndian := range []bool{false, true} {
				at = nil
				wideJWTs(append([]byte{1}, wide([]byte(tc.text), 2, bigEndian)...), func(i int, _ *jwt) { at = append(at, (i-1)/2) })
				if !slices.Equal(at, tc.at) {
					t.Errorf("in UTF-16 found at %v, want %v", at, tc.at)
				}
			}
		})
	}
}

func TestJWTIsProviders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, header, payload string
		want                  bool
	}{
		{"client and expiry", plainHeader, `{"iss":"` + clientHex + `","exp":1900000000}`, true},
		{"client alone", plainHeader, `{"iss":"` + clientHex + `"}`, true},
		{"client and person", plainHeader, `{"iss":"` + clientHex + `","peopleId":"x","extra":1}`, true},
		{"client and more", plainHeader, `{"iss":"` + clientHex + `","role":"user"}`, false},
		{"a known client and more", plainHeader, `{"iss":"known-client","role":"user"}`, true},
		{"a CPF", plainHeader, `{"personId":"529.982.247-25"}`, true},
		{"a person who is no CPF", plainHeader, `{"personId":"person-1"}`, false},
		{"upper case", plainHeader, `{"iss":"` + strings.ToUpper(clientHex) + `"}`, false},
		{"a name", plainHeader, `{"iss":"supabase","role":"anon","exp":1900000000}`, false},
		{"an address", plainHeader, `{"iss":"https://issuer.example","sub":"1"}`, false},
		{"another algorithm", `{"alg":"HS512"}`, `{"iss":"` + clientHex + `"}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := hs256("k", tc.header, tc.payload) + strings.Repeat("A", 43)
			n := 0
			jwts([]byte(text), func(_ int, tok *jwt) {
				n++
				if got := tok.isProviders([]string{"known-client"}); got != tc.want {
					t.Errorf("isProviders: %v, want %v", got, tc.want)
				}
			})
			if n != 1 {
				t.Errorf("%d tokens, want 1", n)
			}
		})
	}
}

func TestJWTExpiry(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		payload string
		none    bool
		want    int64
	}{
		{`{"exp":1900000000}`, false, 1900000000},
		{`{"exp":1.9e9}`, false, 1900000000},
		{`{"exp":-1}`, false, 0},
		{`{"exp":1e400}`, false, 1 << 40},
		{`{"exp":"1900000000"}`, true, 0},
		{`{"exp":null}`, true, 0},
		{`{}`, true, 0},
		{`{"deep":{"exp":1}}`, true, 0},
	} {
		t.Run(tc.payload, func(t *testing.T) {
			jwts([]byte(hs256("k", plainHeader, tc.payload)), func(_ int, tok *jwt) {
				if tok.noExpiry != tc.none || !tc.none && !tok.expires.Equal(time.Unix(tc.want, 0)) {
					t.Errorf("none %v, expires %v", tok.noExpiry, tok.expires)
				}
				if !tok.signedWith([]byte("k")) || tok.signedWith([]byte("K")) {
					t.Error("signed with something else")
				}
			})
		})
	}
}

// TestKeyed compares what tries keys with crypto/hmac.
func TestKeyed(t *testing.T) {
	t.Parallel()
	k := newKeyed()
	for size := range 300 {
		key := textOf(uint64(size), size, mixed)
		k.next()
		for _, alg := range []string{"HS256", "HS384", "HS512"} {
			tok := &jwt{algorithm: alg, signed: string(textOf(uint64(size)+1000, size, mixed))}
			h := hmac.New(tok.hash(), key)
			h.Write([]byte(tok.signed))
			tok.mac = string(h.Sum(nil))
			if !k.signed(tok, key) || !tok.signedWith(key) {
				t.Errorf("%s: a key of %d bytes is not known", alg, size)
			}
			tok.mac = string(h.Sum(nil)[1:]) + "x"
			if k.signed(tok, key) {
				t.Errorf("%s: another MAC is taken", alg)
			}
		}
	}
}

func FuzzJWTs(f *testing.F) {
	token := hs256("k", plainHeader, `{"iss":"`+clientHex+`","exp":1900000000}`)
	f.Add([]byte(token), []byte("x."), []byte(".y"))
	f.Fuzz(func(t *testing.T, data, before, after []byte) {
		for _, find := range []func([]byte, func(int, *jwt)){jwts, wideJWTs} {
			find(data, func(at int, tok *jwt) {
				if at < 0 || at >= len(data) || tok.hash() == nil || tok.mac == "" {
					t.Errorf("at %d of %d: %+v", at, len(data), tok)
				}
			})
		}
		// Whatever stands around a token, it is found.
		around := slices.Concat(before, []byte(" "+token), after)
		ok := false
		jwts(around, func(at int, tok *jwt) { ok = ok || at == len(before)+1 && tok.issuer == clientHex })
		if !ok {
			t.Errorf("not found between %q and %q", before, after)
		}
	})
}

package scan

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/selo-id/selo/internal/finding"
)

// What is here was found by attacking: each hid a secret, or let one out.

// TestManyTokens: others' tokens, however many, do not crowd out one's own, and what was not tried is told as unread.
func TestManyTokens(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 400 {
		fmt.Fprintf(&text, "'%s'\n", hs256("not here", plainHeader, fmt.Sprintf(`{"n":%d}`, i)))
		if i == 200 {
			fmt.Fprintf(&text, "'%s'\n", hs256(string(testSecret.value), plainHeader, `{"own":true}`))
			fmt.Fprintf(&text, "'%s'\n", hs256("not here", plainHeader, `{"iss":"`+clientHex+`"}`))
		}
	}
	o := Options{Secrets: []Secret{testSecret}, Allowed: []Allowed{{Rule: ruleTokenKey, Path: "**", Reason: "tests", Expires: "9999-12-31"}}}
	var first string
	for range 3 {
		r := scanned(t, o, file{Path: "a.txt", Data: []byte(text.String())})
		for _, want := range []string{"fail token-of-own-secret: ", "fail token-without-expiry: ", "inconclusive everything-read: There are more than 32 tokens of others"} {
			if !strings.Contains(lines(r), want) {
				t.Errorf("%q is not told:\n%s", want, lines(r))
			}
		}
		if first == "" {
			first = lines(r)
		}
		if lines(r) != first {
			t.Errorf("another report of the same:\n%s\n%s", first, lines(r))
		}
	}
}

// TestManyPieces: pieces that stand often do not crowd out the others.
func TestManyPieces(t *testing.T) {
	t.Parallel()
	secret := string(testSecret.value)
	text := strings.Repeat("f('"+secret[:6]+"');", 9000) + "f('" + secret[:18] + "');f('" + secret[18:] + "')"
	if r := scanned(t, Options{Secrets: []Secret{testSecret}}, file{Path: "a.js", Data: []byte(text)}); r.ExitCode() != 1 {
		t.Errorf("told:\n%s", lines(r))
	}
}

// TestManyKeys takes no longer than it must, which it did: each key was compared with each before it.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(`{"x":0`)
	for i := range 60000 {
		fmt.Fprintf(&text, `,"password%d":"%s"`, i, textOf(uint64(i), 32, hexAlphabet))
	}
	text.WriteString(`}`)
	r := scanned(t, Options{}, file{Path: "a.json", Data: []byte(text.String())})
	if got := len(r.Findings); got > maxGroups+len(r.Rules)+1 || !strings.Contains(lines(r), " more such values.") {
		t.Errorf("%d findings, the last of which are:\n%s", got, lines(r)[len(lines(r))-400:])
	}
}

func TestSpellingsOfPeople(t *testing.T) {
	t.Parallel()
	secret := `kq8Z+t/5Vw2<r9Y/u&3+fGh6"N1bXc0=`
	o := Options{Secrets: []Secret{{"s", []byte(secret)}}}
	for name, text := range map[string]string{
		"query.js":      "'https://h/x?client_secret=" + url.QueryEscape(secret) + "&a=1'",
		"lower.js":      "'https://h/x?client_secret=" + lowerEscapes(url.QueryEscape(secret)) + "&a=1'",
		"some.txt":      "https://h/x?client_secret=" + strings.NewReplacer("+", "%2b", "/", "%2F").Replace(secret),
		"some.html":     "<p title=\"" + strings.NewReplacer("&", "&#38;", `"`, "&quot;").Replace(secret) + "\">",
		"within.js":     `x = '{\"a\":\"` + strings.ReplaceAll(secret, `"`, `\\\"`) + `\"}'`,
		"path.txt":      "https://h/" + url.PathEscape(secret) + "/x",
		"page.html":     "<p title=\"" + html.EscapeString(secret) + "\">",
		"strings.xml":   `<resources><string name="a">` + strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, `\"`).Replace(secret) + `</string></resources>`,
		"slashes.txt":   strings.ReplaceAll(secret, "/", `\/`),
		"backslash.txt": strings.ReplaceAll(secret, `"`, `\"`),
		"base64url.txt": strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(secret), "="),
	} {
		if r := scanned(t, o, file{Path: name, Data: []byte(text)}); r.ExitCode() != 1 {
			t.Errorf("%s is not found in %s; told:\n%s", name, text, lines(r))
		}
	}
	for _, odd := range []string{"chave-secreta-\xe7\xe3o-2026", "chave-🔑-secreta-2026", "Łódź-2026-secret"} {
		s := Secret{"odd", []byte(odd)}
		for shift := range 3 {
			data := append(make([]byte, shift), odd...)
			if r := scanned(t, Options{Secrets: []Secret{s}}, file{Path: "a.bin", Data: data}); r.ExitCode() != 1 {
				t.Errorf("%q is not found", odd)
			}
			if b := wide([]byte(odd), 2, true); b != nil {
				if r := scanned(t, Options{Secrets: []Secret{s}}, file{Path: "a.bin", Data: append(append(make([]byte, shift), b...), 0)}); r.ExitCode() != 1 {
					t.Errorf("%q is not found in UTF-16BE at %d", odd, shift)
				}
			}
		}
	}
}

func TestFingerprintsBetween(t *testing.T) {
	t.Parallel()
	secret := string(testSecret.value)
	o := Options{Fingerprints: NewFingerprints([]Secret{testSecret})}
	for _, f := range []file{
		{Path: "a.txt", Data: []byte("grant_type=x&client_secret=" + secret + "&scope=x")},
		{Path: "a.txt", Data: []byte("https://user:" + secret + "@host/x")},
		{Path: "a.txt", Data: []byte("https://host/" + secret + "/x")},
		{Path: "a.txt", Data: []byte("a:b:" + secret)},
		{Path: "a.txt", Data: []byte("a|" + secret + "|b")},
		{Path: "a.js", Data: []byte("// the secret is " + secret + ".")},
		{Path: "a.md", Data: []byte("**" + secret + "**")},
		{Path: "a.py", Data: []byte("K=" + secret)},
		{Path: "a.jsx", Data: []byte("<b>" + secret + "</b>")},
		{Path: "x/" + secret + ".txt", Data: []byte("hello")},
		{Path: "a.dat", Data: []byte(base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte("0123456789 "), 20001), secret+" "...)))},
	} {
		r := scanned(t, o, f)
		noSecrets(t, r, testSecret)
		if r.ExitCode() != 1 {
			t.Errorf("not found in %s: %.100s", f.Path, f.Data)
		}
	}
}

// TestNoTimeLeft: a time that is over while the last file is looked at does not make a clean report.
func TestNoTimeLeft(t *testing.T) {
	t.Parallel()
	l := newLook(&Options{})
	n := 0
	l.stopped = func() bool { n++; return true }
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "clientSecret%d = '%s'\n", i, textOf(uint64(i), 32, hexAlphabet))
	}
	l.visit(&entry{path: "a.js", data: []byte(text.String())})
	if n != 1 || len(l.groups) > 64 {
		t.Errorf("asked %d times, and %d values were looked at", n, len(l.groups))
	}
}

// TestAllowedPlaces: an allowance covers a finding about several places only if it covers each.
func TestAllowedPlaces(t *testing.T) {
	t.Parallel()
	secret := string(testSecret.value)
	pieces := []file{{Path: "a/one.js", Data: []byte("f('" + secret[:20] + "')")}, {Path: "b/two.js", Data: []byte("f('" + secret[20:] + "')")}}
	key := string(textOf(31, 30, mixed[:62]))
	tokens := []file{{Path: "a/test.js", Data: []byte("f('" + hs256(key, plainHeader, `{}`) + "')")}, {Path: "b/key.js", Data: []byte("f('" + key + "')")}}
	for _, tc := range []struct {
		rule, path string
		files      []file
		code       int
	}{
		{ruleOwnPieces, "a/*", pieces, 1}, {ruleOwnPieces, "b/*", pieces, 1}, {ruleOwnPieces, "*/*", pieces, 0},
		{ruleTokenKey, "a/*", tokens, 1}, {ruleTokenKey, "b/*", tokens, 1}, {ruleTokenKey, "*/*", tokens, 0},
	} {
		o := Options{Secrets: []Secret{testSecret}, Allowed: []Allowed{{tc.rule, tc.path, "why", "9999-12-31"}}}
		if r := scanned(t, o, tc.files...); r.ExitCode() != tc.code {
			t.Errorf("%s at %s: exit code %d, want %d; told:\n%s", tc.rule, tc.path, r.ExitCode(), tc.code, lines(r))
		}
	}
}

// TestNamesLeak: no part of a secret of ten bytes or more, no token and no CPF comes out of a name, a key, an allowance or a
// name of a fingerprint.
func TestNamesLeak(t *testing.T) {
	t.Parallel()
	secret := string(testSecret.value)
	longer := Secret{"longer", append(bytes.Clone(testSecret.value), textOf(41, 20, mixed[:62])...)}
	token := hs256(secret, plainHeader, `{"iss":"`+clientHex+`"}`)
	o := Options{
		Secrets:   []Secret{testSecret, longer},
		ClientIDs: []string{secret},
		Allowed:   []Allowed{{ruleExpired, "**", "since " + secret + " and " + token + " of 529.982.247-25", "2000-01-01"}},
	}
	body := []byte("f('" + secret + "', '" + hs256("k", plainHeader, `{"iss":"`+clientHex+`","exp":1}`) + "')")
	for _, name := range []string{
		secret[:16] + "/" + secret[16:] + ".js", secret[:10] + "!" + secret[10:20] + "!" + secret[20:] + ".js", strings.Repeat("a", 290) + secret,
		string(longer.value) + ".js", secret[:19] + ".js", "x." + secret[:15] + "." + secret[15:] + ".js", token + ".js",
		"529 982 247 25.js", "529_982_247_25.js", "cpf=529982247-25.js", "2024052352998224725.js",
	} {
		for _, r := range []*finding.Report{
			scanned(t, o, file{Path: name, Data: body}),
			scanned(t, o, file{Path: "a.json", Data: fmt.Appendf(nil, `{"%s%s":{"accessToken":"%s"}}`, strings.Repeat("k", 40), name, textOf(8, 40, mixed[:62]))}),
		} {
			var b bytes.Buffer
			if err := finding.WriteJSON(&b, r); err != nil {
				t.Fatal(err)
			}
			digits := strings.Map(func(r rune) rune {
				if r < '0' || r > '9' {
					return -1
				}
				return r
			}, strings.ReplaceAll(r.Target, "[CPF]", "x"))
			for _, s := range []string{secret, string(longer.value[20:]), token[:60]} {
				for i := 0; i+maxTold+1 <= len(s); i++ {
					if part := s[i : i+maxTold+1]; strings.Contains(b.String(), part) && !strings.HasPrefix(token, part) {
						t.Fatalf("%q in a report about %q:\n%s", part, name, b.String())
					}
				}
			}
			if strings.Contains(b.String(), token) || strings.Contains(digits, "52998224725") || strings.Contains(b.String(), "529.982.247-25") {
				t.Errorf("a token or a CPF in a report about %q:\n%s", name, b.String())
			}
		}
	}
}

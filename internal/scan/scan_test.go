package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

var (
	testSecret = Secret{"client secret", textOf(11, 40, mixed[:62])}
	otherOne   = Secret{"other", textOf(12, 32, hexAlphabet)}
	testNow    = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
)

// file is a file of memory.
type file struct {
	Path string
	Data []byte
}

func (f file) target() Target {
	return Target{f.Path, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil }}
}

// scanned scans files of memory and returns the report.
func scanned(t *testing.T, o Options, files ...file) *finding.Report {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = testNow
	}
	targets := make([]Target, len(files))
	for i, f := range files {
		targets[i] = f.target()
	}
	r, err := Scan(t.Context(), targets, o)
	if err != nil {
		t.Fatal(err)
	}
	noSecrets(t, r, o.Secrets...)
	return r
}

// noSecrets fails if a form of the report has a secret in it, in the spellings in which it could get there.
func noSecrets(t *testing.T, r *finding.Report, secrets ...Secret) {
	t.Helper()
	for name, write := range map[string]func(io.Writer, *finding.Report) error{
		"text": func(w io.Writer, r *finding.Report) error {
			return finding.WriteText(w, r, finding.TextOptions{Verbose: true, Width: 4000})
		},
		"JSON": finding.WriteJSON, "SARIF": finding.WriteSARIF, "JUnit": finding.WriteJUnit, "HTML": finding.WriteHTML,
	} {
		var b bytes.Buffer
		if err := write(&b, r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, s := range secrets {
			for _, form := range []string{string(s.value), hex.EncodeToString(s.value), base64.StdEncoding.EncodeToString(s.value), string(s.value[:20])} {
				if strings.Contains(b.String(), form) {
					t.Errorf("%s: has %q in it", name, s.name)
				}
			}
		}
	}
}

// lines returns the findings of a report that are not passes, a line each.
func lines(r *finding.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		if f.Outcome != finding.Pass && f.Outcome != finding.NotApplicable {
			fmt.Fprintf(&b, "%s %s: %s\n", f.Outcome, f.Rule, f.Message)
		}
	}
	return b.String()
}

func TestScan(t *testing.T) {
	t.Parallel()
	secret := string(testSecret.value)
	with := Options{Secrets: []Secret{testSecret, otherOne}, ClientIDs: []string{"my-client-id"}}
	prints := Options{Fingerprints: NewFingerprints([]Secret{testSecret})}
	claims := func(s string) string { return `{"iss":"` + clientHex + `"` + s + `}` }
	for _, tc := range []struct {
		name string
		o    Options
		file string
		text string
		code int
		want string // all that is told
	}{
		{"nothing", with, "a.js", "const greeting = 'hello';", 0, ""},
		{"plain", with, "a.js", "x = 1; const clientSecret = '" + secret + "';", 1,
			`fail own-secret: The secret "client secret" stands in a.js at byte 29, as clientSecret.`},
		{"reversed in the middle", with, "a.bin", "\x00\x01" + reversed(secret) + "\x02", 1,
			`fail own-secret: The secret "client secret" stands in a.bin at byte 2 (reversed).`},
		{"twice and again", with, "a.txt", strings.Repeat(secret+" ", 5), 1,
			`fail own-secret: The secret "client secret" stands in a.txt at byte 0; also at byte 41; also at byte 82; and in 2 more places there.`},
		{"escaped", with, "a.json", `{"a":{"b":["` + secret[:20] + `\u00` + hex.EncodeToString([]byte(secret[20:21])) + secret[21:] + `"]}}`, 1,
			`fail own-secret: The secret "client secret" stands in a.json at byte 12, as a.b[0].`},
		{"base64 of XOR", with, "a.js", "k='" + base64.StdEncoding.EncodeToString(xor(secret, "\x07\x7f\x21")) + "'", 1,
			`fail own-secret: The secret "client secret" stands in a.js at byte 3, as k (base64 of XOR with a key of 3 bytes).`},
		{"in pieces", with, "a.js", "f('" + secret[:11] + "');f('" + secret[30:] + "');f('" + secret[11:30] + "')", 1,
			`fail own-secret-in-pieces: 100% of the secret "client secret" stands in 3 pieces, each a string of its own: in a.js at byte 3, as f; a.js at byte 36, as f; a.js at byte 20, as f.`},
		{"in pieces that are not enough", with, "a.js", "f('" + secret[:11] + "');f('" + secret[21:] + "')", 0, ""},
		{"in the name", with, "lib/" + secret + ".txt", "hello", 1,
			`fail own-secret: The secret "client secret" stands in lib/[secret].txt, in its name.`},
		{"as a key", with, "a.json", `{"` + secret + `":{"accessToken":"` + string(textOf(5, 30, mixed[:62])) + `"}}`, 1,
			"fail own-secret: The secret \"client secret\" stands in a.json at byte 2.\n" +
				`warn telling-name: A value that looks like a secret (30 characters, mark ????????) stands in a.json at byte 60, as [secret].accessToken.`},
		{"fingerprint of a whole string", prints, "a.js", "const a = '" + secret + "'", 1,
			`fail own-secret: The secret with the fingerprint "client secret" stands in a.js at byte 11, as a (a whole string).`},
		{"fingerprint in base64", prints, "a.js", "const a = '" + base64.URLEncoding.EncodeToString([]byte(secret)) + "'", 1,
			`fail own-secret: The secret with the fingerprint "client secret" stands in a.js at byte 11, as a (base64).`},
		{"fingerprint of a part", prints, "a.js", "const a = 'x" + secret + "'", 0, ""},
		{"token of an own secret", with, "a.js", "t = '" + hs256(secret, plainHeader, claims("")) + "'", 1,
			"fail token-of-own-secret: A token (HS256, mark ????????) that is signed with the secret \"client secret\" stands in a.js at byte 5, as t.\n" +
				"fail token-without-expiry: A token (HS256, mark ????????) of the provider's shape that never expires stands in a.js at byte 5, as t."},
		{"token of what an own secret is the base64 of", Options{Secrets: []Secret{{"b", []byte(base64.StdEncoding.EncodeToString(testSecret.value))}}}, "a.js",
			"t = '" + hs256(secret, plainHeader, `{}`) + "'", 1,
			`fail token-of-own-secret: A token (HS256, mark ????????) that is signed with the secret "b" stands in a.js at byte 5, as t.`},
		{"token and its key", Options{}, "a.js", "t = '" + hs256("a-k3y-0f-ours", plainHeader, `{"sub":"1"}`) + "'; key = 'a-k3y-0f-ours'", 1,
			`fail token-with-its-key: A token (HS256, mark ????????) stands in a.js at byte 5, as t. What it is signed with is a string in a.js, as key (mark ????????).`},
		{"a token of examples, and its key", Options{}, "a.js", "t = '" + hs256("secret", plainHeader, `{"sub":"1"}`) + "'; key = 'secret'", 0,
			`warn token-with-its-key: A token (HS256, mark ????????) stands in a.js at byte 5, as t. What it is signed with is a string in a.js, as key (mark ????????), and too short or too well known to prove anything.`},
		{"a token of the provider's shape with a short key", Options{}, "a.js", "t = '" + hs256("secret", plainHeader, claims("")) + "'; key = 'secret'", 1,
			"fail token-with-its-key: A token (HS256, mark ????????) stands in a.js at byte 5, as t. What it is signed with is a string in a.js, as key (mark ????????).\n" +
				"fail token-without-expiry: A token (HS256, mark ????????) of the provider's shape that never expires stands in a.js at byte 5, as t."},
		{"a token of somebody else's", with, "a.js", "t = '" + hs256("not here", plainHeader, `{"iss":"supabase","role":"anon"}`) + "'", 0, ""},
		{"valid", with, "a.js", "t('" + hs256("not here", plainHeader, claims(`,"exp":1900000000,"peopleId":"52998224725"`)) + "')", 1,
			"fail token-valid: A token (HS256, mark ????????) of the provider's shape, for a CPF, that is valid until 2030-03-17T17:46:40Z stands in a.js at byte 3, as t."},
		{"expired", with, "a.js", "t('" + hs256("not here", plainHeader, `{"iss":"my-client-id","exp":1700000000,"scope":"x"}`) + "')", 1,
			"fail token-expired: A token (HS256, mark ????????) of your client ID that expired on 2023-11-14T22:13:20Z stands in a.js at byte 3, as t."},
		{"a value with a telling name", Options{}, ".env", "CAF_CLIENT_SECRET=" + string(textOf(6, 40, hexAlphabet)), 0,
			"warn telling-name: A value that looks like a secret (40 characters, mark ????????) stands in .env at byte 18, as CAF_CLIENT_SECRET."},
		{"the test environment", Options{}, "main.jsbundle", `fetch("https://api.beta.mobile.combateafraude.com/faces")`, 0,
			"warn test-endpoint: api.beta.mobile.combateafraude.com, a host of the provider's test environment, stands in main.jsbundle at byte 15, as fetch."},
		{"a CPF and a token for names", with, "529.982.247-25/" + hs256("k", plainHeader, claims("")) + "/a.txt", secret, 1,
			"fail own-secret: The secret \"client secret\" stands in [CPF]/[token]/a.txt at byte 0.\n" +
				"fail token-without-expiry: A token (HS256, mark ????????) of the provider's shape that never expires stands in [CPF]/[token]/a.txt, in its name."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := scanned(t, tc.o, file{tc.file, []byte(tc.text)})
			if got := lines(r); !like(strings.TrimSpace(got), tc.want) {
				t.Errorf("told:\n%s\nwant:\n%s", got, tc.want)
			}
			if got := r.ExitCode(); got != tc.code {
				t.Errorf("exit code %d, want %d", got, tc.code)
			}
		})
	}
}

// like compares texts; a ? stands for any character.
func like(got, want string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if want[i] != '?' && want[i] != got[i] {
			return false
		}
	}
	return true
}

func reversed(s string) string {
	b := []byte(s)
	for i := range len(b) / 2 {
		b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
	}
	return string(b)
}

func xor(s, key string) []byte {
	b := []byte(s)
	for i := range b {
		b[i] ^= key[i%len(key)]
	}
	return b
}

func zipOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		e, err := w.Create(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestScanWithin(t *testing.T) {
	t.Parallel()
	o := Options{Secrets: []Secret{testSecret}}
	inner := zipOf(t, file{"assets/config.properties", append([]byte("client.secret="), testSecret.value...)})
	outer := zipOf(t, file{"base.apk", inner}, file{"manifest.json", []byte("{}")})
	r := scanned(t, o, file{"app.xapk", outer})
	want := `fail own-secret: The secret "client secret" stands in app.xapk!base.apk!assets/config.properties at byte 14, as client.secret.`
	if got := strings.TrimSpace(lines(r)); got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}

// TestScanPackage: the key of a token may stand in another file, and several targets are one package.
func TestScanPackage(t *testing.T) {
	t.Parallel()
	token := hs256("a key elsewhere", plainHeader, `{"sub":"1"}`)
	r := scanned(t, Options{},
		file{"a.zip", zipOf(t, file{"t.json", []byte(`{"t":"` + token + `"}`)})},
		file{"b.zip", zipOf(t, file{"k.json", []byte(`{"k":"a key elsewhere"}`)})})
	want := "fail token-with-its-key: A token (HS256, mark ????????) stands in a.zip!t.json at byte 6, as t. What it is signed with is a string in b.zip!k.json, as k (mark ????????)."
	if got := strings.TrimSpace(lines(r)); !like(got, want) {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
	if r.Target != "a.zip, b.zip" {
		t.Errorf("target %q", r.Target)
	}
}

// TestScanIncomplete: what was not read is never clean, and does not keep the rest from being read.
func TestScanIncomplete(t *testing.T) {
	t.Parallel()
	o := Options{Secrets: []Secret{testSecret}}
	whole := zipOf(t, file{"a.txt", []byte(strings.Repeat("hello ", 1000))}, file{"b.txt", testSecret.value})
	damaged := bytes.Clone(whole)
	damaged[40] ^= 0xff // within the first entry
	if r := scanned(t, o, file{"a.zip", damaged}); r.ExitCode() != 1 || r.Count(finding.Inconclusive) != 1 {
		t.Errorf("a damaged entry: exit code %d, told:\n%s", r.ExitCode(), lines(r))
	}
	if r := scanned(t, Options{}, file{"a.zip", damaged}); r.ExitCode() != 3 {
		t.Errorf("a damaged entry and nothing else: exit code %d, told:\n%s", r.ExitCode(), lines(r))
	}
	if r := scanned(t, o, file{"empty", []byte{}}); r.ExitCode() != 0 {
		t.Errorf("an empty file that is staged: exit code %d, told:\n%s", r.ExitCode(), lines(r))
	}
	empty := filepath.Join(t.TempDir(), "empty.bundle")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Scan(t.Context(), []Target{{Path: empty}}, o); err != nil || r.ExitCode() != 3 {
		t.Errorf("an empty file: %v, told:\n%s", err, lines(r))
	}
	if r, err := Scan(t.Context(), []Target{{Path: t.TempDir()}}, o); err != nil || r.ExitCode() != 3 {
		t.Errorf("an empty folder: %v, told:\n%s", err, lines(r))
	}
	for _, name := range []string{"app.apk", "a.tar.gz", "a.zst", "classes.dex", "index.hbc", "lib.so"} {
		if r := scanned(t, o, file{name, []byte("<html>404 Not Found</html>")}); r.ExitCode() != 3 {
			t.Errorf("a page called %s: exit code %d, told:\n%s", name, r.ExitCode(), lines(r))
		}
	}
	if _, err := Scan(t.Context(), []Target{{Path: filepath.Join(t.TempDir(), "gone\x1b"+string(testSecret.value))}}, o); err == nil ||
		strings.Contains(err.Error(), string(testSecret.value)) || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a file that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Scan(ctx, []Target{file{"a.zip", whole}.target()}, o)
	if err != nil || r.ExitCode() != 3 {
		t.Errorf("a scan that was stopped: %v, told:\n%s", err, lines(r))
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	file := file{"build/app.zip", zipOf(t, file{"assets/a.txt", testSecret.value}, file{"b.txt", testSecret.value})}
	o := Options{Secrets: []Secret{testSecret}, Allowed: []Allowed{
		{Rule: "own-secret", Path: "**/assets/*", Reason: "a sandbox key", Expires: "2026-11-30"},
	}}
	r := scanned(t, o, file)
	if r.ExitCode() != 1 || !strings.Contains(lines(r), "skipped own-secret: The secret \"client secret\" stands in build/app.zip!assets/a.txt at byte 0: allowed until 2026-11-30, since: a sandbox key\n") {
		t.Errorf("exit code %d, told:\n%s", r.ExitCode(), lines(r))
	}
	o.Allowed = append(o.Allowed, Allowed{Rule: "own-secret", Path: "build/app.zip!b.txt", Reason: "the same", Expires: "2026-12-31"})
	if r := scanned(t, o, file); r.ExitCode() != 0 {
		t.Errorf("all is allowed: exit code %d, told:\n%s", r.ExitCode(), lines(r))
	}
	o.Now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if r := scanned(t, o, file); r.ExitCode() != 1 || !strings.Contains(lines(r), "warn allowance-over: own-secret at **/assets/* was allowed until 2026-11-30, since: a sandbox key\n") {
		t.Errorf("the next day: exit code %d, told:\n%s", r.ExitCode(), lines(r))
	}
}

func TestCheckAllowed(t *testing.T) {
	t.Parallel()
	good := Allowed{"own-secret", "**", "why", "2027-01-31"}
	for _, tc := range []struct {
		name  string
		edit  func(*Allowed)
		fault string
	}{
		{"good", func(*Allowed) {}, ""},
		{"no rule", func(a *Allowed) { a.Rule = "" }, "allow[0].rule"},
		{"another rule", func(a *Allowed) { a.Rule = "own-secrets" }, "allow[0].rule"},
		{"no path", func(a *Allowed) { a.Path = "" }, "allow[0].path"},
		{"a path that is no pattern", func(a *Allowed) { a.Path = "a[" }, "allow[0].path"},
		{"no reason", func(a *Allowed) { a.Reason = " " }, "allow[0].reason"},
		{"no day", func(a *Allowed) { a.Expires = "" }, "allow[0].expires"},
		{"another day", func(a *Allowed) { a.Expires = "31/01/2027" }, "allow[0].expires"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := good
			tc.edit(&a)
			err := errors.Join(CheckAllowed([]Allowed{a})...)
			if tc.fault == "" && err != nil || tc.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.fault+":")) {
				t.Errorf("%v, want %q", err, tc.fault)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"**", "a/b!c", true},
		{"a/b!c", "a/b!c", true},
		{"a/b/c", "a/b!c", true},
		{"a/*", "a/b!c", false},
		{"a/*/*", "a/b!c", true},
		{"**/c", "a/b!c", true},
		{"**/c", "c", true},
		{"**/b", "a/b!c", false},
		{"a/**", "a", true},
		{"a/**/c", "a/c", true},
		{"*.apk/**", "app.apk!x/y", true},
		{"*.apk", "app.apk!x/y", false},
		{strings.Repeat("**/", 50) + "z", strings.Repeat("a/", 500), false},
	} {
		if got := matches(tc.pattern, tc.name); got != tc.want {
			t.Errorf("%s matches %s: %v, want %v", tc.pattern, tc.name, got, tc.want)
		}
	}
}

func TestTells(t *testing.T) {
	t.Parallel()
	random := string(textOf(8, 32, mixed[:62]))
	for _, tc := range []struct {
		key, value string
		want       bool
	}{
		{"clientSecret", random, true},
		{"config.caf.client_secret", random, true},
		{"CAF_MOBILE_TOKEN", random, true},
		{"string/api-key", string(textOf(9, 40, hexAlphabet)), true},
		{"greeting", random, false},
		{"clientSecretLabel.text", random, false},
		{"clientSecret", random[:15], false},
		{"clientSecret", "your-client-secret-goes-here-123", false},
		{"clientSecret", "Enter the client secret 12", false},
		{"clientSecret", "https://host.example/path?x=12ab", false},
		{"clientSecret", "${CAF_CLIENT_SECRET_1_2_3}", false},
		{"clientSecret", "aaaaaaaaaaaaaaaaaaaaaaa111", false},
		{"string/google_api_key", "AIzaSyA" + random, false},
		{"mapboxAccessToken", "pk." + random, false},
		{"stripePublishableKey", "pk_live_" + random, false},
		{"password", "labelPasswordRepeat2x", false},
		{"drawable/$avd_hide_password__0", "res/drawable-v21/$avd_hide_password__0.xml", false},
	} {
		if got := tells(tc.key, []byte(tc.value)); got != tc.want {
			t.Errorf("%s = %s: %v, want %v", tc.key, tc.value, got, tc.want)
		}
	}
}

// TestWords: none is so short that the finder must look at more places than it would without.
func TestWords(t *testing.T) {
	t.Parallel()
	f := newFinder([][]byte{testSecret.value}, nil, true)
	for _, w := range words {
		if g := newFinder([][]byte{testSecret.value}, []string{w.text}, true); g.plain.stride < f.plain.stride {
			t.Errorf("%s makes the stride %d, which is %d without", w.text, g.plain.stride, f.plain.stride)
		}
	}
}

// TestRules: every rule has all that is told of it.
func TestRules(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, r := range Rules() {
		if seen[r.ID] || r.Title == "" || r.TitlePT == "" || r.What == "" || r.Why == "" || r.Fix == "" || r.Severity == "" || r.Topic < 1 || r.Topic > len(Topics()) {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
}

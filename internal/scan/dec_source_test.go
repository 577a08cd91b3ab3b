package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourceKeys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ source, key, want string }{
		// JavaScript and TypeScript
		{`const CLIENT_SECRET = "v1";`, "CLIENT_SECRET", "v1"},
		{`const CLIENT_SECRET="v1",OTHER='v2';`, "OTHER", "v2"},
		{`x={clientSecret: "v1", other: 'v2'}`, "clientSecret", "v1"},
		{`x={clientSecret: "v1", other: 'v2'}`, "other", "v2"},
		{`x={"client-secret":"v1"}`, "client-secret", "v1"},
		{`obj.clientSecret="v1"`, "obj.clientSecret", "v1"},
		{`this.clientSecret = "v1"`, "clientSecret", "v1"},
		{`obj["clientSecret"] = "v1"`, "obj.clientSecret", "v1"},
		{`obj[SECRET] = "v1"`, "obj.SECRET", "v1"},
		{`x={[SECRET]: "v1"}`, "SECRET", "v1"},
		{"let clientSecret = `v1`", "clientSecret", "v1"},
		{"let url = `https://${host}/k?key=v1&x=${y}#v2`", "url", "/k?key=v1&x="},
		{"let url = `https://${host[`a${1}`]}/k?key=v1&x=${y}#v2`", "url", "#v2"},
		{`const k = process.env.SECRET || "v1"`, "k", "v1"},
		{`f({k: process.env.SECRET ?? "v1"})`, "k", "v1"},
		{`f(process.env.SECRET || "v1")`, "process.env.SECRET", "v1"},
		{`const k = __DEV__ ? "v1" : "v2"`, "k", "v1"},
		{`const k = __DEV__ ? "v1" : "v2"`, "k", "v2"},
		{`const k: string | null = "v1"`, "k", "v1"},
		{`const k: Map<string, Array<string>> = "v1"`, "k", "v1"},
		{`class A { private readonly clientSecret: string = "v1" }`, "clientSecret", "v1"},
		{`const k = atob("v1")`, "k", "v1"},
		{`x={secret: new Secret("v1")}`, "secret", "v1"},
		{`const keys = ["v1", "v2"]`, "keys", "v2"},
		{`if (a) /["']/.test(b); k = "v1"`, "k", "v1"},
		{`a = b / c / d; k = "v1"`, "k", "v1"},
		{`a = b / "v1".length / 2`, "", "v1"},
		{`x.replace(/>/g, "&gt;").replace(/'/g, 'v1')`, "", "v1"},
		{`return"v1"`, "", "v1"},
		{`/* it's */ k = "v1" // don't`, "k", "v1"},
		{"k = 'unterminated\nm = 'v1'", "m", "v1"},
		{`<Text>Don't</Text><A b="v1"/>`, "b", "v1"},
		{`<a href="v0"></a><img src="v1"/>`, "src", "v1"},
		{`axios.defaults.headers.common['X-Api-Key'] = "v1"`, "axios.defaults.headers.common.X-Api-Key", "v1"},
		// Java, Kotlin, Groovy
		{`static final String CLIENT_SECRET = "v1";`, "CLIENT_SECRET", "v1"},
		{`map.put("clientSecret", "v1");`, "clientSecret", "v1"},
		{`map.put(Keys.SECRET, "v1");`, "Keys.SECRET", "v1"},
		{`config.setClientSecret("v1");`, "config.setClientSecret", "v1"},
		{`buildConfigField("String", "CLIENT_SECRET", "\"v1\"")`, "CLIENT_SECRET", "v1"},
		{`buildConfigField "String", "CLIENT_SECRET", "\"v1\""`, "CLIENT_SECRET", "v1"},
		{`android { defaultConfig { resValue 'string', 'client_secret', 'v1' } }`, "client_secret", "v1"},
		{`storePassword "v1"`, "storePassword", "v1"},
		{`const val SECRET: String? = "v1"`, "SECRET", "v1"},
		{`mapOf("secret" to "v1")`, "secret", "v1"},
		{`val s = """v1 "quoted" """`, "s", `v1 "quoted" `},
		{`byte[] b = {1}; String[] names = {"v1", "v2"};`, "names", "v1"},
		// Swift and Objective-C
		{`let clientSecret: String = "v1"`, "clientSecret", "v1"},
		{`Client(clientSecret: "v1", n: 2)`, "clientSecret", "v1"},
		{`["clientSecret": "v1"]`, "clientSecret", "v1"},
		{`static NSString *const kClientSecret = @"v1";`, "kClientSecret", "v1"},
		{`@{@"clientSecret": @"v1"}`, "clientSecret", "v1"},
		{`[d setObject:@"v1" forKey:@"clientSecret"];`, "clientSecret", "v1"},
		{`[r setValue:@"v1" forHTTPHeaderField:@"X-Api-Key"];`, "X-Api-Key", "v1"},
		{`[[Client alloc] initWithSecret:@"v1"]`, "initWithSecret", "v1"},
		{`"client_secret" = "v1";`, "client_secret", "v1"}, // .strings
		// C, C++, Go, Dart, Python, Ruby, PHP, shell
		{`#define CLIENT_SECRET "v1"`, "CLIENT_SECRET", "v1"},
		{`static const char client_secret[] = "v1";`, "client_secret", "v1"},
		{`char secret[32] = "v1";`, "secret", "v1"},
		{`cc -DCLIENT_SECRET="v1" x.c`, "CLIENT_SECRET", "v1"},
		{`auto s = "v1"s;`, "s", "v1"},
		{`printf("%" PRIu64 "v1");`, "", "v1"},
		{"clientSecret := `v1`", "clientSecret", "v1"},
		{`m := map[string]string{"secret": "v1"}`, "secret", "v1"},
		{`final clientSecret = r'v\1';`, "clientSecret", `v\1`},
		{`client_secret = 'v1'  # it's`, "client_secret", "v1"},
		{`password=f"v1"`, "password", "v1"},
		{`dict(secret="v1")`, "secret", "v1"},
		{"s = \"\"\"v1\nit's\"\"\"", "s", "v1\nit's"},
		{`'secret' => 'v1'`, "secret", "v1"},
		{`define('SECRET', 'v1');`, "SECRET", "v1"},
		{`$secret = 'v1';`, "$secret", "v1"},
	} {
		got, err := codeTexts(t, []byte(test.source), sourceTexts)
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
		}
		found := false
		var keys []string
		for _, x := range got {
			if string(x.b) == test.want {
				keys = append(keys, x.key)
				found = found || x.key == test.key || test.key == "" && x.key != "comment"
			}
		}
		if !found {
			t.Errorf("%s: %q has the keys %q, want %q", test.source, test.want, keys, test.key)
		}
	}
}

func TestSourceLiterals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		source string
		want   []string
	}{
		{`"a\n\t\x41\u0042\u{43}\u{1F600}\uD83D\uDE00\101\0end\
more\q\"'"`, []string{"a\n\tABC😀😀A\x00endmoreq\"'"}},
		{`'it\'s'`, []string{"it's"}},
		{`a = "ab" + "cd" + 'ef' + x + "gh" + "ij"`, []string{"ab", "cd", "ef", "abcdef", "gh", "ij", "ghij"}},
		{`a = ("ab"` + "\n" + `  "cd")`, []string{"ab", "cd", "abcd"}},
		{`@"ab" @"cd"`, []string{"abcd"}},
		{`"ab".concat("cd").concat('ef')`, []string{"abcdef"}},
		{`sb.append("ab").append("cd")`, []string{"abcd"}},
		{`["ab","cd"].join("")`, []string{"abcd"}},
		{`["ab", "cd", "ef"].join('-')`, []string{"ab-cd-ef"}},
		{`["ab", "cd"].join()`, []string{"ab,cd"}},
		{`"".join(["ab", "cd"])`, []string{"abcd"}},
		{`$a = 'ab' . 'cd';`, []string{"abcd"}},
		{`"\"quoted\""`, []string{`"quoted"`, "quoted"}},
		{"`a\\`b${c}d`", []string{"a`b", "d"}},
		{"`${a}${`x${b}y`}z`", []string{"x", "y", "z"}},
		{"// note: abc\n/* def\n */", []string{"note: abc", "def"}},
		{"# python: abc", []string{"python: abc"}},
		{`x = /[/"]/; y = "v1"`, []string{"v1"}},
		{`a}/"b/.test(c);y="v1"`, []string{"v1"}},
		{`https://example.org/path "v1"`, []string{"v1"}},
		{`{"\\"}, "v1"`, []string{`\`, "v1"}},
		{`x = "a" in b, y = "v1"instanceof c`, []string{"a", "v1"}},
	} {
		got, err := codeTexts(t, []byte(test.source), sourceTexts)
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
		}
		texts := map[string]bool{}
		for _, x := range got {
			texts[string(x.b)] = true
		}
		for _, want := range test.want {
			if !texts[want] {
				t.Errorf("%s: no %q in %v", test.source, want, texts)
			}
		}
	}
}

// made tells who looks for the bytes at the place that they are not there: it must be neither missing nor everywhere.
func TestSourceMade(t *testing.T) {
	t.Parallel()
	got, _ := codeTexts(t, []byte(`a = "plain"; b = "es\x63aped"; c = "jo" + "ined"; d = "p:lain"`), sourceTexts)
	want := map[string]bool{"plain": false, "escaped": true, "jo": false, "ined": false, "joined": true, "p:lain": false}
	for _, x := range got {
		if made, ok := want[string(x.b)]; !ok || made != x.made {
			t.Errorf("%q: made %v", x.b, x.made)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d texts", len(got))
	}
}

// What a minifier makes of real programs, seen by a parser and by the lexer.
func TestSourceBundle(t *testing.T) {
	t.Parallel()
	node := codeTool(t, "node")
	esbuild := codeEsbuild(t)
	acorn := filepath.Join(npmTarball(t, "acorn", "8.19.0"), "dist/acorn.js")
	modern, err := filepath.Abs("testdata/dec/modern.js")
	if err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Abs("testdata/dec/literals.mjs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	runCode(t, dir, esbuild, modern, "--bundle", "--minify", "--sourcemap", "--charset=utf8", "--outfile=modern.min.js", "--log-level=error")
	runCode(t, dir, esbuild, acorn, "--minify", "--outfile=acorn.min.js", "--log-level=error")
	for _, file := range []string{"modern.min.js", "acorn.min.js", acorn} {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := codeTexts(t, data, sourceTexts)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		texts := map[string]bool{"": true}
		for _, x := range got {
			texts[string(x.b)] = true
		}
		lines := strings.Split(string(runCode(t, dir, node, list, acorn, file)), "\n")
		for _, line := range lines {
			var want string
			if err := json.Unmarshal([]byte(line), &want); err != nil {
				t.Fatal(err)
			}
			if !texts[want] {
				t.Errorf("%s: no %s", filepath.Base(file), line)
			}
		}
		if len(lines) < 40 {
			t.Errorf("%s: only %d literals", file, len(lines))
		}
		if strings.HasSuffix(file, "modern.min.js") {
			for _, want := range [][2]string{
				{"clientSecret", "s3cr3t-Value-0123456789abcdef"}, {"apiKey", "AKIAIOSFODNN7EXAMPLE"},
				{"api-key", "quoted-key-value"}, {"fallback", "fallback-secret-value"},
			} {
				if !hasText(got, want[0], want[1]) {
					t.Errorf("no %s with %s", want[0], want[1])
				}
			}
			var numbers []text
			numberTexts(data, func(x text) { numbers = append(numbers, text{b: bytes.Clone(x.b)}) })
			if !hasText(numbers, "", "ClientSecret!\"\xfa") || !hasText(numbers, "", "wide: 日本") {
				t.Errorf("numbers are %v", numbers)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ source, key, want string }{
		{`k = [83,101,108,111,45,107,101,121]`, "k", "Selo-key"},
		{`String.fromCharCode(83,101,108,111,45,107,101,121)`, "String.fromCharCode", "Selo-key"},
		{`const unsigned char kKey[] = { 0x53, 0x65, 0x6c, 0x6f, 0x2D, 0x6b, 0x65, 0x79, };`, "kKey", "Selo-key"},
		{`byte[] KEY = new byte[] {(byte) 0x53, (byte)101, 108, 111, 45, 107, 101, 121}`, "KEY", "Selo-key"},
		{`val key = byteArrayOf(0x53.toByte(), 101, 108, 111, 45, 107, 101, 121)`, "key", "Selo-key"},
		{`key: [0123, 0145, 0154, 0157, 055, 0153, 0145, 0171]`, "key", "Selo-key"},
		{`char k[] = {'S','e','l','o','-','\x6b','\145','y', 0};`, "k", "Selo-key\x00"},
		{`k := []byte{83,101,108,111,0b101101,107,101,121}`, "k", "Selo-key"},
		{"k = [83\n101\n108\n111\n45\n107\n101\n121]", "k", "Selo-key"},
		{`new sbyte[] {-1,-128,127,0,1,2,3,4}`, "", "\xff\x80\x7f\x00\x01\x02\x03\x04"},
		{`k = [0x65e5, 0x672c, 83, 101, 108, 111, 45, 107]`, "k", "日本Selo-k"},
		{`k = [83u, 101u, 108u, 111u, 45u, 107u, 101u, 121u8]`, "k", "Selo-key"},
	} {
		var got []text
		numberTexts([]byte(test.source), func(x text) {
			x.b = bytes.Clone(x.b)
			got = append(got, x)
		})
		if len(got) != 1 || string(got[0].b) != test.want || test.key != "" && got[0].key != test.key || !got[0].made {
			t.Errorf("%s: %v, want %q", test.source, got, test.want)
		}
	}
	for _, none := range []string{
		"1,2,3,4,5,6,7", "M1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 9.5", "a1,a2,a3,a4,a5,a6,a7,a8,a9",
		"1+2+3+4+5+6+7+8+9", "12345678", "9999999,9999999,9999999,9999999,9999999,9999999,9999999,9999999",
	} {
		numberTexts([]byte(none), func(x text) { t.Errorf("%s: %q", none, x.b) })
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	wide := func(s string) string {
		var b []byte
		for _, r := range s {
			b = append(b, byte(r), byte(r>>8))
		}
		return string(b)
	}
	for _, test := range []struct {
		data string
		want []string
	}{
		{"\x00\x01abcdef\x00short\x00ghijkl\xff", []string{"abcdef", "ghijkl"}},
		{"\x00segredo-ção\x00", []string{"segredo-ção"}},
		{"\x00line\nline\r\n\tend\x00", []string{"line\nline\r\n\tend"}},
		{"\xc3(abcdef\xc3", []string{"(abcdef"}},
		{"\x00\x00" + wide("wide secret") + "\x00\x00", []string{"wide secret"}},
		{"\x00\x00" + wide("éwide ção 日本") + "\x00\x00", []string{"éwide ção 日本"}},
		{"a\x00b\x00c" + wide("secret value") + "\x00\x00", []string{"secret value"}},
		{"\x01" + wide("odd place") + "\x00\x00", []string{"odd place"}},
		{"abcdefg" + wide("hijklmn") + "\x00\x00", []string{"abcdefgh", "hijklmn"}},
		{wide("short"), nil},
		{"abcdef", []string{"abcdef"}},
	} {
		var got []string
		runs([]byte(test.data), 6, func(x text) { got = append(got, string(x.b)) })
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%q: %q, want %q", test.data, got, test.want)
		}
	}
}

// A long run comes in pieces, and whatever is shorter than the overlap is whole in one of them.
func TestRunsPieces(t *testing.T) {
	t.Parallel()
	var plain []byte
	for i := 0; len(plain) < 5*runPiece; i++ {
		plain = append(plain, "0123456789ção"[i%10:]...)
	}
	var wide []byte
	for range 3 * runPiece / 2 {
		wide = append(wide, 'a', 0)
	}
	for name, data := range map[string][]byte{"utf-8": plain, "utf-16": wide} {
		total, end := 0, runOverlap/2
		runs(data, 6, func(x text) {
			size := len(x.b)
			if x.made {
				size *= 2
			}
			// What begins before the end of the last piece, but does not end there, is whole in this one.
			if x.off > end-runOverlap/2 || x.off+size <= end {
				t.Errorf("%s: from %d to %d after %d", name, x.off, x.off+size, end)
			}
			end = x.off + size
			total += len(x.b)
		})
		if end != len(data) || total > 3*len(data) {
			t.Errorf("%s: %d bytes, to %d of %d", name, total, end, len(data))
		}
	}
}

// Inputs on which a reader that looks ahead without remembering would take forever.
func TestSourceHostile(t *testing.T) {
	t.Parallel()
	const n = 1 << 15
	for name, unit := range map[string]string{
		"quotes": `"\`, "escaped": `\"`, "regexps": "=/[", "templates": "`${", "comments": "/*", "triples": `"""`,
		"brackets": "([{", "closing": ")]}", "concat": `"a"+`, "join": `["a","b"].join("c"),`, "numbers": "1,", "minus": "-1,",
		"pluses": "+", "spaces": " ", "apostrophes": "'a\"b'", "yaml": "a: \"\n", "keys": `{"a":`, "slashes": `\`, "arrays": "[",
		"dots": "a.", "shell": "export A=\\\n", "map": `{"sources":["a","b"],"sourcesContent":["x='y'"]},`,
	} {
		data := []byte(strings.Repeat(unit, n/len(unit)))
		for what, decode := range map[string]func([]byte, func(text)) error{
			"source": sourceTexts, "json": jsonTexts, "props": propsTexts,
			"numbers": func(b []byte, emit func(text)) error { numberTexts(b, emit); return nil },
		} {
			total := 0
			err := decode(data, func(x text) { total += len(x.b) })
			if total > 50*len(data) || err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, errTooMuch) {
				t.Errorf("%s as %s: %d bytes, %v", name, what, total, err)
			}
		}
	}
}

package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	const data = "\ufeff" + `{
  // a comment
  "project_info": {"project_number": "123456789012", "id": 123456789},
  "client": [ {"api_key": [{"current_key": "AIzaSyExample"}], 'single': 'it\'s'}, ["nested", ["deep"]], ],
  unquoted: "value\u00e7\n\"\\", /* another */ "url": "https:\/\/example.org",
  "last": true,
}
"second value"`
	got, err := codeTexts(t, []byte(data), jsonTexts)
	if err != nil {
		t.Error(err)
	}
	for _, want := range [][2]string{
		{"project_info.project_number", "123456789012"}, {"project_info.id", "123456789"},
		{"client[0].api_key[0].current_key", "AIzaSyExample"}, {"client[0].single", "it's"},
		{"client[1][0]", "nested"}, {"client[1][1][0]", "deep"}, {"unquoted", "valueç\n\"\\"},
		{"url", "https://example.org"}, {"comment", " a comment"}, {"", "second value"}, {"", "current_key"},
	} {
		if !hasText(got, want[0], want[1]) {
			t.Errorf("no %s with %q", want[0], want[1])
		}
	}
}

// All strings of a document, as the standard library reads them.
func TestJSONAsTheLibrary(t *testing.T) {
	t.Parallel()
	var document any
	const data = `{"a":{"b":["x","\ud83d\ude00","\t",{"c":"d\\","e":"\u0000"}],"f":[[],{},[{"g":"h"}]]},"i":"","j":"k/\/"}`
	if err := json.Unmarshal([]byte(data), &document); err != nil {
		t.Fatal(err)
	}
	var want []string
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case string:
			if v != "" {
				want = append(want, key+"="+v)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", key, i), item)
			}
		case map[string]any:
			for name, item := range v {
				walk(strings.TrimPrefix(key+"."+name, "."), item)
			}
		}
	}
	walk("", document)
	texts, err := codeTexts(t, []byte(data), jsonTexts)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range texts {
		if x.named {
			got = append(got, x.key+"="+string(x.b))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestJSONDamaged(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"a":"b"`, `{"a":"b`, `{"a":"b"}}`, `["a","b"}`, "some text, which is no JSON", `{"a":"b" /* `, "\x00\x01",
	} {
		got, err := codeTexts(t, []byte(data), jsonTexts)
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", data, err)
		}
		if strings.Contains(data, `"b`) && !slices.ContainsFunc(got, func(x text) bool { return string(x.b) == "b" }) {
			t.Errorf("%s: what can be read is lost", data)
		}
	}
	deep := strings.Repeat(`[`, 100_000) + `"deep"` + strings.Repeat(`]`, 100_000)
	got, err := codeTexts(t, []byte(deep), jsonTexts)
	if err != nil || len(got) != 1 || string(got[0].b) != "deep" || len(got[0].key) > keyLimit {
		t.Errorf("deep: %v, %v", got, err)
	}
}

func TestSourceMap(t *testing.T) {
	t.Parallel()
	const data = `{"version":3,"sources":["a.js",null,"src/config.js"],"sourcesContent":[null,null,` +
		`"const CLIENT_SECRET = \"s3cr3t\";\nk=[83,101,108,111,45,107,101,121]"],"mappings":"AAAA"}`
	got, err := codeTexts(t, []byte(data), jsonTexts)
	if err != nil {
		t.Error(err)
	}
	const name = "sources[2] src/config.js"
	for _, want := range [][2]string{
		{name + ": CLIENT_SECRET", "s3cr3t"}, {name + ": k", "Selo-key"},
		{name, "const CLIENT_SECRET = \"s3cr3t\";\nk=[83,101,108,111,45,107,101,121]"},
	} {
		if !slices.ContainsFunc(got, func(x text) bool {
			return x.key == want[0] && string(x.b) == want[1] && x.made && strings.HasPrefix(data[x.off:], "const CLIENT")
		}) {
			t.Errorf("no %s with %q", want[0], want[1])
		}
	}
}

// The source map that a bundler writes.
func TestSourceMapBundle(t *testing.T) {
	t.Parallel()
	esbuild := codeEsbuild(t)
	modern, err := filepath.Abs("testdata/dec/modern.js")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	runCode(t, dir, esbuild, modern, "--bundle", "--minify", "--sourcemap", "--outfile=m.js", "--log-level=error")
	data, err := os.ReadFile(filepath.Join(dir, "m.js.map"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := codeTexts(t, data, jsonTexts)
	if err != nil {
		t.Error(err)
	}
	for _, want := range [][2]string{
		{"modern.js: CLIENT_SECRET", "exported-client-secret"}, {"literals.js: clientSecret", "s3cr3t-Value-0123456789abcdef"},
		{"modern.js: String.fromCharCode", "Selo-secret"},
	} {
		if !slices.ContainsFunc(got, func(x text) bool {
			return strings.HasPrefix(x.key, "sources[") && strings.HasSuffix(x.key, want[0]) && string(x.b) == want[1]
		}) {
			t.Errorf("no %s with %q", want[0], want[1])
		}
	}
}

func TestProps(t *testing.T) {
	t.Parallel()
	const data = `# .env
API_KEY=plain-value
QUOTED="quoted value" # comment
SINGLE='single $value'
export EXPORTED=exported-value
SPACED = spaced-value # comment
EMPTY=
COLON: colon-value
sdk.dir=C\:\\Users\\x
continued=first-\
    second-\
    third
#OFF=switched-off
! another comment
URL=https://example.org/?a=b:c
-Pnothing
see https://example.org/not-a-name

MULTI="-----BEGIN KEY-----
abc
-----END KEY-----"

[section]
in.section = section-value
; old = old-value
[ other.section ]
toml = """
multi-line"""
"quoted-key" = "quoted-key-value"
ENV DOCKER=docker-value
-DDEFINED=defined-value
A := assigned-value
`
	got, err := codeTexts(t, []byte(data), propsTexts)
	if err != nil {
		t.Error(err)
	}
	for _, want := range [][2]string{
		{"API_KEY", "plain-value"}, {"QUOTED", "quoted value"}, {"SINGLE", "single $value"}, {"EXPORTED", "exported-value"},
		{"SPACED", "spaced-value"}, {"COLON", "colon-value"}, {"sdk.dir", `C\:\\Users\\x`}, {"sdk.dir", `C:\Users\x`},
		{"continued", "first-second-third"}, {"OFF", "switched-off"}, {"comment", "another comment"},
		{"URL", "https://example.org/?a=b:c"}, {"MULTI", "-----BEGIN KEY-----\nabc\n-----END KEY-----"},
		{"section.in.section", "section-value"}, {"section.old", "old-value"}, {"other.section.toml", "\nmulti-line"},
		{"other.section.quoted-key", "quoted-key-value"}, {"other.section.DOCKER", "docker-value"},
		{"other.section.DEFINED", "defined-value"}, {"other.section.A", "assigned-value"},
	} {
		if !hasText(got, want[0], want[1]) {
			t.Errorf("no %s with %q", want[0], want[1])
		}
	}
	for _, x := range got {
		if strings.HasPrefix(x.key, "see") {
			t.Errorf("a URL is taken for %q", x.b)
		}
	}
}

func TestYAML(t *testing.T) {
	t.Parallel()
	const data = `app:
  config:
    clientSecret: yaml-value
    quoted: "quoted \"yaml\" value"
    list:
      - name: LISTED
        value: listed-value
    key: |
      -----BEGIN KEY-----
      abc
      -----END KEY-----
    after: after-value
  sibling: sibling-value
top: top-value
`
	got, err := codeTexts(t, []byte(data), propsTexts)
	if err != nil {
		t.Error(err)
	}
	for _, want := range [][2]string{
		{"app.config.clientSecret", "yaml-value"}, {"app.config.quoted", `quoted "yaml" value`},
		{"app.config.list.value", "listed-value"}, {"app.config.key", "-----BEGIN KEY-----\nabc\n-----END KEY-----"},
		{"app.config.after", "after-value"}, {"app.sibling", "sibling-value"}, {"top", "top-value"},
	} {
		if !hasText(got, want[0], want[1]) {
			t.Errorf("no %s with %q in %v", want[0], want[1], got)
		}
	}
}

// What is read of a document must not depend on where in memory it lies, nor change it.
func TestTextsLeaveDataAlone(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("testdata/dec/modern.js")
	if err != nil {
		t.Fatal(err)
	}
	for name, decode := range map[string]func([]byte, func(text)) error{
		"source": sourceTexts, "json": jsonTexts, "props": propsTexts, "hermes": hermesTexts, "elf": elfTexts,
	} {
		data := bytes.Clone(source)
		_ = decode(data[:len(data):len(data)], func(text) {})
		if !bytes.Equal(data, source) {
			t.Errorf("%s writes to its data", name)
		}
	}
}

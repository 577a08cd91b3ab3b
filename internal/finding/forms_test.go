package finding

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write testdata/report.* from the sample")

// form is one of the ways to write a report, and where the sample of it is kept.
type form struct {
	name, file string
	write      func(io.Writer, *Report) error
}

func inText(opts TextOptions) func(io.Writer, *Report) error {
	return func(w io.Writer, r *Report) error { return WriteText(w, r, opts) }
}

var forms = []form{
	{"text", "report.txt", inText(TextOptions{})},
	{"text, coloured", "report.ansi", inText(TextOptions{Color: true, Width: 80})},
	{"text, verbose", "report.verbose.txt", inText(TextOptions{Verbose: true})},
	{"JSON", "report.json", WriteJSON},
	{"SARIF", "report.sarif", WriteSARIF},
	{"JUnit", "report.xml", WriteJUnit},
	{"HTML", "report.html", WriteHTML},
}

func render(t testing.TB, f form, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := f.write(&b, r); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			r := sample()
			got := render(t, f, r)
			if diff := cmp.Diff(sample(), r); diff != "" {
				t.Errorf("writing changed the report (-was +is):\n%s", diff)
			}
			checkForm(t, f, got)
			file := filepath.Join("testdata", f.file)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("not as in %s (-file +now); if that is meant, go test -update:\n%s", file, diff)
			}
		})
	}
}

// checkForm checks what holds of a form of any report, whatever its strings.
func checkForm(t testing.TB, f form, got string) {
	t.Helper()
	ours := got
	if f.file == "report.ansi" {
		for _, s := range []style{bold, dim, red, green, yellow, magenta, cyan} {
			ours = strings.ReplaceAll(ours, "\x1b["+string(s)+"m", "")
		}
		ours = strings.ReplaceAll(ours, "\x1b[0m", "")
	}
	if !utf8.ValidString(ours) {
		t.Errorf("%s: not UTF-8", f.name)
	}
	for _, r := range ours {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
			t.Errorf("%s: holds %U as it is", f.name, r)
		}
	}
	switch filepath.Ext(f.file) {
	case ".txt", ".ansi":
		most := 100
		if f.file == "report.ansi" {
			most = 80
		}
		for l := range strings.SplitSeq(ours, "\n") {
			if n := width(l); n > most {
				t.Errorf("%s: %d columns: %q", f.name, n, l)
			}
		}
	case ".json", ".sarif":
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: no JSON", f.name)
		}
		if f.name == "SARIF" {
			checkSARIF(t, got)
		}
	case ".xml":
		for d := xml.NewDecoder(strings.NewReader(got)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", f.name, err)
				break
			}
		}
	case ".html":
		lower := strings.ToLower(got)
		for _, bad := range []string{"<script", "<img", "<svg", "<iframe", "<b>", "<link", "<object", "href=\"javascript", "style=\"", " src="} {
			if i := strings.Index(lower, bad); i >= 0 && !insideText(lower, i) {
				t.Errorf("%s: holds %s at %d", f.name, bad, i)
			}
		}
		_, after, _ := strings.Cut(got, "<style>")
		if !strings.Contains(strings.ReplaceAll(got, "&#43;", "+"), styleHash("<style>"+after)) {
			t.Errorf("%s: the hash in its policy is not that of its style sheet", f.name)
		}
	}
}

// insideText reports that what is at i stands in text, where it is no attribute: nothing of ours has a < open there.
func insideText(html string, i int) bool {
	return html[i] != '<' && strings.LastIndexByte(html[:i], '>') > strings.LastIndexByte(html[:i], '<')
}

// TestFormsCatch shows that checkForm can fail.
func TestFormsCatch(t *testing.T) {
	for _, tc := range []struct{ form, bad string }{
		{"text", "\x1b[2J"}, {"text", "a\rb"}, {"text", "\u202e"}, {"text", "\xff"}, {"text", strings.Repeat("x", 101)},
		{"text, coloured", "\x1b[2J"}, {"JSON", "{"}, {"JSON", "\"\u009b\""}, {"SARIF", "{}"}, {"JUnit", "<a>]]></b>"},
		{"HTML", "<script>"}, {"HTML", "<a href=\"javascript:x\">"}, {"HTML", "<style>x</style>"},
	} {
		var spy fails
		for _, f := range forms {
			if f.name == tc.form {
				spy.TB = t
				checkForm(&spy, f, tc.bad)
			}
		}
		if spy.n == 0 {
			t.Errorf("%s: %q is let through", tc.form, tc.bad)
		}
	}
}

type fails struct {
	testing.TB
	n int
}

func (f *fails) Helper()               {}
func (f *fails) Errorf(string, ...any) { f.n++ }

func checkSARIF(t testing.TB, got string) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(got))
	if err != nil {
		t.Errorf("SARIF: %v", err)
		return
	}
	if err := sarifSchema(t).Validate(v); err != nil {
		t.Errorf("SARIF: %v", err)
	}
}

var compiledSARIF *jsonschema.Schema

func sarifSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	if compiledSARIF == nil {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		var err error
		if compiledSARIF, err = c.Compile("testdata/sarif-2.1.0.schema.json"); err != nil {
			t.Fatal(err)
		}
	}
	return compiledSARIF
}

// TestShownForgetsNoField puts an escape into every string that a report has, by reflection.
func TestShownForgetsNoField(t *testing.T) {
	r := sample()
	n := 0
	walk(reflect.ValueOf(r).Elem(), func(v reflect.Value) { v.SetString("\x1b"); n++ })
	if n < 100 {
		t.Fatalf("found %d strings only", n)
	}
	walk(reflect.ValueOf(shown(r, 100)).Elem(), func(v reflect.Value) {
		if strings.Contains(v.String(), "\x1b") {
			t.Errorf("a %s was forgotten", v.Type())
		}
	})
}

func walk(v reflect.Value, do func(reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		do(v)
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), do)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			walk(v.Field(i), do)
		}
	}
}

// full is a writer whose disk is full.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterFails(t *testing.T) {
	for _, f := range forms {
		if err := f.write(full{}, sample()); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", f.name, err)
		}
	}
}

// TestEmptyReport writes reports with next to nothing in them.
func TestEmptyReport(t *testing.T) {
	for _, r := range []*Report{{}, {Topics: []Topic{{Number: 3}}}, {Findings: []Finding{{}}}, {Rules: []Rule{{}}}} {
		for _, f := range forms {
			checkForm(t, f, render(t, f, r))
		}
	}
}

// TestNothingIsLost: a finding whose rule is not described, and an outcome that nobody knows, are told.
func TestNothingIsLost(t *testing.T) {
	r := &Report{Tool: "t", Findings: []Finding{{Rule: "ghost-rule", Outcome: Fail, Message: "boo"}, {Rule: "odd-rule", Outcome: "splendid"}}, Rules: []Rule{{ID: "silent-rule", Topic: 9}}}
	for _, f := range forms {
		got := render(t, f, r)
		for _, want := range []string{"ghost-rule", "boo", "odd-rule", "silent-rule"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: does not tell of %s", f.name, want)
			}
		}
	}
	want := tally{Fail: 1, Inconclusive: 2}
	if diff := cmp.Diff(want, tallyAll(r.chapters())); diff != "" {
		t.Error(diff)
	}
}

func FuzzForms(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31m", "]]>", "<script>alert(1)</script>", "\" onclick=\"x", "\u202e\u200b\ufeff", "\xff\xc0", "a\r\nb\tc", "javascript:alert(1)", "https://x.example/\"><script>", "日本語", "e\u0301\u0301", "{{.}}", "${x}", "`````", "](x)", "../..", ":", "\u2028", strings.Repeat("x", 300)} {
		f.Add(s, s, "pass", 1)
		f.Add("x", s, "fail", 0)
	}
	f.Fuzz(func(t *testing.T, a, b, outcome string, topic int) {
		r := &Report{
			Tool: a, Version: b, Target: a, About: []Fact{{a, b}}, Started: time.Unix(1e9, 0),
			Topics: []Topic{{topic, a, b}, {1, b, a}},
			Rules: []Rule{
				{ID: a, Title: b, TitlePT: a, Topic: topic, Severity: Severity(b), What: a, Why: b, Fix: a, Snippets: []Snippet{{a, b}, {b, a}}, References: []Reference{{a, b, a}, {b, a, b}, {"CWE", a, "https://x.example/" + b}}},
				{ID: b, Title: a, Topic: 1, Severity: High},
			},
			Findings: []Finding{
				{a, Outcome(outcome), b, a, []Exchange{{a, b, a}}}, {b, Fail, a, b, []Exchange{{b, a, b}, {}}}, {a + b, Skipped, b, a, nil}, {a, Warn, b, "https://" + b + "/" + a, nil},
			},
			Changes: &Changes{Changed: []Change{{a, b, Outcome(outcome), Fail}, {b, "", "", Outcome(outcome)}, {a, "", Pass, ""}}},
		}
		for _, form := range forms {
			checkForm(t, form, render(t, form, r))
		}
	})
}

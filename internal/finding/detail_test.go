package finding

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"plain\n\ttext":         "plain\n\ttext",
		"ção 日本 🔑 \ufffd":       "ção 日本 🔑 \ufffd",
		"a\u00a0b":              "a\u00a0b",
		"a\r\nb":                "a\nb",
		"a\rb\r":                `a\rb\r`,
		"\x1b[31m\x00\x07\x7f":  `\x1b[31m\x00\x07\x7f`,
		"\u009b2J\u0085":        `\u009b2J\u0085`,
		"\u202eabc\u2066\u2069": `\u202eabc\u2066\u2069`,
		"\u200b\ufeff\u2028":    `\u200b\ufeff\u2028`,
		"\xff\xe2\x80":          `\xff\xe2\x80`,
		"\U000e0041\ufffe":      `\U000e0041\ufffe`,
	} {
		if got := visible(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if again := visible(visible(in)); again != visible(in) {
			t.Errorf("%q: shown twice is %q", in, again)
		}
	}
}

func TestCutAndWrap(t *testing.T) {
	for _, tc := range []struct {
		in   string
		n    int
		want string
	}{
		{"four", 4, "four"}, {"fives", 4, "fiv…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"},
		{"x", 0, "…"}, {"", 0, ""}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"e" + strings.Repeat("\u0301", 20), 5, "e" + strings.Repeat("\u0301", 8) + "…"},
	} {
		if got := cut(tc.in, tc.n); got != tc.want {
			t.Errorf("cut(%q, %d): got %q, want %q", tc.in, tc.n, got, tc.want)
		}
	}
	if diff := cmp.Diff([]string{"one two", "three", "abcdefg", "hij k"}, wrap(" one two\nthree abcdefghij k", 7)); diff != "" {
		t.Error(diff)
	}
}

func TestShownBounds(t *testing.T) {
	got := shown(&Report{Target: strings.Repeat("é", 100)}, 11).Target
	if want := "ééééé… (190 more bytes, which are in the JSON form)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestArtifact(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example:8443/v1/token": "a.example%3A8443/v1/token",
		"https://a.example":               "a.example",
		"https://a.example/x?token=t#f":   "a.example/x",
		"app.apk!/assets/index.js":        "app.apk%21/assets/index.js",
		`lib\x86\a b.so`:                  "lib/x86/a%20b.so",
		"../../etc/passwd":                "etc/passwd",
		"/abs/path":                       "abs/path",
		"C:evil":                          "C%3Aevil",
		"":                                "target",
		"/":                               "target",
		"..":                              "target",
	} {
		if got := artifact(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestWebURL(t *testing.T) {
	for in, ok := range map[string]bool{
		"https://owasp.org/x#y": true, "http://a.example": true, "": false, "javascript:alert(1)": false, "JavaScript:alert(1)": false,
		"data:text/html,x": false, "//a.example": false, "/x": false, "https://": false, "https://u:p@a.example": false, "https://a.example/\">": false,
		"\x01https://a.example": false, "file:///etc/passwd": false,
	} {
		if got := webURL(in) != ""; got != ok {
			t.Errorf("%q: got %t", in, got)
		}
	}
}

// TestSARIFResults: GitHub alerts on every result, so there is one for what is not well only, and the others are in
// the run's properties.
func TestSARIFResults(t *testing.T) {
	run := sarif(sample()).Runs[0]
	got := make(map[string]string)
	prints := make(map[string]bool)
	for _, res := range run.Results {
		got[res.RuleID] = res.Kind + " " + res.Level
		if print := res.PartialFingerprints["primaryLocationLineHash"]; prints[print] {
			t.Errorf("%s: its fingerprint is that of another result", res.RuleID)
		} else {
			prints[print] = true
		}
		if run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID {
			t.Errorf("%s: wrong index", res.RuleID)
		}
		if uri := res.Locations[0].Physical.Artifact.URI; strings.Contains(uri, ":") {
			t.Errorf("%s: GitHub would refuse all of it for %s", res.RuleID, uri)
		}
	}
	want := map[string]string{
		"token-other-user": "fail error", "token-lifetime": "fail note", "response-signature": "fail error", "response-replay": "open none", "extra-odd": "fail note",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(run.Properties.Outcomes); n != len(sample().Rules) {
		t.Errorf("%d outcomes in the properties", n)
	}
	if tags := run.Tool.Driver.Rules[2].Properties.Tags; !strings.Contains(strings.Join(tags, " "), "external/cwe/cwe-639") {
		t.Errorf("no tag of CWE in %q", tags)
	}
	// Fingerprints outlive other words, and other findings before them.
	r := sample()
	r.Rules, r.Findings = r.Rules[2:], r.Findings[2:]
	r.Findings[0].Message = "Other words."
	again := sarif(r).Runs[0].Results[0]
	if diff := cmp.Diff(run.Results[0].PartialFingerprints, again.PartialFingerprints); diff != "" {
		t.Error(diff)
	}
}

func TestMarkdown(t *testing.T) {
	got := help(Rule{Fix: "[a](b) <c> `d` @e", Snippets: []Snippet{{"Go", "````"}}, References: []Reference{{"C]", "1", "https://x.example/a)b"}}}).Markdown
	want := "**How to fix it.** \\[a\\](b) \\<c\\> \\`d\\` \\@e\n\nGo:\n\n`````\n````\n`````\n\n- [C\\] 1](<https://x.example/a)b>)"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestJUnitReads reads the form back, as a pipeline does.
func TestJUnitReads(t *testing.T) {
	var got junitSuites
	if err := xml.Unmarshal([]byte(render(t, forms[5], sample())), &got); err != nil {
		t.Fatal(err)
	}
	var tests, failures, errors, skipped int
	var story string
	for _, s := range got.Suites {
		tests += len(s.Cases)
		for _, c := range s.Cases {
			if c.Failure != nil {
				failures++
				story += c.Failure.Text
			}
			if c.Error != nil {
				errors++
			}
			if c.Skipped != nil {
				skipped++
			}
		}
	}
	if diff := cmp.Diff([]int{got.Tests, got.Failures, got.Errors, got.Skipped}, []int{tests, failures, errors, skipped}); diff != "" {
		t.Errorf("the counts are not those of the cases:\n%s", diff)
	}
	if len(got.Suites) != 6 || failures != 2 || errors != 1 || skipped != 3 || !strings.Contains(story, `Server: \x1b]0;owned\x07nginx`) {
		t.Errorf("%d suites, %d failures, %d errors, %d skipped: %s", len(got.Suites), failures, errors, skipped, story)
	}
}

func TestHTMLLinks(t *testing.T) {
	got := render(t, forms[6], sample())
	for part := range strings.SplitSeq(got, `href="`) {
		link, _, _ := strings.Cut(part, `"`)
		if part != got && !strings.HasPrefix(link, "https://") && !strings.HasPrefix(link, "#") && !strings.HasPrefix(part, "<!DOCTYPE") {
			t.Errorf("a link to %s", link)
		}
	}
	if strings.Contains(got, "evil.example/&#34;") || strings.Contains(got, `href="https://user`) {
		t.Error("a link with a password in it")
	}
}

func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		of         tally
		want       Outcome
		head, tail string
	}{
		{tally{Fail: 1, Inconclusive: 3, Pass: 1}, Fail, "1 of 5 rules fails", "going live."},
		{tally{Inconclusive: 1, Warn: 1}, Inconclusive, "Nothing fails, but 1 rule could not be judged", "look again."},
		{tally{Warn: 2, Pass: 1}, Warn, "Nothing fails, with 2 warnings", "mended."},
		{tally{Pass: 1, Skipped: 2}, Pass, "Every rule that was looked at and applies holds", "the rules that were skipped."},
		{tally{NotApplicable: 3}, Inconclusive, "Nothing was proven", "target."},
		{tally{}, Inconclusive, "Nothing was proven", "target."},
	} {
		got := tc.of.verdict()
		if got.Outcome != tc.want || got.Headline != tc.head || !strings.HasSuffix(got.Meaning, tc.tail) {
			t.Errorf("%v: got %+v", tc.of, got)
		}
	}
}

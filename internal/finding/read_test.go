package finding

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// empty: JSON knows no difference between a nil slice and one without elements that would matter here.
var empty = cmpopts.EquateEmpty()

func TestRoundTrip(t *testing.T) {
	want := sample()
	// JSON cannot hold bytes that are no UTF-8.
	answer := &want.Findings[9].Evidence[0].Answer
	*answer = strings.ToValidUTF8(*answer, "\ufffd\ufffd")
	var b bytes.Buffer
	if err := WriteJSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, empty); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

func TestReadJSONRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for _, tc := range []struct{ name, old, now, want string }{
		{"nothing", good, "", "no JSON"},
		{"no object", good, "[]", "/: an array does not fit"},
		{"cut off", good, good[:len(good)/2], "no JSON at byte"},
		{"something after it", good, good + "{}", "no JSON"},
		{"no format", `"format": "selo-report/1",`, "", `/format: "", and only "selo-report/1" is known`},
		{"a later format, with its fields", `"selo-report/1"`, `"selo-report/2", "later": 1`, `/format: "selo-report/2"`},
		{"an escape in the format", `"selo-report/1"`, `"\u001b[2J"`, `/format: "\x1b[2J"`},
		{"unknown field", `"severity": "high"`, `"severity": "high", "colour": 1`, "/rules/0/colour: no such field"},
		{"unknown field with an escape", `"severity": "high"`, `"severity": "high", "\u001b": 1`, `/rules/0/\x1b: no such field`},
		{"another case", `"tool"`, `"Tool"`, "/Tool: no such field"},
		{"name twice", `"tool": "selo check"`, `"tool": "selo check", "tool": "x"`, "/tool: stands twice"},
		{"wrong type", `"took_ns": 12417000000`, `"took_ns": "12 s"`, "/took_ns: this string does not fit"},
		{"fraction", `"took_ns": 12417000000`, `"took_ns": 1.5`, "/took_ns: this number does not fit"},
		{"before it began", `"took_ns": 12417000000`, `"took_ns": -1`, "/took_ns: is negative"},
		{"no tool", `"tool": "selo check"`, `"tool": ""`, "/tool: is missing"},
		{"no time", `"2026-11-20T14:03:11Z"`, `"0001-01-01T00:00:00Z"`, "/started: is missing"},
		{"in a time that cannot be written in UTC", `"2026-11-20T14:03:11Z"`, `"9999-12-31T23:59:59-01:00"`, "/started: is not of this millennium"},
		{"baseline of such a time", `"2026-11-03T14:03:11Z"`, `"1999-12-31T23:59:59Z"`, "/changes/since: is not of this millennium"},
		{"no such time", `"2026-11-20T14:03:11Z"`, `"yesterday"`, "/started: this string does not fit"},
		{"unknown outcome", `"outcome": "pass"`, `"outcome": "splendid"`, `/findings/0/outcome: "splendid" is none of fail, inconclusive`},
		{"no outcome", `"outcome": "pass"`, `"outcome": ""`, `/findings/0/outcome: "" is none of`},
		{"unknown severity", `"severity": "high"`, `"severity": "HIGH"`, `/rules/0/severity: "HIGH" is none of critical, high`},
		{"rule twice", `"id": "token-fresh"`, `"id": "token-per-user"`, `/rules/1/id: "token-per-user" stands twice`},
		{"rule without id", `"id": "token-fresh"`, `"id": ""`, "/rules/1/id: is missing"},
		{"topic twice", `"number": 2`, `"number": 1`, "/topics/1/number: 1 stands twice"},
		{"no such topic", `"topic": 1`, `"topic": 7`, "/rules/0/topic: there is no topic 7"},
		{"no such rule", `"rule": "token-per-user"`, `"rule": "tokens"`, `/findings/0/rule: there is no rule "tokens"`},
		{"unknown outcome before", `"from": "fail"`, `"from": "bad"`, `/changes/changed/0/from: "bad"`},
		{"unknown outcome after", `"to": "pass"`, `"to": "good"`, `/changes/changed/0/to: "good"`},
		{"no change", `"from": "fail"`, `"from": "pass"`, "/changes/changed/0: nothing changed"},
		{"change of nothing", `"rule": "response-replay",` + "\n        \"to\"", `"rule": "", "to"`, "/changes/changed/2/rule: is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(good, tc.old) {
				t.Fatalf("the sample has no %s", tc.old)
			}
			got, err := ReadJSON(strings.NewReader(strings.Replace(good, tc.old, tc.now, 1)))
			if got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v; want an error with %s", got != nil, err, tc.want)
			}
			if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return !shows(r) }) {
				t.Errorf("%q is not fit to be printed", err)
			}
		})
	}
}

func TestReadJSONBounds(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"format":"`), zeros{})
	if _, err := ReadJSON(endless); err == nil || !strings.Contains(err.Error(), "longer than 32 MiB") {
		t.Errorf("got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// FuzzReadJSON checks that what is read is written and read again as the same, and that all forms of it can be made.
func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"format":"selo-report/1","tool":"t","started":"2026-01-01T00:00:00+03:00"}`))
	f.Add([]byte(`{"format":"selo-report/1","tool":"t","version":"1","target":"https://a.example","about":[{"name":"n","value":"v"}],"started":"2026-01-01T00:00:00Z","took_ns":1,"topics":[{"number":1,"title":"t","title_pt":"p"}],"rules":[{"id":"r","title":"t","title_pt":"p","topic":1,"severity":"high","what":"w","why":"y","fix":"f","snippets":[{"language":"Go","code":"x"}],"references":[{"catalogue":"CWE","id":"1","url":"https://a.example"}]}],"findings":[{"rule":"r","outcome":"fail","message":"m","place":"/p","evidence":[{"request":"q","answer":"a","expected":"e"}]}]}`))
	f.Add([]byte(`{"format":"selo-report/1","tool":"t","started":"2026-01-01T00:00:00Z","topics":[{"number":-1,"title":"\u001b"}],"changes":{"since":"2026-01-01T00:00:00Z","changed":null}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ReadJSON(bytes.NewReader(in))
		if err != nil {
			if r != nil {
				t.Error("both a report and an error")
			}
			return
		}
		var b bytes.Buffer
		if err := WriteJSON(&b, r); err != nil {
			t.Fatal(err)
		}
		again, err := ReadJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again, empty, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("(-read +read again):\n%s", diff)
		}
		for _, form := range forms {
			checkForm(t, form, render(t, form, r))
		}
	})
}

func TestCompare(t *testing.T) {
	topics := []Topic{{Number: 0}, {Number: 1}}
	report := func(findings ...Finding) *Report {
		r := &Report{Started: time.Unix(100, 0), Topics: topics, Findings: findings}
		for _, f := range findings {
			if r.Rule(f.Rule).ID == "" {
				rule := Rule{ID: f.Rule, Topic: 1}
				if f.Rule == "extra" {
					rule.Topic = 0
				}
				r.Rules = append(r.Rules, rule)
			}
		}
		return r
	}
	is := func(rule string, o Outcome) Finding { return Finding{Rule: rule, Outcome: o} }
	at := func(place string, o Outcome) Finding { return Finding{Rule: "a", Outcome: o, Place: place} }
	for _, tc := range []struct {
		name        string
		before, now *Report
		want        []Change
	}{
		{"same", report(is("a", Pass)), report(is("a", Pass)), nil},
		{"mended", report(is("a", Fail)), report(is("a", Pass)), []Change{{"a", "", Fail, Pass}}},
		{"new and gone", report(is("a", Fail)), report(is("b", Pass)), []Change{{"b", "", "", Pass}, {"a", "", Fail, ""}}},
		{"the worst counts", report(is("a", Pass), is("a", Warn)), report(is("a", Warn), is("a", Fail), is("a", Inconclusive)), []Change{{"a", "", Warn, Fail}}},
		{"unknown is worse than a warning", report(is("a", Warn), is("a", Inconclusive)), report(is("a", Warn)), []Change{{"a", "", Inconclusive, Warn}}},
		{"skipped is no pass", report(is("a", Pass), is("a", Skipped)), report(is("a", Pass), is("a", NotApplicable)), []Change{{"a", "", Skipped, Pass}}},
		{"another place", report(at("x", Fail), at("y", Warn)), report(at("y", Warn), at("z", Fail)), []Change{{"a", "z", "", Fail}, {"a", "x", Fail, ""}}},
		{"a place that is worse", report(at("x", Fail), at("y", Warn)), report(at("x", Fail), at("y", Warn), at("y", Inconclusive)), []Change{{"a", "y", Warn, Inconclusive}}},
		{"places of a rule that is mended", report(at("x", Fail)), report(at("x", Pass)), []Change{{"a", "", Fail, Pass}}},
		{"places that pass", report(at("x", Pass)), report(at("y", Pass)), nil},
		{"one more of the same", report(is("a", Fail)), report(is("a", Fail), is("a", Fail)), nil},
		{
			"in the order of telling, topic 0 last", report(is("gone2", Pass), is("gone1", Pass)),
			report(is("extra", Pass), is("b", Pass), is("a", Pass)),
			[]Change{{"b", "", "", Pass}, {"a", "", "", Pass}, {"extra", "", "", Pass}, {"gone2", "", Pass, ""}, {"gone1", "", Pass, ""}},
		},
		{"a rule without findings", &Report{Started: time.Unix(100, 0), Topics: topics, Rules: []Rule{{ID: "a"}}}, report(is("a", Pass)), []Change{{"a", "", Inconclusive, Pass}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(&Changes{time.Unix(100, 0), tc.want}, Compare(tc.before, tc.now), empty); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

package checklist

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/finding"
)

var update = flag.Bool("update", false, "write docs/checklist.md and other golden files from the probes")

// snippetNames are those that texts may name.
var snippetNames = []string{
	"mint", "identity", "no-store", "verify", "claims", "freshness", "once", "session", "limits", "errors", "strict-json", "cors", "webhook",
}

func TestProbesHaveTexts(t *testing.T) {
	known := references()
	seen := make(map[string]bool)
	for _, p := range Probes() {
		if seen[p.ID] {
			t.Errorf("%s: two probes have this ID", p.ID)
		}
		seen[p.ID] = true
		for name, s := range map[string]string{"What": p.What, "Why": p.Why, "Fix": p.Fix} {
			switch {
			case s == "":
				t.Errorf("%s: has no %s", p.ID, name)
			case !strings.HasSuffix(s, "."):
				t.Errorf("%s: %s does not end with a full stop", p.ID, name)
			case len(s) > 600:
				t.Errorf("%s: %s has %d bytes, and must have 600 at most", p.ID, name, len(s))
			case strings.Contains(s, "  ") || strings.TrimSpace(s) != s || strings.ContainsAny(s, "\n\t`"):
				t.Errorf("%s: %s has white space or a mark that does not belong there: %q", p.ID, name, s)
			case strings.ContainsAny(s, "—–"):
				t.Errorf("%s: %s has a dash: make it two sentences", p.ID, name)
			}
		}
		for name, s := range map[string]string{"Title": p.Title, "TitlePT": p.TitlePT} {
			if s == "" || strings.HasSuffix(s, ".") || len(s) > 100 {
				t.Errorf("%s: %s must be there, without a full stop, and be short", p.ID, name)
			}
		}
		if len(p.Snippets) == 0 {
			t.Errorf("%s: shows nobody how to do it right", p.ID)
		}
		for _, name := range p.Snippets {
			if !slices.Contains(snippetNames, name) {
				t.Errorf("%s: %q is no name of a snippet", p.ID, name)
			}
		}
		asked := 0
		for _, key := range p.Refs {
			r, ok := known[key]
			if !ok {
				t.Errorf("%s: there is no reference %q", p.ID, key)
			}
			if r.Catalogue == asvs || strings.HasPrefix(r.Catalogue, "RFC ") {
				asked++
			}
		}
		if len(p.Refs) < 2 || asked == 0 {
			t.Errorf("%s: needs two references, one of ASVS or an RFC", p.ID)
		}
		if slices.Contains(p.Snippets, "webhook") && p.Topic != 0 {
			t.Errorf("%s: is not about webhooks", p.ID)
		}
		for _, list := range [][]string{p.Snippets, p.Refs} {
			if len(slices.Compact(slices.Sorted(slices.Values(list)))) != len(list) {
				t.Errorf("%s: names something twice: %v", p.ID, list)
			}
		}
	}
	n := 0
	for _, topic := range textsByTopic() {
		n += len(topic)
		for id := range topic {
			if !seen[id] {
				t.Errorf("%s: there is a text and no probe", id)
			}
		}
	}
	if all := texts(); len(all) != n {
		t.Errorf("%d texts in all, and %d by topic: one ID is in two topics", len(all), n)
	}
}

func TestReferences(t *testing.T) {
	used := make(map[string]bool)
	for _, text := range texts() {
		for _, key := range text.Refs {
			used[key] = true
		}
	}
	seen := make(map[finding.Reference]string)
	for key, r := range references() {
		if !used[key] {
			t.Errorf("%s: nobody names it", key)
		}
		if r.Catalogue == "" || r.ID == "" || !strings.HasPrefix(r.URL, "https://") || strings.ContainsAny(r.URL, " <>()|") {
			t.Errorf("%s: needs a catalogue, an ID and an https URL: %+v", key, r)
		}
		if other, twice := seen[r]; twice {
			t.Errorf("%s: is %s", key, other)
		}
		seen[r] = key
	}
}

func TestSnippets(t *testing.T) {
	pieces, err := snippets()
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	for _, text := range texts() {
		for _, name := range text.Snippets {
			used[name] = true
		}
	}
	for _, name := range snippetNames {
		if len(pieces[name]) == 0 {
			t.Errorf("no server has a snippet %s", name)
		}
		if !used[name] {
			t.Errorf("no text names the snippet %s", name)
		}
		if name != "webhook" && !slices.ContainsFunc(pieces[name], func(s finding.Snippet) bool { return s.Language == "Node.js" }) {
			t.Errorf("%s: is not there in Node.js", name)
		}
		if !slices.ContainsFunc(pieces[name], func(s finding.Snippet) bool { return s.Language == "Go" }) {
			t.Errorf("%s: is not there in Go", name)
		}
	}
	for name, all := range pieces {
		if !slices.Contains(snippetNames, name) {
			t.Errorf("a server has a snippet that nobody knows: %s", name)
		}
		for _, s := range all {
			lines := strings.Split(s.Code, "\n")
			if !strings.HasSuffix(s.Code, "\n") || len(lines) < 4 || len(lines) > 70 || strings.HasPrefix(lines[0], " ") || strings.HasPrefix(lines[0], "\t") {
				t.Errorf("%s in %s: must have its own margin and some lines, and has %d:\n%s", name, s.Language, len(lines), s.Code)
			}
		}
	}
}

func TestRulePieces(t *testing.T) {
	for _, p := range Probes() {
		code, refs := p.rulePieces()
		if len(code) < len(p.Snippets) || len(refs) != len(p.Refs) {
			t.Errorf("%s: shows %d pieces for %v and %d references for %v", p.ID, len(code), p.Snippets, len(refs), p.Refs)
		}
	}
}

func TestSnippetsAreCut(t *testing.T) {
	got, err := cutAll(fstest.MapFS{
		"a/b.js":       {Data: []byte("x\n// snippet: one\nthrow new Refused(403, 'no');\n// end\n  // snippet: two\n    a {\n      b\n\n    }\n  // end\n")},
		"a/z.go":       {Data: []byte("\t// snippet: one\n\tif yes {\n\t\tgo()\n\t}\n\n\t// end\n")},
		"s/library.go": {Data: []byte("// snippet: one\nselo()\n// end\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]finding.Snippet{
		"one": {
			{Language: "Go", Code: "selo()\n"},
			{Language: "Go", Code: "if yes {\n\tgo()\n}\n"},
			{Language: "Node.js", Code: "// Refused(status, reason) is an Error: the status is for whoever asked, the reason for the log.\nthrow new Refused(403, 'no');\n"},
		},
		"two": {{Language: "Node.js", Code: "a {\n  b\n\n}\n"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"// snippet: one\n// snippet: two\n// end\n",
		"// snippet: one\nx\n",
		"// end\n",
		"// snippet: one\nx\n// end\n// snippet: one\ny\n// end\n",
	} {
		if _, err := cutAll(fstest.MapFS{"a.go": {Data: []byte(bad)}}); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// TestDocument keeps docs/checklist.md what the probes say.
func TestDocument(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "checklist.md")
	want := document()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/checklist.md is not what the probes say; go test ./internal/checklist -run TestDocument -update writes it:\n%s", diff)
	}
}

const introduction = `# The checklist

Whatever a mobile app does to verify who somebody is, its backend keeps five promises, or the check is worth nothing. Here
they are, and what selo check tries in order to break each of them. It plays the honest app, the provider and the attacker
against any backend, in any language: it asks for tokens as two test users, signs responses as the provider would, and looks
at what comes back. Nothing of it depends on Selo.

    selo check init                    # writes a commented check.yaml: how to get a token, how to hand a response in
    selo check --plan                  # every request that would be sent, and the limits it needs; sends nothing
    selo check                         # against this machine
    selo check --i-own-this-target staging.bank.example --format html --output report.html

It needs two test users, and the access key of a test environment, since it signs responses with it. It ends with 0 when
nothing is broken, 1 when a promise is, 2 when there is no report, and 3 when something could not be found out. With
%[2]senvironment: production%[2]s only the %[3]d probes run that send nothing which an honest app would not, or only what is
refused at the door; they need no key.

The refusal of a bad response proves something only where an honest one is granted, so that is tried before, in between and
afterwards. Each probe has a severity, for when it fails:

- **critical**: somebody is let in, or takes what opens the door;
- **high**: a defence is missing that an attacker with some luck needs missing;
- **medium**: it makes another fault worse;
- **low**: good practice.

What it cannot see from outside, and a report that passes does not say: where a server keeps its keys and what it writes into
its logs; entrances that check.yaml does not describe; a magic value that nobody outside knows; a memory of used responses that
forgets after longer than the check lasts, or that each process behind a balancer has for itself, when all requests reach the
same one; what a server does behind an answer that refuses; and whether it behaves otherwise for everybody who is not the
checker, which says in User-Agent who it is unless check.yaml has another. It checks one product at a time, and shapes of
responses that grant by themselves: not those of the mobile API, for which a server must ask the provider.

The %[1]d probes are told here by topic, their titles in English and Portuguese. Reports also show pieces of servers that do
it right, in Go and in Node.js. This page is written by a test, from what the probes say of themselves.
`

// document is docs/checklist.md.
func document() string {
	var b bytes.Buffer
	probes := Probes()
	production := 0
	for _, p := range probes {
		if p.Production {
			production++
		}
	}
	fmt.Fprintf(&b, introduction, len(probes), "`", production)
	for _, topic := range Topics() {
		title := topic.Title
		if topic.Number > 0 {
			title = fmt.Sprintf("%d. %s", topic.Number, title)
		}
		fmt.Fprintf(&b, "\n## %s\n\n*%s*\n\n| probe | promise | severity | in production |\n|---|---|---|---|\n", title, topic.TitlePT)
		for _, p := range probes {
			if p.Topic == topic.Number {
				fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", p.ID, p.ID, p.Title, p.Severity, yesNo(p.Production))
			}
		}
		for _, p := range probes {
			if p.Topic == topic.Number {
				section(&b, p)
			}
		}
	}
	return b.String()
}

func section(b *bytes.Buffer, p Probe) {
	var links []string
	all := references()
	for _, key := range p.Refs {
		r := all[key]
		name := r.Catalogue + ", " + r.ID
		if r.Catalogue == cwe {
			name = "CWE-" + r.ID
		}
		links = append(links, fmt.Sprintf("[%s](%s)", name, r.URL))
	}
	runs := "Does not run in production."
	if p.Production {
		runs = "Runs in production."
	}
	severity := strings.ToUpper(string(p.Severity[:1])) + string(p.Severity[1:])
	fmt.Fprintf(b, "\n### %s\n\n**%s** · *%s*\n\n%s. %s\n\n**What it does.** %s\n\n**Why it matters.** %s\n\n**How to keep it.** %s\n\n%s\n",
		p.ID, p.Title, p.TitlePT, severity, runs, p.What, p.Why, p.Fix, strings.Join(links, " · "))
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// TestDocumentHasAll finds what a template could lose.
func TestDocumentHasAll(t *testing.T) {
	doc := document()
	for _, p := range Probes() {
		if strings.Count(doc, "\n### "+p.ID+"\n") != 1 || strings.Count(doc, "](#"+p.ID+")") != 1 {
			t.Errorf("%s: is not there once", p.ID)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(references())) {
		if r := references()[key]; !strings.Contains(doc, "]("+r.URL+")") {
			t.Errorf("%s: is not linked", key)
		}
	}
}

package finding

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"slices"
	"strings"
)

const maxHTML = 64 << 10

//go:embed report.html
var htmlSource string

var htmlTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"mark":  Outcome.mark,
	"word":  Outcome.word,
	"class": func(o Outcome) string { return strings.ReplaceAll(string(o.known()), "_", "-") },
	"grave": func(s Severity) bool { return s == Critical || s == High },
	"web":   webURL,
	"stamp": stamp,
}).Parse(htmlSource))

// page is what report.html is filled with.
type page struct {
	Report     *Report
	Style      string // the hash of its style sheet, for the content security policy
	Verdict    verdict
	Counts     []pageCount
	Took       string
	Chapters   []pageChapter
	References int
	Changes    []pageChange
	Skipped    []pageRule
}

type pageCount struct {
	Outcome Outcome
	N       int
	Word    string
}

type pageChapter struct {
	Topic  Topic
	State  Outcome
	Word   string
	Counts string
	Rules  []pageRule
}

type pageRule struct {
	entry
	Anchor int // rules' IDs are nothing to build links of
	Open   bool
}

type pageChange struct {
	Change
	Title  string
	Anchor int // 0 for a rule that is gone
}

// WriteHTML takes a report and writes it as one page that needs nothing else, runs nothing and loads nothing: to
// attach to a ticket, to read on a phone, to print.
func WriteHTML(w io.Writer, r *Report) error {
	return write(w, "HTML", func(b *bytes.Buffer) error {
		return htmlTemplate.Execute(b, newPage(shown(r, maxHTML)))
	})
}

func newPage(r *Report) *page {
	chapters := r.chapters()
	counts := tallyAll(chapters)
	p := &page{Report: r, Style: styleHash(htmlSource), Verdict: counts.verdict(), Took: took(r.Took)}
	for _, o := range outcomes {
		if n := counts[o]; n > 0 {
			p.Counts = append(p.Counts, pageCount{o, n, o.word()})
		}
	}
	anchors := make(map[string]pageRule)
	for i := range chapters {
		c := &chapters[i]
		t := c.tally()
		pc := pageChapter{Topic: c.Topic, Counts: t.String()}
		pc.State, pc.Word = t.state()
		for _, e := range c.Entries {
			rule := pageRule{e, len(anchors) + 1, e.Outcome == Fail || e.Outcome == Warn || e.Outcome == Inconclusive}
			anchors[e.Rule.ID] = rule
			pc.Rules = append(pc.Rules, rule)
			p.References += len(e.Rule.References)
			if slices.ContainsFunc(e.Findings, func(f Finding) bool { return f.Outcome == Skipped }) {
				p.Skipped = append(p.Skipped, rule)
			}
		}
		p.Chapters = append(p.Chapters, pc)
	}
	if r.Changes != nil {
		for _, ch := range r.Changes.Changed {
			p.Changes = append(p.Changes, pageChange{ch, anchors[ch.Rule].Rule.Title, anchors[ch.Rule].Anchor})
		}
	}
	return p
}

// styleHash is of what stands between the tags, which html/template leaves as it is as long as it has no comments.
func styleHash(source string) string {
	_, after, _ := strings.Cut(source, "<style>")
	style, _, _ := strings.Cut(after, "</style>")
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

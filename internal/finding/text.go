package finding

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// TextOptions say how the text form looks. The zero value is for a log: no colours, 100 columns, what went well in
// short.
type TextOptions struct {
	Color   bool // with ANSI's eight colours
	Width   int  // of the terminal in columns; 0 is 100, and less than 40 is 40
	Verbose bool // rules that pass too, evidence, reasons and snippets
}

// What the text form tells of a rule when it is not verbose, and of one piece of evidence when it is.
const (
	textFindings = 5
	textLines    = 200
	maxCodeLine  = 200
	maxText      = 64 << 10
)

// A style is the parameter of ANSI's SGR.
type style string

const (
	plain   style = ""
	bold    style = "1"
	dim     style = "2"
	red     style = "31"
	green   style = "32"
	yellow  style = "33"
	magenta style = "35"
	cyan    style = "36"
)

func (o Outcome) style() style {
	switch o {
	case Pass:
		return green
	case Fail:
		return red
	case Warn:
		return yellow
	case NotApplicable, Skipped:
		return dim
	case Inconclusive:
	}
	return magenta
}

// span is a piece of a line in one style.
type span struct {
	style style
	text  string
}

// text writes lines. All that comes from a report passes through line, which lets no line be longer than the width
// and nothing be obeyed.
type text struct {
	bytes.Buffer
	TextOptions
	said map[string]bool // reasons and code that are there already
}

// WriteText takes a report and writes it for a person at a terminal: a checklist by topic with what is wrong, why it
// is thought so and how to mend it; what changed; what was skipped; and one line that sums it up. No line but of
// code, which is there to be copied, is wider than opts.Width.
func WriteText(w io.Writer, r *Report, opts TextOptions) error {
	if opts.Width == 0 {
		opts.Width = 100
	}
	opts.Width = max(opts.Width, 40)
	return write(w, "text", func(b *bytes.Buffer) error {
		r := shown(r, maxText)
		t := &text{TextOptions: opts, said: make(map[string]bool)}
		chapters := r.chapters()
		t.head(r)
		for i := range chapters {
			t.chapter(&chapters[i])
		}
		t.changes(r)
		t.skipped(chapters)
		t.sum(tallyAll(chapters))
		_, err := t.WriteTo(b)
		return err
	})
}

// line writes spans after an indent, and cuts what does not fit.
func (t *text) line(indent int, spans ...span) {
	left := t.Width - indent
	pad := strings.Repeat(" ", indent)
	for _, s := range spans {
		shown := visible(strings.NewReplacer("\n", " ", "\t", "    ").Replace(s.text))
		head := cut(shown, left)
		left -= width(head)
		if head != "" {
			t.WriteString(pad)
			t.paint(s.style, head)
			pad = ""
		}
		if head != shown {
			break
		}
	}
	t.WriteByte('\n')
}

func (t *text) paint(s style, shown string) {
	if s == plain || !t.Color || strings.TrimSpace(shown) == "" {
		t.WriteString(shown)
		return
	}
	fmt.Fprintf(t, "\x1b[%sm%s\x1b[0m", s, shown)
}

// prose writes words wrapped beside a label, in at most n lines; 0 is all of them.
func (t *text) prose(indent int, label span, s style, words string, n int) {
	room := t.Width - indent - width(label.text)
	lines := wrap(words, room)
	if n > 0 && len(lines) > n {
		lines = lines[:n]
		head, _ := split(lines[n-1], room-2)
		lines[n-1] = head + " …"
	}
	for i, l := range lines {
		if i == 1 {
			label.text = strings.Repeat(" ", width(label.text))
		}
		t.line(indent, label, span{s, l})
	}
}

// sides writes a line with something at its right edge. The left gives way when both do not fit.
func (t *text) sides(indent int, right span, left ...span) {
	room := t.Width - indent - width(right.text) - 1
	used := 0
	for i := range left {
		left[i].text = cut(left[i].text, max(room-used, 0))
		used += width(left[i].text)
	}
	gap := span{plain, strings.Repeat(" ", max(room-used, 0)+1)}
	t.line(indent, append(left, gap, right)...)
}

func (t *text) head(r *Report) {
	t.line(0, span{bold, strings.TrimSpace(oneLine(r.Tool + " " + r.Version))}, span{plain, "  "}, span{cyan, oneLine(r.Target)})
	t.line(0, span{dim, stamp(r.Started) + ", took " + took(r.Took)})
	column := 0
	for _, f := range r.About {
		column = max(column, min(width(oneLine(f.Name)), 20))
	}
	for _, f := range r.About {
		t.prose(0, span{dim, fill(oneLine(f.Name), column) + "  "}, plain, f.Value, 0)
	}
}

// fill returns s in exactly n columns.
func fill(s string, n int) string {
	s = cut(s, n)
	return s + strings.Repeat(" ", n-width(s))
}

func stamp(at time.Time) string { return at.Format("2006-01-02 15:04:05 UTC") }

// took returns d as exactly as anybody wants to know it.
func took(d time.Duration) string {
	if d > time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func (t *text) chapter(c *chapter) {
	counts := c.tally()
	state, word := counts.state()
	number := "  "
	if c.Topic.Number != 0 {
		number = fmt.Sprintf("%-2d", c.Topic.Number)
	}
	t.gap()
	t.sides(0, span{state.style(), word},
		span{bold, number}, span{state.style(), state.mark() + " "}, span{bold, oneLine(c.Topic.Title)})
	column := 0
	for _, e := range c.Entries {
		if t.tells(e) {
			column = max(column, min(width(e.Rule.ID), 28))
		}
	}
	for _, e := range c.Entries {
		if t.tells(e) {
			t.entry(e, column)
		}
	}
	if t.Verbose {
		return
	}
	var rest []span
	for _, o := range []Outcome{Pass, NotApplicable} {
		if n := counts[o]; n > 0 {
			rest = append(rest, span{o.style(), o.mark()}, span{dim, fmt.Sprintf(" %d %s   ", n, o.word())})
		}
	}
	if len(rest) > 0 {
		rest[len(rest)-1].text = strings.TrimRight(rest[len(rest)-1].text, " ")
		t.line(4, rest...)
	}
}

// tells reports that a rule gets a line of its own.
func (t *text) tells(e entry) bool {
	return t.Verbose || e.Outcome != Pass && e.Outcome != NotApplicable
}

func (t *text) entry(e entry, column int) {
	right := span{dim, oneLine(string(e.Rule.Severity))}
	if e.Outcome == Fail && (e.Rule.Severity == Critical || e.Rule.Severity == High) {
		right.style = red
	}
	id := plain
	if e.Outcome == Fail {
		id = bold
	}
	t.sides(4, right, span{e.Outcome.style(), e.Outcome.mark() + " "},
		span{id, fill(oneLine(e.Rule.ID), column)}, span{plain, "  " + oneLine(e.Rule.Title)})
	const indent = 6
	if !t.Verbose && e.Outcome == Inconclusive && len(e.Findings) == 1 {
		if t.said[e.Findings[0].Message] { // one cause often keeps many rules from being judged
			return
		}
		t.said[e.Findings[0].Message] = true
	}
	bad := false
	said := 0
	for _, f := range e.Findings {
		wrong := f.Outcome == Fail || f.Outcome == Warn || f.Outcome == Inconclusive
		if !wrong && (!t.Verbose || f.Message == "") {
			continue
		}
		if said == textFindings && !t.Verbose {
			t.line(indent, span{dim, fmt.Sprintf("and more, %d findings in all", len(e.Findings))})
			break
		}
		said++
		tint := plain
		if !wrong {
			tint = dim
		}
		var mark span // where one finding ends and the next begins
		if len(e.Findings) > 1 {
			mark = span{f.Outcome.style(), f.Outcome.mark() + " "}
		}
		t.prose(indent, mark, tint, or(f.Message, f.Outcome.word()), 0)
		if f.Place != "" && t.Verbose {
			t.prose(indent+width(mark.text), span{dim, "at "}, dim, f.Place, 2)
		}
		for _, x := range f.Evidence {
			if t.Verbose && wrong {
				t.exchange(indent+2, x)
			}
		}
		bad = bad || wrong
	}
	if !bad {
		return
	}
	switch {
	case e.Outcome == Inconclusive: // nothing is known to be wrong
	case !t.Verbose:
		t.prose(indent, span{dim, "fix  "}, green, sentences(e.Rule.Fix, 2*(t.Width-indent-5)), 0)
	default:
		t.prose(indent, span{dim, "why  "}, plain, e.Rule.Why, 0)
		t.prose(indent, span{dim, "fix  "}, plain, e.Rule.Fix, 0)
		for _, s := range e.Rule.Snippets {
			if t.said[s.Code] {
				t.line(indent+5, span{dim, oneLine(s.Language) + ", as above"})
				continue
			}
			t.said[s.Code] = true
			t.line(indent+5, span{dim, oneLine(s.Language)})
			t.block(indent+5, "| ", plain, s.Code, true)
		}
		for _, ref := range e.Rule.References {
			t.prose(indent, span{dim, "see  "}, dim, ref.Catalogue+", "+ref.ID+" "+ref.URL, 0)
		}
	}
	t.WriteByte('\n')
}

// sentences returns as many whole sentences as have room, and the first one in any case.
func sentences(s string, room int) string {
	end := 0
	for i, r := range s {
		if (r == '.' || r == '?') && (i+1 == len(s) || s[i+1] == ' ') {
			if end > 0 && i+1 > room {
				break
			}
			end = i + 1
		}
	}
	if end == 0 {
		return s
	}
	return s[:end]
}

func (t *text) exchange(indent int, x Exchange) {
	t.block(indent, "> ", dim, x.Request, false)
	t.block(indent, "< ", plain, x.Answer, false)
	t.prose(indent, span{dim, "expected  "}, cyan, x.Expected, 4)
}

// block writes text line by line after a mark, so that no line of it is taken for one of ours.
func (t *text) block(indent int, mark string, s style, all string, code bool) {
	all = strings.ReplaceAll(strings.Trim(all, "\n"), "\t", "    ")
	if strings.TrimSpace(all) == "" {
		return
	}
	var lines []string
	for l := range strings.SplitSeq(all, "\n") {
		room := t.Width - indent - width(mark)
		if code {
			room = max(room, maxCodeLine)
		}
		head, rest := split(l, room)
		for rest != "" && len(lines) < textLines {
			lines = append(lines, head)
			head, rest = split(rest, room)
		}
		if rest != "" {
			head = cut(l, room)
		}
		lines = append(lines, head)
	}
	more := 0
	if len(lines) > textLines {
		more = len(lines) - textLines + 1
		lines = lines[:textLines-1]
	}
	for _, l := range lines {
		if l == "" {
			t.line(indent, span{dim, strings.TrimRight(mark, " ")})
			continue
		}
		t.line(indent, span{dim, mark}, span{s, l})
	}
	if more > 0 {
		t.line(indent, span{dim, fmt.Sprintf("%s… %d more lines", mark, more)})
	}
}

func (t *text) changes(r *Report) {
	if r.Changes == nil {
		return
	}
	t.gap()
	title := "Since " + stamp(r.Changes.Since)
	if len(r.Changes.Changed) == 0 {
		t.line(0, span{bold, title}, span{dim, "  nothing changed"})
		return
	}
	t.line(0, span{bold, title})
	column := 0
	for _, c := range r.Changes.Changed {
		column = max(column, min(width(oneLine(c.Rule)), 28))
	}
	for _, c := range r.Changes.Changed {
		mark, from, to := span{dim, "·"}, "new", "gone"
		if c.From != "" {
			from = c.From.word()
		}
		if c.To != "" {
			to, mark = c.To.word(), span{c.To.style(), c.To.mark()}
		}
		t.line(4, mark, span{plain, " " + fill(oneLine(c.Rule), column) + "  "}, span{dim, from + " → "}, span{mark.style, to})
		if c.Place != "" {
			t.prose(6, span{dim, "at "}, dim, c.Place, 2)
		}
	}
}

func (t *text) skipped(chapters []chapter) {
	title := false
	for _, c := range chapters {
		for _, e := range c.Entries {
			for _, f := range e.Findings {
				if f.Outcome != Skipped {
					continue
				}
				if !title {
					t.gap()
					t.line(0, span{bold, "Skipped"})
					title = true
				}
				t.line(4, span{dim, Skipped.mark() + " "}, span{plain, oneLine(e.Rule.ID)}, span{dim, "  " + oneLine(e.Rule.Title)})
				t.prose(6, span{}, dim, f.Message, 0)
			}
		}
	}
}

func (t *text) sum(counts tally) {
	v := counts.verdict()
	t.gap()
	t.line(0, span{v.Outcome.style(), v.Outcome.mark() + " "}, span{bold, v.Headline})
	var line []span
	used := 2
	for _, o := range outcomes {
		if n := counts[o]; n > 0 {
			line = append(line, span{o.style(), fmt.Sprintf("%s %d %s", o.mark(), n, o.word())}, span{plain, "   "})
			used += width(line[len(line)-2].text) + 3
		}
	}
	switch {
	case line == nil || used-3 > t.Width:
		t.prose(2, span{}, plain, counts.String(), 0)
	default:
		t.line(2, line[:len(line)-1]...)
	}
	t.prose(2, span{}, plain, v.Meaning, 0)
}

// gap writes an empty line, unless there is one.
func (t *text) gap() {
	if !bytes.HasSuffix(t.Bytes(), []byte("\n\n")) {
		t.WriteByte('\n')
	}
}

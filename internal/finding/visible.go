package finding

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible returns s with all that a terminal, a browser or an eye would obey instead of showing written out in the
// manner of Go: controls and bytes that are no UTF-8 as \x1b, marks of direction and of no width as \u202e. Line
// feeds and tabs stay, and a CR before a line feed goes.
func visible(s string) string {
	if isVisible(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\r' && strings.HasPrefix(s[i+1:], "\n"):
		case r == '\r':
			b.WriteString(`\r`)
		case shows(r):
			b.WriteString(s[i : i+size])
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += size
	}
	return b.String()
}

func isVisible(s string) bool {
	for i, r := range s {
		if !shows(r) {
			return false
		}
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return false
		}
	}
	return true
}

// shows reports that r does no more than stand there. What is not in Go's tables does not.
func shows(r rune) bool {
	return r == '\n' || r == '\t' || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)
}

// oneLine returns s without line feeds, and with single spaces.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// shown returns a copy of r of which every string is visible and at most limit bytes long or little more, and every
// outcome one that is known. Each form but JSON is made of such a copy, so that none can forget a field.
func shown(r *Report, limit int) *Report {
	v := func(s string) string {
		if len(s) <= limit {
			return visible(s)
		}
		end := limit
		for end > 0 && end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		return fmt.Sprintf("%s… (%d more bytes, which are in the JSON form)", visible(s[:end]), len(s)-end)
	}
	c := *r
	c.Tool, c.Version, c.Target = v(r.Tool), v(r.Version), v(r.Target)
	c.Started = r.Started.UTC()
	c.About = each(r.About, func(f Fact) Fact { return Fact{v(f.Name), v(f.Value)} })
	c.Topics = each(r.Topics, func(t Topic) Topic { return Topic{t.Number, v(t.Title), v(t.TitlePT)} })
	c.Rules = each(r.Rules, func(rule Rule) Rule {
		return Rule{
			ID: v(rule.ID), Title: v(rule.Title), TitlePT: v(rule.TitlePT),
			Topic: rule.Topic, Severity: Severity(v(string(rule.Severity))),
			What: v(rule.What), Why: v(rule.Why), Fix: v(rule.Fix),
			Snippets: each(rule.Snippets, func(s Snippet) Snippet { return Snippet{v(s.Language), v(s.Code)} }),
			References: each(rule.References, func(ref Reference) Reference {
				return Reference{v(ref.Catalogue), v(ref.ID), v(ref.URL)}
			}),
		}
	})
	c.Findings = each(r.Findings, func(f Finding) Finding {
		return Finding{
			Rule: v(f.Rule), Outcome: f.Outcome.known(), Message: v(f.Message), Place: v(f.Place),
			Evidence: each(f.Evidence, func(e Exchange) Exchange {
				return Exchange{v(e.Request), v(e.Answer), v(e.Expected)}
			}),
		}
	})
	if r.Changes != nil {
		c.Changes = &Changes{r.Changes.Since.UTC(), each(r.Changes.Changed, func(ch Change) Change {
			from, to := ch.From, ch.To
			if from != "" {
				from = from.known()
			}
			if to != "" {
				to = to.known()
			}
			return Change{v(ch.Rule), v(ch.Place), from, to}
		})}
	}
	return &c
}

func each[T any](in []T, f func(T) T) []T {
	out := slices.Clone(in)
	for i := range out {
		out[i] = f(out[i])
	}
	return out
}

// wide are the blocks that take two columns of a terminal: East Asian scripts and pictures.
var wide = []struct{ from, to rune }{
	{0x1100, 0x115f}, {0x2e80, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff00, 0xff60},
	{0xffe0, 0xffe6}, {0x1f300, 0x1faff}, {0x20000, 0x3fffd},
}

// columns returns how many columns of a terminal r takes.
func columns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	for _, w := range wide {
		if w.from <= r && r <= w.to {
			return 2
		}
	}
	return 1
}

func width(s string) (n int) {
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// cut returns s, or as much of it as goes into n columns with an ellipsis.
func cut(s string, n int) string {
	if head, rest := split(s, n); rest == "" {
		return head
	}
	head, _ := split(s, max(n-1, 0))
	return head + "…"
}

// split returns what of s goes into n columns, and the rest. Marks stay with the letter before them, but not without
// end.
func split(s string, n int) (head, rest string) {
	used, marks := 0, 0
	for i, r := range s {
		c := columns(r)
		if c == 0 {
			marks++
		} else {
			marks = 0
		}
		if used+c > n || marks > 8 {
			return s[:i], s[i:]
		}
		used += c
	}
	return s, ""
}

// wrap breaks s at spaces into lines of at most n columns, and longer words where they must be.
func wrap(s string, n int) (lines []string) {
	n = max(n, 2) // the widest letter
	line, used := "", 0
	for word := range strings.FieldsSeq(s) {
		if w := width(word); line != "" && used+1+w <= n {
			line, used = line+" "+word, used+1+w
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for {
			head, rest := split(word, n)
			if rest == "" {
				line, used = head, width(head)
				break
			}
			lines, word = append(lines, head), rest
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

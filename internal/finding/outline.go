package finding

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// outcomes are all that there are, worst first. That something was left out on request is worse than a pass, since
// nobody looked.
var outcomes = []Outcome{Fail, Inconclusive, Warn, Skipped, Pass, NotApplicable}

// known returns o, or Inconclusive for an outcome that no constant has: what is not understood is no pass.
func (o Outcome) known() Outcome {
	if slices.Contains(outcomes, o) {
		return o
	}
	return Inconclusive
}

func (o Outcome) mark() string {
	switch o {
	case Pass:
		return "✓"
	case Fail:
		return "✗"
	case Warn:
		return "!"
	case NotApplicable:
		return "–"
	case Skipped:
		return "»"
	case Inconclusive:
	}
	return "?"
}

// word names o in a list: "2 fail", "fail → pass".
func (o Outcome) word() string {
	return strings.ReplaceAll(string(o.known()), "_", " ")
}

// worst returns the worst of some outcomes; of none it is Inconclusive.
func worst(of []Outcome) Outcome {
	if len(of) == 0 {
		return Inconclusive
	}
	return slices.MinFunc(of, func(a, b Outcome) int {
		return cmp.Compare(slices.Index(outcomes, a.known()), slices.Index(outcomes, b.known()))
	}).known()
}

// chapter is a topic and what is told in it.
type chapter struct {
	Topic   Topic
	Entries []entry
}

// entry is a rule and what came of it.
type entry struct {
	Rule     Rule
	Outcome  Outcome // the worst of its findings
	Findings []Finding
}

// chapters returns what r tells, in the order of telling. It loses no finding: one whose rule is not listed, and a rule
// whose topic is not, get one. A rule of which nothing came is inconclusive.
func (r *Report) chapters() []chapter {
	found := make(map[string][]Finding, len(r.Rules))
	for _, f := range r.Findings {
		found[f.Rule] = append(found[f.Rule], f)
	}
	told := make(map[string]bool, len(r.Rules))
	byTopic := make(map[int][]entry)
	topics := slices.Clone(r.Topics)
	tell := func(rule Rule) {
		if told[rule.ID] {
			return
		}
		told[rule.ID] = true
		fs := found[rule.ID]
		if len(fs) == 0 {
			fs = []Finding{{Rule: rule.ID, Outcome: Inconclusive, Message: "Nothing came of this rule."}}
		}
		all := make([]Outcome, len(fs))
		for i, f := range fs {
			all[i] = f.Outcome
		}
		if !slices.ContainsFunc(topics, func(t Topic) bool { return t.Number == rule.Topic }) {
			topics = append(topics, Topic{Number: rule.Topic, Title: "Other", TitlePT: "Outros"})
		}
		byTopic[rule.Topic] = append(byTopic[rule.Topic], entry{rule, worst(all), fs})
	}
	for _, rule := range r.Rules {
		tell(rule)
	}
	for _, f := range r.Findings {
		if !told[f.Rule] {
			tell(Rule{ID: f.Rule, Title: "A rule that the report does not describe", TitlePT: "Regra que o relatório não descreve"})
		}
	}
	place := func(t Topic) int {
		if t.Number == 0 {
			return math.MaxInt
		}
		return t.Number
	}
	slices.SortStableFunc(topics, func(a, b Topic) int { return cmp.Compare(place(a), place(b)) })
	topics = slices.CompactFunc(topics, func(a, b Topic) bool { return a.Number == b.Number })
	out := make([]chapter, len(topics))
	for i, t := range topics {
		out[i] = chapter{t, byTopic[t.Number]}
	}
	return out
}

// tally counts rules by what came of them.
type tally map[Outcome]int

func (c *chapter) tally() tally {
	t := make(tally)
	for _, e := range c.Entries {
		t[e.Outcome]++
	}
	return t
}

func tallyAll(chapters []chapter) tally {
	sum := make(tally)
	for i := range chapters {
		for o, n := range chapters[i].tally() {
			sum[o] += n
		}
	}
	return sum
}

func (t tally) total() (n int) {
	for _, k := range t {
		n += k
	}
	return n
}

// String says "1 fail, 2 warn, 5 pass".
func (t tally) String() string {
	var parts []string
	for _, o := range outcomes {
		if n := t[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.word()))
		}
	}
	if len(parts) == 0 {
		return "nothing was looked for"
	}
	return strings.Join(parts, ", ")
}

// state returns what to show for a chapter as a whole, and says it: rules that were skipped beside others that pass do
// not take the tick away, but are named.
func (t tally) state() (Outcome, string) {
	switch {
	case t[Fail] > 0:
		return Fail, "broken"
	case t[Inconclusive] > 0:
		return Inconclusive, "not proven"
	case t[Warn] > 0:
		return Warn, "holds, with " + count(t[Warn], "warning", "warnings")
	case t[Pass] > 0 && t[Skipped] > 0:
		return Pass, fmt.Sprintf("holds, %d skipped", t[Skipped])
	case t[Pass] > 0:
		return Pass, "holds"
	case t[Skipped] > 0:
		return Skipped, "skipped"
	}
	return NotApplicable, "not applicable"
}

// verdict is what a whole report comes to, in a headline and in a sentence that says what it means.
type verdict struct {
	Outcome           Outcome
	Headline, Meaning string
}

func (t tally) verdict() verdict {
	var v verdict
	n := t.total()
	switch {
	case t[Fail] > 0:
		v = verdict{Fail, fmt.Sprintf("%d of %s %s", t[Fail], count(n, "rule", "rules"), plural(t[Fail], "fails", "fail")),
			"A rule that fails is a broken promise: mend it before going live."}
	case t[Inconclusive] > 0:
		v = verdict{Inconclusive, "Nothing fails, but " + count(t[Inconclusive], "rule", "rules") + " could not be judged",
			"What could not be found out is no pass: remove what was in the way, and look again."}
	case t[Pass]+t[Warn] == 0:
		v = verdict{Inconclusive, "Nothing was proven", "Not one rule was looked at that applies: this says nothing about the target."}
	case t[Warn] > 0:
		v = verdict{Warn, "Nothing fails, with " + count(t[Warn], "warning", "warnings"),
			"No promise was seen broken. What is warned of is better mended."}
	default:
		v = verdict{Pass, "Every rule that was looked at and applies holds", "No promise was seen broken."}
	}
	if t[Skipped] > 0 && t[Pass]+t[Warn] > 0 {
		v.Meaning += fmt.Sprintf(" Nothing is known of the %s skipped.", plural(t[Skipped], "rule that was", "rules that were"))
	}
	return v
}

func count(n int, one, many string) string { return fmt.Sprintf("%d %s", n, plural(n, one, many)) }

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

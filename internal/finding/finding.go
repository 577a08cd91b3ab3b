// Package finding is what a look at somebody's integration came to, and the forms in which it is told: text for a
// person at a terminal, JSON for the next run, SARIF and JUnit for pipelines, HTML to attach to a ticket.
//
// A Report has Rules, which say what was looked for, why it matters and how to mend it, and Findings, which say what
// came of each. It knows nothing of how anything was found. Whoever makes a Report has taken every secret, token and
// CPF out of it before: the forms escape, and they do not redact.
package finding

import (
	"slices"
	"time"
)

// Outcome is what came of one rule.
type Outcome string

// The outcomes. Only Fail says that a promise is broken; Inconclusive says that nobody knows, which is no pass.
const (
	Pass          Outcome = "pass"
	Fail          Outcome = "fail"
	Warn          Outcome = "warn"           // not wrong by itself, and better otherwise
	NotApplicable Outcome = "not_applicable" // the target has nothing to which the rule applies, or nobody described it
	Inconclusive  Outcome = "inconclusive"   // it could not be found out
	Skipped       Outcome = "skipped"        // on request, with a reason
)

// Severity is how much it matters when a rule is broken.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical" // somebody is let in, or takes what opens the door
	High     Severity = "high"     // a defence is missing that an attacker with some luck needs missing
	Medium   Severity = "medium"   // makes another fault worse
	Low      Severity = "low"      // good practice
)

// Topic is a chapter of the report.
type Topic struct {
	Number  int    `json:"number"` // 0 comes last: what belongs to no chapter
	Title   string `json:"title"`
	TitlePT string `json:"title_pt"` // Brazilian Portuguese
}

// Rule is one thing that is looked for.
type Rule struct {
	ID         string      `json:"id"` // stable: baselines and skips name it
	Title      string      `json:"title"`
	TitlePT    string      `json:"title_pt"`
	Topic      int         `json:"topic"`
	Severity   Severity    `json:"severity"`
	What       string      `json:"what"` // what is done to find out
	Why        string      `json:"why"`  // what happens to whom when it is broken
	Fix        string      `json:"fix"`
	Snippets   []Snippet   `json:"snippets,omitempty"`
	References []Reference `json:"references,omitempty"`
}

// Snippet is a piece of a program that does it right.
type Snippet struct {
	Language string `json:"language"` // "Go", "Node.js"
	Code     string `json:"code"`
}

// Reference is where a public catalogue asks for the same.
type Reference struct {
	Catalogue string `json:"catalogue"` // with its version: "OWASP ASVS 5.0.0", "RFC 8725"
	ID        string `json:"id"`        // "9.1.2", "section 3.1"
	URL       string `json:"url"`
}

// Exchange is evidence: something that was sent, what came back, and what should have come back.
type Exchange struct {
	Request  string `json:"request"` // may have several lines
	Answer   string `json:"answer"`
	Expected string `json:"expected"` // one sentence
}

// Finding is what came of one rule.
type Finding struct {
	Rule     string     `json:"rule"`
	Outcome  Outcome    `json:"outcome"`
	Message  string     `json:"message"` // one sentence: what was seen; of a skipped rule, the reason
	Place    string     `json:"place"`   // where: a URL without query, a path within a package; the same in every run
	Evidence []Exchange `json:"evidence,omitempty"`
}

// Report is one look at one target. Rules and Findings are in the order in which they are told within their topic.
type Report struct {
	Tool     string        `json:"tool"` // "selo check"
	Version  string        `json:"version"`
	Target   string        `json:"target"`
	About    []Fact        `json:"about,omitempty"`
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took_ns"`
	Topics   []Topic       `json:"topics"`
	Rules    []Rule        `json:"rules"`
	Findings []Finding     `json:"findings"`

	// Changes since a baseline; nil when there was none.
	Changes *Changes `json:"changes,omitempty"`
}

// Fact is something that a reader of the report must know, such as the product and the environment.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Changes is what is otherwise than in an earlier report.
type Changes struct {
	Since   time.Time `json:"since"` // when the earlier one was started
	Changed []Change  `json:"changed"`
}

// Change is one rule that came to something else. From is "" for a rule that is new, To for one that is gone. With a Place
// the rule came to the same as a whole, and the change is what came of it there; From is "" where nothing was to be told
// before, To where nothing is any more.
type Change struct {
	Rule  string  `json:"rule"`
	Place string  `json:"place,omitempty"`
	From  Outcome `json:"from,omitempty"`
	To    Outcome `json:"to,omitempty"`
}

// Rule returns the rule of that ID, or a zero one.
func (r *Report) Rule(id string) Rule {
	if i := slices.IndexFunc(r.Rules, func(rule Rule) bool { return rule.ID == id }); i >= 0 {
		return r.Rules[i]
	}
	return Rule{}
}

// Count returns of how many rules the outcome is the worst. A rule without a finding is inconclusive.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, came := range r.outcomes() {
		if came == o {
			n++
		}
	}
	return n
}

// ExitCode is 1 when a promise is broken, else 3 when something could not be found out, or nothing was looked at, else 0.
func (r *Report) ExitCode() int {
	switch {
	case r.Count(Fail) > 0:
		return 1
	case r.Count(Inconclusive) > 0, r.Count(Pass)+r.Count(Warn) == 0:
		return 3
	}
	return 0
}

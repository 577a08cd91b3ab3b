package scan

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// Allowed is a finding that somebody has decided to live with, until a day.
type Allowed struct {
	Rule    string `yaml:"rule"`    // its ID
	Path    string `yaml:"path"`    // where, as the report says it; * stands for anything within a name, ** for any names
	Reason  string `yaml:"reason"`  // why it may be there; it is in the report
	Expires string `yaml:"expires"` // the last day, in UTC: 2027-01-31
}

// CheckAllowed returns every mistake in an allow-list: rules that there are not, and what has no path, no reason or no
// day. A day that is past is no mistake: the finding is then told again.
func CheckAllowed(list []Allowed) []error {
	var faults []error
	rules := Rules()
	for i, a := range list {
		faultf := func(field, format string, args ...any) {
			faults = append(faults, fmt.Errorf("allow[%d].%s: %s", i, field, fmt.Sprintf(format, args...)))
		}
		if !slices.ContainsFunc(rules, func(r finding.Rule) bool { return r.ID == a.Rule }) {
			faultf("rule", "there is no rule of that name; selo scan list names all")
		}
		if a.Path == "" {
			faultf("path", "is missing; ** is for everywhere")
		} else if _, err := path.Match(a.Path, ""); err != nil {
			faultf("path", "is no pattern: a [ is not closed")
		}
		if strings.TrimSpace(a.Reason) == "" {
			faultf("reason", "is missing; say why it may be there")
		}
		if _, err := a.until(); err != nil {
			faultf("expires", "must be a day such as 2027-01-31")
		}
	}
	return faults
}

// until is the moment from which on it is not allowed any more.
func (a *Allowed) until() (time.Time, error) {
	t, err := time.Parse(time.DateOnly, a.Expires)
	return t.AddDate(0, 0, 1), err
}

// covers reports that a is about a finding of a rule at a place.
func (a *Allowed) covers(rule, place string) bool { return a.Rule == rule && matches(a.Path, place) }

// matches compares a name with a pattern, part by part. What separates is "/" and "!".
func matches(pattern, name string) bool {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == '!' })
	}
	return matchParts(split(pattern), split(name))
}

func matchParts(pattern, name []string) bool {
	// at[i]: the patterns so far match the first i parts.
	at := make([]bool, len(name)+1)
	at[0] = true
	for _, p := range pattern {
		next := make([]bool, len(name)+1)
		if p == "**" {
			reached := false
			for i := range at {
				reached = reached || at[i]
				next[i] = reached
			}
		} else {
			for i, part := range name {
				if ok, _ := path.Match(p, part); at[i] && ok {
					next[i+1] = true
				}
			}
		}
		at = next
	}
	return at[len(name)]
}

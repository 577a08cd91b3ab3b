package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rule is one sentence, in CEL, on who may open a session: what must be so, or what must not.
//
// A rule knows product, purpose, assurance, cpf_known, now, caller.kind, caller.service, caller.scopes and,
// of an end user's token, claims.NAME. The helpers acr_in("2"), amr_has("otp"), signed_in_within("15m") and
// scope_has("x") are false when their claim is missing.
//
// A missing claim must not decide by accident. In CEL an error beside a true is true, so a claim that may be
// missing has to be guarded by has() everywhere but in the outermost && of Allow, where it can only deny.
type Rule struct {
	// Name identifies the rule in records: 1 to 64 of a-z, 0-9 and "-", unique in the app.
	Name string
	// Products are those that it is about, of the app's. Empty means all.
	Products []string
	// Purposes are those that it is about, of the app's. Empty means all.
	Purposes []string
	// Allow must be true, or the session is denied. Exactly one of Allow and Deny is set.
	Allow string
	// Deny must be false, or the session is denied.
	Deny string
	// Observe, only with Deny, records what the rule says and does not apply it.
	Observe bool
}

// RulesConfig is what CompileRules needs: the rules of one app, and what they may speak of.
type RulesConfig struct {
	// Products and Purposes are the app's. A rule or case that names another is a mistake.
	Products, Purposes []string
	// Assurances has the assurance of each purpose, for cases. May be nil.
	Assurances map[string]string
	// Claims are the app's own, beside StandardClaims, by the names that rules know them by.
	Claims map[string]ClaimType
	Rules  []Rule
	// Cases are examples with their answers, for Test.
	Cases []RuleCase
}

const (
	kindAllow = "allow"
	kindDeny  = "deny"
	// maxRules bounds the time of one Judge and the length of what is recorded of it.
	maxRules = 100
)

// Rules are the compiled rules of an app. Nil means that there are none. They may be used by many goroutines.
type Rules struct {
	rules []rule
	cases []ruleCase
}

// rule is a Rule that was checked.
type rule struct {
	Rule
	kind, text, version string
	program             program
}

// CompileRules checks all rules and cases and reports every mistake at once, each with its field. It does
// not run the cases: that is Test's.
func CompileRules(c RulesConfig) (*Rules, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	claims := StandardClaims()
	for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
		if _, standard := claims[name]; standard {
			wrong("claims.%s: is one of the claims that every app has; use another name", name)
			continue
		}
		if err := checkClaim(name, c.Claims[name]); err != nil {
			wrong("claims.%s: %w", name, err)
			continue
		}
		claims[name] = c.Claims[name]
	}
	env, err := newRuleEnv(claims)
	if err != nil {
		return nil, errors.Join(append(errs, fmt.Errorf("preparing rules: %w", err))...)
	}
	if len(c.Rules) > maxRules {
		wrong("rules: there are %d, at most %d", len(c.Rules), maxRules)
		c.Rules = c.Rules[:maxRules]
	}
	r := &Rules{}
	seen := make(map[string]bool)
	for i, configured := range c.Rules {
		one, mistakes := compileRule(env, configured, c.Products, c.Purposes)
		if seen[one.Name] {
			mistakes = append(mistakes, fmt.Errorf("name: there are two rules %q", one.Name))
		}
		seen[one.Name] = true
		for _, err := range mistakes {
			wrong("rules[%d].%w", i, err)
		}
		r.rules = append(r.rules, one)
	}
	names := make(map[string]bool)
	for i, configured := range c.Cases {
		one, mistakes := readCase(configured, c, claims)
		if names[configured.Name] {
			mistakes = append(mistakes, fmt.Errorf("name: there are two cases %q", configured.Name))
		}
		names[configured.Name] = true
		for _, err := range mistakes {
			wrong("rule_cases[%d].%w", i, err)
		}
		r.cases = append(r.cases, one)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

func compileRule(env *ruleEnv, c Rule, products, purposes []string) (rule, []error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	c.Products, c.Purposes = slices.Clone(c.Products), slices.Clone(c.Purposes)
	if !isName(c.Name) {
		wrong("name: must be 1 to %d of a-z, 0-9 and -", maxName)
	}
	for i, name := range c.Products {
		if !slices.Contains(products, name) {
			wrong("products[%d]: the app has no %q%s", i, name, suggest(name, products))
		}
	}
	for i, name := range c.Purposes {
		if !slices.Contains(purposes, name) {
			wrong("purposes[%d]: the app has no %q%s", i, name, suggest(name, purposes))
		}
	}
	one := rule{Rule: c, kind: kindAllow, text: c.Allow}
	if c.Allow == "" {
		one.kind, one.text = kindDeny, c.Deny
	}
	switch {
	case c.Allow == "" && c.Deny == "":
		wrong("allow: one of allow and deny must be there")
		return one, errs
	case c.Allow != "" && c.Deny != "":
		wrong("deny: only one of allow and deny may be there; make it two rules")
		return one, errs
	case c.Observe && c.Allow != "":
		wrong("observe: only goes with deny; write what must not be so as a deny")
	}
	sum := sha256.Sum256([]byte(one.kind + one.text))
	one.version = hex.EncodeToString(sum[:4])
	compiled, mistakes := env.compile(one.kind, one.text)
	for _, err := range mistakes {
		wrong("%s: %w", one.kind, err)
	}
	one.program = compiled
	return one, errs
}

// Text returns what a rule of this name says, to explain a recorded outcome. current tells whether it is
// still what it said when the version was recorded. All is zero if there is no such rule any more.
func (r *Rules) Text(name, version string) (text, kind string, current bool) {
	if r == nil {
		return "", "", false
	}
	i := slices.IndexFunc(r.rules, func(one rule) bool { return one.Name == name })
	if i < 0 {
		return "", "", false
	}
	return r.rules[i].text, r.rules[i].kind, r.rules[i].version == version
}

// suggest ends a sentence on a name that is not there, with the names that are.
func suggest(name string, there []string) string {
	there = slices.Sorted(slices.Values(there))
	best, nearest := len(name)/3+2, "" // a third of the letters may be wrong, and one more
	for _, one := range there {
		if d := distance(strings.ToLower(name), strings.ToLower(one)); d < best {
			best, nearest = d, one
		}
	}
	list := "there are " + strings.Join(there, ", ")
	if len(there) == 0 {
		list = "there are none"
	}
	if nearest == "" {
		return "; " + list
	}
	return fmt.Sprintf("; did you mean %q? (%s)", nearest, list)
}

// distance is the number of bytes to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

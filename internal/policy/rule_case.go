package policy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// RuleCase is one line of the table beside the rules: a wish to open a session, and what must come of it.
type RuleCase struct {
	// Name says what the case shows, unique in the app.
	Name string
	// Product and Purpose are of the app's.
	Product, Purpose string
	// Kind is who asks. Empty means an end user.
	Kind Kind
	// Service and Scopes are a service's name and scopes.
	Service string
	Scopes  []string
	// Claims are those of the end user's token, as they are read from YAML. One of type time is RFC 3339, or
	// how long before Now it was, as in "-5m". One that is left out is not in the token.
	Claims map[string]any
	// CPF tells whether the CPF of the subject is known. Nil means that it is.
	CPF *bool
	// Now is the time, RFC 3339. Empty means 2026-01-02T15:00:00Z.
	Now string
	// Want is "allow" or "deny".
	Want string
	// By is the rule that must be the first to deny. Empty means any.
	By string
}

// ruleCase is a RuleCase that was read.
type ruleCase struct {
	name, want, by string
	facts          Facts
}

// CaseResult is what came of one case.
type CaseResult struct {
	Name string
	OK   bool
	// Got and Want are "allow" or "deny".
	Got, By, Want, WantBy string
	Verdict               Verdict
}

// Test judges every case, in their order.
func (r *Rules) Test() []CaseResult {
	if r == nil {
		return nil
	}
	results := make([]CaseResult, 0, len(r.cases))
	for _, one := range r.cases {
		v := r.Judge(one.facts)
		got := kindDeny
		if v.Allowed {
			got = kindAllow
		}
		ok := got == one.want && (one.by == "" || one.by == v.By)
		results = append(results, CaseResult{Name: one.name, OK: ok, Got: got, By: v.By, Want: one.want, WantBy: one.by, Verdict: v})
	}
	return results
}

// Unused returns the rules that deny in no case, nor would if they did not only observe: rules of which no
// case shows what they are for.
func (r *Rules) Unused() []string {
	if r == nil {
		return nil
	}
	denied := make(map[string]bool)
	for _, result := range r.Test() {
		for _, o := range result.Verdict.Outcomes {
			if o.denies() {
				denied[o.Rule] = true
			}
		}
	}
	var unused []string
	for _, one := range r.rules {
		if !denied[one.Name] {
			unused = append(unused, one.Name)
		}
	}
	return unused
}

func readCase(c RuleCase, config RulesConfig, claims map[string]ClaimType) (ruleCase, []error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	one := ruleCase{name: c.Name, want: c.Want, by: c.By, facts: Facts{
		Product: c.Product, Purpose: c.Purpose, Assurance: config.Assurances[c.Purpose], Kind: c.Kind, Service: c.Service,
		Scopes: slices.Clone(c.Scopes), CPFKnown: c.CPF == nil || *c.CPF, Now: time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC),
		Claims: make(map[string]any),
	}}
	f := &one.facts
	if c.Name == "" {
		wrong("name: must say what the case shows")
	}
	if !slices.Contains(config.Products, c.Product) {
		wrong("product: the app has no %q%s", c.Product, suggest(c.Product, config.Products))
	}
	if !slices.Contains(config.Purposes, c.Purpose) {
		wrong("purpose: the app has no %q%s", c.Purpose, suggest(c.Purpose, config.Purposes))
	}
	switch f.Kind {
	case "", KindEndUser:
		f.Kind = KindEndUser
		if c.Service != "" || len(c.Scopes) > 0 {
			wrong("caller: an end user has no service and no scopes; write caller: service, or claims: {scope: ...}")
		}
	case KindService:
		if len(c.Claims) > 0 {
			wrong("claims: a service has none")
		}
	default:
		wrong("caller: must be %s or %s", KindEndUser, KindService)
	}
	if c.Now != "" {
		var err error
		if f.Now, err = time.Parse(time.RFC3339, c.Now); err != nil {
			wrong("now: must be a time such as 2026-01-02T15:00:00Z")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
		t, there := claims[name]
		if !there {
			wrong("claims.%s: there is no such claim%s; others are declared under claims", name, suggest(name, slices.Collect(maps.Keys(claims))))
			continue
		}
		given := c.Claims[name]
		if text, ok := given.(string); ok && name == "scope" {
			given = scopes(text) // as in a token
		}
		value, err := readClaim(given, t, f.Now)
		if err != nil {
			wrong("claims.%s: %w", name, err)
		}
		f.Claims[name] = value
	}
	if c.Want != kindAllow && c.Want != kindDeny {
		wrong("want: must be allow or deny")
	}
	if c.By != "" {
		isRule := func(r Rule) bool { return r.Name == c.By }
		switch i := slices.IndexFunc(config.Rules, isRule); {
		case c.Want == kindAllow:
			wrong("by: only goes with want: deny")
		case i < 0:
			var there []string
			for _, r := range config.Rules {
				there = append(there, r.Name)
			}
			wrong("by: there is no rule %q%s", c.By, suggest(c.By, there))
		case config.Rules[i].Observe:
			wrong("by: rule %q only observes, so it denies nobody", c.By)
		}
	}
	return one, errs
}

// readClaim makes of a value of YAML what a token's claim of this type would be in a Caller.
func readClaim(value any, t ClaimType, now time.Time) (any, error) {
	if value == nil {
		return nil, errors.New("has no value; leave it out to say that it is not in the token")
	}
	switch t {
	case ClaimString:
		if s, ok := value.(string); ok {
			return s, nil
		}
		return nil, errors.New("must be text; put it in quotes")
	case ClaimStrings:
		return readTexts(value)
	case ClaimBoolean:
		if b, ok := value.(bool); ok {
			return b, nil
		}
		return nil, errors.New("must be true or false")
	case ClaimInteger:
		const most = 1 << 53
		if n, ok := wholeNumber(value); ok && n >= -most && n <= most {
			return n, nil
		}
		return nil, errors.New("must be a whole number, up to 2^53 either way")
	case ClaimNumber:
		if n, ok := wholeNumber(value); ok {
			return float64(n), nil
		}
		if n, ok := value.(float64); ok && !math.IsNaN(n) && !math.IsInf(n, 0) {
			return n, nil
		}
		return nil, errors.New("must be a number")
	case ClaimTime:
		if at, ok := value.(time.Time); ok {
			return at, nil
		}
		text, _ := value.(string)
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at, nil
		}
		if ago, err := time.ParseDuration(text); err == nil && strings.ContainsAny(text[:1], "+-") {
			return now.Add(ago), nil
		}
		return nil, errors.New(`must be a time such as "2026-01-02T15:00:00Z", or how long before now it was, as in "-5m"`)
	default:
		return nil, errors.New("is of no type that cases can have")
	}
}

func readTexts(value any) ([]string, error) {
	fault := errors.New("must be a list of texts; put each in quotes")
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case []string:
		return slices.Clone(v), nil
	case []any:
		texts := make([]string, 0, len(v))
		for _, one := range v {
			text, ok := one.(string)
			if !ok {
				return nil, fault
			}
			texts = append(texts, text)
		}
		return texts, nil
	default:
		return nil, fault
	}
}

func wholeNumber(value any) (int64, bool) {
	switch n := value.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64 //nolint:gosec // the caller looks at both
	default:
		return 0, false
	}
}

// scopes splits a scope as it stands in a token (RFC 8693).
func scopes(text string) (all []any) {
	for _, one := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }) {
		all = append(all, one)
	}
	return all
}

// CheckCases returns an error for every case that the rules do not do what it says.
func (r *Rules) CheckCases() error {
	var errs []error
	for _, c := range r.Test() {
		if !c.OK {
			errs = append(errs, fmt.Errorf("rule_cases: %q is not what the rules do: selo policy test says more", c.Name))
		}
	}
	return errors.Join(errs...)
}

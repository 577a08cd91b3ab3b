package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
)

// Facts are what rules judge: one wish to open a session.
type Facts struct {
	Product, Purpose, Assurance string
	Kind                        Kind
	// Service is the name of a service that asks.
	Service string
	// Scopes are the service's.
	Scopes []string
	// Claims are those of the end user's token: string, []string, bool, int64, float64 or time.Time, as
	// declared. A value of another type is an error wherever a rule reads it. Of a service they are ignored.
	Claims map[string]any
	// CPFKnown tells whether the CPF of the subject is known.
	CPFKnown bool
	Now      time.Time
}

// The results of a rule.
const (
	ResultTrue  = "true"
	ResultFalse = "false"
	ResultError = "error" // denies, unless the rule only observes
)

// Verdict is what the rules say of Facts.
type Verdict struct {
	Allowed bool
	// By is the first rule, in the order of the configuration, that denied; "" if none did.
	By string
	// Outcomes has every rule that is about this product and purpose.
	Outcomes []Outcome
}

// Outcome is what one rule says.
type Outcome struct {
	Rule string
	// Version changes with the rule: the first 8 hexadecimal digits of the SHA-256 of kind and text.
	Version       string
	Deny, Observe bool
	Result        string
	// Detail says what an error was about. It holds no values.
	Detail string
}

// denies reports whether the rule would deny, observing or not.
func (o Outcome) denies() bool {
	if o.Deny {
		return o.Result != ResultFalse
	}
	return o.Result != ResultTrue
}

// maxVerdict bounds the line for the audit trail.
const maxVerdict = 1024

// String is one line for the audit trail: names, versions and results, the rule that denied first.
func (v Verdict) String() string {
	if len(v.Outcomes) == 0 {
		return "rules: none"
	}
	// There may not be room for all: the one that denied first, then the others that did or would.
	order := slices.Clone(v.Outcomes)
	weight := func(o Outcome) int {
		switch {
		case v.By != "" && o.Rule == v.By:
			return 0
		case o.denies():
			return 1
		}
		return 2
	}
	slices.SortStableFunc(order, func(a, b Outcome) int { return weight(a) - weight(b) })
	line := "rules: "
	for i, o := range order {
		one := o.String()
		if i > 0 {
			one = "; " + one
		}
		if more := fmt.Sprintf("; %d more", len(order)-i); len(line)+len(one) > maxVerdict-len(more) {
			return line + more
		}
		line += one
	}
	return line
}

// String is the rule, its version, its kind and its result.
func (o Outcome) String() string {
	words := []string{o.Rule + "@" + o.Version, kindAllow}
	if o.Deny {
		words[1] = kindDeny
	}
	if o.Observe {
		words = append(words, "observe")
	}
	return strings.Join(append(words, o.Result), " ")
}

// Judge evaluates every rule that is about this product and purpose. It allows if each allow is true and each
// deny, but those that observe, is false: an error denies. With nil Rules, or none that is about it, it
// allows.
func (r *Rules) Judge(f Facts) Verdict {
	v := Verdict{Allowed: true}
	if r == nil {
		return v
	}
	a := newActivation(f)
	for i := range r.rules {
		one := &r.rules[i]
		if !one.isAbout(f.Product, f.Purpose) {
			continue
		}
		if v.Outcomes == nil {
			v.Outcomes = make([]Outcome, 0, len(r.rules))
		}
		o := Outcome{Rule: one.Name, Version: one.version, Deny: one.kind == kindDeny, Observe: one.Observe}
		o.Result, o.Detail = a.evaluate(one.program)
		v.Outcomes = append(v.Outcomes, o)
		if v.Allowed && !o.Observe && o.denies() {
			v.Allowed, v.By = false, one.Name
		}
	}
	return v
}

func (one *rule) isAbout(product, purpose string) bool {
	return (len(one.Products) == 0 || slices.Contains(one.Products, product)) &&
		(len(one.Purposes) == 0 || slices.Contains(one.Purposes, purpose))
}

// activation hands facts to CEL. It is also the claims object, so that reading a claim allocates nothing.
type activation struct {
	facts Facts
	now   any // of facts, as CEL wants it
	// fault is the first claim that could not be read in this evaluation. Whatever CEL makes of the error,
	// the rule then has no other result: a second guarantee beside the check of guards.
	fault error
}

func newActivation(f Facts) *activation {
	return &activation{facts: f, now: types.Timestamp{Time: f.Now}}
}

func (a *activation) evaluate(p program) (result, detail string) {
	defer func() {
		if recover() != nil {
			result, detail = ResultError, "evaluating it panicked"
		}
	}()
	a.fault = nil
	value, _, err := p.Eval(a)
	if a.fault != nil {
		return ResultError, a.fault.Error()
	}
	if err != nil {
		return ResultError, describe(err)
	}
	switch value {
	case types.True:
		return ResultTrue, ""
	case types.False:
		return ResultFalse, ""
	}
	return ResultError, "its result is neither true nor false"
}

// describe says what an error of CEL is about, without its text, which holds values.
func describe(err error) string {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) {
		return "it took more steps than a rule may"
	}
	for _, known := range []string{"division by zero", "modulus by zero", "integer overflow", "duration overflow", "timestamp overflow"} {
		if err.Error() == known {
			return known
		}
	}
	for prefix, words := range map[string]string{
		"no such key":         "a map has no such key",
		"index out of bounds": "a list has no such element",
	} {
		if strings.HasPrefix(err.Error(), prefix) {
			return words
		}
	}
	return "a value could not be worked out"
}

// ResolveName implements CEL's activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case varClaims:
		return a, true
	case varProduct:
		return a.facts.Product, true
	case varPurpose:
		return a.facts.Purpose, true
	case varAssurance:
		return a.facts.Assurance, true
	case varCPFKnown:
		return a.facts.CPFKnown, true
	case varNow:
		return a.now, true
	case varKind:
		return string(a.facts.Kind), true
	case varService:
		return a.facts.Service, true
	case varScopes:
		return a.facts.Scopes, true
	}
	return nil, false
}

// Parent implements CEL's activation.
func (a *activation) Parent() interpreter.Activation { return nil }

func (a *activation) has(name string) bool {
	_, there := a.facts.Claims[name]
	return there && a.facts.Kind != KindService
}

// claim reads a claim of this type.
func (a *activation) claim(name string, t ClaimType) (any, error) {
	value, there := a.facts.Claims[name]
	switch {
	case a.facts.Kind == KindService:
		return a.fail("claims." + name + " is not there: a service has no claims")
	case !there:
		return a.fail("claims." + name + " is not in the token")
	}
	fits := false
	switch t {
	case ClaimString:
		var text string
		if text, fits = value.(string); len(text) > maxTextClaim {
			return a.fail(fmt.Sprintf("claims.%s is longer than %d bytes", name, maxTextClaim))
		}
	case ClaimStrings:
		var list []string
		if list, fits = value.([]string); len(list) > maxElements {
			return a.fail(fmt.Sprintf("claims.%s has more than %d elements", name, maxElements))
		}
	case ClaimBoolean:
		_, fits = value.(bool)
	case ClaimInteger:
		_, fits = value.(int64)
	case ClaimNumber:
		_, fits = value.(float64)
	case ClaimTime:
		_, fits = value.(time.Time)
	}
	if !fits {
		return a.fail("claims." + name + " is of another type than declared")
	}
	return value, nil
}

func (a *activation) fail(detail string) (any, error) {
	err := errors.New(detail)
	if a.fault == nil {
		a.fault = err
	}
	return nil, err
}

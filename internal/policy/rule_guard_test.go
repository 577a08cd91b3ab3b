package policy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// expr is a small expression over three boolean claims, to test the guard check with: op is one of
// "true", "false", "read", "has", "!", "&&", "||", "?:", "==", "exists" and "all". The last two loop over
// [false, true] with a variable, "var".
type expr struct {
	op    string
	claim string
	of    []*expr
}

func (e *expr) String() string {
	switch e.op {
	case "read":
		return "claims." + e.claim
	case "has":
		return "has(claims." + e.claim + ")"
	case "var":
		return e.claim
	case "!":
		return "!(" + e.of[0].String() + ")"
	case "&&", "||", "==":
		return "(" + e.of[0].String() + " " + e.op + " " + e.of[1].String() + ")"
	case "?:":
		return "(" + e.of[0].String() + " ? " + e.of[1].String() + " : " + e.of[2].String() + ")"
	case "exists", "all":
		return "[false, true]." + e.op + "(" + e.claim + ", " + e.of[0].String() + ")"
	default:
		return e.op
	}
}

// randomExpr makes guards now and then, or few expressions would be accepted.
func randomExpr(r *rand.Rand, depth int, loops int) *expr {
	claim := string("abc"[r.IntN(3)])
	if depth == 0 || r.IntN(6) == 0 {
		leaves := []*expr{{op: "true"}, {op: "false"}, {op: "read", claim: claim}, {op: "read", claim: claim}, {op: "has", claim: claim}}
		if loops > 0 {
			leaves = append(leaves, &expr{op: "var", claim: fmt.Sprint("v", r.IntN(loops))})
		}
		return leaves[r.IntN(len(leaves))]
	}
	next := func() *expr { return randomExpr(r, depth-1, loops) }
	has, read := &expr{op: "has", claim: claim}, &expr{op: "read", claim: claim}
	not := func(e *expr) *expr { return &expr{op: "!", of: []*expr{e}} }
	use := read
	switch r.IntN(3) {
	case 0:
		use = not(read)
	case 1:
		use = &expr{op: "==", of: []*expr{read, next()}}
	}
	switch r.IntN(14) {
	case 0:
		return not(next())
	case 1, 2, 3:
		return &expr{op: "&&", of: []*expr{next(), next()}}
	case 4, 5:
		return &expr{op: "||", of: []*expr{next(), next()}}
	case 6:
		return &expr{op: "?:", of: []*expr{next(), next(), next()}}
	case 7:
		return &expr{op: "==", of: []*expr{next(), next()}}
	case 8:
		if loops == 2 {
			return next() // rules nest no deeper
		}
		return &expr{op: []string{"exists", "all"}[r.IntN(2)], claim: fmt.Sprint("v", loops), of: []*expr{randomExpr(r, min(depth-1, 2), loops+1)}}
	case 9, 10:
		return &expr{op: "&&", of: []*expr{has, use}}
	case 11:
		return &expr{op: "||", of: []*expr{not(has), use}}
	case 12:
		return &expr{op: "?:", of: []*expr{has, use, next()}}
	default:
		return &expr{op: "?:", of: []*expr{not(has), next(), use}}
	}
}

// cel evaluates as CEL says: "E", an error, beside the value that decides && or || alone is lost.
func (e *expr) cel(env map[string]string) string {
	decide := func(deciding, otherwise string, values ...string) string {
		result := otherwise
		for _, v := range values {
			if v == deciding {
				return deciding
			}
			if v == "E" {
				result = "E"
			}
		}
		return result
	}
	switch e.op {
	case "&&":
		return decide("false", "true", e.of[0].cel(env), e.of[1].cel(env))
	case "||":
		return decide("true", "false", e.of[0].cel(env), e.of[1].cel(env))
	case "exists":
		return decide("true", "false", e.of[0].cel(with(env, e.claim, "false")), e.of[0].cel(with(env, e.claim, "true")))
	case "all":
		return decide("false", "true", e.of[0].cel(with(env, e.claim, "false")), e.of[0].cel(with(env, e.claim, "true")))
	default:
		return e.same(env, e.cel1)
	}
}

func (e *expr) cel1(env map[string]string, i int) string { return e.of[i].cel(env) }

// strict evaluates as Go would: from the left, no further than needed, and every error is the result.
func (e *expr) strict(env map[string]string) string {
	then := func(deciding, first string, second func() string) string {
		if first == "E" || first == deciding {
			return first
		}
		return second()
	}
	switch e.op {
	case "&&":
		return then("false", e.of[0].strict(env), func() string { return e.of[1].strict(env) })
	case "||":
		return then("true", e.of[0].strict(env), func() string { return e.of[1].strict(env) })
	case "exists":
		return then("true", e.of[0].strict(with(env, e.claim, "false")), func() string { return e.of[0].strict(with(env, e.claim, "true")) })
	case "all":
		return then("false", e.of[0].strict(with(env, e.claim, "false")), func() string { return e.of[0].strict(with(env, e.claim, "true")) })
	default:
		return e.same(env, e.strict1)
	}
}

func (e *expr) strict1(env map[string]string, i int) string { return e.of[i].strict(env) }

// same is what both evaluate alike.
func (e *expr) same(env map[string]string, of func(map[string]string, int) string) string {
	switch e.op {
	case "read", "var":
		if v, there := env[e.claim]; there {
			return v
		}
		return "E"
	case "has":
		_, there := env[e.claim]
		return fmt.Sprint(there)
	case "!":
		return map[string]string{"true": "false", "false": "true", "E": "E"}[of(env, 0)]
	case "==":
		left, right := of(env, 0), of(env, 1)
		if left == "E" || right == "E" {
			return "E"
		}
		return fmt.Sprint(left == right)
	case "?:":
		switch of(env, 0) {
		case "true":
			return of(env, 1)
		case "false":
			return of(env, 2)
		}
		return "E"
	default:
		return e.op
	}
}

func with(env map[string]string, name, value string) map[string]string {
	more := maps.Clone(env)
	more[name] = value
	return more
}

// mentions reports whether e has an op on a claim.
func (e *expr) mentions(op, claim string) bool {
	if e.op == op && e.claim == claim {
		return true
	}
	for _, one := range e.of {
		if one.mentions(op, claim) {
			return true
		}
	}
	return false
}

// TestRuleGuards: whatever claims are missing,
//
//  1. CEL evaluates as this file's evaluator of CEL does;
//  2. if an accepted allow is true, no missing claim was read, and the strict evaluator says true as well: no
//     error was lost on the way to the true;
//  3. if an accepted allow reads a claim and nowhere asks has() of it, it is not true without it;
//  4. an accepted deny reads no missing claim, and the strict evaluator agrees with it.
func TestRuleGuards(t *testing.T) {
	env, err := newRuleEnv(map[string]ClaimType{"a": ClaimBoolean, "b": ClaimBoolean, "c": ClaimBoolean})
	if err != nil {
		t.Fatal(err)
	}
	var values []map[string]string // every combination of missing, true and false
	for i := range 27 {
		one := make(map[string]string)
		for j, claim := range []string{"a", "b", "c"} {
			if digit := i / []int{1, 3, 9}[j] % 3; digit > 0 {
				one[claim] = fmt.Sprint(digit == 1)
			}
		}
		values = append(values, one)
	}
	count := 4000
	if testing.Short() {
		count = 400
	}
	r := rand.New(rand.NewPCG(1, 2))
	accepted, readsSomething := map[string]int{}, map[string]int{}
	for range count {
		e := randomExpr(r, 1+r.IntN(4), 0)
		text := e.String()
		if len(text) > 1000 {
			continue
		}
		parsed, errs := env.parse(text)
		if errs != nil {
			t.Fatal(text, errs)
		}
		denied, allowed := findUnguarded(parsed.NativeRep(), kindDeny) == nil, findUnguarded(parsed.NativeRep(), kindAllow) == nil
		if denied && !allowed {
			t.Errorf("%s: a deny may do what an allow may not", text)
		}
		checked, errs := env.check(parsed)
		if errs != nil {
			t.Fatal(text, errs)
		}
		made, err := env.plan(checked, maxRuleCost)
		if err != nil {
			t.Fatal(text, err)
		}
		for kind, ok := range map[string]bool{kindAllow: allowed, kindDeny: denied} {
			if ok {
				accepted[kind]++
			}
			if ok && strings.Contains(strings.ReplaceAll(text, "has(claims.", ""), "claims.") {
				readsSomething[kind]++
			}
		}
		for _, value := range values {
			a := activation{facts: Facts{Kind: KindEndUser, Claims: make(map[string]any)}}
			for claim, v := range value {
				a.facts.Claims[claim] = v == "true"
			}
			raw, _, err := made.Eval(&a) // not evaluate, which has a second guarantee of its own
			got := "E"
			if err == nil {
				got = fmt.Sprint(raw)
			}
			strict := e.strict(value)
			if want := e.cel(value); got != want {
				t.Fatalf("%s with %v: CEL says %s, the test's evaluator %s", text, value, got, want)
			}
			if allowed && got == "true" {
				if a.fault != nil || strict != "true" {
					t.Errorf("allow %s with %v: true, but %v; strictly %s", text, value, a.fault, strict)
				}
				for _, claim := range []string{"a", "b", "c"} {
					if _, there := value[claim]; !there && e.mentions("read", claim) && !e.mentions("has", claim) {
						t.Errorf("allow %s with %v: true without %s", text, value, claim)
					}
				}
			}
			if denied && (a.fault != nil || strict != got || got == "E") {
				t.Errorf("deny %s with %v: %s, but %v; strictly %s", text, value, got, a.fault, strict)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("of %d: accepted %v, of them reading claims %v", count, accepted, readsSomething)
	if readsSomething[kindAllow] < count/10 || readsSomething[kindDeny] < count/20 {
		t.Errorf("too few accepted to say anything: %v", readsSomething)
	}
}

// TestRuleGuardForms has what the check must accept and refuse, by kind.
func TestRuleGuardForms(t *testing.T) {
	for _, test := range []struct {
		text        string
		allow, deny bool
	}{
		{`has(claims.blocked) && claims.blocked`, true, true},
		{`!has(claims.blocked) || claims.blocked`, true, true},
		{`has(claims.blocked) ? claims.blocked : false`, true, true},
		{`!has(claims.blocked) ? true : claims.blocked`, true, true},
		{`!(has(claims.blocked) && claims.blocked)`, true, true},
		{`!(!has(claims.blocked) || claims.blocked)`, true, true},
		{`has(claims.blocked) && has(claims.level) && (claims.blocked || claims.level > 3)`, true, true},
		{`!has(claims.blocked) || !has(claims.level) || claims.blocked || claims.level > 3`, true, true},
		{`(has(claims.blocked) && has(claims.level) || has(claims.level)) && claims.level > 3`, true, true},
		{`has(claims.roles) && claims.roles.exists(r, r == "x")`, true, true},
		{`has(claims.tier) && ["a"].exists(r, r == claims.tier)`, true, true},
		{`acr_in("2") || amr_has("otp", "hwk") || scope_has("x") || !signed_in_within("15m")`, true, true},
		{`(acr_in("2") || amr_has("otp")) == signed_in_within("15m")`, true, true},

		{`claims.blocked`, true, false},
		{`claims.blocked && claims.level > 3 && claims.tier in ["a", "b"]`, true, false},
		{`claims.blocked && (!has(claims.level) || claims.level > 3)`, true, false},
		{`claims.roles.exists(r, r == "x")`, true, false},
		{`claims.roles.exists(r, r == "x") == true`, true, false},
		{`claims.blocked && has(claims.blocked)`, true, false},

		{`claims.blocked || cpf_known`, false, false},
		{`cpf_known || claims.blocked`, false, false},
		{`!claims.blocked`, false, false},
		{`!(claims.tier == "x")`, false, false},
		{`claims.blocked ? true : false`, false, false},
		{`cpf_known ? claims.blocked : true`, false, false},
		{`cpf_known ? true : claims.blocked`, false, false},
		{`(claims.blocked && cpf_known) == true`, false, false},
		{`(claims.blocked && cpf_known) == false`, false, false}, // found by TestRuleGuards: true if cpf_known is not
		{`(claims.blocked || cpf_known) == true`, false, false},
		{`!(claims.blocked && cpf_known)`, false, false},
		{`has(claims.level) && claims.blocked || cpf_known`, false, false},
		{`has(claims.blocked) || claims.blocked`, false, false},
		{`!has(claims.blocked) && claims.blocked`, true, false}, // never true
		{`(has(claims.blocked) || has(claims.level)) && (claims.blocked || cpf_known)`, false, false},
		{`["a"].exists(r, r == claims.tier)`, false, false},
		{`["a"].all(r, r == claims.tier)`, false, false},
		{`claims.roles.exists(r, claims.blocked)`, false, false},
		{`has(claims.blocked) ? true : claims.blocked`, false, false},
	} {
		for kind, want := range map[string]bool{kindAllow: test.allow, kindDeny: test.deny} {
			one := Rule{Name: "one", Allow: test.text}
			if kind == kindDeny {
				one = Rule{Name: "one", Deny: test.text}
			}
			_, err := CompileRules(ruleConfig(one))
			if (err == nil) != want {
				t.Errorf("%s %s: got %v", kind, test.text, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "guard claims.") || !strings.Contains(err.Error(), "has(claims.")) {
				t.Errorf("%s %s: %v", kind, test.text, err)
			}
		}
	}
}

package policy

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// TestRuleCost: what is not refused at load is stopped as it runs.
func TestRuleCost(t *testing.T) {
	claims := StandardClaims()
	maps.Copy(claims, ruleConfig().Claims)
	env, err := newRuleEnv(claims)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]string, maxElements)
	for i := range many {
		many[i] = strings.Repeat("x", 50) + fmt.Sprint(i)
	}
	facts := endUserFacts(map[string]any{"roles": many, "amr": many, "tier": strings.Repeat("a", maxTextClaim)})
	for _, text := range []string{
		`claims.roles.exists(a, claims.amr.exists(b, a + b == "x"))`,
		`claims.roles.all(a, claims.amr.all(b, a != b + "x"))`,
		`claims.roles.all(a, a in claims.amr && !a.matches("^(a|b)*c$"))`,
		`claims.roles.exists(r, claims.tier.matches("^(a*)*(a*)*b$"))`,
	} {
		parsed, issues := env.env.Parse(text)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		checked, issues := env.env.Check(parsed)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		made, err := env.plan(checked, maxRuleCost)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		result, detail := newActivation(facts).evaluate(made)
		t.Log(text, time.Since(began), result, detail)
		if result != ResultError || detail != "it took more steps than a rule may" || time.Since(began) > time.Second {
			t.Errorf("%s: %s %s after %v", text, result, detail, time.Since(began))
		}
	}
	r := mustRules(t, ruleConfig(Rule{Name: "list", Allow: `claims.roles.exists(r, r == "x")`}))
	facts.Claims["roles"] = append(many, "x")
	if v := r.Judge(facts); v.Allowed || v.Outcomes[0].Detail != "claims.roles has more than 1024 elements" {
		t.Errorf("got %+v", v)
	}
	r = mustRules(t, ruleConfig(Rule{Name: "text", Allow: `claims.tier != "x"`}))
	facts.Claims["tier"] = strings.Repeat("a", maxTextClaim+1)
	if v := r.Judge(facts); v.Allowed || v.Outcomes[0].Detail != "claims.tier is longer than 32768 bytes" {
		t.Errorf("got %+v", v)
	}
}

func TestRulePanicDenies(t *testing.T) {
	r := &Rules{rules: []rule{{Rule: Rule{Name: "broken"}, kind: kindAllow}}} // has no program
	if v := r.Judge(endUserFacts(nil)); v.Allowed || v.By != "broken" || v.Outcomes[0].Result != ResultError {
		t.Errorf("got %+v", v)
	}
}

func TestRuleConcurrently(t *testing.T) {
	r := mustRules(t, ruleConfig(
		Rule{Name: "a", Allow: `acr_in("2") && claims.roles.exists(r, r == "x")`},
		Rule{Name: "b", Deny: `now.getHours("-03:00") < 6`},
	))
	done := make(chan Verdict)
	for i := range 8 {
		go func() {
			var last Verdict
			for range 100 {
				last = r.Judge(endUserFacts(map[string]any{"acr": fmt.Sprint(i % 3), "roles": []string{"y", "x"}}))
				if last.Allowed != (i%3 == 2) {
					break
				}
			}
			done <- last
		}()
	}
	allowed := 0
	for range 8 {
		if (<-done).Allowed {
			allowed++
		}
	}
	if allowed != 2 {
		t.Errorf("%d allowed", allowed)
	}
}

// FuzzRule: no text makes loading or judging panic or hang, and what loads judges without values in it.
func FuzzRule(f *testing.F) {
	for _, text := range []string{
		`acr_in("2") && signed_in_within("15m")`, `!has(claims.roles) || !("x" in claims.roles)`, `claims.roles.exists(r, r.matches("^a+$"))`,
		`{"a": [1, 2]}["a"][0] == claims.level`, `now.getHours("America/Sao_Paulo") < 6`, `"\u00e9" + product == b"x"`, `1 / 0 == 1 || [].all(x, x)`,
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	claims := StandardClaims()
	maps.Copy(claims, ruleConfig().Claims)
	env, err := newRuleEnv(claims)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, deny bool) {
		kind := map[bool]string{true: kindDeny, false: kindAllow}[deny]
		made, errs := env.compile(kind, text)
		if (made == nil) == (errs == nil) {
			t.Fatalf("got %v and %v", made, errs)
		}
		if errs != nil {
			return
		}
		for _, claims := range []map[string]any{nil, {"acr": "2", "roles": []string{"x"}, "level": int64(1)}} {
			a := newActivation(endUserFacts(claims))
			value, _, _ := made.Eval(a)
			if a.fault != nil && (deny || fmt.Sprint(value) == "true") {
				t.Fatalf("%s %s: lost %v", kind, text, a.fault)
			}
		}
	})
}

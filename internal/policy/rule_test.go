package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ruleNow is when rules are judged in tests.
func ruleNow() time.Time { return time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC) }

func ruleConfig(rules ...Rule) RulesConfig {
	return RulesConfig{
		Products:   []string{"caf/face-liveness", "caf/smart-auth"},
		Purposes:   []string{"login", "transfer"},
		Assurances: map[string]string{"login": "presence", "transfer": "match"},
		Claims: map[string]ClaimType{"roles": ClaimStrings, "tier": ClaimString, "blocked": ClaimBoolean,
			"level": ClaimInteger, "score": ClaimNumber, "born": ClaimTime},
		Rules: rules,
	}
}

func mustRules(t testing.TB, c RulesConfig) *Rules {
	t.Helper()
	r, err := CompileRules(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func endUserFacts(claims map[string]any) Facts {
	return Facts{Product: "caf/face-liveness", Purpose: "login", Assurance: "presence", Kind: KindEndUser,
		Claims: claims, CPFKnown: true, Now: ruleNow()}
}

// TestRuleExpressions judges one allow by what it says of one set of facts.
func TestRuleExpressions(t *testing.T) {
	claims := map[string]any{
		"acr": "urn:2", "amr": []string{"pwd", "otp"}, "auth_time": ruleNow().Add(-10 * time.Minute), "scope": []string{"a", "b"},
		"roles": []string{"client", "gold"}, "blocked": false, "level": int64(3), "score": 0.5, "born": ruleNow().AddDate(-20, 0, 0),
	}
	service := Facts{Product: "caf/smart-auth", Purpose: "transfer", Assurance: "match", Kind: KindService, Service: "backend",
		Scopes: []string{"sessions:open"}, Claims: claims, Now: ruleNow()}
	for _, test := range []struct{ text, user, service string }{
		{`true`, "true", "true"},
		{`product == "caf/face-liveness" && purpose == "login" && assurance == "presence"`, "true", "false"},
		{`cpf_known`, "true", "false"},
		{`now == timestamp("2026-01-02T15:00:00Z")`, "true", "true"},
		{`caller.kind == "end_user" && caller.service == "" && size(caller.scopes) == 0`, "true", "false"},
		{`caller.kind == "service" && caller.service == "backend" && "sessions:open" in caller.scopes`, "false", "true"},
		{`claims.acr == "urn:2"`, "true", "error"},
		{`claims.acr.startsWith("urn:") && claims.acr.matches("^urn:[0-9]$")`, "true", "error"},
		{`claims.level >= 3 && claims.score < 0.75 && claims.level * 2 == 6`, "true", "error"},
		{`claims.azp == "app"`, "error", "error"},
		{`has(claims.azp)`, "false", "false"},
		{`!has(claims.azp) || claims.azp == "app"`, "true", "true"},
		{`has(claims.level) ? claims.level > 2 : cpf_known`, "true", "false"},
		{`!has(claims.level) ? cpf_known : claims.level > 2`, "true", "false"},
		{`has(claims.blocked) && !claims.blocked`, "true", "false"},
		{`claims.roles.exists(r, r == "gold") && claims.roles.all(r, r != "thief") && claims.roles.exists_one(r, r == "client")`, "true", "error"},
		{`claims.roles[0] == "client"`, "true", "error"},
		{`claims.roles[9] == "client"`, "error", "error"},
		{`now - claims.born > duration("157680h")`, "true", "error"},
		{`now.getHours("-03:00") == 12 && now.getHours() == 15 && now.getDayOfWeek("-03:00") == 5`, "true", "true"},
		{`{"login": 1, "transfer": 2}[purpose] == 1`, "true", "false"},
		{`{"transfer": 2}[purpose] == 2`, "error", "true"},
		{`acr_in("urn:1", "urn:2")`, "true", "false"},
		{`acr_in("urn:1")`, "false", "false"},
		{`!acr_in("urn:1")`, "true", "true"},
		{`amr_has("otp")`, "true", "false"},
		{`amr_has("sms", "hwk", "otp")`, "true", "false"},
		{`amr_has("sms", "hwk")`, "false", "false"},
		{`scope_has("b")`, "true", "false"},
		{`scope_has("c") || scope_has("a")`, "true", "false"},
		{`signed_in_within("15m")`, "true", "false"},
		{`signed_in_within("10m")`, "true", "false"},
		{`signed_in_within("9m59s")`, "false", "false"},
		{`!signed_in_within("5m") || cpf_known`, "true", "true"},
	} {
		t.Run(test.text, func(t *testing.T) {
			r := mustRules(t, ruleConfig(Rule{Name: "one", Allow: test.text}))
			for want, facts := range map[string]Facts{"user " + test.user: endUserFacts(claims), "service " + test.service: service} {
				v := r.Judge(facts)
				who, result, _ := strings.Cut(want, " ")
				if o := v.Outcomes[0]; o.Result != result || v.Allowed != (result == "true") {
					t.Errorf("%s: got %+v, want %s", who, v, result)
				}
				if (v.Outcomes[0].Detail != "") != (result == "error") || (v.By == "one") == v.Allowed {
					t.Errorf("%s: %+v", who, v)
				}
			}
		})
	}
}

func TestRuleSignedInWithin(t *testing.T) {
	r := mustRules(t, ruleConfig(Rule{Name: "fresh", Allow: `signed_in_within("15m")`}))
	for ago, want := range map[time.Duration]bool{
		0: true, 15 * time.Minute: true, 15*time.Minute + 1: false, 24 * time.Hour: false,
		1<<63 - 1: false, -1 << 63: false, -30 * time.Second: true, -30*time.Second - 1: false, -24 * time.Hour: false,
	} {
		if got := r.Judge(endUserFacts(map[string]any{"auth_time": ruleNow().Add(-ago)})); got.Allowed != want {
			t.Errorf("signed in %v ago: got %v", ago, got)
		}
	}
}

// TestRuleRefused has what must not load, with what the operator is told.
func TestRuleRefused(t *testing.T) {
	nested := `caller.scopes.exists(a, caller.scopes.exists(b, caller.scopes.exists(c, a == b && b == c)))`
	for _, test := range []struct{ text, want string }{
		{`claims.rolse == "x"`, `line 1, column 7: there is no claim "rolse"; did you mean "roles"? (there are acr, amr, auth_time, azp, blocked, `},
		{`has(claims.rolse)`, `there is no claim "rolse"; did you mean "roles"?`},
		{`prodct == "x"`, `line 1, column 1: there is no "prodct"; did you mean "product"? (there are assurance, caller.kind, `},
		{`caller.knd == "x"`, `there is no "caller.knd"; did you mean "caller.kind"?`},
		{`caller == "x"`, `there is no "caller"`},
		{`startWith(product, "x")`, `there is no function startWith; did you mean "startsWith"?`},
		{`claims["acr"] == "x"`, `claims is only for claims.NAME and has(claims.NAME)`},
		{`claims == claims`, `claims is only for`},
		{`size(claims) > 0`, `claims is only for`},
		{`[claims].exists(c, has(c.acr))`, `claims is only for`},
		{`.claims.acr == "x"`, `there is no ".claims.acr"`},
		{`has(product.x)`, `has() is only for claims`},
		{`has(caller.kind)`, `has() is only for claims`},
		{`caller.scopes.exists(claims, claims == "x")`, `"claims" is the name of something else`},
		{`caller.scopes.exists(caller, caller == "x")`, `"caller" is the name of something else`},
		{`caller.scopes.exists(now, now == "x")`, `"now" is the name of something else`},
		{`caller.scopes.exists(a, caller.scopes.exists(a, a == "x"))`, `"a" is the name of something else`},
		{`product`, `must be true or false (bool), is string`},
		{`dyn(true)`, `there is no function dyn`},
		{`type(product) == string`, `there is no function type`},
		{`[true, 1][0]`, `expected type 'bool' but found 'int'`},
		{`[][0]`, `must be true or false (bool), is dyn`},
		{`claims.acr == 2`, `found no matching overload for '_==_' applied to '(string, int)'`},
		{`claims.level == "2"`, `found no matching overload`},
		{`google.protobuf.BoolValue{value: true}`, `rules construct no objects`},
		{`claims{acr: "x"}.acr == "x"`, `only claims and caller have parts`},
		{`__not_strictly_false__(claims.blocked)`, `there is no function __not_strictly_false__`},
		{`caller.scopes.map(s, s + s).size() > 0`, `there is no function map`},
		{`caller.scopes.filter(s, s == "x").size() > 0`, `there is no function filter`},
		{`product.matches(purpose)`, `the pattern of matches must be a text as it is`},
		{`product.matches("(")`, `the pattern of matches is none: error parsing regexp: missing closing ): `},
		{`product.matches("(a{100}){100}")`, `invalid repeat count`},
		{`product.matches("(a{30}){30}")`, `regex program size`},
		{`now - timestamp("yesterday") > duration("1h")`, `timestamp`},
		{`now - now > duration("1 hour")`, `duration`},
		{`now.getHours("America/Sao_Paolo") < 6`, `getHours takes a time zone that this machine knows`},
		{`now.getHours(product) < 6`, `getHours takes a time zone`},
		{`now.getHours("../../etc/passwd") < 6`, `getHours takes a time zone`},
		{`acr_in()`, `acr_in takes at least one text`},
		{`acr_in(2)`, `acr_in takes texts as they are`},
		{`amr_has(product)`, `amr_has takes texts as they are`},
		{`scope_has("a", "b")`, `there is no function scope_has`},
		{`signed_in_within("15 minutes")`, `signed_in_within takes one time as text, such as "15m"`},
		{`signed_in_within("2562047h")`, `signed_in_within takes one time`},
		{`@signed_in_within(now, now, duration("1h"))`, `Syntax error`},
		{`signed_in_within("-15m")`, `signed_in_within takes one time`},
		{`signed_in_within(duration("15m"))`, `signed_in_within takes one time`},
		{`product ==`, `Syntax error`},
		{``, `one of allow and deny must be there`},
		{strings.Repeat(" ", maxRuleBytes) + "true", `is 4100 bytes, at most 4096`},
		{strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), `recursion`},
		{nested, `steps with large claims, at most 50000|comprehension exceeds nesting limit`},
		{`caller.scopes.exists(a, caller.scopes.exists(b, a == b))`, `steps with large claims, at most 50000; nest no loops`},
	} {
		t.Run(test.text[:min(len(test.text), 60)], func(t *testing.T) {
			_, err := CompileRules(ruleConfig(Rule{Name: "one", Allow: test.text}))
			if err == nil {
				t.Fatal("loaded")
			}
			found := slices.ContainsFunc(strings.Split(test.want, "|"), func(s string) bool { return strings.Contains(err.Error(), s) })
			if !found || !strings.HasPrefix(err.Error(), "rules[0].allow: ") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestRuleMistakesAtOnce(t *testing.T) {
	no := false
	c := ruleConfig(
		Rule{Name: "Night", Allow: "tru", Products: []string{"caf/smart-aut"}, Purposes: []string{"logn"}},
		Rule{Name: "two", Allow: "true", Deny: "false"},
		Rule{Name: "two", Allow: "claims.x && claims.y", Observe: true},
		Rule{Name: "three", Deny: "claims.blocked || claims.level > 2"},
	)
	c.Claims["acr"], c.Claims["x-y"], c.Claims["in"], c.Claims["odd"] = ClaimString, ClaimString, ClaimString, "text"
	c.Cases = []RuleCase{
		{Name: "a", Product: "nothing", Purpose: "nothing", Kind: "robot", Want: "yes", By: "thre", Now: "noon"},
		{Name: "a", Product: "caf/smart-auth", Purpose: "login", Want: "allow", By: "two", Service: "s", CPF: &no, Claims: map[string]any{
			"acr": 2, "roles": []any{1}, "blocked": "no", "level": 1.5, "score": "1", "born": "long ago", "rols": "x", "tier": nil,
		}},
		{Product: "caf/smart-auth", Purpose: "login", Kind: KindService, Claims: map[string]any{"acr": "2"}, Want: "deny"},
	}
	_, err := CompileRules(c)
	if err == nil {
		t.Fatal("loaded")
	}
	want := []string{
		`claims.acr: is one of the claims that every app has; use another name`,
		`claims.in: the name for rules must be`,
		`claims.odd: type must be one of ["string" "strings" "boolean" "integer" "number" "time"]`,
		`claims.x-y: the name for rules must be`,
		`rules[0].name: must be 1 to 64`,
		`rules[0].products[0]: the app has no "caf/smart-aut"; did you mean "caf/smart-auth"? (there are caf/face-liveness, caf/smart-auth)`,
		`rules[0].purposes[0]: the app has no "logn"; did you mean "login"?`,
		`rules[0].allow: line 1, column 1: there is no "tru"`,
		`rules[1].deny: only one of allow and deny may be there`,
		`rules[2].observe: only goes with deny`,
		`rules[2].allow: line 1, column 7: there is no claim "x"`,
		`rules[2].allow: line 1, column 19: there is no claim "y"`,
		`rules[2].name: there are two rules "two"`,
		`rules[3].deny: line 1, column 7: guard claims.blocked with has(), or say what a missing one means: has(claims.blocked) && ...`,
		`rules[3].deny: line 1, column 25: guard claims.level with has()`,
		`rule_cases[0].product: the app has no "nothing"`,
		`rule_cases[0].purpose: the app has no "nothing"`,
		`rule_cases[0].caller: must be end_user or service`,
		`rule_cases[0].now: must be a time`,
		`rule_cases[0].want: must be allow or deny`,
		`rule_cases[0].by: there is no rule "thre"; did you mean "three"?`,
		`rule_cases[1].caller: an end user has no service`,
		`rule_cases[1].claims.acr: must be text; put it in quotes`,
		`rule_cases[1].claims.blocked: must be true or false`,
		`rule_cases[1].claims.born: must be a time`,
		`rule_cases[1].claims.level: must be a whole number`,
		`rule_cases[1].claims.roles: must be a list of texts`,
		`rule_cases[1].claims.rols: there is no such claim; did you mean "roles"?`,
		`rule_cases[1].claims.score: must be a number`,
		`rule_cases[1].claims.tier: has no value`,
		`rule_cases[1].by: only goes with want: deny`,
		`rule_cases[1].name: there are two cases "a"`,
		`rule_cases[2].name: must say what the case shows`,
		`rule_cases[2].claims: a service has none`,
	}
	got := strings.Split(err.Error(), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("mistake %d of %d (want %d):\n%s", i, len(got), len(want), err)
		}
	}
}

func TestRuleJudge(t *testing.T) {
	var none *Rules
	if v := none.Judge(Facts{}); !v.Allowed || v.Outcomes != nil || none.Test() != nil || none.Unused() != nil || v.String() != "rules: none" {
		t.Errorf("without rules: %v", v)
	}
	r := mustRules(t, ruleConfig(
		Rule{Name: "transfer-only", Purposes: []string{"transfer"}, Allow: `false`},
		Rule{Name: "liveness", Products: []string{"caf/face-liveness"}, Allow: `claims.tier == "gold"`},
		Rule{Name: "watch", Deny: `has(claims.score) && 1 / int(claims.score) > 0`, Observe: true},
		Rule{Name: "blocked", Deny: `has(claims.blocked) && claims.blocked`},
		Rule{Name: "odd", Deny: `has(claims.level) && 10 / claims.level == 5`},
	))
	version := func(i int) string { return r.rules[i].version }
	outcome := func(i int, result, detail string) Outcome {
		return Outcome{r.rules[i].Name, version(i), i >= 2, i == 2, result, detail}
	}
	for name, test := range map[string]struct {
		claims map[string]any
		want   Verdict
	}{
		"allowed": {map[string]any{"tier": "gold"}, Verdict{true, "", []Outcome{
			outcome(1, "true", ""), outcome(2, "false", ""), outcome(3, "false", ""), outcome(4, "false", "")}}},
		"missing": {nil, Verdict{false, "liveness", []Outcome{
			outcome(1, "error", "claims.tier is not in the token"), outcome(2, "false", ""), outcome(3, "false", ""), outcome(4, "false", "")}}},
		"observed error": {map[string]any{"tier": "gold", "score": 0.5}, Verdict{true, "", []Outcome{
			outcome(1, "true", ""), outcome(2, "error", "division by zero"), outcome(3, "false", ""), outcome(4, "false", "")}}},
		"observed": {map[string]any{"tier": "gold", "score": 1.0}, Verdict{true, "", []Outcome{
			outcome(1, "true", ""), outcome(2, "true", ""), outcome(3, "false", ""), outcome(4, "false", "")}}},
		"the first by order": {map[string]any{"tier": "gold", "blocked": true, "level": int64(0)}, Verdict{false, "blocked", []Outcome{
			outcome(1, "true", ""), outcome(2, "false", ""), outcome(3, "true", ""), outcome(4, "error", "division by zero")}}},
		"deny errs": {map[string]any{"tier": "gold", "level": int64(0)}, Verdict{false, "odd", []Outcome{
			outcome(1, "true", ""), outcome(2, "false", ""), outcome(3, "false", ""), outcome(4, "error", "division by zero")}}},
		"wrong type": {map[string]any{"tier": 5, "blocked": "yes"}, Verdict{false, "liveness", []Outcome{
			outcome(1, "error", "claims.tier is of another type than declared"), outcome(2, "false", ""),
			outcome(3, "error", "claims.blocked is of another type than declared"), outcome(4, "false", "")}}},
	} {
		got := r.Judge(endUserFacts(test.claims))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	line := r.Judge(endUserFacts(map[string]any{"tier": "secret-tier", "blocked": true})).String()
	want := fmt.Sprintf("rules: liveness@%s allow false; blocked@%s deny true; watch@%s deny observe false; odd@%s deny false",
		version(1), version(3), version(2), version(4))
	if line != want {
		t.Errorf("got %s, want %s", line, want)
	}
	facts := endUserFacts(nil)
	facts.Product = "caf/smart-auth"
	if v := r.Judge(facts); !v.Allowed || len(v.Outcomes) != 3 {
		t.Errorf("of another product: %v", v)
	}
}

func TestRuleText(t *testing.T) {
	r := mustRules(t, ruleConfig(Rule{Name: "a", Allow: "true"}, Rule{Name: "b", Deny: "false", Observe: true}))
	other := mustRules(t, ruleConfig(Rule{Name: "a", Deny: "true"}))
	if r.rules[0].version == other.rules[0].version || len(r.rules[0].version) != 8 {
		t.Error("the version is not of kind and text")
	}
	for _, test := range []struct {
		r                         *Rules
		name, version, text, kind string
		current                   bool
	}{
		{r, "a", r.rules[0].version, "true", "allow", true},
		{r, "a", other.rules[0].version, "true", "allow", false},
		{r, "b", r.rules[1].version, "false", "deny", true},
		{r, "c", r.rules[1].version, "", "", false},
		{nil, "a", "", "", "", false},
	} {
		text, kind, current := test.r.Text(test.name, test.version)
		if text != test.text || kind != test.kind || current != test.current {
			t.Errorf("%s@%s: got %q %q %v", test.name, test.version, text, kind, current)
		}
	}
}

func TestRuleVerdictIsBounded(t *testing.T) {
	var rules []Rule
	for i := range maxRules {
		rules = append(rules, Rule{Name: fmt.Sprintf("%064d", i), Deny: "false"})
	}
	rules[maxRules-1].Deny = "true"
	v := mustRules(t, ruleConfig(rules...)).Judge(endUserFacts(nil))
	line := v.String()
	if len(line) > maxVerdict || !strings.HasPrefix(line, "rules: "+rules[maxRules-1].Name+"@") || !strings.HasSuffix(line, " more") {
		t.Errorf("%d bytes: %s", len(line), line)
	}
	if _, err := CompileRules(ruleConfig(append(rules, Rule{Name: "more", Deny: "false"})...)); err == nil {
		t.Error("more rules than may be")
	}
}

func TestRuleCases(t *testing.T) {
	yes, no := true, false
	c := ruleConfig(
		Rule{Name: "strong", Purposes: []string{"transfer"}, Allow: `acr_in("2") && signed_in_within("15m") && assurance == "match"`},
		Rule{Name: "night", Deny: `now.getHours("-03:00") < 6`},
		Rule{Name: "nobody", Deny: `!cpf_known`, Observe: true},
		Rule{Name: "service", Allow: `caller.kind == "end_user" || "sessions:open" in caller.scopes && caller.service == "backend"`},
		Rule{Name: "claims", Allow: `(!has(claims.level) || claims.level == 3) && (!has(claims.score) || claims.score == 2.0) && (!has(claims.roles) || claims.roles == ["a"])`},
	)
	user := RuleCase{Product: "caf/smart-auth", Purpose: "transfer", CPF: &yes, Want: "allow"}
	add := func(name, want, by string, change func(*RuleCase)) {
		one := user
		one.Name, one.Want, one.By, one.Claims = name, want, by, map[string]any{"acr": "2", "auth_time": "-5m"}
		change(&one)
		c.Cases = append(c.Cases, one)
	}
	add("strong", "allow", "", func(*RuleCase) {})
	add("login", "allow", "", func(c *RuleCase) { c.Purpose, c.Claims = "login", nil })
	add("weak", "deny", "strong", func(c *RuleCase) { c.Claims["acr"] = "1" })
	add("old", "deny", "strong", func(c *RuleCase) { c.Claims["auth_time"] = "2026-01-02T14:44:59Z" })
	add("time", "allow", "", func(c *RuleCase) { c.Claims["auth_time"] = ruleNow() })
	add("at night", "deny", "night", func(c *RuleCase) { c.Now = "2026-01-02T05:00:00-03:00" })
	add("who", "allow", "", func(c *RuleCase) { c.CPF = &no })
	add("numbers", "allow", "", func(c *RuleCase) { c.Claims["level"], c.Claims["score"], c.Claims["roles"] = uint64(3), 2, []any{"a"} })
	add("more numbers", "allow", "", func(c *RuleCase) { c.Claims["level"], c.Claims["score"], c.Claims["roles"] = int64(3), 2.0, "a" })
	add("service", "allow", "", func(c *RuleCase) {
		c.Purpose, c.Kind, c.Service, c.Scopes, c.Claims = "login", KindService, "backend", []string{"sessions:open"}, nil
	})
	add("wrong want", "allow", "", func(c *RuleCase) { c.Claims["acr"] = "1" })
	add("wrong by", "deny", "night", func(c *RuleCase) { c.Claims["acr"] = "1" })
	r := mustRules(t, c)
	for _, got := range r.Test() {
		if ok := !strings.HasPrefix(got.Name, "wrong"); got.OK != ok {
			t.Errorf("%+v", got)
		}
		if got.Name == "wrong by" && (got.Got != "deny" || got.By != "strong" || got.Want != "deny" || got.WantBy != "night") {
			t.Errorf("%+v", got)
		}
	}
	if got := r.Unused(); !slices.Equal(got, []string{"service", "claims"}) {
		t.Errorf("unused: %q", got)
	}
}

// TestRuleSaysNoValues: claims are personal data, and what is recorded of a verdict holds none.
func TestRuleSaysNoValues(t *testing.T) {
	const secret = "S3CRET"
	var rules []Rule
	for i, text := range []string{
		`claims.tier == "x"`, `int(claims.tier) > 0`, `double(claims.tier) > 0.0`, `duration(claims.tier) > duration("1h")`,
		`timestamp(claims.tier) > now`, `{"a": true}[claims.tier]`, `claims.roles[int(claims.score)] == "x"`, `claims.level % (claims.level - claims.level) == 1`,
		`claims.acr == "x"`, `string(claims.level) == "x"`,
	} {
		rules = append(rules, Rule{Name: fmt.Sprint("r", i), Allow: text})
	}
	v := mustRules(t, ruleConfig(rules...)).Judge(endUserFacts(map[string]any{
		"tier": secret, "roles": []string{secret}, "score": 777.0, "level": int64(777), "acr": struct{ string }{secret},
	}))
	said := fmt.Sprintf("%+v %s", v, v)
	if strings.Contains(said, secret) || strings.Contains(said, "777") || v.Allowed {
		t.Error(said)
	}
}

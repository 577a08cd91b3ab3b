package selo_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// pick returns one of what, each as likely.
func pick[T any](r *rand.Rand, what ...T) T { return what[r.IntN(len(what))] }

// randomResponse is a payload of any of the shapes in which some claims are gone, wrong or another shape's.
func randomResponse(r *rand.Rand) (product, payload string) {
	product = pick(r, liveness, liveness, authentication, smartAuth)
	base := map[string][][]member{
		liveness:       {livenessMembers, webMembers, apiLivenessMembers},
		authentication: {authenticationMembers, apiMatchMembers},
		smartAuth:      {attestationMembers},
	}[product]
	// For each claim, what it is when it is not as it was: nothing, mostly.
	values := map[string][]string{
		"isAlive": {"", "false", `"true"`}, "isMatch": {"", "false", "1"}, "isAuthorized": {"", "false", "null"}, "isNewContext": {"false", "false", "", "1"},
		"personId": {"", `"` + otherCPF + `"`, "null"}, "peopleId": {"", `"` + otherCPF + `"`, "7"}, "person": {"", "{}", `{"cpf":"` + otherCPF + `"}`, `{"CPF":"` + testCPF + `"}`},
		"requestId": {"", `"r2"`, "1"}, "sessionId": {"", `"s2"`}, "attemptId": {"", `"a2"`, `""`}, "policyId": {"", `"policy-2"`},
		"iat": {"", "", "1699999994", "1700000091", `"now"`}, "exp": {"", "1700000061", "1700000060"}, "message": {"", "null"}, "createdAt": {"", "1"},
	}
	var changes []string
	members := pick(r, base...)
	for _, m := range members {
		if others := values[m.name]; len(others) > 0 && r.IntN(6) == 0 {
			changes = append(changes, m.name, pick(r, others...))
		}
	}
	if r.IntN(12) == 0 {
		added := pick(r, "isAlive", "isMatch", "personId", "peopleId", "sessionId", "attemptId", "iat", "iss", "Iat", "unknown")
		changes = append(changes, added, pick(r, "true", `"`+testCPF+`"`, "1700000030"))
	}
	return product, object(members, changes...)
}

func randomRecord(t testing.TB, r *rand.Rand) *selo.Attempt {
	return &selo.Attempt{
		Outcome:   pick(r, selo.AttemptApproved, selo.AttemptApproved, selo.AttemptApproved, selo.AttemptApproved, selo.AttemptRefused, selo.AttemptPending, 0, 9),
		CPF:       pick(r, cpfOf(t, testCPF), cpfOf(t, testCPF), cpfOf(t, testCPF), cpfOf(t, otherCPF), selo.CPF{}),
		At:        testOpened.Add(pick[time.Duration](r, 0, 30, -5, 90, -6, 91, -86400) * time.Second),
		Policy:    pick(r, "", testPolicy, testPolicy, "policy-2"),
		Assurance: selo.Assurance(r.IntN(6)),
	}
}

// TestRecheckRandom holds every outcome against facts that are looked up in the payload, the record and the
// second verifier, not in the library.
func TestRecheckRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mended := no(selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonAssuranceTooLow)
	granted, mends, denials := make(map[string]int), make(map[string]int), 0
	for i := range 10_000 {
		product, payload := randomResponse(r)
		attempt := randomRecord(t, r)
		if r.IntN(8) == 0 {
			attempt.At = time.Time{}
		}
		once, caf := new(countingOnce), &provider{a: attempt}
		want := expecting(t, product)
		want.Once, want.Recheck = once, caf.recheck
		want.RecheckAlways = r.IntN(2) == 0
		want.AttemptID = pick(r, "", "", appAttemptID, testAttemptID)
		want.Assurance = selo.Assurance(r.IntN(5))
		if want.Assurance == selo.AssuranceUnset && r.IntN(2) == 0 {
			want.Assurance = selo.AssurancePresence
		}
		bySameCPF := r.IntN(2) == 0
		if bySameCPF {
			who := want.CPF
			want.CPF, want.SameCPF = selo.CPF{}, func(c selo.CPF) bool { return c == who }
		}
		got, err := selo.Verify(context.Background(), sign(payload), want)

		least := want.Assurance
		if least == selo.AssuranceUnset {
			least = selo.AssuranceMatch
		}
		alone := refVerify(sign(payload), refWant{
			product: refProducts[product], secret: testSecret, cpf: testCPF, policy: want.Policy, least: least, opened: testOpened, at: testNow,
		}, 0)
		open := len(alone) > 0 && !slices.ContainsFunc(alone, func(r selo.Reason) bool { return !slices.Contains(mended, r) })
		var claims map[string]any
		if err := json.Unmarshal([]byte(payload), &claims); err != nil {
			t.Fatal(err)
		}
		signed, _ := claims["attemptId"].(string)
		// fact fails the test with all that one needs to see why.
		fact := func(holds bool, what string) {
			t.Helper()
			if !holds {
				t.Fatalf("%d: not so: %s\n%s %s\nexpecting %+v\nrecord %+v\nasked %v, used %v\nVerify = %+v, %v\nalone %v",
					i, what, product, payload, want, attempt, caf.asked, once.asked, got, err, alone)
			}
		}

		fact((got == nil) != (err == nil), "exactly one of response and error is nil")
		fact(len(caf.asked) <= 1, "the provider is asked once at most")
		fact(len(once.asked) <= 1, "ids are used up once at most")
		asked := len(caf.asked) == 1
		if asked {
			fact(open || len(alone) == 0 && want.RecheckAlways, "only what is good but for what a record can say is asked about")
			fact(profileOf(t, product).Recheck >= least, "only where the answer can be enough")
			fact(signed != "" && caf.asked[0] == signed || signed == "" && caf.asked[0] == want.AttemptID, "the signed attempt is asked about, else the app's")
		}
		fact((len(once.asked) == 1) == (err == nil || selo.Denied(err)), "a yes and a no use the ids up, and nothing else does")
		if err != nil {
			fact(len(selo.ReasonsOf(err)) > 0, "every refusal has a reason")
			if selo.Denied(err) {
				denials++
				no := slices.Equal(alone, no(selo.ReasonNotApproved))
				fact(no && !asked || asked && !no, "a denial is the response's no, or the record's")
				if asked {
					contradicted := attempt.Outcome == selo.AttemptRefused || attempt.CPF.Digits() != testCPF && signed != "" || attempt.Policy == "policy-2" && product == smartAuth
					fact(contradicted, "the record contradicts")
				}
			}
			continue
		}

		granted[product]++
		var used []string
		for _, id := range once.asked[0] {
			used = append(used, id.Value)
			fact(id.Value != "" && id.Provider == "caf" && id.Environment == selo.EnvironmentProduction, "ids are the provider's, of the environment")
		}
		fact(slices.Equal(got.IDs, once.asked[0]), "the ids in the response are those used up")
		for _, name := range []string{"requestId", "sessionId", "attemptId"} {
			if id, there := claims[name].(string); there && (name != "requestId" || product != smartAuth) {
				fact(slices.Contains(used, id), "the "+name+" is used up")
			}
		}
		for _, decision := range []string{"isAlive", "isMatch", "isAuthorized"} {
			value, there := claims[decision]
			fact(!there || value == true, decision+" is true")
		}
		fact(claims["isAlive"] == true || claims["isMatch"] == true || claims["isAuthorized"] == true, "something decides")
		fact(claims["isMatch"] == true || product != authentication, "authentication matched")
		fact(claims["isAuthorized"] == true && claims["policyId"] == testPolicy || product != smartAuth, "Smart Auth authorized, by the policy")
		fact(claims["iss"] == nil, "no mobile token")
		if exp, there := claims["exp"].(float64); there {
			fact(exp > 1_700_000_060, "not expired")
		}

		person, _ := claims["personId"].(string)
		if object, ok := claims["person"].(map[string]any); ok {
			person, _ = object["cpf"].(string)
		}
		if product == smartAuth {
			person, _ = claims["peopleId"].(string)
		}
		fact(person == testCPF || person == "" && asked && attempt.CPF.Digits() == testCPF, "the person is named, by response or record")
		iat, dated := claims["iat"].(float64)
		fact(dated && iat >= 1_699_999_995 && iat <= 1_700_000_090 || !dated && asked && !attempt.At.IsZero(), "the time is named, by response or record")

		fact(got.Assurance >= least, "it proves enough")
		fact(got.Rechecked == asked, "it says whether the provider was asked")
		fact(asked || len(alone) == 0 && !want.RecheckAlways, "what is not enough by itself is asked about")
		fact(asked || got.Assurance <= profileOf(t, product).Assurance, "without the record it proves what the product does")
		if !asked {
			continue
		}
		if len(alone) > 0 {
			mends[product]++
		}
		fact(attempt.Outcome == selo.AttemptApproved, "the record says yes")
		fact(attempt.CPF.IsZero() || attempt.CPF.Digits() == testCPF, "the record is of nobody else")
		fact(attempt.At.IsZero() || !attempt.At.Before(testOpened.Add(-selo.OpenedSlack)) && !attempt.At.After(testNow.Add(selo.DefaultSkew)), "the record is of now")
		fact(product != smartAuth || attempt.Policy == "" || attempt.Policy == testPolicy, "the record is of the policy")
		fact(got.Assurance <= profileOf(t, product).Recheck, "it proves no more than a re-check can")
		fact(got.Assurance <= max(attempt.Assurance, profileOf(t, product).Assurance), "it proves no more than response and record do")
		fact(slices.Contains(used, caf.asked[0]), "the attempt is used up, signed or not")
	}
	for _, product := range []string{liveness, authentication, smartAuth} {
		if granted[product] < 200 || mends[product] < 20 {
			t.Errorf("%s: only %d grants, %d of them after a re-check that was needed", product, granted[product], mends[product])
		}
	}
	if denials < 150 {
		t.Errorf("only %d denials", denials)
	}
	t.Logf("granted %v, needed a re-check %v, denied %d", granted, mends, denials)
}

func TestRecheckSameCPF(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record string // the CPF of the record, "" is nobody's
		same   func(selo.CPF) bool
		want   []selo.Reason
		asked  []string
	}{
		{"the same", testCPF, func(c selo.CPF) bool { return c.Digits() == testCPF }, yes, []string{testCPF}},
		{"another", otherCPF, func(c selo.CPF) bool { return c.Digits() == testCPF }, no(selo.ReasonSubjectMismatch), []string{otherCPF}},
		{"nobody is nobody's", "", func(selo.CPF) bool { return true }, no(selo.ReasonSubjectUnproven), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := record(t, nobody)
			if tt.record != "" {
				a.CPF = cpfOf(t, tt.record)
			}
			var asked []string
			want := expecting(t, authentication)
			want.CPF, want.Recheck, want.AttemptID = selo.CPF{}, (&provider{a: a}).recheck, appAttemptID
			want.SameCPF = func(c selo.CPF) bool { asked = append(asked, c.Digits()); return tt.same(c) }
			_, err := selo.Verify(context.Background(), sign(apiMatch()), want)
			if !slices.Equal(selo.ReasonsOf(err), tt.want) || !slices.Equal(asked, tt.asked) {
				t.Errorf("%v, SameCPF was asked about %v; want %v, %v", err, asked, tt.want, tt.asked)
			}
		})
	}
}

// TestRecheckAge bounds the attempt when it is not known when the session was opened.
func TestRecheckAge(t *testing.T) {
	for _, tt := range []struct {
		maxAge, old time.Duration
		want        []selo.Reason
	}{
		{0, 5 * time.Minute, yes},
		{0, 5*time.Minute + 1, no(selo.ReasonStale)},
		{time.Minute, time.Minute + 1, no(selo.ReasonStale)},
		{time.Hour, time.Hour, yes},
	} {
		want := expecting(t, liveness)
		want.Opened, want.MaxAge = time.Time{}, tt.maxAge
		want.Recheck = (&provider{a: record(t, func(a *selo.Attempt) { a.At = testNow.Add(-tt.old) })}).recheck
		if _, err := selo.Verify(context.Background(), sign(apiLive()), want); !slices.Equal(selo.ReasonsOf(err), tt.want) {
			t.Errorf("%v old, at most %v: %v, want %v", tt.old, tt.maxAge, err, tt.want)
		}
	}
}

func TestRecheckContext(t *testing.T) {
	want, got := expecting(t, liveness), any(nil)
	want.Recheck = func(ctx context.Context, _ string) (*selo.Attempt, error) {
		got = ctx.Value(contextKey{})
		return record(t, nil), ctx.Err()
	}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), contextKey{}, "x"))
	if _, err := selo.Verify(ctx, sign(apiLive()), want); err != nil || got != any("x") {
		t.Errorf("the re-check got %v; %v", got, err)
	}
	cancel()
	if _, err := selo.Verify(ctx, sign(apiLive("attemptId", `"a2"`, "requestId", `"r2"`)), want); !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonProviderUnavailable)) {
		t.Errorf("cancelled: %v", err)
	}
}

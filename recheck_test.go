package selo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/selo-id/selo"
)

const appAttemptID = "65537f2e9dc011d1b2455aaa" // what the app says beside a response that does not say it

// record is the provider's record of an honest attempt, with changes.
func record(t testing.TB, change func(a *selo.Attempt)) *selo.Attempt {
	a := &selo.Attempt{Outcome: selo.AttemptApproved, CPF: cpfOf(t, testCPF), At: testOpened.Add(20 * time.Second), Assurance: selo.AssuranceMatch}
	if change != nil {
		change(a)
	}
	return a
}

// provider answers every question with a and err, and notes the questions.
type provider struct {
	a     *selo.Attempt
	err   error
	asked []string
}

func (p *provider) recheck(_ context.Context, id string) (*selo.Attempt, error) {
	p.asked = append(p.asked, id)
	return p.a, p.err
}

type recheckCase struct {
	name    string
	payload string
	always  bool
	id      string                // Expectation.AttemptID
	least   selo.Assurance        // unset is presence
	record  func(a *selo.Attempt) // changes to an honest one
	asked   string                // the one id that the provider is asked about, "" is not asked
	want    []selo.Reason         // yes is granted
	proves  selo.Assurance        // when granted
	used    string                // the ids that are used up, joined by a space
	denied  bool
}

func other(t testing.TB) func(a *selo.Attempt) {
	return func(a *selo.Attempt) { a.CPF = cpfOf(t, otherCPF) }
}
func nobody(a *selo.Attempt)  { a.CPF = selo.CPF{} }
func undated(a *selo.Attempt) { a.At = time.Time{} }
func refused(a *selo.Attempt) { a.Outcome = selo.AttemptRefused }
func pending(a *selo.Attempt) { a.Outcome = selo.AttemptPending }
func empty(a *selo.Attempt)   { *a = selo.Attempt{} }

func at(d time.Duration) func(a *selo.Attempt) {
	return func(a *selo.Attempt) { a.At = testOpened.Add(d) }
}

func all(changes ...func(a *selo.Attempt)) func(a *selo.Attempt) {
	return func(a *selo.Attempt) {
		for _, change := range changes {
			change(a)
		}
	}
}

func proving(s selo.Assurance) func(a *selo.Attempt) {
	return func(a *selo.Attempt) { a.Assurance = s }
}

func (c recheckCase) run(t *testing.T, product string) {
	t.Helper()
	once, caf := new(countingOnce), &provider{a: record(t, c.record)}
	want := expecting(t, product)
	want.Once, want.Recheck, want.RecheckAlways, want.AttemptID = once, caf.recheck, c.always, c.id
	if c.least != selo.AssuranceUnset {
		want.Assurance = c.least
	}
	r, err := selo.Verify(context.Background(), sign(c.payload), want)
	if (r == nil) == (err == nil) || !slices.Equal(selo.ReasonsOf(err), c.want) {
		t.Fatalf("Verify = %v, %v; want %v", r, err, c.want)
	}
	if got := strings.Join(caf.asked, " "); got != c.asked {
		t.Errorf("the provider was asked about %q, want %q", got, c.asked)
	}
	var used []string
	for _, ids := range once.asked {
		for _, id := range ids {
			used = append(used, id.Value)
		}
	}
	if got := strings.Join(used, " "); got != c.used || len(once.asked) > 1 {
		t.Errorf("used up %q in %d calls, want %q", got, len(once.asked), c.used)
	}
	if selo.Denied(err) != c.denied {
		t.Errorf("Denied is %v", !c.denied)
	}
	if r != nil && (r.Assurance != c.proves || r.Rechecked != (c.asked != "")) {
		t.Errorf("proves %v, rechecked %v; want %v, %v", r.Assurance, r.Rechecked, c.proves, c.asked != "")
	}
	if err != nil {
		checkSilent(t, err.Error(), sign(c.payload))
	}
}

// The ids that responses use up, without and with the attempt that the app names.
const (
	bothIDs  = testRequestID + " " + testAttemptID
	appIDs   = testRequestID + " " + appAttemptID
	presence = selo.AssurancePresence
	known    = selo.AssuranceKnownContext
	again    = selo.AssuranceReauthenticated
	match    = selo.AssuranceMatch
)

// TestRecheckSigned is about responses that name their attempt: what the record says against them ends it.
func TestRecheckSigned(t *testing.T) {
	const disagrees = selo.ReasonRecheckDisagrees
	when := no(selo.ReasonFreshnessUnproven)
	apiTime := apiLive("iat", "1700000030")
	nameless := apiLive("person", "{}")
	for _, c := range []recheckCase{
		{name: "the time from the record", payload: apiLive(), asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "the same attempt said beside it", payload: apiLive(), id: testAttemptID, asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "another attempt said beside it", payload: apiLive(), id: appAttemptID, want: no(selo.ReasonRequestInvalid)},
		{name: "no time in the record either", payload: apiLive(), record: undated, asked: testAttemptID, want: when},
		{name: "the person from the record", payload: nameless, asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "an empty person from the record", payload: apiLive("person", `{"cpf":""}`), asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "no person in the record either", payload: nameless, record: nobody, asked: testAttemptID, want: no(selo.ReasonSubjectUnproven)},
		{name: "neither person nor time anywhere", payload: nameless, record: all(nobody, undated), asked: testAttemptID, want: no(selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven)},
		{name: "the record names nobody, the response does", payload: apiLive(), record: nobody, asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "liveness proves no more by the record", payload: apiLive(), record: proving(selo.AssuranceMatch), asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "a record that proves nothing more", payload: apiLive(), record: proving(selo.AssuranceUnset), asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "a record with an assurance below all", payload: apiLive(), record: proving(-1), asked: testAttemptID, proves: presence, used: bothIDs},

		{name: "five seconds before the opening", payload: apiLive(), record: at(-5 * time.Second), asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "more than that", payload: apiLive(), record: at(-5*time.Second - 1), asked: testAttemptID, want: no(selo.ReasonStale)},
		{name: "an attempt of last year", payload: apiLive(), record: at(-365 * 24 * time.Hour), asked: testAttemptID, want: no(selo.ReasonStale)},
		{name: "thirty seconds ahead", payload: apiLive(), record: at(90 * time.Second), asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "more than that ahead", payload: apiLive(), record: at(90*time.Second + 1), asked: testAttemptID, want: no(selo.ReasonFromTheFuture)},
		{name: "a fresh response about an old attempt", payload: apiTime, always: true, record: at(-time.Hour), asked: testAttemptID, want: no(selo.ReasonStale)},
		{name: "a fresh response, an undated record", payload: apiTime, always: true, record: undated, asked: testAttemptID, proves: presence, used: bothIDs},

		{name: "another person", payload: apiLive(), record: other(t), asked: testAttemptID, want: no(disagrees, selo.ReasonSubjectMismatch), used: bothIDs, denied: true},
		{name: "refused", payload: apiLive(), record: refused, asked: testAttemptID, want: no(disagrees, selo.ReasonNotApproved), used: bothIDs, denied: true},
		{name: "refused, and nothing else in the record", payload: apiTime, always: true, record: all(empty, refused), asked: testAttemptID, want: no(disagrees, selo.ReasonNotApproved), used: bothIDs, denied: true},
		{name: "refused another person", payload: apiLive(), record: all(refused, other(t)), asked: testAttemptID, want: no(disagrees, selo.ReasonSubjectMismatch, selo.ReasonNotApproved), used: bothIDs, denied: true},
		{name: "refused at no time", payload: apiLive(), record: all(refused, undated), asked: testAttemptID, want: no(disagrees, selo.ReasonNotApproved, selo.ReasonFreshnessUnproven)},
		{name: "refused long ago", payload: apiLive(), record: all(refused, at(-time.Hour)), asked: testAttemptID, want: no(disagrees, selo.ReasonNotApproved, selo.ReasonStale)},
		{name: "nobody was refused", payload: nameless, record: all(refused, nobody), asked: testAttemptID, want: no(selo.ReasonSubjectUnproven, selo.ReasonNotApproved)},

		{name: "pending", payload: apiLive(), record: pending, asked: testAttemptID, want: no(selo.ReasonNotFinal)},
		{name: "pending for another person", payload: apiLive(), record: all(pending, other(t)), asked: testAttemptID, want: no(selo.ReasonSubjectMismatch, selo.ReasonNotFinal)},
		{name: "no outcome", payload: apiLive(), record: func(a *selo.Attempt) { a.Outcome = 0 }, asked: testAttemptID, want: no(selo.ReasonNotFinal)},
		{name: "the zero record", payload: apiTime, always: true, record: empty, asked: testAttemptID, want: no(selo.ReasonNotFinal)},
		{name: "an outcome that there is not", payload: apiLive(), record: func(a *selo.Attempt) { a.Outcome = 4 }, asked: testAttemptID, want: no(selo.ReasonNotFinal)},
		{name: "a negative outcome", payload: apiLive(), record: func(a *selo.Attempt) { a.Outcome = -1 }, asked: testAttemptID, want: no(selo.ReasonNotFinal)},

		{name: "enough by itself", payload: apiTime, proves: presence, used: bothIDs},
		{name: "enough by itself, another attempt beside it", payload: apiTime, id: appAttemptID, proves: presence, used: bothIDs},
		{name: "enough by itself, always", payload: apiTime, always: true, asked: testAttemptID, proves: presence, used: bothIDs},
		{name: "always, another attempt beside it", payload: apiTime, always: true, id: appAttemptID, want: no(selo.ReasonRequestInvalid)},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, liveness) })
	}
}

// TestRecheckNeedless lists responses about which the provider is never asked: they are refused in any case.
func TestRecheckNeedless(t *testing.T) {
	for _, c := range []recheckCase{
		{name: "not alive", payload: apiLive("isAlive", "false"), want: no(selo.ReasonFreshnessUnproven, selo.ReasonNotApproved)},
		{name: "not alive, complete", payload: live("isAlive", "false"), id: appAttemptID, want: no(selo.ReasonNotApproved), used: testRequestID, denied: true},
		{name: "another person", payload: apiLive("person", `{"cpf":"`+otherCPF+`"}`), want: no(selo.ReasonSubjectMismatch, selo.ReasonFreshnessUnproven)},
		{name: "a person of another type", payload: apiLive("person", "null"), want: no(selo.ReasonClaimType, selo.ReasonFreshnessUnproven)},
		{name: "stale", payload: apiLive("person", "{}", "iat", "1699999000"), want: no(selo.ReasonSubjectUnproven, selo.ReasonStale)},
		{name: "from the future", payload: apiLive("person", "{}", "iat", "1700000091"), want: no(selo.ReasonSubjectUnproven, selo.ReasonFromTheFuture)},
		{name: "a time of another type", payload: apiLive("iat", "null"), want: no(selo.ReasonClaimType)},
		{name: "expired", payload: apiLive("exp", "1700000060"), want: no(selo.ReasonFreshnessUnproven, selo.ReasonExpired)},
		{name: "no request", payload: apiLive("requestId", ""), want: no(selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing)},
		{name: "no attempt, another beside it", payload: apiLive("attemptId", ""), id: appAttemptID, want: no(selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing)},
		{name: "an attempt of another type", payload: apiLive("attemptId", "7"), id: appAttemptID, want: no(selo.ReasonFreshnessUnproven, selo.ReasonClaimType)},
		{name: "decision of another type", payload: apiLive("isAlive", `"true"`), want: no(selo.ReasonFreshnessUnproven, selo.ReasonClaimType)},
		{name: "two forms", payload: apiLive("personId", `"`+testCPF+`"`), want: no(selo.ReasonProductMismatch, selo.ReasonFreshnessUnproven)},
		{name: "another product", payload: apiMatch(), id: appAttemptID, want: no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing)},
		{name: "misspelt", payload: apiLive("Person", "{}"), want: no(selo.ReasonPayloadInvalid)},
		{name: "a mobile token", payload: apiLive("iss", `"x"`), want: no(selo.ReasonTokenConfusion)},
		{name: "not JSON", payload: "x", want: no(selo.ReasonPayloadInvalid)},
		{name: "the record could not be enough", payload: apiLive(), least: match, want: no(selo.ReasonFreshnessUnproven, selo.ReasonAssuranceTooLow)},
	} {
		for _, always := range []bool{false, true} {
			c.always = always
			t.Run(fmt.Sprint(c.name, ", always ", always), func(t *testing.T) { c.run(t, liveness) })
		}
	}

	for name, token := range map[string]string{
		"wrong key":    seal("x", segment(plainHeader)+"."+segment(apiLive())),
		"no signature": segment(plainHeader) + "." + segment(apiLive()) + ".",
		"wrong alg":    signWith(`{"alg":"none"}`, apiLive()),
		"rubbish":      testAttemptID,
		"too large":    sign(apiLive("x", `"`+strings.Repeat("x", selo.MaxTokenSize)+`"`)),
	} {
		caf := &provider{a: record(t, nil)}
		want := expecting(t, liveness)
		want.Recheck, want.RecheckAlways, want.AttemptID = caf.recheck, true, testAttemptID
		if _, err := selo.Verify(context.Background(), token, want); err == nil || len(caf.asked) > 0 {
			t.Errorf("%s: %v, asked about %v", name, err, caf.asked)
		}
	}

	// Document detection has no re-check, and nothing to ask about.
	caf := &provider{a: record(t, nil)}
	want := expecting(t, documents)
	want.Recheck, want.AttemptID = caf.recheck, appAttemptID
	if _, err := selo.Verify(context.Background(), sign(live()), want); !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonProductMismatch)) || len(caf.asked) > 0 {
		t.Errorf("document detection: %v, asked about %v", err, caf.asked)
	}
}

// TestRecheckUnsigned is about an attempt that the app names: it helps when all fits, and ends nothing unless
// the provider says no about exactly this person now.
func TestRecheckUnsigned(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, c := range []recheckCase{
		{name: "not asked", payload: live(), id: appAttemptID, proves: presence, used: testRequestID},
		{name: "which attempt", payload: live(), always: true, want: no(selo.ReasonClaimMissing)},
		{name: "confirmed", payload: live(), always: true, id: appAttemptID, asked: appAttemptID, proves: presence, used: appIDs},
		{name: "the time from the record", payload: live("iat", ""), id: appAttemptID, asked: appAttemptID, proves: presence, used: appIDs},
		{name: "no time, and no attempt", payload: live("iat", ""), want: no(selo.ReasonFreshnessUnproven)},
		{name: "no time, no attempt, always", payload: live("iat", ""), always: true, want: no(selo.ReasonFreshnessUnproven)},
		{name: "the person from the record", payload: live("personId", ""), id: appAttemptID, asked: appAttemptID, proves: presence, used: appIDs},
		{name: "from the web", payload: web("sessionId", `"`+testRequestID+`"`), always: true, id: appAttemptID, asked: appAttemptID, proves: presence, used: appIDs},
		{name: "another person's attempt", payload: live(), always: true, id: appAttemptID, record: other(t), asked: appAttemptID, want: no(selo.ReasonSubjectMismatch)},
		{name: "another person's refusal", payload: live(), always: true, id: appAttemptID, record: all(refused, other(t)), asked: appAttemptID, want: no(selo.ReasonSubjectMismatch, selo.ReasonNotApproved)},
		{name: "this person's refusal", payload: live(), always: true, id: appAttemptID, record: refused, asked: appAttemptID, want: no(selo.ReasonNotApproved), used: appIDs, denied: true},
		{name: "this person's refusal of yesterday", payload: live(), always: true, id: appAttemptID, record: all(refused, at(-24*time.Hour)), asked: appAttemptID, want: no(selo.ReasonNotApproved, selo.ReasonStale)},
		{name: "this person's approval of yesterday", payload: live(), always: true, id: appAttemptID, record: at(-24 * time.Hour), asked: appAttemptID, want: no(selo.ReasonStale)},
		{name: "pending", payload: live(), always: true, id: appAttemptID, record: pending, asked: appAttemptID, want: no(selo.ReasonNotFinal)},
		{name: "an id of 256 bytes", payload: live(), always: true, id: long[1:], asked: long[1:], proves: presence, used: testRequestID + " " + long[1:]},
		{name: "a longer one", payload: live(), always: true, id: long, want: no(selo.ReasonRequestInvalid)},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, liveness) })
	}

	who, when, little := selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonAssuranceTooLow
	for _, c := range []recheckCase{
		{name: "all from the record", payload: apiMatch(), id: appAttemptID, least: match, asked: appAttemptID, proves: match, used: appIDs},
		{name: "no attempt", payload: apiMatch(), least: match, want: no(who, when, little)},
		{name: "as much as the record proves", payload: apiMatch(), id: appAttemptID, record: proving(presence), asked: appAttemptID, proves: presence, used: appIDs},
		{name: "less than is required", payload: apiMatch(), id: appAttemptID, least: match, record: proving(presence), asked: appAttemptID, want: no(little)},
		{name: "the record proves nothing", payload: apiMatch(), id: appAttemptID, record: proving(selo.AssuranceUnset), asked: appAttemptID, want: no(little)},
		{name: "the record proves more than there is", payload: apiMatch(), id: appAttemptID, record: proving(99), asked: appAttemptID, proves: match, used: appIDs},
		{name: "nobody", payload: apiMatch(), id: appAttemptID, record: nobody, asked: appAttemptID, want: no(who)},
		{name: "at no time", payload: apiMatch(), id: appAttemptID, record: undated, asked: appAttemptID, want: no(when)},
		{name: "nobody at no time with nothing", payload: apiMatch(), id: appAttemptID, record: func(a *selo.Attempt) { *a = selo.Attempt{Outcome: selo.AttemptApproved} }, asked: appAttemptID, want: no(who, when, little)},
		{name: "somebody else", payload: apiMatch(), id: appAttemptID, record: other(t), asked: appAttemptID, want: no(selo.ReasonSubjectMismatch)},
		{name: "refused", payload: apiMatch(), id: appAttemptID, record: refused, asked: appAttemptID, want: no(selo.ReasonNotApproved), used: appIDs, denied: true},
		{name: "nobody refused", payload: apiMatch(), id: appAttemptID, record: all(refused, nobody), asked: appAttemptID, want: no(who, selo.ReasonNotApproved)},
		{name: "no match", payload: apiMatch("isMatch", "false"), id: appAttemptID, want: no(who, when, little, selo.ReasonNotApproved)},
		{name: "native, complete", payload: auth(), id: appAttemptID, least: match, proves: match, used: testRequestID},
		{name: "native, always", payload: auth(), always: true, id: appAttemptID, least: match, record: proving(selo.AssuranceUnset), asked: appAttemptID, proves: match, used: appIDs},
	} {
		t.Run("authentication, "+c.name, func(t *testing.T) { c.run(t, authentication) })
	}
}

// TestRecheckSmartAuth is the only product whose record proves more than its response.
func TestRecheckSmartAuth(t *testing.T) {
	const id, disagrees, little = testAttemptID, selo.ReasonRecheckDisagrees, selo.ReasonAssuranceTooLow
	knownContext := attest("isNewContext", "false")
	policy := func(p string) func(a *selo.Attempt) { return func(a *selo.Attempt) { a.Policy = p } }
	for _, c := range []recheckCase{
		{name: "enough by itself", payload: attest(), least: again, proves: again, used: id},
		{name: "a match from the record", payload: attest(), least: match, asked: id, proves: match, used: id},
		{name: "a match in a known context", payload: knownContext, least: again, asked: id, proves: match, used: id},
		{name: "as much as the record proves", payload: knownContext, least: again, record: proving(again), asked: id, proves: again, used: id},
		{name: "a match is not taken where it was not asked for", payload: knownContext, proves: known, used: id},
		{name: "the record proves less than the response", payload: attest(), always: true, record: proving(presence), asked: id, proves: again, used: id},
		{name: "no match in the record", payload: attest(), least: match, record: proving(again), asked: id, want: no(little)},
		{name: "no assurance in the record", payload: attest(), least: match, record: proving(selo.AssuranceUnset), asked: id, want: no(little)},
		{name: "the same policy", payload: attest(), least: match, record: policy(testPolicy), asked: id, proves: match, used: id},
		{name: "another policy", payload: attest(), least: match, record: policy("policy-2"), asked: id, want: no(disagrees, selo.ReasonPolicyMismatch), used: id, denied: true},
		{name: "another person", payload: attest(), least: match, record: other(t), asked: id, want: no(disagrees, selo.ReasonSubjectMismatch), used: id, denied: true},
		{name: "refused", payload: attest(), always: true, record: refused, asked: id, want: no(disagrees, selo.ReasonNotApproved), used: id, denied: true},
		{name: "everything", payload: attest(), always: true, record: all(refused, other(t), policy("policy-2")), asked: id, want: no(disagrees, selo.ReasonPolicyMismatch, selo.ReasonSubjectMismatch, selo.ReasonNotApproved), used: id, denied: true},
		{name: "another person, and too little", payload: attest(), least: match, record: all(other(t), proving(again)), asked: id, want: no(disagrees, selo.ReasonSubjectMismatch, little)},
		{name: "pending", payload: attest(), always: true, record: pending, asked: id, want: no(selo.ReasonNotFinal)},
		{name: "pending by the response", payload: attest("isAuthorized", "false"), always: true, want: no(selo.ReasonNotApproved, selo.ReasonNotFinal)},
		{name: "the policy of the response comes first", payload: attest("policyId", `"policy-2"`), always: true, record: policy(testPolicy), want: no(selo.ReasonPolicyMismatch)},
		{name: "no policy in the response", payload: attest("policyId", ""), always: true, record: policy(testPolicy), want: no(selo.ReasonClaimMissing)},
		{name: "no context in the response", payload: attest("isNewContext", ""), least: match, want: no(selo.ReasonClaimMissing, little)},
		{name: "time and person from the record", payload: attest("peopleId", "", "iat", ""), asked: id, proves: match, used: id},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, smartAuth) })
	}
}

func TestRecheckFails(t *testing.T) {
	down := errors.New("connection refused")
	unavailable := no(selo.ReasonProviderUnavailable)
	tests := []struct {
		name string
		a    *selo.Attempt
		err  error
		want []selo.Reason
	}{
		{"neither attempt nor error", nil, nil, unavailable},
		{"both", record(t, nil), down, unavailable},
		{"an approval and not found", record(t, nil), &selo.Error{Reason: selo.ReasonNotFinal}, no(selo.ReasonNotFinal)},
		{"a plain error", nil, down, unavailable},
		{"a deadline", nil, fmt.Errorf("asking: %w", context.DeadlineExceeded), unavailable},
		{"unavailable", nil, &selo.Error{Reason: selo.ReasonProviderUnavailable, Detail: "d", Err: down}, unavailable},
		{"unavailable, wrapped", nil, fmt.Errorf("asking: %w", &selo.Error{Reason: selo.ReasonProviderUnavailable, Err: down}), unavailable},
		{"unknown to the provider", nil, &selo.Error{Reason: selo.ReasonNotFinal}, no(selo.ReasonNotFinal)},
		{"an id that cannot be asked about", nil, &selo.Error{Reason: selo.ReasonRequestInvalid}, no(selo.ReasonRequestInvalid)},
		{"a bare reason", nil, selo.ReasonNotFinal, unavailable},
		{"an Error of nothing", nil, &selo.Error{}, unavailable},
		{"what Also says is not taken over", nil, &selo.Error{Reason: selo.ReasonNotFinal, Also: []*selo.Error{{Reason: selo.ReasonRecheckDisagrees}}}, no(selo.ReasonNotFinal)},
	}
	// None of these is for a re-check to say: the first two would end the attempt.
	for _, r := range []selo.Reason{selo.ReasonNotApproved, selo.ReasonRecheckDisagrees, selo.ReasonSubjectMismatch, selo.ReasonReplayed, selo.ReasonStoreUnavailable, selo.ReasonStale, "approved", "granted", "invented"} {
		tests = append(tests, struct {
			name string
			a    *selo.Attempt
			err  error
			want []selo.Reason
		}{"the reason " + string(r), nil, &selo.Error{Reason: r}, unavailable})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, product := range []string{liveness, authentication} {
				once, caf := new(countingOnce), &provider{a: tt.a, err: tt.err}
				want := expecting(t, product)
				want.Once, want.Recheck = once, caf.recheck
				payload := apiLive()
				if product == authentication {
					payload, want.AttemptID = apiMatch(), appAttemptID
				}
				r, err := selo.Verify(context.Background(), sign(payload), want)
				if r != nil || !slices.Equal(selo.ReasonsOf(err), tt.want) {
					t.Fatalf("Verify = %v, %v; want %v", r, err, tt.want)
				}
				if selo.Denied(err) || len(once.asked) > 0 || len(caf.asked) != 1 {
					t.Errorf("denied %v, used up %v, asked about %v", selo.Denied(err), once.asked, caf.asked)
				}
				if errors.Is(tt.err, down) && !errors.Is(err, down) {
					t.Errorf("the cause is lost: %v", err)
				}
			}
		})
	}
}

func TestRecheckMisused(t *testing.T) {
	caf := &provider{a: record(t, nil)}
	want := expecting(t, liveness)
	want.RecheckAlways = true
	if r, err := selo.Verify(context.Background(), sign(live()), want); r != nil || !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonRequestInvalid)) {
		t.Errorf("always, and nobody to ask: %v, %v", r, err)
	}
	p, err := selo.NewProfile(document())
	if err != nil {
		t.Fatal(err)
	}
	want = documentExpectation(t, p)
	want.Recheck, want.RecheckAlways, want.AttemptID = caf.recheck, true, appAttemptID
	if r, err := selo.Verify(context.Background(), sign(documentPayload), want); r != nil || !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonRequestInvalid)) {
		t.Errorf("always, of a product without a re-check: %v, %v", r, err)
	}
	want.RecheckAlways = false
	if r, err := selo.Verify(context.Background(), sign(strings.Replace(documentPayload, `"iat":1700000030`, `"x":1`, 1)), want); r != nil || !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonFreshnessUnproven)) || len(caf.asked) > 0 {
		t.Errorf("when needed, of a product without a re-check: %v, %v, asked about %v", r, err, caf.asked)
	}
}

// TestRecheckIDsOnce uses one attempt of the provider's for several responses.
func TestRecheckIDsOnce(t *testing.T) {
	caf := &provider{a: record(t, nil)}
	once := new(selo.MemoryOnce)
	for i, tt := range []struct {
		product, payload, id string
		want                 []selo.Reason
	}{
		{authentication, apiMatch(), appAttemptID, yes},
		{authentication, apiMatch("requestId", `"r2"`), appAttemptID, no(selo.ReasonReplayed)},
		{liveness, live("requestId", `"r3"`, "iat", ""), appAttemptID, no(selo.ReasonReplayed)},                  // in another product
		{liveness, apiLive("requestId", `"r4"`, "attemptId", `"`+appAttemptID+`"`), "", no(selo.ReasonReplayed)}, // and signed
		{authentication, apiMatch("requestId", `"r2"`), "another", yes},                                          // the refusals used up nothing
		{liveness, apiLive("requestId", `"r5"`), "", yes},
		{authentication, apiMatch("requestId", `"r6"`), testAttemptID, no(selo.ReasonReplayed)}, // signed before, unsigned now
	} {
		want := expecting(t, tt.product)
		want.Once, want.Recheck, want.AttemptID = once, caf.recheck, tt.id
		if _, err := selo.Verify(context.Background(), sign(tt.payload), want); !slices.Equal(selo.ReasonsOf(err), tt.want) {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
}

func TestRecheckResponse(t *testing.T) {
	want := expecting(t, liveness)
	want.Recheck = (&provider{a: record(t, nil)}).recheck
	got, err := selo.Verify(context.Background(), sign(apiLive()), want)
	if err != nil {
		t.Fatal(err)
	}
	id := func(field, value string) selo.UsedID {
		return selo.UsedID{Provider: "caf", Environment: selo.EnvironmentProduction, Field: field, Value: value}
	}
	if d := cmp.Diff(&selo.Response{
		Product: liveness, Shape: "mobile-api", Assurance: selo.AssurancePresence, Rechecked: true,
		IDs: []selo.UsedID{id("requestId", testRequestID), id("attemptId", testAttemptID)},
	}, got); d != "" {
		t.Error(d)
	}
}

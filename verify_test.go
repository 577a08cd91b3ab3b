package selo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/selo-id/selo"
)

func TestVerifyResponse(t *testing.T) {
	want := expecting(t, authentication)
	want.Key.Environment = selo.EnvironmentSandbox
	got, err := selo.Verify(context.Background(), sign(auth("exp", "1700000120")), want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&selo.Response{
		Product: authentication, Shape: "native", Assurance: selo.AssuranceMatch,
		IssuedAt: time.Unix(1_700_000_030, 0), ExpiresAt: time.Unix(1_700_000_120, 0),
		IDs: []selo.UsedID{{Provider: "caf", Environment: selo.EnvironmentSandbox, Field: "requestId", Value: testRequestID}},
	}, got); d != "" {
		t.Error(d)
	}
}

func TestExpectationMisused(t *testing.T) {
	tests := []struct {
		name   string
		change func(w *selo.Expectation)
	}{
		{"nothing set", func(w *selo.Expectation) { *w = selo.Expectation{} }},
		{"no profile", func(w *selo.Expectation) { w.Profile = nil }},
		{"profile not made by NewProfile", func(w *selo.Expectation) { p := document(); w.Profile, w.Policy = &p, "p" }},
		{"no secret", func(w *selo.Expectation) { w.Key.Secret = selo.Secret{} }},
		{"unknown environment", func(w *selo.Expectation) { w.Key.Environment = "staging" }},
		{"no person", func(w *selo.Expectation) { w.CPF = selo.CPF{} }},
		{"two ways to the person", func(w *selo.Expectation) { w.SameCPF = func(selo.CPF) bool { return true } }},
		{"no once", func(w *selo.Expectation) { w.Once = nil }},
		{"negative age", func(w *selo.Expectation) { w.MaxAge = -1 }},
		{"the zero time of another system", func(w *selo.Expectation) { w.Opened = time.Unix(0, 0) }},
		{"negative skew", func(w *selo.Expectation) { w.Skew = -1 }},
		{"policy without a policy claim", func(w *selo.Expectation) { w.Policy = "p1" }},
		{"negative assurance", func(w *selo.Expectation) { w.Assurance = -1 }},
		{"unknown assurance", func(w *selo.Expectation) { w.Assurance = selo.AssuranceMatch + 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := expecting(t, liveness)
			tt.change(&want)
			r, err := selo.Verify(context.Background(), sign(live()), want)
			if r != nil || err == nil {
				t.Fatalf("Verify = %v, %v", r, err)
			}
			if !errors.Is(err, selo.ReasonRequestInvalid) && !errors.Is(err, selo.ReasonAssuranceTooLow) {
				t.Errorf("%v, want request_invalid", err)
			}
		})
	}
	p, err := selo.NewProfile(document())
	if err != nil {
		t.Fatal(err)
	}
	want := documentExpectation(t, p)
	want.Policy = ""
	if _, err := selo.Verify(context.Background(), sign(documentPayload), want); !errors.Is(err, selo.ReasonRequestInvalid) {
		t.Errorf("a product with a policy and none expected: %v", err)
	}
}

func TestVerifyAssurance(t *testing.T) {
	for _, tt := range []struct {
		product string
		asked   selo.Assurance
		want    []selo.Reason
	}{
		{liveness, selo.AssuranceUnset, no(selo.ReasonAssuranceTooLow)}, // a match, unless one says less
		{liveness, selo.AssurancePresence, yes},
		{liveness, selo.AssuranceKnownContext, no(selo.ReasonAssuranceTooLow)},
		{liveness, selo.AssuranceReauthenticated, no(selo.ReasonAssuranceTooLow)},
		{liveness, selo.AssuranceMatch, no(selo.ReasonAssuranceTooLow)},
		{authentication, selo.AssuranceUnset, yes},
		{authentication, selo.AssurancePresence, yes},
		{authentication, selo.AssuranceMatch, yes},
	} {
		want := expecting(t, tt.product)
		want.Assurance = tt.asked
		payload := map[string]string{liveness: live(), authentication: auth()}[tt.product]
		if _, err := selo.Verify(context.Background(), sign(payload), want); !slices.Equal(selo.ReasonsOf(err), tt.want) {
			t.Errorf("%s asked for %v: %v, want %v", tt.product, tt.asked, err, tt.want)
		}
	}
}

// TestVerifyUses lists what uses an id up: a yes, and a no for which the decision is the only reason.
func TestVerifyUses(t *testing.T) {
	tests := []struct {
		name, token string
		used        bool
	}{
		{"granted", sign(auth()), true},
		{"not alive", sign(auth("isAlive", "false")), true},
		{"no match", sign(auth("isMatch", "false")), true},
		{"neither", sign(auth("isAlive", "false", "isMatch", "false")), true},
		{"no and wrong person", sign(auth("isMatch", "false", "personId", `"`+otherCPF+`"`)), false},
		{"no and no person", sign(auth("isMatch", "false", "personId", "")), false},
		{"no and stale", sign(auth("isMatch", "false", "iat", "1600000000")), false},
		{"no and no time", sign(auth("isMatch", "false", "iat", "")), false},
		{"no and future", sign(auth("isMatch", "false", "iat", "1800000000")), false},
		{"no and expired", sign(auth("isMatch", "false", "exp", "1700000001")), false},
		{"no and other product", sign(auth("isMatch", "false", "attemptId", `"x"`)), false},
		{"no and mobile token", sign(auth("isMatch", "false", "iss", `"x"`)), false},
		{"no and misspelt", sign(auth("isMatch", "false", "ISMATCH", "true")), false},
		{"no and half missing", sign(auth("isMatch", "false", "isAlive", "")), false},
		{"no and half a string", sign(auth("isMatch", "false", "isAlive", `"true"`)), false},
		{"no and bad id", sign(auth("isMatch", "false", "requestId", `""`)), false},
		{"yes and wrong person", sign(auth("personId", `"`+otherCPF+`"`)), false},
		{"yes and stale", sign(auth("iat", "1600000000")), false},
		{"duplicate", sign(twice(auth(), "isMatch", "true")), false},
		{"wrong key", seal("x", segment(plainHeader)+"."+segment(auth())), false},
		{"wrong alg", signWith(`{"alg":"none"}`, auth()), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := expecting(t, authentication)
			once := new(countingOnce)
			want.Once = once
			_, _ = selo.Verify(context.Background(), tt.token, want)
			if used := len(once.asked) == 1; used != tt.used || len(once.asked) > 1 {
				t.Errorf("Once was asked %v, want used %v", once.asked, tt.used)
			}
		})
	}
}

func TestVerifyAssuranceTooLowUsesNothing(t *testing.T) {
	for _, alive := range []string{"true", "false"} {
		want, once := expecting(t, liveness), new(countingOnce)
		want.Once, want.Assurance = once, selo.AssuranceMatch
		_, err := selo.Verify(context.Background(), sign(live("isAlive", alive)), want)
		if !errors.Is(err, selo.ReasonAssuranceTooLow) || len(once.asked) > 0 {
			t.Errorf("isAlive %s: %v, Once was asked %v", alive, err, once.asked)
		}
	}
}

func TestVerifyReplays(t *testing.T) {
	want := expecting(t, liveness)
	verify := func(payload string) []selo.Reason {
		_, err := selo.Verify(context.Background(), sign(payload), want)
		return selo.ReasonsOf(err)
	}
	if rs := verify(live()); rs != nil {
		t.Fatal(rs)
	}
	escaped := live("requestId", `"\u0037`+testRequestID[1:]+`"`)
	for _, payload := range []string{live(), live("iat", "1700000031"), escaped} {
		if rs := verify(payload); !slices.Equal(rs, no(selo.ReasonReplayed)) {
			t.Errorf("used again: %v", rs)
		}
	}
	if rs := verify(live("isAlive", "false")); !slices.Equal(rs, no(selo.ReasonNotApproved, selo.ReasonReplayed)) {
		t.Errorf("a denial with a used id: %v", rs)
	}
	if rs := verify(live("requestId", `"denied"`, "isAlive", "false")); !slices.Equal(rs, no(selo.ReasonNotApproved)) {
		t.Errorf("a fresh denial: %v", rs)
	}
	if rs := verify(live("requestId", `"denied"`)); !slices.Equal(rs, no(selo.ReasonReplayed)) {
		t.Errorf("an approval with the id of a denial: %v", rs)
	}
	want.Key.Environment = selo.EnvironmentSandbox
	if rs := verify(live()); rs != nil {
		t.Errorf("the same id in another environment: %v", rs)
	}
}

func TestVerifyOnceFails(t *testing.T) {
	down := errors.New("connection refused")
	tests := []struct {
		name string
		err  error
		want []selo.Reason
	}{
		{"the reason itself", selo.ReasonReplayed, no(selo.ReasonReplayed)},
		{"the reason wrapped", fmt.Errorf("inserting: %w", selo.ReasonReplayed), no(selo.ReasonReplayed)},
		{"an Error", &selo.Error{Reason: selo.ReasonReplayed}, no(selo.ReasonReplayed)},
		{"an Error wrapped", fmt.Errorf("inserting: %w", &selo.Error{Reason: selo.ReasonReplayed}), no(selo.ReasonReplayed)},
		{"anything else", down, no(selo.ReasonStoreUnavailable)},
		{"a deadline", fmt.Errorf("inserting: %w", context.DeadlineExceeded), no(selo.ReasonStoreUnavailable)},
		{"an Error of the store", &selo.Error{Reason: selo.ReasonStoreUnavailable, Err: down}, no(selo.ReasonStoreUnavailable)},
		{"a reason that is no refusal of an id", fmt.Errorf("%w", selo.ReasonRateLimited), no(selo.ReasonStoreUnavailable)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := expecting(t, liveness)
			want.Once = &countingOnce{err: tt.err}
			r, err := selo.Verify(context.Background(), sign(live()), want)
			if r != nil || !slices.Equal(selo.ReasonsOf(err), tt.want) {
				t.Fatalf("Verify = %v, %v; want %v", r, err, tt.want)
			}
			if errors.Is(tt.err, down) && !errors.Is(err, down) || errors.Is(tt.err, context.DeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the cause is lost: %v", err)
			}
			r, err = selo.Verify(context.Background(), sign(live("isAlive", "false")), want)
			if r != nil || !slices.Equal(selo.ReasonsOf(err), append(no(selo.ReasonNotApproved), tt.want...)) {
				t.Errorf("a denial: %v, %v", r, err)
			}
		})
	}
}

// TestDenied tells the provider's no from refusals that decide nothing, though errors.Is finds the no in them.
func TestDenied(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    bool
	}{
		{live("isAlive", "false"), true},
		{live(), false},
		{live("isAlive", "false", "personId", `"11144477735"`), false},
		{live("isAlive", "false", "iat", "1000000000"), false},
	} {
		want := expecting(t, liveness)
		_, err := selo.Verify(context.Background(), sign(tt.payload), want)
		if selo.Denied(err) != tt.want {
			t.Errorf("Denied(%v) is %v", err, !tt.want)
		}
		if _, err := selo.Verify(context.Background(), sign(tt.payload), want); tt.want && selo.Denied(err) {
			t.Errorf("a denial was used twice: %v", err)
		}
	}
	if selo.Denied(nil) {
		t.Error("a grant is a denial")
	}
}

// TestVerifyOnceTypedNil is the mistake of a Once that returns a nil *Error: it is an error to every
// other caller, so it must not be a yes to this one.
func TestVerifyOnceTypedNil(t *testing.T) {
	want := expecting(t, liveness)
	want.Once = &countingOnce{err: (*selo.Error)(nil)}
	if r, err := selo.Verify(context.Background(), sign(live()), want); err == nil {
		t.Errorf("granted: %v", r)
	}
}

type contextKey struct{}

type contextOnce struct{ got any }

func (o *contextOnce) Use(ctx context.Context, _ []selo.UsedID, _ time.Time) error {
	o.got = ctx.Value(contextKey{})
	return ctx.Err()
}

func TestVerifyContext(t *testing.T) {
	want, once := expecting(t, liveness), new(contextOnce)
	want.Once = once
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), contextKey{}, "x"))
	if _, err := selo.Verify(ctx, sign(live()), want); err != nil || once.got != any("x") {
		t.Errorf("Once got %v; %v", once.got, err)
	}
	cancel()
	if _, err := selo.Verify(ctx, sign(live()), want); !errors.Is(err, context.Canceled) || !errors.Is(err, selo.ReasonStoreUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestVerifySameCPF(t *testing.T) {
	for _, tt := range []struct {
		value string
		asked string // what SameCPF must be asked, "" is nothing
		same  bool
		want  []selo.Reason
	}{
		{`"52998224725"`, testCPF, true, yes},
		{`"529.982.247-25"`, testCPF, true, yes},
		{`"52998224725"`, testCPF, false, no(selo.ReasonSubjectMismatch)},
		{`"52998224724"`, "", true, no(selo.ReasonSubjectMismatch)},
		{`"00011122233"`, "", true, no(selo.ReasonSubjectMismatch)},
		{`"11111111111"`, "", true, no(selo.ReasonSubjectMismatch)},
		{`" 52998224725"`, "", true, no(selo.ReasonSubjectMismatch)},
		{`""`, "", true, no(selo.ReasonSubjectUnproven)},
		{`null`, "", true, no(selo.ReasonClaimType)},
		{`52998224725`, "", true, no(selo.ReasonClaimType)},
		{``, "", true, no(selo.ReasonSubjectUnproven)},
	} {
		want, asked := expecting(t, liveness), ""
		want.CPF = selo.CPF{}
		want.SameCPF = func(c selo.CPF) bool { asked += c.Digits(); return tt.same }
		_, err := selo.Verify(context.Background(), sign(live("personId", tt.value)), want)
		if !slices.Equal(selo.ReasonsOf(err), tt.want) || asked != tt.asked {
			t.Errorf("%s: %v, asked %q; want %v, asked %q", tt.value, err, asked, tt.want, tt.asked)
		}
	}
}

func TestVerifySkew(t *testing.T) {
	for _, tt := range []struct {
		skew time.Duration
		iat  string
		want []selo.Reason
	}{
		{0, "1700000090", yes},
		{time.Second, "1700000061", yes},
		{time.Second, "1700000062", no(selo.ReasonFromTheFuture)},
		{time.Nanosecond, "1700000060", yes},
		{time.Nanosecond, "1700000061", no(selo.ReasonFromTheFuture)},
		{time.Hour, "1700003660", yes},
	} {
		want := expecting(t, liveness)
		want.Skew = tt.skew
		if _, err := selo.Verify(context.Background(), sign(live("iat", tt.iat)), want); !slices.Equal(selo.ReasonsOf(err), tt.want) {
			t.Errorf("skew %v, iat %s: %v, want %v", tt.skew, tt.iat, err, tt.want)
		}
	}
	want := expecting(t, liveness)
	want.Skew = time.Hour
	if _, err := selo.Verify(context.Background(), sign(live("exp", "1700000059")), want); !errors.Is(err, selo.ReasonExpired) {
		t.Errorf("the skew lengthens exp: %v", err)
	}
}

func TestVerifyNow(t *testing.T) {
	want := expecting(t, liveness)
	want.Opened, want.Now = time.Time{}, time.Time{}
	if _, err := selo.Verify(context.Background(), sign(live("iat", fmt.Sprint(time.Now().Unix()))), want); err != nil {
		t.Errorf("made now: %v", err)
	}
	if _, err := selo.Verify(context.Background(), sign(live("iat", fmt.Sprint(time.Now().Unix()-301), "requestId", `"2"`)), want); !errors.Is(err, selo.ReasonStale) {
		t.Errorf("made 301 seconds ago: %v", err)
	}
}

var allReasons = []selo.Reason{
	"request_invalid", "caller_unauthenticated", "caller_forbidden", "cpf_missing", "cpf_invalid", "cpf_mismatch", "cpf_unavailable", "product_unknown",
	"purpose_unknown", "rule_denied", "rate_limited", "key_unavailable", "key_unknown", "credential_unknown", "idempotency_conflict", "provider_unavailable", "store_unavailable",
	"too_large", "malformed", "header_refused", "algorithm_refused", "signature_invalid", "payload_invalid", "token_confusion",
	"product_mismatch", "claim_missing", "claim_type", "subject_unproven", "subject_mismatch", "policy_mismatch", "purpose_mismatch", "freshness_unproven",
	"stale", "from_the_future", "expired", "replayed", "assurance_too_low", "not_approved", "not_final", "recheck_disagrees", "session_unknown", "session_not_open",
	"too_many_attempts", "key_revoked",
}

func TestReasons(t *testing.T) {
	src, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []selo.Reason
	for _, m := range regexp.MustCompile(`Reason = "(\w+)"`).FindAllSubmatch(src, -1) {
		declared = append(declared, selo.Reason(m[1]))
	}
	if d := cmp.Diff(declared, allReasons); d != "" {
		t.Errorf("the list of reasons is not that of errors.go: %s", d)
	}
	for _, r := range allReasons {
		err := fmt.Errorf("answering: %w", &selo.Error{Reason: "other", Also: []*selo.Error{{Reason: r}, {Reason: r}}})
		if !errors.Is(err, r) || !slices.Equal(selo.ReasonsOf(err), no("other", r)) {
			t.Errorf("%s is not found in %v", r, err)
		}
		if !errors.Is(r, r) || r.Error() != string(r) {
			t.Errorf("%s is not itself", r)
		}
		for _, another := range allReasons {
			if another != r && errors.Is(err, another) {
				t.Errorf("%s is found where %s is", another, r)
			}
		}
	}
	if selo.ReasonsOf(nil) != nil || selo.ReasonsOf(errors.New("x")) != nil {
		t.Error("reasons of nothing")
	}
	cause := errors.New("cause")
	e := &selo.Error{Reason: selo.ReasonStale, Field: "iat", Detail: "is old", Also: []*selo.Error{{Reason: selo.ReasonStoreUnavailable, Err: cause}}}
	if got, want := e.Error(), "stale: iat: is old; store_unavailable: cause"; got != want {
		t.Errorf("Error %q, want %q", got, want)
	}
}

// TestReasonsOfVectors ties the vectors' vocabulary to the list above.
func TestReasonsOfVectors(t *testing.T) {
	seen := make(map[selo.Reason]bool)
	for _, v := range readVectors(t) {
		for _, r := range v.Expected.Reasons {
			if !slices.Contains(allReasons, r) {
				t.Errorf("%s: no such reason %q", v.Name, r)
			}
			seen[r] = true
		}
		if strings.TrimSpace(v.Why) != v.Why || !strings.HasSuffix(v.Why, ".") {
			t.Errorf("%s: why is not a sentence: %q", v.Name, v.Why)
		}
	}
	// A vector is one response to one attempt: no second use, no question to the provider, no receipt.
	other := no(selo.ReasonReplayed, selo.ReasonRecheckDisagrees, selo.ReasonPurposeMismatch)
	for _, r := range allReasons[slices.Index(allReasons, selo.ReasonTooLarge):slices.Index(allReasons, selo.ReasonSessionUnknown)] {
		if seen[r] == slices.Contains(other, r) {
			t.Errorf("a vector expects %s: %v", r, seen[r])
		}
	}
}

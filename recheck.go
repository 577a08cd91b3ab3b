package selo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Recheck asks the provider itself, server to server, what became of an attempt. It is how a response that
// does not say enough by itself can still grant: one that names nobody, carries no time, or proves less than
// is required.
//
// It returns the attempt or an error, never both. An *Error with ReasonProviderUnavailable says that nobody
// could be asked, one with ReasonNotFinal that the provider does not know the attempt (yet). Any other
// error counts as the former.
type Recheck func(ctx context.Context, attemptID string) (*Attempt, error)

// Attempt is what the provider's own record says of one attempt.
type Attempt struct {
	Outcome AttemptOutcome
	CPF     CPF       // whom it was about; zero when the record names nobody
	At      time.Time // when it began; zero when the record does not say
	Policy  string    // the provider policy that was run; "" when the record names none

	// Assurance is what the record proves beyond the signed response. AssuranceUnset is nothing.
	Assurance Assurance
}

// AttemptOutcome is how an attempt ended. The zero value is no outcome and never grants.
type AttemptOutcome int

// The outcomes.
const (
	AttemptApproved AttemptOutcome = iota + 1
	AttemptRefused
	AttemptPending // the provider has not decided
)

// mendedByRecheck are the faults of a response that a re-check can make good.
var mendedByRecheck = []Reason{ReasonSubjectUnproven, ReasonFreshnessUnproven, ReasonAssuranceTooLow}

// needsRecheck reports whether the provider is to be asked: not about a response that is refused in any case,
// nor where its answer could not be enough.
func (v *verification) needsRecheck() bool {
	if v.want.Recheck == nil || v.profile.Recheck < v.want.Assurance || v.shape == nil {
		return false
	}
	for _, f := range v.faults {
		if !slices.Contains(mendedByRecheck, f.Reason) {
			return false
		}
	}
	return len(v.faults) > 0 || v.want.RecheckAlways
}

// recheck asks the provider and judges its answer beside the response. What the response left open is taken
// from the record; where both speak they must agree.
func (v *verification) recheck(ctx context.Context) {
	field := v.profile.Attempt
	id, signed := v.want.AttemptID, false
	if c := v.shape.attempt; c != nil {
		if id != "" && id != v.ids[c.id] {
			v.faults = nil
			v.fault(ReasonRequestInvalid, field, "is not the attempt that the response names; leave it out")
			return
		}
		id, signed = v.ids[c.id], true
	}
	if id == "" {
		if len(v.faults) == 0 {
			v.fault(ReasonClaimMissing, field, "the provider must be asked, and nothing says about which attempt")
		}
		return
	}
	if len(id) > maxIDSize {
		v.faults = nil
		v.fault(ReasonRequestInvalid, field, fmt.Sprintf("must have 1 to %d bytes", maxIDSize))
		return
	}
	found, err := v.want.Recheck(ctx, id)
	if err != nil || found == nil {
		v.faults = []*Error{recheckFailed(err)}
		return
	}
	v.judgeAttempt(found, signed)
	if len(v.faults) == 0 {
		v.response.Rechecked = true
	}
	if !signed {
		v.useID(field, id)
	}
}

// judgeAttempt replaces the faults of the response by those of response and record together.
func (v *verification) judgeAttempt(a *Attempt, signed bool) {
	left := v.faults
	v.faults = nil
	open := func(r Reason) bool { return slices.ContainsFunc(left, func(e *Error) bool { return e.Reason == r }) }

	if v.shape.policy != nil && a.Policy != "" && a.Policy != v.want.Policy {
		v.fault(ReasonPolicyMismatch, "policy", "the provider's record names another policy")
	}
	switch {
	case a.CPF.IsZero() && open(ReasonSubjectUnproven):
		v.fault(ReasonSubjectUnproven, "", "neither the response nor the provider's record names anybody")
	case a.CPF.IsZero() && !signed: // and so the record could be anybody's
		v.fault(ReasonSubjectUnproven, "", "the response does not name this attempt, and the provider's record names nobody")
	case !a.CPF.IsZero() && !v.isExpected(a.CPF):
		v.fault(ReasonSubjectMismatch, "", "the provider's record names another person")
	}
	switch a.Outcome {
	case AttemptApproved:
	case AttemptRefused:
		v.fault(ReasonNotApproved, "", "the provider's record says no")
	default:
		v.fault(ReasonNotFinal, "", "the provider has not decided")
	}
	// Only of a response that names its person and its attempt can it be said that the record contradicts it: what
	// names nobody may be somebody else's, whose ids it would use up.
	decided := a.Outcome == AttemptApproved || a.Outcome == AttemptRefused
	contradicted := decided && signed && !open(ReasonSubjectUnproven) && len(v.faults) > 0
	switch {
	case !a.At.IsZero() && !signed && !v.want.Opened.IsZero() && a.At.Before(v.want.Opened.Truncate(time.Second)):
		// To the second: within the slack, the attempt of one session could be named to the next.
		v.fault(ReasonStale, "attempt", "is before this one began")
	case !a.At.IsZero():
		v.judgeAge(a.At, "attempt")
	case open(ReasonFreshnessUnproven):
		v.fault(ReasonFreshnessUnproven, "", "neither the response nor the provider's record says when it was")
	case !signed: // and so the record could be of any day
		v.fault(ReasonFreshnessUnproven, "", "the response does not name this attempt, and the provider's record does not say when it was")
	}
	v.response.Assurance = max(v.response.Assurance, min(a.Assurance, v.profile.Recheck))
	if a.Outcome == AttemptApproved {
		v.judgeEnough()
	}
	if contradicted {
		// The response is signed, is about this attempt, and passed: one of the two is false.
		v.faults = append([]*Error{refuse(ReasonRecheckDisagrees, "", "the provider's own record of the attempt says otherwise than the response")}, v.faults...)
	}
}

// isExpected reports whether cpf is the person's.
func (v *verification) isExpected(cpf CPF) bool {
	if v.want.SameCPF != nil {
		return v.want.SameCPF(cpf)
	}
	return cpf == v.want.CPF
}

// recheckFailed turns whatever a Recheck returned instead of an attempt into an *Error that refuses.
func recheckFailed(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e != nil {
		switch e.Reason {
		case ReasonProviderUnavailable, ReasonNotFinal, ReasonRequestInvalid:
			return &Error{Reason: e.Reason, Field: e.Field, Detail: e.Detail, Err: e.Err}
		}
	}
	if err == nil || e == nil && errors.As(err, &e) { // a nil *Error is a mistake of the Recheck, and no cause
		err = errors.New("the re-check returned neither an attempt nor an error")
	}
	return &Error{Reason: ReasonProviderUnavailable, Detail: "the provider could not be asked about the attempt", Err: err}
}

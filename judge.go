package selo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

func (v *verification) fault(r Reason, field, detail string) {
	v.faults = append(v.faults, refuse(r, field, detail))
}

// refusal is all faults as one error, or nil.
func (v *verification) refusal() error {
	if len(v.faults) == 0 {
		return nil
	}
	first := *v.faults[0]
	first.Also = append(slices.Clone(first.Also), v.faults[1:]...)
	return &first
}

// judge turns what was read into faults, in the order that Verify documents.
func (v *verification) judge() {
	if v.misspelt != "" {
		v.fault(ReasonPayloadInvalid, v.misspelt, "is spelled another way; other decoders may read it as the claim")
		return
	}
	if v.confused != "" {
		v.fault(ReasonTokenConfusion, v.confused, "responses carry none; this is a mobile token or made like one")
		return
	}
	v.judgeShape()
	v.response.Shape, v.response.Assurance = v.shape.Name, v.shape.Assurance
	v.judgePolicy()
	v.judgeSubject()
	v.judgeTimes()
	v.judgeAssurance()
	v.judgeIDs()
	v.judgeDecisions()
}

// judgeShape finds the one shape that the response has. Without one the first tells what is missing.
func (v *verification) judgeShape() {
	p := v.profile
	found := p.shapesOf(v.seen)
	v.shape = &p.shapes[0]
	if len(found) > 0 {
		v.shape = found[0]
	}
	decides := slices.ContainsFunc(v.shape.decision, func(c *claim) bool { return v.seen.has(c) })
	switch {
	case len(found) > 1:
		v.fault(ReasonProductMismatch, "", fmt.Sprintf("is a response of %s in two shapes at once, %s and %s", p.Product, found[0].Name, found[1].Name))
	case len(found) == 0:
		for i := range p.claims {
			if c := &p.claims[i]; v.seen.has(c) && v.shape.foreign.has(c) {
				v.fault(ReasonProductMismatch, c.name, "is no claim of a response of "+p.Product+", or not beside its other claims")
				return
			}
		}
		if decides {
			v.fault(ReasonProductMismatch, "", "has none of the claims by which the responses of "+p.Product+" are told: "+strings.Join(v.shape.Marks, " "))
		}
	case p.marks != 0 && v.seen&p.marks == 0 && decides:
		v.fault(ReasonProductMismatch, "", "has none of the claims that tell "+p.Product+" from other products: "+strings.Join(p.Marks, " "))
	}
}

func (v *verification) judgePolicy() {
	if v.shape.policy == nil {
		return
	}
	switch v.answers[v.shape.policy.at] {
	case missing:
		v.fault(ReasonClaimMissing, v.shape.Policy, "is missing; it must name the policy that was run")
	case wrongType:
		v.fault(ReasonClaimType, v.shape.Policy, "must be a string")
	case no:
		v.fault(ReasonPolicyMismatch, v.shape.Policy, "is not the expected policy")
	}
}

func (v *verification) judgeSubject() {
	if v.shape.subject == nil {
		v.fault(ReasonSubjectUnproven, "", "a response of this shape names nobody")
		return
	}
	switch field := v.shape.Subject; v.answers[v.shape.subject.at] {
	case missing:
		v.fault(ReasonSubjectUnproven, field, "is missing or empty; the response names nobody")
	case wrongType:
		v.fault(ReasonClaimType, field, v.shape.subject.kind())
	case no:
		v.fault(ReasonSubjectMismatch, field, "is not the CPF that the attempt is for")
	}
}

// kind is what the claim of a person must be.
func (c *claim) kind() string {
	if c.member != "" {
		return "must be a string within an object"
	}
	return "must be a string"
}

func (v *verification) judgeTimes() {
	const notATime = "must be a number of seconds since 1970"
	switch v.issued {
	case missing:
		v.fault(ReasonFreshnessUnproven, "iat", "is missing; nothing says when the response was made")
	case wrongType:
		v.fault(ReasonClaimType, "iat", notATime)
	default:
		v.judgeAge(v.response.IssuedAt, "iat")
	}
	switch v.expires {
	case wrongType:
		v.fault(ReasonClaimType, "exp", notATime)
	case yes:
		if !v.now.Before(v.response.ExpiresAt) {
			v.fault(ReasonExpired, "exp", "has passed")
		}
	}
	switch v.notBefore {
	case wrongType:
		v.fault(ReasonClaimType, "nbf", notATime)
	case yes:
		if v.notBeforeTime.After(v.now.Add(v.want.Skew)) {
			v.fault(ReasonFromTheFuture, "nbf", fmt.Sprintf("is more than %v ahead of now", v.want.Skew))
		}
	}
}

// judgeAge holds a time at which the attempt was, or was answered, to the session.
func (v *verification) judgeAge(at time.Time, field string) {
	switch w := &v.want; {
	case at.After(v.now.Add(w.Skew)):
		v.fault(ReasonFromTheFuture, field, fmt.Sprintf("is more than %v ahead of now", w.Skew))
	case !w.Opened.IsZero() && at.Before(w.Opened.Add(-OpenedSlack)):
		v.fault(ReasonStale, field, "is before the attempt began")
	case w.MaxAge > 0 && at.Before(v.now.Add(-w.MaxAge)):
		v.fault(ReasonStale, field, fmt.Sprintf("is more than %v ago", w.MaxAge))
	}
}

func (v *verification) judgeAssurance() {
	if c := v.shape.challenged; c != nil {
		switch v.answers[c.at] {
		case missing:
			v.fault(ReasonClaimMissing, c.name, "is missing; it says whether the person was challenged")
		case wrongType:
			v.fault(ReasonClaimType, c.name, "must be JSON true or false")
		}
		if v.answers[c.at] != yes {
			v.response.Assurance = AssuranceKnownContext
		}
	}
	v.judgeEnough()
}

func (v *verification) judgeEnough() {
	if v.response.Assurance < v.want.Assurance {
		v.fault(ReasonAssuranceTooLow, "assurance", fmt.Sprintf("this response of %s proves %v, %v is required", v.response.Product, cmp.Or(v.response.Assurance.String(), "nothing"), v.want.Assurance))
	}
}

func (v *verification) judgeIDs() {
	v.response.IDs = make([]UsedID, 0, len(v.shape.ids)+1)
	for _, c := range v.shape.ids {
		switch v.answers[c.at] {
		case missing:
			v.fault(ReasonClaimMissing, c.name, "is missing; it identifies the attempt")
		case wrongType:
			v.fault(ReasonClaimType, c.name, fmt.Sprintf("must be a string of 1 to %d bytes", maxIDSize))
		default:
			v.useID(c.name, v.ids[c.id])
		}
	}
}

func (v *verification) useID(field, value string) {
	v.response.IDs = append(v.response.IDs, UsedID{
		Provider:    v.profile.Provider,
		Environment: v.want.Key.environment(),
		Field:       field,
		Value:       value,
	})
}

func (v *verification) judgeDecisions() {
	refused := false
	for _, c := range v.shape.decision {
		switch v.answers[c.at] {
		case missing:
			v.fault(ReasonClaimMissing, c.name, "is missing; it is what decides")
		case wrongType:
			v.fault(ReasonClaimType, c.name, "must be JSON true or false")
		case no:
			v.fault(ReasonNotApproved, c.name, "is false")
			refused = true
		}
	}
	if refused && v.shape.Interim {
		v.fault(ReasonNotFinal, "", "the same attempt may still be approved")
	}
}

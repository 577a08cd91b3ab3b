package broker

import (
	"context"
	"strings"
	"unicode"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/policy"
)

// who is the person that a session is for.
type who struct {
	subject selo.Subject
	cpf     selo.CPF // zero when none is known, which only a sign-up may do
	signUp  bool     // no CPF is known
}

// identify says whom the session is for, by the caller's own word: an end user's bearer token, or a service's
// assertion. It returns a subject together with a refusal when the subject is known and still must not have
// one.
func identify(c *policy.Caller, req OpenRequest) (who, *Refusal) {
	switch c.Kind {
	case policy.KindEndUser:
		w := who{subject: c.Subject, cpf: c.CPF}
		for _, f := range []struct {
			name  string
			value *string
		}{{"cpf", req.CPF}, {"subject", req.Subject}} {
			if f.value != nil {
				return w, refusal(selo.ReasonRequestInvalid, f.name, "an end user is who their bearer token says; leave it out")
			}
		}
		if c.CPFFault != nil {
			return w, asRefusal(c.CPFFault)
		}
		return w, nil
	case policy.KindService:
		return asserted(c, req)
	}
	return who{}, notForOperators()
}

// asserted is whom a service says that the session is for.
func asserted(c *policy.Caller, req OpenRequest) (who, *Refusal) {
	if !c.Has(policy.ScopeSessionsOpen) {
		return who{}, refusal(selo.ReasonCallerForbidden, "", "the service lacks the scope "+policy.ScopeSessionsOpen)
	}
	if req.Subject == nil || *req.Subject == "" || len(*req.Subject) > 255 ||
		strings.ContainsFunc(*req.Subject, unicode.IsControl) {
		return who{}, refusal(selo.ReasonRequestInvalid, "subject", "a service says whom the session is for: 1 to 255 bytes without control characters")
	}
	w := who{subject: selo.Subject{Issuer: c.SubjectIssuer(), ID: *req.Subject}}
	if req.CPF == nil {
		return w, refusal(selo.ReasonCPFMissing, "cpf", "a service says whose CPF the session is for")
	}
	cpf, err := selo.ParseCPF(*req.CPF)
	if err != nil {
		return w, asRefusal(err)
	}
	w.cpf = cpf
	return w, nil
}

func notForOperators() *Refusal {
	return refusal(selo.ReasonCallerForbidden, "", "an operator's credential is not for sessions; use a user's bearer token or a service's API key")
}

// settleCPF asks the backend that knows whose CPF a subject has, if one is configured, and decides what holds.
// Every source that speaks must name the same person. Of a service only the issuer's subjects are asked for:
// its own are nobody's but its.
func (b *Broker) settleCPF(ctx context.Context, c *policy.Caller, plan *plan, w *who) *Refusal {
	if lookup := b.apps[c.App].CPFLookup; lookup != nil && w.subject.Issuer == c.Issuer {
		found, err := lookup.CPF(ctx, c.App, w.subject)
		switch {
		case err != nil:
			return asRefusal(err)
		case found.IsZero():
		case w.cpf.IsZero():
			w.cpf = found
		case found != w.cpf:
			source := "the bearer token"
			if c.Kind == policy.KindService {
				source = "the service"
			}
			return refusal(selo.ReasonCPFMismatch, "cpf_lookup", "names another person than "+source)
		}
	}
	switch {
	case !w.cpf.IsZero():
		return nil
	case !plan.purpose.SignUp:
		return refusal(selo.ReasonCPFMissing, "cpf", "none is known of this user: the bearer token carries none, and the purpose is not for sign-up")
	case !plan.exchanged:
		return refusal(selo.ReasonCPFMissing, "cpf", "none is known of this user, and a token of ours is for one CPF: sign-up needs a product whose token is exchanged")
	case plan.profile.Assurance > selo.AssurancePresence:
		return refusal(selo.ReasonCPFMissing, "cpf", "none is known of this user: sign-up takes products that prove no more than "+selo.AssurancePresence.String())
	}
	w.signUp = true
	return nil
}

// subjects is what the subject is called under every live pepper.
func (b *Broker) subjects(w who) (all [][]byte) {
	for _, p := range b.cfg.Peppers.All() {
		all = append(all, p.Subject(w.subject))
	}
	return all
}

// cpfs is likewise of the CPF, and empty without one.
func (b *Broker) cpfs(w who) (all [][]byte) {
	if w.cpf.IsZero() {
		return nil
	}
	for _, p := range b.cfg.Peppers.All() {
		all = append(all, p.CPF(w.cpf))
	}
	return all
}

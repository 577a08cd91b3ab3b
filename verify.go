package selo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// OpenedSlack is how long before the session was opened a response may claim to be made: our clock
	// and the provider's differ.
	OpenedSlack = 5 * time.Second
	// DefaultSkew is how far in our future a response may claim to be made.
	DefaultSkew = 30 * time.Second
	// DefaultMaxAge is how old a response may be when it is not known when its session was opened.
	DefaultMaxAge = 5 * time.Minute

	maxIDSize = 256 // bytes of one id
)

// Expectation is what a signed response must agree with. All of it comes from the server's own record of
// the attempt, nothing from the app.
type Expectation struct {
	Profile *Profile  // the product that was started; required
	Key     AccessKey // the key that made the mobile token; required
	CPF     CPF       // the person; required, unless SameCPF is set

	// SameCPF reports whether the person named is the right one, for a server that keeps a keyed
	// pseudonym and not the CPF. Exactly one of CPF and SameCPF is set.
	SameCPF func(CPF) bool

	// Once makes sure that no response counts twice; required.
	Once Once

	// Opened is when the attempt began: the response must not have been made more than OpenedSlack
	// before. Zero means unknown; then MaxAge alone bounds the age.
	Opened time.Time
	// MaxAge is how old the response may be. Zero is DefaultMaxAge when Opened is unknown, and no
	// further bound when it is known.
	MaxAge time.Duration
	// Skew is how far in the future the response may have been made. Zero is DefaultSkew.
	Skew time.Duration
	// Now is the time of verification. Zero is now.
	Now time.Time

	// Assurance is the least that the grant must prove. AssuranceUnset asks for AssuranceMatch: a product
	// that proves less grants only where this says that less is enough.
	Assurance Assurance
	// Policy is the provider policy that must have been run; required exactly when the profile names a
	// Policy claim.
	Policy string
}

// Response is a signed response that was verified, approved, and used up. There is no Response for
// anything else.
type Response struct {
	Product   string
	Assurance Assurance // what it proves
	IssuedAt  time.Time // when the provider made it
	ExpiresAt time.Time // zero when it carries no exp
	IDs       []UsedID  // the ids that are now used up
}

// Verify decides whether a signed response grants what was expected. It returns a Response, or an *Error
// with every reason against it, never both. A caller grants on a nil error and on nothing else.
//
// The checks, in order: size; three canonical segments; HMAC under the expected key, in constant time;
// header; one strict JSON object; not our own mobile token nor another product's response; the subject is
// the expected person; made after the attempt began, not in the future, not expired; proves enough; carries
// its ids; every decision claim is JSON true; no id was used before. The checks up to the JSON object stop at the first
// fault, since nothing after it is known; the later ones report everything they find.
//
// The ids are used up by an answer, yes or no: when all is well, or when all is well but the decision. In
// the latter case Denied reports true. A response refused for any other reason uses up
// nothing.
func Verify(ctx context.Context, token string, want Expectation) (*Response, error) {
	v := verification{want: want}
	if err := v.prepare(); err != nil {
		return nil, err
	}
	r := jwsReaders.Get().(*jwsReader)
	defer r.release()
	if err := r.split(token); err != nil {
		return nil, err
	}
	if err := r.verifyHS256(want.Key.Secret); err != nil {
		return nil, err
	}
	v.reader = r
	if err := r.object(r.payload, v.member); err != nil {
		return nil, refuse(ReasonPayloadInvalid, "payload", err.Error())
	}
	v.judge()
	if len(v.faults) == 0 || len(v.faults) == v.notApproved {
		if err := useOnce(ctx, want.Once, v.response.IDs, time.Time{}); err != nil {
			v.faults = append(v.faults, err)
		}
	}
	if len(v.faults) > 0 {
		first := *v.faults[0]
		first.Also = append(slices.Clone(first.Also), v.faults[1:]...)
		return nil, &first
	}
	return v.response, nil
}

// verification is one call of Verify: what the payload said, and what was found wrong with it.
type verification struct {
	want     Expectation
	profile  *checkedProfile
	now      time.Time
	reader   *jwsReader
	response *Response

	misspelt, confused, foreign string // a claim of that kind, if there was one
	marked                      bool
	decisions                   [maxIDs]answer
	subject                     answer // yes: the right one
	policy                      answer
	issued, expires, notBefore  answer
	notBeforeTime               time.Time
	ids                         [maxIDs]answer

	faults      []*Error
	notApproved int // how many of faults are a decision of false
}

// answer is what a claim turned out to be.
type answer uint8

const (
	missing   answer = iota
	wrongType        // or out of range
	no
	yes
)

func (v *verification) prepare() *Error {
	w := &v.want
	var refused *Error
	if v.profile, refused = w.Profile.check(); refused != nil {
		return refused
	}
	if err := w.Key.check(); err != nil {
		return err
	}
	switch {
	case w.CPF.IsZero() == (w.SameCPF == nil):
		return refuse(ReasonRequestInvalid, "cpf", "set exactly one of CPF and SameCPF")
	case w.Once == nil:
		return refuse(ReasonRequestInvalid, "once", "is required; without it one response can be used again")
	case w.MaxAge < 0:
		return refuse(ReasonRequestInvalid, "max_age", "must not be negative")
	case w.Skew < 0:
		return refuse(ReasonRequestInvalid, "skew", "must not be negative")
	case !w.Opened.IsZero() && w.Opened.Year() < 2020:
		return refuse(ReasonRequestInvalid, "opened", "is before 2020: an unset time of another system? Leave it zero if it is not known")
	case w.Assurance < AssuranceUnset || w.Assurance > AssuranceMatch:
		return refuse(ReasonRequestInvalid, "assurance", "is none of the assurances")
	case (w.Policy == "") != (v.profile.Policy == ""):
		return refuse(ReasonRequestInvalid, "policy", "is required for products that run a provider policy, and only for them")
	}
	if w.Assurance == AssuranceUnset {
		w.Assurance = AssuranceMatch
	}
	if w.MaxAge == 0 && w.Opened.IsZero() {
		w.MaxAge = DefaultMaxAge
	}
	if w.Skew == 0 {
		w.Skew = DefaultSkew
	}
	v.now = w.Now
	if v.now.IsZero() {
		v.now = time.Now()
	}
	v.response = &Response{
		Product:   v.profile.Product,
		Assurance: v.profile.Assurance,
		IDs:       make([]UsedID, len(v.profile.IDs)),
	}
	return nil
}

// member takes note of one claim of the payload.
func (v *verification) member(name []byte, value jsontext.Value) {
	r := v.reader
	c := v.profile.exact(name)
	if c == nil {
		r.folded = appendFolded(r.folded[:0], name)
		if c = v.profile.find(r.folded); c != nil {
			v.misspelt = c.name
		}
		return
	}
	v.marked = v.marked || c.mark
	switch c.role {
	case roleDecision:
		v.decisions[c.index] = wrongType
		switch value.Kind() {
		case 't':
			v.decisions[c.index] = yes
		case 'f':
			v.decisions[c.index] = no
		}
	case roleSubject:
		v.subject = v.samePerson(value)
	case roleID:
		v.ids[c.index] = wrongType
		if text, ok := r.text(value); ok && len(text) > 0 && len(text) <= maxIDSize {
			v.ids[c.index] = yes
			v.response.IDs[c.index] = UsedID{
				Provider:    v.profile.Provider,
				Environment: v.want.Key.environment(),
				Field:       c.name,
				Value:       string(text),
			}
		}
	case rolePolicy:
		v.policy = wrongType
		if text, ok := r.text(value); ok {
			v.policy = no
			if string(text) == v.want.Policy {
				v.policy = yes
			}
		}
	case roleIssuedAt:
		v.response.IssuedAt, v.issued = readTime(value)
	case roleExpires:
		v.response.ExpiresAt, v.expires = readTime(value)
	case roleNotBefore:
		v.notBeforeTime, v.notBefore = readTime(value)
	case roleIssuer:
		v.confused = c.name
	case roleForeign:
		v.foreign = c.name
	}
}

func readTime(value jsontext.Value) (time.Time, answer) {
	if t, ok := seconds(value); ok {
		return t, yes
	}
	return time.Time{}, wrongType
}

func (v *verification) samePerson(value jsontext.Value) answer {
	text, ok := v.reader.text(value)
	if !ok {
		return wrongType
	}
	if len(text) == 0 {
		return missing
	}
	if v.want.SameCPF != nil {
		if cpf, err := ParseCPF(string(text)); err == nil && v.want.SameCPF(cpf) {
			return yes
		}
		return no
	}
	if d, ok := normalizeCPF(string(text)); ok && string(d[:]) == v.want.CPF.Digits() {
		return yes
	}
	return no
}

func (v *verification) fault(r Reason, field, detail string) {
	v.faults = append(v.faults, refuse(r, field, detail))
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
	v.judgeSubject()
	v.judgeTimes()
	if v.response.Assurance < v.want.Assurance {
		v.fault(ReasonAssuranceTooLow, "assurance", fmt.Sprintf("%s proves %v, %v is required", v.response.Product, v.response.Assurance, v.want.Assurance))
	}
	v.judgeIDs()
	v.judgeDecisions()
}

func (v *verification) judgeShape() {
	switch p := v.profile; {
	case v.foreign != "":
		v.fault(ReasonProductMismatch, v.foreign, "is a claim of another product's response than "+p.Product)
	case len(p.Marks) > 0 && !v.marked && v.decisions != [maxIDs]answer{}:
		v.fault(ReasonProductMismatch, p.Marks[0], "has none of the claims that tell "+p.Product+" from other products")
	}
	if p := v.profile; p.Policy != "" {
		switch v.policy {
		case missing:
			v.fault(ReasonClaimMissing, p.Policy, "must name the policy that was run")
		case wrongType:
			v.fault(ReasonClaimType, p.Policy, "must be a string")
		case no:
			v.fault(ReasonPolicyMismatch, p.Policy, "is not the expected policy")
		}
	}
}

func (v *verification) judgeSubject() {
	switch field := v.profile.Subject; v.subject {
	case missing:
		v.fault(ReasonSubjectUnproven, field, "names nobody")
	case wrongType:
		v.fault(ReasonClaimType, field, "must be a string")
	case no:
		v.fault(ReasonSubjectMismatch, field, "is not the CPF that the attempt is for")
	}
}

func (v *verification) judgeTimes() {
	const notATime = "must be a number of seconds since 1970"
	issued := v.response.IssuedAt
	switch v.issued {
	case missing:
		v.fault(ReasonFreshnessUnproven, "iat", "does not say when the response was made")
	case wrongType:
		v.fault(ReasonClaimType, "iat", notATime)
	default:
		switch w := &v.want; {
		case issued.After(v.now.Add(w.Skew)):
			v.fault(ReasonFromTheFuture, "iat", fmt.Sprintf("is more than %v ahead of now", w.Skew))
		case !w.Opened.IsZero() && issued.Before(w.Opened.Add(-OpenedSlack)):
			v.fault(ReasonStale, "iat", "is before the attempt began")
		case w.MaxAge > 0 && issued.Before(v.now.Add(-w.MaxAge)):
			v.fault(ReasonStale, "iat", fmt.Sprintf("is more than %v ago", w.MaxAge))
		}
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

func (v *verification) judgeIDs() {
	for i, field := range v.profile.IDs {
		switch v.ids[i] {
		case missing:
			v.fault(ReasonClaimMissing, field, "identifies the attempt")
		case wrongType:
			v.fault(ReasonClaimType, field, fmt.Sprintf("must be a string of 1 to %d bytes", maxIDSize))
		}
	}
}

func (v *verification) judgeDecisions() {
	for i, field := range v.profile.Decision {
		switch v.decisions[i] {
		case missing:
			v.fault(ReasonClaimMissing, field, "is what decides")
		case wrongType:
			v.fault(ReasonClaimType, field, "must be JSON true or false")
		case no:
			v.fault(ReasonNotApproved, field, "is false")
			v.notApproved++
		}
	}
}

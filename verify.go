package selo

import (
	"context"
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

	// Recheck asks the provider about the attempt when the response alone is not enough: when it names
	// nobody, carries no time or proves too little, and is good otherwise. nil never asks.
	Recheck Recheck
	// RecheckAlways asks about every response that would grant.
	RecheckAlways bool
	// AttemptID tells the re-check where to look when the response does not carry the id of its attempt. It
	// is unsigned and may come from the app: what it finds must fit the person and the time all the same.
	AttemptID string
}

// Response is a signed response that was verified, approved, and used up. There is no Response for
// anything else.
type Response struct {
	Product   string
	Shape     string    // the form it came in
	Assurance Assurance // what it proves, with the re-check if there was one
	IssuedAt  time.Time // when the provider made it; zero when only the re-check says
	ExpiresAt time.Time // zero when it carries no exp
	IDs       []UsedID  // the ids that are now used up
	Rechecked bool      // the provider was asked, and agreed
}

// Verify decides whether a signed response grants what was expected. It returns a Response, or an *Error
// with every reason against it, never both. A caller grants on a nil error and on nothing else.
//
// The checks, in order: size; three canonical segments; HMAC under the expected key, in constant time;
// header; one strict JSON object; not our own mobile token nor another product's response, but exactly one
// shape of this one; the policy is the expected one; the subject is the expected person; made after the
// attempt began, not in the future, not expired; proves enough; carries its ids; every decision claim is
// JSON true; the re-check, where there is one, agrees; no id was used before. The checks up to the JSON
// object stop at the first fault, since nothing after it is known; the later ones report everything they
// find, and only what finds nothing else wrong asks the provider or uses anything up. What has no shape of the
// product is judged as the first one.
//
// The ids are used up by an answer, yes or no: when all is well, when all is well but the decision, or when
// the provider's own record contradicts a response that is good by itself. In the latter two cases Denied
// reports true. A response refused for any other reason uses up nothing.
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
	if v.needsRecheck() {
		v.recheck(ctx)
	}
	if len(v.faults) == 0 || Denied(v.refusal()) {
		if err := useOnce(ctx, want.Once, v.response.IDs, time.Time{}); err != nil {
			v.faults = append(v.faults, err)
		}
	}
	if err := v.refusal(); err != nil {
		return nil, err
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

	misspelt, confused string // a claim of that kind, if there was one
	seen               claimSet
	answers            [maxClaims]answer // yes: true, the right one, or readable
	notBeforeTime      time.Time
	ids                [maxIDs]string
	issued             answer
	expires, notBefore answer

	shape  *checkedShape
	faults []*Error
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
	case len(v.profile.shapes) == 0:
		return refuse(ReasonProductMismatch, "profile", v.profile.Product+" has no signed response, so nothing that an app brings back can be decided")
	case (w.Policy == "") != (v.profile.shapes[0].Policy == ""):
		return refuse(ReasonRequestInvalid, "policy", "is required for products that run a provider policy, and only for them")
	case w.RecheckAlways && (w.Recheck == nil || v.profile.Recheck == AssuranceUnset):
		return refuse(ReasonRequestInvalid, "recheck", "is demanded always, and cannot be had")
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
	v.response = &Response{Product: v.profile.Product}
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
	v.seen |= 1 << c.at
	answer := &v.answers[c.at]
	switch c.role {
	case roleDecision, roleChallenged:
		*answer = wrongType
		switch value.Kind() {
		case 't':
			*answer = yes
		case 'f':
			*answer = no
		}
	case roleSubject:
		if c.member == "" {
			*answer = v.samePerson(value)
		} else {
			*answer = v.samePersonIn(value, c)
		}
	case roleID:
		*answer = wrongType
		if text, ok := r.text(value); ok && len(text) > 0 && len(text) <= maxIDSize {
			*answer = yes
			v.ids[c.id] = string(text)
		}
	case rolePolicy:
		*answer = wrongType
		if text, ok := r.text(value); ok {
			*answer = no
			if string(text) == v.want.Policy {
				*answer = yes
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
	if v.want.SameCPF == nil {
		if d, ok := normalizeCPF(string(text)); ok && string(d[:]) == v.want.CPF.Digits() {
			return yes
		}
		return no
	}
	if cpf, err := ParseCPF(string(text)); err == nil && v.want.SameCPF(cpf) {
		return yes
	}
	return no
}

// samePersonIn looks for the person in a member of an object.
func (v *verification) samePersonIn(value jsontext.Value, c *claim) answer {
	if value.Kind() != '{' {
		return wrongType
	}
	found := missing
	inner := jwsReaders.Get().(*jwsReader)
	defer inner.release()
	err := inner.object(value, func(name []byte, value jsontext.Value) {
		inner.folded = appendFolded(inner.folded[:0], name)
		switch {
		case string(name) == c.member:
			found = v.samePerson(value)
		case string(inner.folded) == string(appendFolded(nil, []byte(c.member))):
			v.misspelt = c.name + "." + c.member
		}
	})
	if err != nil {
		return wrongType // cannot be: the whole payload was read already
	}
	return found
}

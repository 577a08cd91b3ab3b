package selo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Assurance is what a grant proves about the person, weakest first. Compare with <.
type Assurance int

// The assurances, in order. AssuranceUnset is no assurance; where one is required it stands for AssuranceMatch.
const (
	AssuranceUnset           Assurance = iota
	AssurancePresence                  // someone alive was there (liveness only)
	AssuranceKnownContext              // a known device or place was let pass; no biometric
	AssuranceReauthenticated           // a challenge was passed, which may have been SMS or e-mail
	AssuranceMatch                     // a live face was matched to this CPF
)

var assuranceNames = [...]string{"", "presence", "known-context", "reauthenticated", "match"}

// String returns the name used in configuration, receipts and answers.
func (a Assurance) String() string {
	if a < 0 || int(a) >= len(assuranceNames) {
		return fmt.Sprintf("Assurance(%d)", int(a))
	}
	return assuranceNames[a]
}

// MarshalText returns the name. An assurance that has none, AssuranceUnset among them, does not marshal.
func (a Assurance) MarshalText() ([]byte, error) {
	if a < AssurancePresence || a > AssuranceMatch {
		return nil, fmt.Errorf("selo: %v does not marshal: it is no assurance", int(a))
	}
	return []byte(a.String()), nil
}

// UnmarshalText accepts exactly the four names.
func (a *Assurance) UnmarshalText(b []byte) error {
	i := slices.Index(assuranceNames[1:], string(b))
	if i < 0 {
		return errors.New("unknown assurance: want presence, known-context, reauthenticated or match")
	}
	*a = Assurance(i + 1)
	return nil
}

// Profile is a provider's product as data: which token starts it, and what its signed response must look
// like. Profiles are made by NewProfile; Caf's are ready (CafFaceLiveness and its siblings). The fields are
// there to be read: Mint and Verify do not see a change.
type Profile struct {
	Product  string // "caf/face-liveness"
	Provider string // "caf": the space in which the provider's ids are unique

	// The mobile token.
	TokenSubject string        // the claim that carries the CPF, digits only
	Lifetime     time.Duration // how long a token lives when the caller does not say
	MaxLifetime  time.Duration // the longest any caller can get

	// The signed response.
	Decision []string // claims that must all be JSON true
	Subject  string   // the claim that names the person
	IDs      []string // claims that identify the attempt; each must be there, and is usable once
	Policy   string   // the claim that names the provider's policy; "" when the product has none
	Marks    []string // claims of which this product's response always has at least one; nil when its Decision is enough
	Foreign  []string // claims that only another product's response carries

	// Assurance is the most that a granted response of this product proves.
	Assurance Assurance

	checked *checkedProfile
}

// checkedProfile is what Mint and Verify work from: NewProfile's own copy, which nobody can change.
type checkedProfile struct {
	Profile
	claims   []claim
	byLength [][]*claim // claims by the length of their name, so that a lookup compares one or two
}

// check returns the profile as NewProfile saw it.
func (p *Profile) check() (*checkedProfile, *Error) {
	if p == nil || p.checked == nil {
		return nil, refuse(ReasonRequestInvalid, "profile", "is not one of Profiles, nor made by NewProfile")
	}
	return p.checked, nil
}

// claim is one name that Verify reads, and what it is to it.
type claim struct {
	name   string
	folded string
	role   role
	index  int  // within Decision or IDs
	mark   bool // one of Marks
}

type role uint8

const (
	roleDecision role = iota + 1
	roleSubject
	roleID
	rolePolicy
	roleIssuedAt
	roleExpires
	roleNotBefore
	roleIssuer
	roleForeign
	roleMark
)

// maxIDs bounds the decision and id claims of a profile.
const maxIDs = 8

// NewProfile checks a profile for contradictions and makes it usable. A response without a decision, a
// subject or an id could be granted to anyone or twice, so a profile must name all three.
func NewProfile(p Profile) (*Profile, error) {
	switch {
	case p.Product == "" || p.Provider == "":
		return nil, fmt.Errorf("selo: profile %q: Product and Provider are required", p.Product)
	case !isClaimName(p.TokenSubject) || slices.Contains([]string{"iss", "exp"}, string(appendFolded(nil, []byte(p.TokenSubject)))):
		return nil, fmt.Errorf("selo: profile %s: TokenSubject must name a claim of the token, other than iss and exp", p.Product)
	case p.Lifetime <= 0 || p.MaxLifetime < p.Lifetime:
		return nil, fmt.Errorf("selo: profile %s: need 0 < Lifetime <= MaxLifetime", p.Product)
	case len(p.Decision) == 0 || p.Subject == "" || len(p.IDs) == 0:
		return nil, fmt.Errorf("selo: profile %s: Decision, Subject and IDs are required", p.Product)
	case len(p.Decision) > maxIDs || len(p.IDs) > maxIDs:
		return nil, fmt.Errorf("selo: profile %s: at most %d Decision claims and %d IDs", p.Product, maxIDs, maxIDs)
	case p.Assurance < AssurancePresence || p.Assurance > AssuranceMatch:
		return nil, fmt.Errorf("selo: profile %s: Assurance is required", p.Product)
	}
	c := &checkedProfile{Profile: p.clone()}
	p = p.clone() // neither the caller's slices nor c's
	for i, n := range p.Decision {
		c.claims = append(c.claims, claim{name: n, role: roleDecision, index: i})
	}
	c.claims = append(c.claims, claim{name: p.Subject, role: roleSubject})
	for i, n := range p.IDs {
		c.claims = append(c.claims, claim{name: n, role: roleID, index: i})
	}
	if p.Policy != "" {
		c.claims = append(c.claims, claim{name: p.Policy, role: rolePolicy})
	}
	c.claims = append(c.claims,
		claim{name: "iat", role: roleIssuedAt}, claim{name: "exp", role: roleExpires},
		claim{name: "nbf", role: roleNotBefore}, claim{name: "iss", role: roleIssuer})
	for _, n := range p.Foreign {
		c.claims = append(c.claims, claim{name: n, role: roleForeign})
	}
	for _, n := range p.Marks {
		if i := slices.IndexFunc(c.claims, func(c claim) bool { return c.name == n }); i >= 0 {
			c.claims[i].mark = true
			continue
		}
		c.claims = append(c.claims, claim{name: n, role: roleMark, mark: true})
	}
	for i := range c.claims {
		one := &c.claims[i]
		if !isClaimName(one.name) {
			return nil, fmt.Errorf("selo: profile %s: %q is no name for a claim", p.Product, one.name)
		}
		one.folded = string(appendFolded(nil, []byte(one.name)))
		if c.find([]byte(one.folded)) != one {
			return nil, fmt.Errorf("selo: profile %s: claim %q is named twice", p.Product, one.name)
		}
	}
	for i := range c.claims {
		one := &c.claims[i]
		for len(c.byLength) <= len(one.name) {
			c.byLength = append(c.byLength, nil)
		}
		c.byLength[len(one.name)] = append(c.byLength[len(one.name)], one)
	}
	p.checked = c
	return &p, nil
}

func (p Profile) clone() Profile {
	p.Decision, p.IDs = slices.Clone(p.Decision), slices.Clone(p.IDs)
	p.Marks, p.Foreign = slices.Clone(p.Marks), slices.Clone(p.Foreign)
	return p
}

// copy is for whoever asks for a profile of ours: what they change is theirs.
func (p *Profile) copy() *Profile {
	c := p.clone()
	return &c
}

// isClaimName reports whether name can stand between quotes as it is.
func isClaimName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// exact returns the claim of that name, or nil.
func (p *checkedProfile) exact(name []byte) *claim {
	if len(name) < len(p.byLength) {
		for _, c := range p.byLength[len(name)] {
			if c.name == string(name) {
				return c
			}
		}
	}
	return nil
}

// find returns the claim that some decoder might take a folded name for, or nil.
func (p *checkedProfile) find(folded []byte) *claim {
	for i := range p.claims {
		if c := &p.claims[i]; c.folded == string(folded) {
			return c
		}
	}
	return nil
}

// appendFolded appends the form under which lenient JSON decoders take two names for one: Unicode simple
// folding (encoding/json sets isAlive from iſAlive) and without _ and - (as case-insensitive
// encoding/json/v2 does). Dotted and dotless i fold as well, since some languages' lower-casing does it.
func appendFolded(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			i++
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != '_' && c != '-' {
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		i += n
		if j := slices.Index(foldsToMany, r); j >= 0 {
			dst = append(dst, foldedToMany[j]...)
			continue
		}
		dst = utf8.AppendRune(dst, foldRune(r))
	}
	return dst
}

// The letters that full case folding makes several ASCII letters of.
var (
	foldsToMany  = []rune{'ß', 'ẞ', 'ﬀ', 'ﬁ', 'ﬂ', 'ﬃ', 'ﬄ', 'ﬅ', 'ﬆ'}
	foldedToMany = []string{"ss", "ss", "ff", "fi", "fl", "ffi", "ffl", "st", "st"}
)

// foldRune returns one representative of r's folding orbit: the lower-case ASCII letter if there is one,
// else the smallest rune.
func foldRune(r rune) rune {
	if r == 'İ' || r == 'ı' {
		return 'i'
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f < least {
			least = f
		}
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

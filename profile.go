package selo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
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

// Profile is a provider's product as data: which tokens start it, and what its signed responses must look
// like. Profiles are made by NewProfile; Caf's are ready (CafFaceLiveness and its siblings). The fields are
// there to be read: Mint and Verify do not see a change.
type Profile struct {
	Product  string // "caf/face-liveness"
	Provider string // "caf": the space in which the provider's ids are unique

	// The mobile tokens.
	TokenSubject string        // the claim that carries the CPF, digits only
	Lifetime     time.Duration // how long a token lives when the caller does not say
	MaxLifetime  time.Duration // the longest any caller can get

	// Roles are the tokens that the SDK needs at once. nil is one token of the product itself, role "mobile".
	// The key of the first role verifies the signed response.
	Roles []Role

	// The signed response.
	Shapes  []Shape  // the forms it comes in; none when the product has no signed response, and then it never grants
	Marks   []string // claims of which every shape has at least one; nil when its Decision is enough
	Foreign []string // claims that only another product's response carries

	// Assurance is the most that a granted response of this product proves by itself: that of its strongest
	// shape, which NewProfile fills in.
	Assurance Assurance

	// Recheck is the most that it proves after a re-check; AssuranceUnset when the provider offers none.
	Recheck Assurance
	// Attempt is the id by which a re-check finds the attempt, one of the IDs of those shapes that carry it.
	Attempt string

	checked *checkedProfile
}

// Role is one of the mobile tokens that start a product: its name, and the product whose token it is, for
// which its access key must be activated.
type Role struct {
	Name    string
	Product string
}

// Shape is one form in which a product's signed response comes: another generation of the SDK, the web, a
// direct API. Which one a response has is told by the names of its claims alone: at least one of Marks, none
// of Foreign. A response of no shape, or of two, is refused.
type Shape struct {
	Name     string   // "native-2024"
	Decision []string // claims that must all be JSON true
	Subject  string   // the claim that names the person; "person.cpf" is a member of the object person; "" when none does
	IDs      []string // claims that identify the attempt; each must be there, and is usable once
	Policy   string   // the claim that names the provider's policy; "" when the product has none
	Marks    []string // claims of which this shape always has at least one; nil when Foreign alone tells it
	Foreign  []string // claims that this shape never has, beside the product's

	// Assurance is the most that this shape proves by itself. AssuranceUnset is nothing: it grants after a
	// re-check only.
	Assurance Assurance
	// Challenged is a boolean claim: true when the person passed a challenge, and Assurance is proved; false
	// when a known context let them pass, which proves AssuranceKnownContext. "" when the shape has none.
	Challenged string

	// Interim says that a no may still become a yes for the same attempt. Then a no ends nothing and uses up
	// nothing: it is refused as ReasonNotApproved and ReasonNotFinal.
	Interim bool
}

// checkedProfile is what Mint and Verify work from: NewProfile's own copy, which nobody can change.
type checkedProfile struct {
	Profile
	claims   []claim
	byLength [][]*claim // claims by the length of their name, so that a lookup compares one or two
	ids      int        // how many of the claims are ids
	marks    claimSet
	shapes   []checkedShape
}

// checkedShape is a Shape with its claims looked up.
type checkedShape struct {
	Shape
	decision           []*claim
	ids                []*claim
	subject            *claim // nil when the shape names nobody
	policy, challenged *claim
	attempt            *claim // of ids; nil when the shape does not carry it
	marks, foreign     claimSet
}

// check returns the profile as NewProfile saw it.
func (p *Profile) check() (*checkedProfile, *Error) {
	if p == nil || p.checked == nil {
		return nil, refuse(ReasonRequestInvalid, "profile", "is not one of Profiles, nor made by NewProfile")
	}
	return p.checked, nil
}

// claim is one name that Verify reads, and what it is to it: the same in every shape that has it.
type claim struct {
	name   string
	folded string
	member string // of the object that the claim is, where the person is named
	role   role
	at     int // within claims
	id     int // among the ids
}

// claimSet is a set of claims by their place within claims.
type claimSet uint64

const maxClaims = 64

func (s claimSet) has(c *claim) bool { return s>>c.at&1 != 0 }

type role uint8

const (
	roleNone role = iota // known by name only: a mark, or another shape's
	roleDecision
	roleSubject
	roleID
	rolePolicy
	roleChallenged
	roleIssuedAt
	roleExpires
	roleNotBefore
	roleIssuer
)

// maxIDs bounds the id claims of a profile.
const maxIDs = 8

// roleMobile is the role of the one token of a product that needs no more.
const roleMobile = "mobile"

// NewProfile checks a profile for contradictions and makes it usable. A response without a decision or an id
// could be granted to anyone or twice, so every shape must name both.
func NewProfile(p Profile) (*Profile, error) {
	bad := func(format string, args ...any) (*Profile, error) {
		return nil, fmt.Errorf("selo: profile %s: %s", cmp.Or(p.Product, "(unnamed)"), fmt.Sprintf(format, args...))
	}
	switch {
	case p.Product == "" || p.Provider == "":
		return bad("Product and Provider are required")
	case !isClaimName(p.TokenSubject) || slices.Contains([]string{"iss", "exp"}, string(appendFolded(nil, []byte(p.TokenSubject)))):
		return bad("TokenSubject must name a claim of the token, other than iss and exp")
	case p.Lifetime <= 0 || p.MaxLifetime < p.Lifetime:
		return bad("need 0 < Lifetime <= MaxLifetime")
	case p.Assurance != AssuranceUnset:
		return bad("Assurance is that of the strongest shape; leave it out")
	case p.Recheck < AssuranceUnset || p.Recheck > AssuranceMatch:
		return bad("Recheck is none of the assurances")
	case (p.Recheck == AssuranceUnset) != (p.Attempt == ""):
		return bad("Attempt is required with Recheck, and only with it")
	}
	p = p.clone() // not the caller's slices
	if len(p.Roles) == 0 {
		p.Roles = []Role{{roleMobile, p.Product}}
	}
	for i, r := range p.Roles {
		if r.Name == "" || r.Product == "" || slices.ContainsFunc(p.Roles[:i], func(o Role) bool { return o.Name == r.Name }) {
			return bad("Roles[%d] needs a name of its own and a product", i)
		}
	}
	if p.Roles[0].Product != p.Product {
		return bad("Roles[0] must be of the product itself: its key verifies the response")
	}
	for _, s := range p.Shapes {
		p.Assurance = max(p.Assurance, s.Assurance)
	}
	if len(p.Shapes) > 0 && max(p.Assurance, p.Recheck) == AssuranceUnset || p.Recheck != AssuranceUnset && p.Recheck < p.Assurance {
		return bad("a signed response must prove something, and Recheck no less")
	}
	c := &checkedProfile{Profile: p.clone()}
	for _, s := range c.Profile.Shapes {
		if err := c.declare(s); err != nil {
			return bad("shape %q: %v", s.Name, err)
		}
	}
	for _, fixed := range []claim{{name: "iat", role: roleIssuedAt}, {name: "exp", role: roleExpires},
		{name: "nbf", role: roleNotBefore}, {name: "iss", role: roleIssuer}} {
		if err := c.add(fixed.name, fixed.role); err != nil {
			return bad("%v", err)
		}
	}
	// Names that have no role of their own come last: to another shape they may be more.
	for _, names := range append([][]string{c.Profile.Marks, c.Profile.Foreign}, c.namesOnly()...) {
		for _, n := range names {
			if err := c.add(n, roleNone); err != nil {
				return bad("%v", err)
			}
		}
	}
	if a := c.Profile.Attempt; a != "" {
		if have := c.find(appendFolded(nil, []byte(a))); !isClaimName(a) || have != nil && (have.name != a || have.role != roleID && have.role != roleNone) {
			return bad("Attempt must be the name of an id, spelled as in the shapes that carry it")
		}
	}
	if len(c.claims) > maxClaims || c.ids > maxIDs {
		return bad("at most %d claims and %d IDs", maxClaims, maxIDs)
	}
	if err := c.resolve(); err != nil {
		return bad("%v", err)
	}
	p.checked = c
	return &p, nil
}

// declare adds the claims that a shape reads.
func (c *checkedProfile) declare(s Shape) error {
	switch {
	case s.Name == "" || slices.ContainsFunc(c.shapes, func(o checkedShape) bool { return o.Name == s.Name }):
		return errors.New("needs a name of its own")
	case len(s.Decision) == 0 || len(s.IDs) == 0:
		return errors.New("its Decision and IDs are required")
	case len(s.Decision) > maxIDs:
		return fmt.Errorf("at most %d Decision claims", maxIDs)
	case s.Assurance < AssuranceUnset || s.Assurance > AssuranceMatch || s.Challenged != "" && s.Assurance < AssuranceKnownContext:
		return errors.New("its Assurance is none of the assurances, or less than Challenged can prove")
	case (s.Policy == "") != (c.Profile.Shapes[0].Policy == ""):
		return errors.New("a policy is run for all shapes of a product or for none")
	}
	c.shapes = append(c.shapes, checkedShape{Shape: s})
	seen := make(map[string]bool)
	for _, list := range []struct {
		role  role
		names []string
	}{
		{roleDecision, s.Decision}, {roleSubject, oneName(s.Subject)}, {roleID, s.IDs}, {rolePolicy, oneName(s.Policy)}, {roleChallenged, oneName(s.Challenged)},
	} {
		for _, n := range list.names {
			if seen[n] {
				return fmt.Errorf("claim %q is named twice", n)
			}
			seen[n] = true
			if err := c.add(n, list.role); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneName(n string) []string {
	if n == "" {
		return nil
	}
	return []string{n}
}

// namesOnly are the claims that shapes know by name.
func (c *checkedProfile) namesOnly() (lists [][]string) {
	for _, s := range c.shapes {
		lists = append(lists, s.Marks, s.Foreign)
	}
	return lists
}

// add notes a claim. A claim is one thing to all shapes; without a role it may be anything to another.
func (c *checkedProfile) add(name string, r role) error {
	one := claim{name: name, role: r, at: len(c.claims)}
	if r == roleSubject {
		one.name, one.member, _ = strings.Cut(name, ".")
		if one.member == "" && strings.Contains(name, ".") || one.member != "" && (!isClaimName(one.member) || strings.Contains(one.member, ".")) {
			return fmt.Errorf("%q is no name for a claim", name)
		}
	}
	if !isClaimName(one.name) {
		return fmt.Errorf("%q is no name for a claim", name)
	}
	one.folded = string(appendFolded(nil, []byte(one.name)))
	if have := c.find([]byte(one.folded)); have != nil {
		if have.name == one.name && (r == roleNone || have.role == r && have.member == one.member) {
			return nil
		}
		return fmt.Errorf("claim %q is named twice", name)
	}
	if r == roleID {
		one.id = c.ids
		c.ids++
	}
	c.claims = append(c.claims, one)
	return nil
}

// resolve looks the claims of every shape up, when none will be added and so none will move.
func (c *checkedProfile) resolve() error {
	for i := range c.claims {
		one := &c.claims[i]
		for len(c.byLength) <= len(one.name) {
			c.byLength = append(c.byLength, nil)
		}
		c.byLength[len(one.name)] = append(c.byLength[len(one.name)], one)
	}
	get := func(name string) *claim { return c.exact([]byte(name)) }
	set := func(lists ...[]string) (s claimSet) {
		for _, n := range slices.Concat(lists...) {
			s |= 1 << get(n).at
		}
		return s
	}
	c.marks = set(c.Profile.Marks)
	for i := range c.shapes {
		s := &c.shapes[i]
		for _, n := range s.Decision {
			s.decision = append(s.decision, get(n))
		}
		for _, n := range s.IDs {
			s.ids = append(s.ids, get(n))
			if n == c.Profile.Attempt {
				s.attempt = get(n)
			}
		}
		own := append(slices.Clone(s.decision), s.ids...)
		if s.Subject != "" {
			object, _, _ := strings.Cut(s.Subject, ".")
			s.subject = get(object)
			own = append(own, s.subject)
		}
		if s.Policy != "" {
			s.policy = get(s.Policy)
			own = append(own, s.policy)
		}
		if s.Challenged != "" {
			s.challenged = get(s.Challenged)
			own = append(own, s.challenged)
		}
		s.marks, s.foreign = set(s.Marks), set(s.Foreign, c.Profile.Foreign)
		for _, one := range own {
			if s.foreign.has(one) {
				return fmt.Errorf("shape %q: claim %q is its own and foreign", s.Name, one.name)
			}
		}
		for _, n := range []string{"iss", "exp", "nbf"} {
			if s.foreign.has(get(n)) || s.marks.has(get(n)) {
				return fmt.Errorf("shape %q: %s tells no shape", s.Name, n)
			}
		}
		if s.marks&s.foreign != 0 || c.marks&s.foreign != 0 && c.marks&^s.foreign == 0 {
			return fmt.Errorf("shape %q: a mark of it is foreign to it", s.Name)
		}
	}
	return nil
}

// shapesOf returns the shapes that a response with these claims has.
func (c *checkedProfile) shapesOf(seen claimSet) (all []*checkedShape) {
	for i := range c.shapes {
		if s := &c.shapes[i]; (s.marks == 0 || seen&s.marks != 0) && seen&s.foreign == 0 {
			all = append(all, s)
		}
	}
	return all
}

// HasPolicy reports whether attempts run a provider policy, which Expectation.Policy must then name.
func (p *Profile) HasPolicy() bool { return len(p.Shapes) > 0 && p.Shapes[0].Policy != "" }

// ShapesOf names the shapes of the product's signed response that a payload has, by the names of its claims alone:
// none for what is no response of the product or no strict JSON object, and two for what Verify refuses as both.
func (p *Profile) ShapesOf(payload []byte) (names []string) {
	c, refused := p.check()
	if refused != nil {
		return nil
	}
	r := jwsReaders.Get().(*jwsReader)
	defer r.release()
	var seen claimSet
	if err := r.object(payload, func(name []byte, _ jsontext.Value) {
		if one := c.exact(name); one != nil {
			seen |= 1 << one.at
		}
	}); err != nil || c.marks != 0 && seen&c.marks == 0 {
		return nil
	}
	for _, s := range c.shapesOf(seen) {
		if slices.ContainsFunc(s.decision, func(d *claim) bool { return seen.has(d) }) {
			names = append(names, s.Name)
		}
	}
	return names
}

func (p Profile) clone() Profile {
	p.Roles, p.Shapes = slices.Clone(p.Roles), slices.Clone(p.Shapes)
	p.Marks, p.Foreign = slices.Clone(p.Marks), slices.Clone(p.Foreign)
	for i := range p.Shapes {
		s := &p.Shapes[i]
		s.Decision, s.IDs = slices.Clone(s.Decision), slices.Clone(s.IDs)
		s.Marks, s.Foreign = slices.Clone(s.Marks), slices.Clone(s.Foreign)
	}
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

package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ClaimType is the type of a claim that rules may use.
type ClaimType string

// The types, with what a token's JSON must be and what a Caller's Claims then hold.
const (
	ClaimString  ClaimType = "string"  // a string: string
	ClaimStrings ClaimType = "strings" // an array of strings, or one string: []string
	ClaimBoolean ClaimType = "boolean" // true or false: bool
	ClaimInteger ClaimType = "integer" // a number without fraction or exponent, up to 2^53 either way: int64
	ClaimNumber  ClaimType = "number"  // a number: float64
	ClaimTime    ClaimType = "time"    // a number of seconds since 1970: time.Time
)

// typeCPF is the type of the place where the CPF is, which no configuration can name.
const typeCPF ClaimType = ""

// Claim is one more claim of an app's bearer tokens that its rules may use. A token in which it is of another
// type is refused; it may be absent. A string is at most 1024 bytes, and an array at most 256 strings.
type Claim struct {
	// Path says where it is: the name of a top-level member, or a JSON pointer (RFC 6901) such as
	// /realm_access/roles, which only looks into objects. Empty means the name that rules know it by.
	Path string
	Type ClaimType
}

// StandardClaims are the claims that rules of every app may use, by the names of OpenID Connect Core, RFC 9068
// and RFC 8693, which are also where they stand in a token. scope is split at its spaces.
func StandardClaims() map[string]ClaimType {
	return map[string]ClaimType{
		"acr":       ClaimString,
		"amr":       ClaimStrings,
		"auth_time": ClaimTime,
		"azp":       ClaimString,
		"client_id": ClaimString,
		"scope":     ClaimStrings,
	}
}

// describe says what a token's JSON must be.
func (t ClaimType) describe() string {
	switch t {
	case ClaimString:
		return fmt.Sprintf("a string of at most %d bytes", maxString)
	case ClaimStrings:
		return fmt.Sprintf("a string or an array of at most %d strings, each of at most %d bytes", maxStrings, maxString)
	case ClaimBoolean:
		return "true or false"
	case ClaimInteger:
		return "a whole number up to 2^53 either way"
	case ClaimNumber:
		return "a number"
	case ClaimTime:
		return "a number of seconds since 1970"
	}
	return ""
}

// place is where in a token one thing is that we read.
type place struct {
	field string   // what rules and refusals call it
	path  []string // the name of a member of the payload, and then of each object on the way
	typ   ClaimType
	split bool // one string holds several, with spaces between
}

var claimName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// checkPlaces returns every place of an app's tokens, and every mistake in the configuration of them.
func checkPlaces(c *App) (places []place, errs []error) {
	standard := StandardClaims()
	for _, name := range slices.Sorted(maps.Keys(standard)) {
		places = append(places, place{name, []string{name}, standard[name], name == "scope"})
	}
	path, err := parsePath(c.CPFClaim)
	if err != nil {
		errs = append(errs, fmt.Errorf("cpf_claim %w", err))
	}
	for _, reserved := range slices.Concat(registered(), []string{"jti"}, slices.Sorted(maps.Keys(standard))) {
		// sub may be: some issuers have the CPF there and nowhere else, and no subject is kept in clear.
		same := path != nil && path[0] == reserved && (len(path) > 1 || reserved == "sub")
		if path != nil && strings.EqualFold(path[0], reserved) && !same {
			errs = append(errs, fmt.Errorf("cpf_claim must not be %s, which is another thing", reserved))
			path = nil
		}
	}
	if path != nil {
		places = append(places, place{field: c.CPFClaim, path: path, typ: typeCPF})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
		one := c.Claims[name]
		wrong := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("claims: %q "+format, append([]any{name}, args...)...))
		}
		if !claimName.MatchString(name) {
			wrong("must be a-z and then at most 63 of a-z, 0-9 and _")
		}
		if _, taken := standard[name]; taken {
			wrong("is there already: rules of every app may use it")
		}
		if one.Type.describe() == "" {
			wrong("has no type that we know; there are string, strings, boolean, integer, number and time")
		}
		at := one.Path
		if at == "" {
			at = name
		}
		path, err := parsePath(at)
		if err != nil {
			wrong("path %w", err)
			continue
		}
		for _, other := range places {
			switch {
			case other.typ == typeCPF && slices.Equal(other.path, path):
				wrong("is the CPF, which is in no rule")
			case differInCase(other.path, path):
				wrong("differs only in case from %q on its way", other.field)
			}
		}
		for _, other := range registered() {
			if differInCase([]string{other}, path) {
				wrong("differs only in case from %s", other)
			}
		}
		places = append(places, place{field: name, path: path, typ: one.Type})
	}
	return places, errs
}

// differInCase reports whether two paths part at names that are the same but for case. One would then be the
// other's other spelling, for which tokens are refused.
func differInCase(a, b []string) bool {
	for len(a) > 0 && len(b) > 0 {
		if a[0] != b[0] {
			return strings.EqualFold(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return false
}

// parsePath reads the name of a top-level member, or a JSON pointer (RFC 6901), as the names along the way.
func parsePath(path string) ([]string, error) {
	if !isText(path) {
		return nil, fmt.Errorf("must be at most %d bytes without control characters", maxText)
	}
	rest, pointer := strings.CutPrefix(path, "/")
	if !pointer {
		return []string{path}, nil
	}
	steps := strings.Split(rest, "/")
	if len(steps) >= maxDepth {
		return nil, fmt.Errorf("has more than %d steps", maxDepth-1)
	}
	for i, s := range steps {
		// What is left over when the escapes are gone must have no tilde.
		if s == "" || strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(s), "~") {
			return nil, errors.New("is no JSON pointer to a member of an object: want /name/name, with ~0 for ~ and ~1 for /")
		}
		steps[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(s)
	}
	return steps, nil
}

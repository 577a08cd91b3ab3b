package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

const (
	maxStrings = 256  // in a claim that is an array
	maxString  = 1024 // bytes of each, and of a claim that is a string
)

// anotherSpelling is the detail of a name in another case: another program that reads the same token might
// take it for the claim.
const anotherSpelling = "is spelled another way in the token"

// jwtRequires and opaqueRequires are the claims without which a token is refused. Of an opaque token the
// endpoint already said that it is active.
func jwtRequires() []string    { return []string{"iss", "aud", "sub", "exp"} }
func opaqueRequires() []string { return []string{"aud", "sub"} }

// chooseApp finds the one app that the claims are for, among the apps of every issuer when they name none.
func chooseApp(apps []*app, c *claims) (*app, *selo.Error) {
	var found *app
	issuer := false
	for _, one := range apps {
		if c.seen["iss"] && one.Issuer != c.iss {
			continue
		}
		issuer = true
		if !slices.Contains(c.aud, one.Audience) {
			continue
		}
		if found != nil {
			return nil, unauthenticated("aud", "names several apps; want a token for one")
		}
		found = one
	}
	switch {
	case !issuer:
		return nil, unauthenticated("iss", "is no configured issuer")
	case found == nil:
		return nil, unauthenticated("aud", "names no app of this issuer")
	}
	return found, nil
}

// readCaller makes the caller of a verified payload, and says when it expires: at the zero time if it does not say.
func (one *app) readCaller(payload []byte, required []string, now time.Time) (*Caller, time.Time, *selo.Error) {
	c, refused := readClaims(payload, required, one.places)
	if refused == nil {
		refused = one.check(&c, now)
	}
	if refused != nil {
		return nil, time.Time{}, refused
	}
	caller := &Caller{
		Kind:    KindEndUser,
		App:     one.Name,
		Issuer:  one.Issuer,
		Subject: selo.Subject{Issuer: one.Issuer, ID: c.sub},
		Claims:  c.values,
	}
	if c.hasCPF {
		var err error
		if caller.CPF, err = selo.ParseCPF(c.cpf); err != nil {
			caller.CPFFault = &selo.Error{
				Reason: selo.ReasonCPFInvalid,
				Field:  one.CPFClaim,
				Detail: "in the bearer token must be a string of 11 digits, bare or as 000.000.000-00, with correct check digits",
			}
		}
	}
	return caller, c.exp, nil
}

func (one *app) check(c *claims, now time.Time) *selo.Error {
	switch {
	case c.seen["iss"] && c.iss != one.Issuer:
		return unauthenticated("iss", "is not the app's issuer")
	case !slices.Contains(c.aud, one.Audience):
		return unauthenticated("aud", "is not the app's audience")
	case c.seen["exp"] && !now.Before(c.exp):
		return unauthenticated("exp", hasPassed)
	case c.nbf.After(now.Add(clockSkew)):
		return unauthenticated("nbf", fmt.Sprintf("is more than %v ahead of now", clockSkew))
	case c.iat.After(now.Add(clockSkew)):
		return unauthenticated("iat", fmt.Sprintf("is more than %v ahead of now", clockSkew))
	}
	if len(one.AuthorizedParties) == 0 {
		return nil
	}
	names := false
	for _, claim := range []string{"azp", "client_id"} {
		party, there := c.values[claim].(string)
		if there && !slices.Contains(one.AuthorizedParties, party) {
			return unauthenticated(claim, "is not one of the app's authorized_parties")
		}
		names = names || there
	}
	if !names {
		return unauthenticated("azp", "is missing, as is client_id, and the app has authorized_parties")
	}
	return nil
}

// claims are those that we read. A time that is absent is zero, which is in nobody's future.
type claims struct {
	seen          map[string]bool // of the ones that every token may have
	iss, sub      string
	aud           []string
	exp, nbf, iat time.Time
	cpf           string // empty, which is no CPF either, when the claim is not a string
	hasCPF        bool
	values        map[string]any // for rules; nil when there are none

	refused *selo.Error // the first thing found wrong
}

func (c *claims) refuse(field, detail string) {
	if c.refused == nil {
		c.refused = unauthenticated(field, detail)
	}
}

// readClaims reads a payload strictly. Without places only what chooses the app and the times are read.
func readClaims(payload []byte, required []string, places []place) (claims, *selo.Error) {
	known := registered()
	c := claims{seen: make(map[string]bool, len(known))}
	err := readObject(payload, func(name string, value jsontext.Value) {
		switch claim, exact := match(known, name); {
		case claim != "" && !exact:
			c.refuse(claim, anotherSpelling)
		case claim != "":
			c.seen[claim] = true
			c.read(claim, value)
		}
		for i := range places {
			c.follow(&places[i], 0, name, value)
		}
	})
	if err != nil {
		return claims{}, unauthenticated("payload", err.Error())
	}
	for _, claim := range required {
		if !c.seen[claim] {
			c.refuse(claim, "is missing")
		}
	}
	return c, c.refused
}

// registered are the claims that mean the same in every token.
func registered() []string { return []string{"iss", "aud", "sub", "exp", "nbf", "iat", "cnf"} }

func (c *claims) read(claim string, value jsontext.Value) {
	seconds := func() time.Time {
		t, ok := parseSeconds(value)
		if !ok {
			c.refuse(claim, "must be a number of seconds since 1970")
		}
		return t
	}
	text, isString := unquote(value)
	switch claim {
	case "iss":
		if c.iss = text; !isString {
			c.refuse("iss", "must be a string")
		}
	case "aud":
		var ok bool
		if c.aud, ok = readStrings(value); !ok {
			c.refuse("aud", "must be a string or an array of strings")
		}
	case "sub":
		if c.sub = text; !isString || !isText(text) {
			c.refuse("sub", fmt.Sprintf("must be a string of 1 to %d bytes without control characters", maxText))
		}
	case "exp":
		c.exp = seconds()
	case "nbf":
		c.nbf = seconds()
	case "iat":
		c.iat = seconds()
	case "cnf":
		// DPoP (RFC 9449) or mutual TLS (RFC 8705): without the proof whoever stole it could send it.
		c.refuse("cnf", "binds the token to a key, and that the sender has it is not proven here; want a plain bearer token")
	}
}

// follow takes value if it is at the place, and looks inside it if it is on the way there: name is what stands
// at this step of the path.
func (c *claims) follow(p *place, step int, name string, value jsontext.Value) {
	switch {
	case name != p.path[step]:
		if strings.EqualFold(name, p.path[step]) {
			c.refuse(p.field, anotherSpelling)
		}
	case step == len(p.path)-1:
		c.take(p, value)
	case value.Kind() != '{':
		c.take(p, jsontext.Value("null")) // is there, and is nothing
	default:
		if err := readObject(value, func(name string, value jsontext.Value) { c.follow(p, step+1, name, value) }); err != nil {
			c.refuse(p.field, err.Error())
		}
	}
}

func (c *claims) take(p *place, value jsontext.Value) {
	if p.typ == typeCPF {
		c.cpf, _ = unquote(value)
		c.hasCPF = true
		return
	}
	v := readTyped(p, value)
	if v == nil {
		c.refuse(p.field, "must be "+p.typ.describe())
		return
	}
	if c.values == nil {
		c.values = make(map[string]any)
	}
	c.values[p.field] = v
}

// readTyped returns what a Caller's Claims hold, or nil if value is of another type.
func readTyped(p *place, value jsontext.Value) any {
	switch p.typ {
	case ClaimString:
		if text, ok := unquote(value); ok && len(text) <= maxString {
			return text
		}
	case ClaimStrings:
		all, ok := readStrings(value)
		if p.split {
			all = strings.FieldsFunc(strings.Join(all, " "), func(r rune) bool { return r == ' ' })
		}
		long := func(s string) bool { return len(s) > maxString }
		if ok && len(all) <= maxStrings && !slices.ContainsFunc(all, long) {
			return all
		}
	case ClaimBoolean:
		switch value.Kind() {
		case 't':
			return true
		case 'f':
			return false
		}
	case ClaimInteger:
		// ParseInt takes neither fraction nor exponent, and JSON has none of the other forms that it takes.
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err == nil && n >= -maxSeconds && n <= maxSeconds {
			return n
		}
	case ClaimNumber:
		if value.Kind() == '0' {
			if f, err := strconv.ParseFloat(string(value), 64); err == nil {
				return f
			}
		}
	case ClaimTime:
		if t, ok := parseSeconds(value); ok {
			return t.UTC()
		}
	}
	return nil
}

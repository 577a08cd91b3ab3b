package selo_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// This file is a second verifier, written from the prose for being obviously right and not for speed. It
// shares nothing with the library but the names of the reasons.

// refProduct says by hand what the responses of a product look like.
type refProduct struct {
	elsewhere []string // claims of other products only
	marks     []string // one of these must be there
	shapes    []refShape
}

// refShape is one form of them. What is of no form is judged as the first.
type refShape struct {
	decisions  []string
	person     string // the claim, or the object that has it
	within     string // the member of that object
	ids        []string
	policy     string
	challenged string
	proves     selo.Assurance
	interim    bool
	marks      []string // one of these is always there
	never      []string // none of these ever is
}

var refProducts = map[string]refProduct{
	liveness: {
		elsewhere: []string{"isMatch", "isAuthorized", "isNewContext", "policyId", "peopleId"},
		shapes: []refShape{
			{
				decisions: []string{"isAlive"}, person: "personId", ids: []string{"requestId"}, proves: selo.AssurancePresence,
				never: []string{"sessionId", "createdAt", "attemptId", "person"},
			},
			{
				decisions: []string{"isAlive"}, person: "personId", ids: []string{"sessionId"}, proves: selo.AssurancePresence,
				marks: []string{"sessionId", "createdAt"}, never: []string{"requestId", "attemptId", "person"},
			},
			{
				decisions: []string{"isAlive"}, person: "person", within: "cpf", ids: []string{"requestId", "attemptId"}, proves: selo.AssurancePresence,
				marks: []string{"attemptId", "person"}, never: []string{"personId", "sessionId", "createdAt"},
			},
		},
	},
	authentication: {
		elsewhere: []string{"isAuthorized", "isNewContext", "policyId", "peopleId", "sessionId", "createdAt", "attemptId", "person"},
		marks:     []string{"isMatch", "message"},
		shapes: []refShape{
			{
				decisions: []string{"isAlive", "isMatch"}, person: "personId", ids: []string{"requestId"}, proves: selo.AssuranceMatch,
				marks: []string{"isAlive", "personId", "message", "iat"},
			},
			{
				decisions: []string{"isMatch"}, ids: []string{"requestId"},
				marks: []string{"isMatch"}, never: []string{"isAlive", "personId", "message", "iat"},
			},
		},
	},
	smartAuth: {
		elsewhere: []string{"isAlive", "isMatch", "person", "sessionId", "createdAt"},
		shapes: []refShape{{
			decisions: []string{"isAuthorized"}, person: "peopleId", ids: []string{"attemptId"}, policy: "policyId",
			challenged: "isNewContext", proves: selo.AssuranceReauthenticated, interim: true,
		}},
	},
	documents: {},
}

// names are all claims that are read, or known by name.
func (p refProduct) names() []string {
	all := slices.Concat(p.elsewhere, p.marks, []string{"iat", "exp", "nbf", "iss"})
	for _, s := range p.shapes {
		all = slices.Concat(all, s.decisions, []string{s.person}, s.ids, []string{s.policy, s.challenged}, s.marks, s.never)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

type refWant struct {
	product    refProduct
	secret     string
	cpf        string // eleven digits
	policy     string
	least      selo.Assurance
	opened, at time.Time
	maxAge     time.Duration
}

func refOf(t testing.TB, v vector) refWant {
	t.Helper()
	p, ok := refProducts[v.Product]
	if !ok {
		t.Fatalf("no product %q", v.Product)
	}
	w := refWant{product: p, secret: v.Secret, cpf: v.CPF, policy: v.Policy, least: v.assurance(t), maxAge: time.Duration(v.MaxAge) * time.Second}
	w.opened, w.at = v.times(t)
	if w.opened.IsZero() && w.maxAge == 0 {
		w.maxAge = 5 * time.Minute
	}
	return w
}

// refVerify returns the reasons against token, none when it is granted. slack widens every limit in
// time, or narrows it when negative: a float64 holds today's times to a quarter of a microsecond, and
// nothing hangs on less.
func refVerify(token string, want refWant, slack time.Duration) []selo.Reason {
	if len(want.product.shapes) == 0 {
		return no(selo.ReasonProductMismatch)
	}
	if len(token) > 16384 {
		return no(selo.ReasonTooLarge)
	}
	segments := strings.Split(token, ".")
	if len(segments) != 3 || segments[0] == "" || segments[1] == "" {
		return no(selo.ReasonMalformed)
	}
	var decoded [3][]byte
	for i, s := range segments {
		b, err := base64.RawURLEncoding.DecodeString(s)
		// Of all the texts that decode to the same bytes only one is what encoding them gives.
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
			return no(selo.ReasonMalformed)
		}
		decoded[i] = b
	}
	h := hmac.New(sha256.New, []byte(want.secret))
	h.Write([]byte(segments[0] + "." + segments[1]))
	if !hmac.Equal(h.Sum(nil), decoded[2]) {
		return no(selo.ReasonSignatureInvalid)
	}
	if r := refHeader(decoded[0]); r != "" {
		return no(r)
	}
	claims, err := refObject(decoded[1])
	if err != nil {
		return no(selo.ReasonPayloadInvalid)
	}
	return refJudge(claims, want, slack)
}

func refHeader(raw []byte) selo.Reason {
	params, err := refObject(raw)
	if err != nil {
		return selo.ReasonHeaderRefused
	}
	for name := range params {
		for _, known := range []string{"alg", "typ", "kid", "crit", "b64", "zip", "cty", "enc"} {
			if name != known && refSameSpelling(name, known) {
				return selo.ReasonHeaderRefused
			}
		}
	}
	for _, name := range []string{"crit", "b64", "zip", "cty", "enc"} {
		if _, ok := params[name]; ok {
			return selo.ReasonHeaderRefused
		}
	}
	if kid, ok := params["kid"]; ok {
		if _, text := kid.(string); !text {
			return selo.ReasonHeaderRefused
		}
	}
	if typ, ok := params["typ"]; ok && typ != any("JWT") {
		return selo.ReasonHeaderRefused
	}
	if params["alg"] != any("HS256") {
		return selo.ReasonAlgorithmRefused
	}
	return ""
}

func refJudge(claims map[string]any, want refWant, slack time.Duration) (rs []selo.Reason) {
	p := want.product
	if refMisspelt(claims, p) {
		return no(selo.ReasonPayloadInvalid)
	}
	has := func(name string) bool { _, ok := claims[name]; return ok }
	if has("iss") {
		return no(selo.ReasonTokenConfusion)
	}
	add := func(r selo.Reason) {
		if !slices.Contains(rs, r) {
			rs = append(rs, r)
		}
	}

	var forms []refShape
	for _, s := range p.shapes {
		if (len(s.marks) == 0 || slices.ContainsFunc(s.marks, has)) && !slices.ContainsFunc(slices.Concat(p.elsewhere, s.never), has) {
			forms = append(forms, s)
		}
	}
	shape := p.shapes[0]
	if len(forms) > 0 {
		shape = forms[0]
	}
	// What decides nothing at all and has no other product's claim is of no product, and lacks its claims instead.
	unmarked := len(forms) == 0 || len(p.marks) > 0 && !slices.ContainsFunc(p.marks, has)
	if len(forms) > 1 || len(forms) == 0 && slices.ContainsFunc(slices.Concat(p.elsewhere, shape.never), has) ||
		unmarked && slices.ContainsFunc(shape.decisions, has) {
		add(selo.ReasonProductMismatch)
	}

	if shape.policy != "" {
		switch policy, ok := claims[shape.policy].(string); {
		case !has(shape.policy):
			add(selo.ReasonClaimMissing)
		case !ok:
			add(selo.ReasonClaimType)
		case policy != want.policy:
			add(selo.ReasonPolicyMismatch)
		}
	}

	if r := refPerson(claims, shape, want.cpf); r != "" {
		add(r)
	}
	for _, r := range refTimes(claims, want, slack) {
		add(r)
	}

	proves := shape.proves
	if shape.challenged != "" && claims[shape.challenged] != any(true) {
		proves = selo.AssuranceKnownContext
		if !has(shape.challenged) {
			add(selo.ReasonClaimMissing)
		} else if claims[shape.challenged] != any(false) {
			add(selo.ReasonClaimType)
		}
	}
	if proves < want.least {
		add(selo.ReasonAssuranceTooLow)
	}

	for _, name := range shape.ids {
		switch id, ok := claims[name].(string); {
		case !has(name):
			add(selo.ReasonClaimMissing)
		case !ok, id == "", len(id) > 256:
			add(selo.ReasonClaimType)
		}
	}
	for _, name := range shape.decisions {
		switch claims[name] {
		case true:
		case false:
			add(selo.ReasonNotApproved)
		default:
			if has(name) {
				add(selo.ReasonClaimType)
			} else {
				add(selo.ReasonClaimMissing)
			}
		}
	}
	if shape.interim && slices.Contains(rs, selo.ReasonNotApproved) {
		add(selo.ReasonNotFinal)
	}
	return rs
}

// refMisspelt reports whether a claim, or the member of one that names the person, is there in another spelling.
func refMisspelt(claims map[string]any, p refProduct) bool {
	like := func(members map[string]any, read []string) bool {
		for name := range members {
			for _, known := range read {
				if !slices.Contains(read, name) && refSameSpelling(name, known) {
					return true
				}
			}
		}
		return false
	}
	for _, s := range p.shapes {
		if person, ok := claims[s.person].(map[string]any); ok && s.within != "" && like(person, []string{s.within}) {
			return true
		}
	}
	return like(claims, p.names())
}

func refPerson(claims map[string]any, shape refShape, cpf string) selo.Reason {
	value, there := claims[shape.person]
	if shape.within != "" && there {
		object, ok := value.(map[string]any)
		if !ok {
			return selo.ReasonClaimType
		}
		value, there = object[shape.within]
	}
	switch person, ok := value.(string); {
	case shape.person == "", !there, ok && person == "":
		return selo.ReasonSubjectUnproven
	case !ok:
		return selo.ReasonClaimType
	case person != cpf && person != cpf[:3]+"."+cpf[3:6]+"."+cpf[6:9]+"-"+cpf[9:]:
		return selo.ReasonSubjectMismatch
	}
	return ""
}

func refTimes(claims map[string]any, want refWant, slack time.Duration) (rs []selo.Reason) {
	past := func(t time.Time, d time.Duration) *big.Float { return refSeconds(t.Add(-d - slack)) }
	future := func(t time.Time, d time.Duration) *big.Float { return refSeconds(t.Add(d + slack)) }
	if v, ok := claims["iat"]; !ok {
		rs = append(rs, selo.ReasonFreshnessUnproven)
	} else if iat := refNumber(v); iat == nil {
		rs = append(rs, selo.ReasonClaimType)
	} else if iat.Cmp(future(want.at, 30*time.Second)) > 0 {
		rs = append(rs, selo.ReasonFromTheFuture)
	} else if !want.opened.IsZero() && iat.Cmp(past(want.opened, 5*time.Second)) < 0 {
		rs = append(rs, selo.ReasonStale)
	} else if want.maxAge > 0 && iat.Cmp(past(want.at, want.maxAge)) < 0 {
		rs = append(rs, selo.ReasonStale)
	}
	if v, ok := claims["exp"]; ok {
		if exp := refNumber(v); exp == nil {
			rs = append(rs, selo.ReasonClaimType)
		} else if exp.Cmp(past(want.at, 0)) <= 0 {
			rs = append(rs, selo.ReasonExpired)
		}
	}
	if v, ok := claims["nbf"]; ok {
		if nbf := refNumber(v); nbf == nil {
			rs = append(rs, selo.ReasonClaimType)
		} else if nbf.Cmp(future(want.at, 30*time.Second)) > 0 {
			rs = append(rs, selo.ReasonFromTheFuture)
		}
	}
	return rs
}

const refPrecision = 4096

func refSeconds(t time.Time) *big.Float {
	nanos := new(big.Int).Mul(big.NewInt(t.Unix()), big.NewInt(1e9))
	nanos.Add(nanos, big.NewInt(int64(t.Nanosecond())))
	f := new(big.Float).SetPrec(refPrecision).SetInt(nanos)
	return f.Quo(f, big.NewFloat(1e9))
}

// refNumber returns a JSON number of [0, 2^53] that is written without a minus, or nil.
func refNumber(v any) *big.Float {
	n, ok := v.(json.Number)
	if !ok || strings.HasPrefix(string(n), "-") {
		return nil
	}
	f, _, err := big.ParseFloat(string(n), 10, refPrecision, big.ToNearestEven)
	if err != nil || f.Cmp(new(big.Float).SetInt64(1<<53)) > 0 {
		return nil
	}
	return f
}

// refSameSpelling reports whether a lenient decoder might take one name for the other.
func refSameSpelling(a, b string) bool {
	loose := strings.NewReplacer("_", "", "-", "", "İ", "i", "ı", "i",
		"ß", "ss", "ẞ", "ss", "ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "st", "ﬆ", "st")
	return strings.EqualFold(loose.Replace(a), loose.Replace(b))
}

var errRef = errors.New("refused")

// refObject reads one strict JSON object, at most 32 deep: numbers as json.Number, objects as maps, arrays as
// json.Delim.
func refObject(raw []byte) (map[string]any, error) { return refObjectWithin(raw, 32) }

func refObjectWithin(raw []byte, depth int) (map[string]any, error) {
	// Valid covers grammar and trailing data, and accepts what the next two refuse.
	if !json.Valid(raw) || !utf8.Valid(raw) || refLoneSurrogate(raw) {
		return nil, errRef
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errRef
	}
	return refMembers(d, depth-1)
}

// refMembers reads up to the end of an object in which values may nest deeper times.
func refMembers(d *json.Decoder, deeper int) (map[string]any, error) {
	members := make(map[string]any)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string)
		if _, again := members[name]; again {
			return nil, errRef
		}
		if members[name], err = refValue(d, deeper); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return members, err
}

func refValue(d *json.Decoder, deeper int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') && t != json.Delim('[') {
		return t, nil
	}
	if deeper == 0 {
		return nil, errRef
	}
	if t == json.Delim('{') {
		return refMembers(d, deeper-1)
	}
	for d.More() {
		if _, err := refValue(d, deeper-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return t, err
}

// refLoneSurrogate looks at the \u escapes of valid JSON, in which a backslash starts an escape.
func refLoneSurrogate(raw []byte) bool {
	unit := func(i int) uint64 {
		if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
		return n
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch u := unit(i); {
		case 0xD800 <= u && u < 0xDC00:
			if low := unit(i + 6); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 11
		case 0xDC00 <= u && u < 0xE000:
			return true
		default:
			i++
		}
	}
	return false
}

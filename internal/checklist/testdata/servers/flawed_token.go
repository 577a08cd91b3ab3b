package servers

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// cpfFor returns the CPF that the session and its token are of: that of the user on record.
func (s *Flawed) cpfFor(r *http.Request, who person, text []byte) (string, error) {
	var body object
	lax := s.is("cpf-from-body", "cpf-checked-first-used-last")
	if s.is("cpf-from-form") && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(text)); err == nil && selo11(form.Get("cpf")) != "" {
			return selo11(form.Get("cpf")), nil
		}
		return who.cpf.Digits(), nil
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &body, jsontext.AllowDuplicateNames(lax)); err != nil {
			return "", errRefused("request_invalid")
		}
	}
	own := who.cpf.Digits()
	switch {
	case s.is("cpf-from-body"):
		for _, name := range []string{"cpf", "peopleId", "personId"} {
			if asked := digitsOf(body[name]); asked != "" {
				return asked, nil
			}
		}
	case s.is("person-from-body"):
		var person object
		if err := json.Unmarshal(body["person"], &person); err == nil && digitsOf(person["cpf"]) != "" {
			return digitsOf(person["cpf"]), nil
		}
	case s.is("cpf-compared-as-written"):
		// Another's is refused when it looks like one; what looks otherwise is brought into form after that.
		asked, _ := textOf(body["cpf"])
		if len(asked) == 11 && asked != own {
			return "", errRefused("cpf_mismatch")
		}
		if brought := digitsOf(body["cpf"]); brought != "" {
			return brought, nil
		}
	case s.is("cpf-checked-first-used-last"):
		// The gateway looks at the first cpf of the body, and the application gets the last.
		first := firstMember(text, "cpf")
		if first != nil && digitsOf(first) != own {
			return "", errRefused("cpf_mismatch")
		}
		if used := digitsOf(body["cpf"]); used != "" {
			return used, nil
		}
	case s.is("cpf-from-query"):
		if asked := selo11(r.URL.Query().Get("cpf")); asked != "" {
			return asked, nil
		}
	case s.is("cpf-from-header"):
		if asked := selo11(r.Header.Get("X-CPF")); asked != "" {
			return asked, nil
		}
	case s.is("cpf-from-path"):
		if asked := selo11(strings.TrimPrefix(r.URL.Path, "/caf/token/")); asked != "" {
			return asked, nil
		}
	case s.is("user-from-body"):
		name, _ := textOf(body["userId"])
		if other, known := s.people[name]; known {
			return other.cpf.Digits(), nil
		}
	}
	return own, nil
}

var notDigits = regexp.MustCompile(`\D`)

// digitsOf takes a CPF from a JSON value as loosely as can be, "" when there is none.
func digitsOf(v jsontext.Value) string {
	if v.Kind() != '"' && v.Kind() != '0' {
		return ""
	}
	digits := notDigits.ReplaceAllString(string(v), "")
	if v.Kind() == '0' && len(digits) < 11 {
		digits = strings.Repeat("0", 11-len(digits)) + digits
	}
	return selo11(digits)
}

// selo11 returns a CPF when it is one, else "".
func selo11(text string) string {
	cpf, err := selo.ParseCPF(text)
	if err != nil {
		return ""
	}
	return cpf.Digits()
}

// firstMember returns the first value of a name in a JSON object.
func firstMember(text []byte, name string) jsontext.Value {
	d := jsontext.NewDecoder(strings.NewReader(string(text)), jsontext.AllowDuplicateNames(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return nil
		}
		found := t.String() == name
		v, err := d.ReadValue()
		if err != nil {
			return nil
		}
		if found {
			return v.Clone()
		}
	}
	return nil
}

// tokenFor is the token that the app gets.
func (s *Flawed) tokenFor(user, cpf string, body []byte) string {
	if s.c.Exchanged && !s.is("signed-token-not-exchanged") {
		return s.c.tell("st_" + randomID()) // for which the signed one is exchanged, server to server
	}
	var kept string
	switch {
	case s.is("one-token-for-all"):
		kept, cpf = "everybody", ""
	case s.is("token-kept-by-user"):
		kept = user
	}
	if kept == "" {
		return s.mint(cpf, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[kept] == "" {
		s.tokens[kept] = s.mint(cpf, body)
	}
	return s.tokens[kept]
}

// mint makes a mobile token. body is what the request had, of which a right server takes nothing.
func (s *Flawed) mint(cpf string, body []byte) string {
	var asked object
	if len(body) > 0 {
		_ = json.Unmarshal(body, &asked, jsontext.AllowDuplicateNames(true)) // was read before
	}
	claims := make(map[string]any)
	if s.is("claims-copied") { // "custom claims"; those of our own go over them
		_ = json.Unmarshal(asked["claims"], &claims)
		if claims == nil {
			claims = make(map[string]any)
		}
	}
	now := time.Now().Unix()
	key := s.c.Key
	claims["iss"], claims["exp"] = key.ClientID, now+300
	if cpf != "" {
		claims[s.product.tokenClaim] = cpf
	}
	switch {
	case s.is("retired-key-signs"):
		key = s.c.Retired
		claims["iss"] = key.ClientID
	case s.is("iss-of-another-key"):
		claims["iss"] = s.c.Retired.ClientID
	case s.is("iat-and-jti"):
		claims["iat"], claims["jti"] = now, randomID()
	case s.is("cpf-under-another-name"):
		delete(claims, s.product.tokenClaim)
		claims["cpf"] = cpf
	case s.is("cpf-left-out", "nothing-names-the-person"):
		delete(claims, s.product.tokenClaim)
		whose := slices.IndexFunc(s.c.Users, func(u User) bool { return u.CPF == cpf })
		claims["exp"] = now + 300 + int64(whose) // or two users' tokens of one second would be the same
	case s.is("no-exp"):
		delete(claims, "exp")
	case s.is("exp-in-milliseconds"):
		claims["exp"] = time.Now().UnixMilli() + 300_000
	case s.is("exp-as-text"):
		claims["exp"] = time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339)
	case s.is("exp-in-a-day"):
		claims["exp"] = now + 24*3600
	case s.is("lifetime-from-body"):
		var seconds int64
		if json.Unmarshal(asked["ttl"], &seconds) == nil && seconds > 0 {
			claims["exp"] = now + seconds
		}
	}
	payload, err := json.Marshal(claims, json.Deterministic(true))
	if err != nil {
		return ""
	}
	return s.c.tell(sign([]byte(key.Secret), `{"alg":"HS256","typ":"JWT"}`, payload))
}

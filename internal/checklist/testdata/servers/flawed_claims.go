package servers

import (
	"context"
	"encoding/base64"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// judge decides a response in a session.
func (s *Flawed) judge(r *http.Request, one *handSession, h handed) error {
	if s.is("same-answer-again") && s.grantedBefore(one, h.response) { // "posts must be idempotent"
		return nil
	}
	if !s.mayTry(one) {
		return errRefused("session_not_open")
	}
	var claims object
	var err error
	switch {
	case h.decoded != nil:
		claims, err = s.payload(h.decoded)
	case s.is("verification-can-be-skipped") && string(h.fields["skipVerification"]) == "true": // for the tests
		var payload []byte
		if parts := strings.Split(h.response, "."); len(parts) == 3 {
			payload, err = base64.RawURLEncoding.DecodeString(parts[1])
		}
		if err == nil {
			claims, err = s.payload(payload)
		}
	default:
		claims, err = s.read(r.Context(), h.response)
	}
	if err != nil {
		return err
	}
	if s.is("fields-over-claims") { // {...claims, ...req.body}
		for _, name := range s.product.decisions {
			if v := h.fields[name]; v != nil {
				claims[name] = v
			}
		}
	}
	about := one
	if asked := digitsOf(h.fields["cpf"]); asked != "" && s.is("cpf-compared-with-the-request") {
		about = &handSession{user: one.user, cpf: asked, opened: one.opened}
	}
	id, err := s.check(r.Context(), claims, about)
	if err != nil {
		return err
	}
	return s.settle(one, id, h.response)
}

// mayTry counts a try.
func (s *Flawed) mayTry(one *handSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.tries++
	if s.is("no-replay-guard") {
		return true
	}
	return !one.ended && one.tries <= 20
}

// check holds the claims against the session, and returns what the response is known by.
func (s *Flawed) check(ctx context.Context, claims object, one *handSession) (id string, err error) {
	id, _ = textOf(claims[s.product.id])
	if s.is("signature-is-all") {
		return id, nil
	}
	for _, name := range s.product.foreign {
		if claims[name] != nil && !(s.is("any-product") && name == "isMatch") {
			return "", errRefused("product_mismatch")
		}
	}
	if id == "" && !s.is("id-optional") {
		return "", errRefused("claim_missing")
	}
	if policy, _ := textOf(claims[s.product.policy]); s.product.policy != "" && policy != s.c.Policy && !s.is("policy-ignored") {
		return "", errRefused("policy_mismatch")
	}
	if !s.isPerson(claims[s.product.subject], one.cpf) {
		return "", errRefused("subject_mismatch")
	}
	if err := s.times(claims, one.opened, time.Now()); err != nil {
		return "", err
	}
	for _, name := range s.product.decisions {
		if !s.yes(name, claims[name]) {
			return "", errRefused("not_approved")
		}
	}
	if s.is("image-fetched") { // to keep it
		url, _ := textOf(claims["imageUrl"])
		s.fetch(ctx, url)
	}
	return id, nil
}

// isPerson reports whether the response is about the person of the session.
func (s *Flawed) isPerson(named jsontext.Value, cpf string) bool {
	text, isText := textOf(named)
	switch {
	case s.is("person-ignored", "nothing-names-the-person"):
		return true
	case s.is("person-if-there") && (named == nil || named.Kind() == 'n' || isText && text == ""):
		return true
	case s.is("person-any-user"): // "we know this CPF"
		return slices.ContainsFunc(s.c.Users, func(u User) bool { return u.CPF == text })
	case s.is("person-contained"): // personId.includes(cpf), for which a list will do
		return strings.Contains(string(named), `"`+cpf+`"`)
	}
	who, err := selo.ParseCPF(text)
	return isText && err == nil && who.Digits() == cpf
}

// yes reads a decision.
func (s *Flawed) yes(name string, v jsontext.Value) bool {
	kind := v.Kind()
	there := len(v) > 0
	switch {
	case s.is("no-decision-read"):
		return true
	case s.is("one-decision-of-two") && name == "isAlive":
		return true
	case s.is("missing-is-yes") && (!there || kind == 'n'): // a default of true
		return true
	case s.is("not-false-is-yes"):
		return kind != 'f'
	case s.is("truthy"): // if (claims.isMatch)
		return there && kind != 'f' && kind != 'n' && string(v) != `""` && string(v) != "0"
	case s.is("text-is-parsed") && kind == '"':
		text, _ := textOf(v)
		yes, err := strconv.ParseBool(text)
		return err == nil && yes
	case s.is("number-is-parsed") && kind == '0':
		return string(v) == "1"
	case s.is("list-of-results") && kind == '[': // one for each picture
		var all []bool
		return json.Unmarshal(v, &all) == nil && !slices.Contains(all, false)
	}
	return kind == 't'
}

// times judges the age.
func (s *Flawed) times(claims object, opened, now time.Time) error {
	issued, err := s.seconds(claims["iat"])
	switch {
	case claims["iat"] == nil && s.is("iat-if-there"):
		issued = now.Unix()
	case err != nil:
		return err
	}
	oldest := opened.Unix() - 5
	switch {
	case s.is("age-ignored"):
		oldest = math.MinInt64
	case s.is("age-but-no-session", "guard-keeps-ten"):
		oldest = now.Unix() - 600
	case s.is("iat-taken-for-expiry"): // as some READMEs of the provider say
		oldest = now.Unix() + 1
	}
	if issued < oldest || issued > now.Unix()+30 && !s.is("future-ignored") {
		return errRefused("stale")
	}
	if v := claims["exp"]; v != nil && !s.is("exp-ignored") {
		expires, err := s.seconds(v)
		if isNumber := v.Kind() == '0'; (err != nil || expires <= now.Unix()) && (isNumber || !s.is("exp-if-number")) {
			return errRefused("expired")
		}
	}
	if v := claims["nbf"]; v != nil && !s.is("nbf-ignored") {
		if from, err := s.seconds(v); err != nil || from > now.Unix()+30 {
			return errRefused("from_the_future")
		}
	}
	return nil
}

func (s *Flawed) seconds(v jsontext.Value) (int64, error) {
	text := string(v)
	if s.is("time-as-text") { // Number(claims.iat)
		text = strings.Trim(text, `"`)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errRefused("claim_type")
	}
	return n, nil
}

func (s *Flawed) grantedBefore(one *handSession, response string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return one.granted != "" && one.granted == response
}

// settle uses a response up, and ends the session.
func (s *Flawed) settle(one *handSession, id, response string) error {
	known := id
	switch {
	case s.is("no-replay-guard"):
		return nil
	case s.is("guard-by-text", "lenient-base64-and-guard-by-text"):
		known = response
	case s.is("guard-is-the-session"):
		known = ""
	}
	checkThenSet := s.is("check-then-set", "check-then-set-of-ids")
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.ended || known != "" && s.used[known] {
		if s.is("same-answer-again") && one.granted == response {
			return nil
		}
		if s.is("duplicate-is-500") && !one.ended { // the INSERT fails, and nobody catches that
			return errBroken
		}
		return errRefused("replayed")
	}
	if s.is("check-then-set-of-ids") { // the session has a lock, the ids have none
		one.ended = true
	}
	if checkThenSet {
		s.mu.Unlock()
		s.between(known)
		s.mu.Lock()
	}
	one.ended, one.granted, s.used[known] = true, response, known != ""
	if s.is("guard-keeps-ten") {
		if s.lately = append(s.lately, known); len(s.lately) > 10 {
			delete(s.used, s.lately[0])
			s.lately = s.lately[1:]
		}
	}
	return nil
}

// between waits, between check and set, until another one is there too: for a moment, since mostly none comes.
func (s *Flawed) between(known string) {
	s.mu.Lock()
	both, second := s.together[known]
	switch {
	case !second:
		both = make(chan struct{})
		s.together[known] = both
	default:
		select {
		case <-both:
		default:
			close(both)
		}
	}
	s.mu.Unlock()
	timer := time.NewTimer(250 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-both:
	case <-timer.C:
	}
}

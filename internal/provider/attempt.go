package provider

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

const (
	maxAttemptID = 256
	maxPolicy    = 256
)

// SmartAuth asks for the provider's record of a Smart Auth attempt, with a token of the identity role. It
// returns the attempt or a *selo.Error, never both.
func (c *Client) SmartAuth(ctx context.Context, jwt, attemptID string) (*selo.Attempt, error) {
	if !c.RechecksSmartAuth() {
		return nil, c.smartAuth.notConfigured()
	}
	if claims, ok := readJWT(jwt); !ok || claims.issuer == "" {
		return nil, badJWT()
	}
	return recheck(ctx, c, c.smartAuth, authenticationsPath, jwt, attemptID, readSmartAuth)
}

// Face asks for the provider's record of a face attempt. It returns the attempt or a *selo.Error, never
// both.
func (c *Client) Face(ctx context.Context, attemptID string) (*selo.Attempt, error) {
	if !c.RechecksFaces() {
		return nil, c.faces.notConfigured()
	}
	return recheck(ctx, c, c.faces, facesPath, c.apiToken(), attemptID, readFace)
}

func recheck(ctx context.Context, c *Client, l *lane, path, bearer, attemptID string,
	read func(answer []byte, attemptID string) (*selo.Attempt, *fault),
) (*selo.Attempt, error) {
	if !isAttemptID(attemptID) {
		return nil, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "attempt_id",
			Detail: "must be 1 to 256 of A-Z, a-z, 0-9, '.', '_' and '-', and not '.' or '..'"}
	}
	return call(ctx, c, l, path+url.PathEscape(attemptID), "Bearer "+bearer, func(answer []byte) (*selo.Attempt, *fault) {
		return read(answer, attemptID)
	})
}

// isAttemptID lets through what cannot change the meaning of the path that it is put into.
func isAttemptID(id string) bool {
	return id != "" && len(id) <= maxAttemptID && id != "." && id != ".." &&
		!strings.ContainsFunc(id, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
		})
}

// readSmartAuth reads the record of a Smart Auth attempt.
func readSmartAuth(answer []byte, attemptID string) (*selo.Attempt, *fault) {
	m, ok := readMembers(answer, "status", "identity", "policy", "authenticationMethods", "attemptId", "id", "createdAt")
	if !ok {
		return nil, wrongShape("the answer is not one strict JSON object with its members spelled as documented")
	}
	if f := m.sameAttempt(attemptID, "attemptId", "id"); f != nil {
		return nil, f
	}
	a, f := m.smartAuthAttempt()
	_, asID := m["id"]
	_, asAttempt := m["attemptId"]
	if asID || asAttempt {
		f = ofThisAttempt(f)
	}
	if f != nil {
		return nil, f
	}
	return a, nil
}

// smartAuthAttempt reads a record that is of no other attempt than the one asked for.
func (m members) smartAuthAttempt() (*selo.Attempt, *fault) {
	a := &selo.Attempt{Outcome: selo.AttemptRefused}
	switch status, there, ok := m.text("status"); {
	case !there || !ok:
		return nil, wrongShape("status is not there, or not a string")
	case status == "approved":
		a.Outcome = selo.AttemptApproved
	case status == "pending", status == "processing", status == "in_progress":
		a.Outcome = selo.AttemptPending
	}
	var f *fault
	if a.At, f = m.time("createdAt"); f != nil {
		return nil, f
	}
	identity, f := m.object("identity", "personId")
	if f != nil {
		return nil, f
	}
	if a.CPF, f = identity.person("personId"); f != nil {
		return nil, f
	}
	// What says neither which attempt it is nor whose is some other answer, and neither a yes nor a no.
	if _, named, _ := m.text("id"); a.CPF.IsZero() && !named {
		if _, named, _ = m.text("attemptId"); !named {
			return nil, wrongShape("the answer says neither which attempt it is nor whose")
		}
	}
	policy, f := m.object("policy", "policyId")
	if f != nil {
		return nil, f
	}
	ok := false
	if a.Policy, _, ok = policy.text("policyId"); !ok || len(a.Policy) > maxPolicy {
		return nil, wrongShape("policy.policyId is not a string of at most 256 bytes")
	}
	methods, f := m.object("authenticationMethods", "face_authentication")
	if f != nil {
		return nil, f
	}
	face, f := methods.object("face_authentication", "attempts")
	if f != nil {
		return nil, f
	}
	matched, f := face.matched()
	if f != nil {
		return nil, f
	}
	if matched && a.Outcome == selo.AttemptApproved {
		a.Assurance = selo.AssuranceMatch
	}
	return a, nil
}

// matched reports whether one of the face attempts was both of somebody alive and of the right person.
func (m members) matched() (bool, *fault) {
	list, there := m["attempts"]
	if !there {
		return false, nil
	}
	var attempts []jsontext.Value
	if list.Kind() != '[' || json.Unmarshal(list, &attempts) != nil {
		return false, wrongShape("face_authentication.attempts is not an array")
	}
	matched := false
	for _, one := range attempts {
		attempt, ok := readMembers(one, "liveness", "faceMatch")
		if !ok {
			return false, wrongShape("one of face_authentication.attempts is not an object with its members spelled as documented")
		}
		liveness, f := attempt.object("liveness", "isAlive")
		if f != nil {
			return false, f
		}
		faceMatch, f := attempt.object("faceMatch", "isMatch")
		if f != nil {
			return false, f
		}
		alive, okAlive := liveness.yes("isAlive")
		match, okMatch := faceMatch.yes("isMatch")
		if !okAlive || !okMatch {
			return false, wrongShape("isAlive or isMatch of a face attempt is not a boolean")
		}
		matched = matched || alive && match
	}
	return matched, nil
}

// readFace reads the record of a face attempt.
func readFace(answer []byte, attemptID string) (*selo.Attempt, *fault) {
	outer, ok := readMembers(answer, "data")
	if !ok {
		return nil, wrongShape("the answer is not one strict JSON object with data spelled so")
	}
	if _, there := outer["data"]; !there {
		return nil, wrongShape("data is not there")
	}
	m, f := outer.object("data", "id", "createdAt", "personId", "peopleId", "liveness", "faceMatch", "isMatch")
	if f != nil {
		return nil, f
	}
	if _, there := m["id"]; !there {
		return nil, wrongShape("data.id is not there")
	}
	if f := m.sameAttempt(attemptID, "id"); f != nil {
		return nil, f
	}
	a, f := m.faceAttempt()
	return a, ofThisAttempt(f)
}

// faceAttempt reads a record that is the one asked for.
func (m members) faceAttempt() (a *selo.Attempt, f *fault) {
	a = &selo.Attempt{}
	if a.Outcome, a.Assurance, f = m.faceDecision(); f != nil {
		return nil, f
	}
	if a.At, f = m.time("createdAt"); f != nil {
		return nil, f
	}
	person, f := m.person("personId")
	if f != nil {
		return nil, f
	}
	people, f := m.person("peopleId")
	switch {
	case f != nil:
		return nil, f
	case !person.IsZero() && !people.IsZero() && person != people:
		return nil, wrongMatter("personId and peopleId name two people")
	case person.IsZero():
		person = people
	}
	a.CPF = person
	return a, nil
}

// faceDecision says how a face attempt ended and what that proves. Every no counts; a yes counts when all
// that must say it does.
func (m members) faceDecision() (selo.AttemptOutcome, selo.Assurance, *fault) {
	liveness, f := m.object("liveness", "isAlive")
	if f != nil {
		return 0, 0, f
	}
	faceMatch, f := m.object("faceMatch", "isFaceMatch")
	if f != nil {
		return 0, 0, f
	}
	match, matchThere, okMatch := m.decision("isMatch")
	alive, aliveThere, okAlive := liveness.decision("isAlive")
	face, faceThere, okFace := faceMatch.decision("isFaceMatch")
	_, livenessThere := m["liveness"]
	switch {
	case !okMatch || !okAlive || !okFace:
		return 0, 0, wrongShape("isMatch, liveness.isAlive or faceMatch.isFaceMatch is not a boolean")
	case matchThere && !match, aliveThere && !alive, faceThere && !face:
		return selo.AttemptRefused, selo.AssuranceUnset, nil
	case !matchThere && !aliveThere:
		return selo.AttemptPending, selo.AssuranceUnset, nil // nothing was decided
	case livenessThere && !aliveThere:
		return 0, 0, wrongShape("liveness is there without isAlive")
	case match && alive:
		return selo.AttemptApproved, selo.AssuranceMatch, nil
	case match:
		return selo.AttemptApproved, selo.AssuranceUnset, nil
	}
	return selo.AttemptApproved, selo.AssurancePresence, nil
}

// yes reports whether a member is true. One of several attempts may have been given up before there was an
// answer: absent and null are no yes, and no fault either.
func (m members) yes(name string) (yes, ok bool) {
	if m[name].Kind() == 'n' {
		return false, true
	}
	yes, _, ok = m.decision(name)
	return yes, ok
}

// object returns a member that is an object; an empty one when it is absent.
func (m members) object(name string, names ...string) (members, *fault) {
	v, there := m[name]
	if !there {
		return nil, nil
	}
	inner, ok := readMembers(v, names...)
	if !ok {
		return nil, wrongShape(name + " is not an object with its members spelled as documented")
	}
	return inner, nil
}

// sameAttempt refuses a record that carries the id of another attempt under one of the names.
func (m members) sameAttempt(attemptID string, names ...string) *fault {
	for _, name := range names {
		id, there, ok := m.text(name)
		switch {
		case !ok:
			return wrongShape(name + " is not a string")
		case there && id != attemptID:
			return wrongMatter("the provider answers about another attempt")
		}
	}
	return nil
}

// person returns a member that is a CPF; the zero CPF when it is absent.
func (m members) person(name string) (selo.CPF, *fault) {
	digits, there, ok := m.text(name)
	switch {
	case !ok:
		return selo.CPF{}, wrongShape(name + " is not a string")
	case !there:
		return selo.CPF{}, nil
	}
	cpf, err := selo.ParseCPF(digits)
	if err != nil {
		return selo.CPF{}, wrongMatter(name + " is not a CPF")
	}
	return cpf, nil
}

// time returns a member that is an RFC 3339 time; the zero time when it is absent.
func (m members) time(name string) (time.Time, *fault) {
	v, there := m[name]
	if !there {
		return time.Time{}, nil
	}
	var t time.Time
	// By the JSON decoder, which is strict where time.Parse and Time.UnmarshalText are not.
	if v.Kind() != '"' || json.Unmarshal(v, &t) != nil || t.IsZero() {
		return time.Time{}, wrongShape(name + " is not an RFC 3339 time")
	}
	return t.UTC(), nil
}

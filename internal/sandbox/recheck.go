package sandbox

import (
	"net/http"

	"github.com/selo-id/selo"
)

// AuthenticationRecord is the answer of GET /authentications/{attemptId}: what the provider itself says of an
// attempt of Smart Auth.
type AuthenticationRecord struct {
	AttemptID string                `json:"attemptId"`
	Status    string                `json:"status"`    // "approved", "pending" or "reproved"
	CreatedAt string                `json:"createdAt"` // RFC 3339, in UTC with milliseconds: when the attempt began
	Identity  RecordIdentity        `json:"identity"`
	Policy    RecordPolicy          `json:"policy"`
	Methods   AuthenticationMethods `json:"authenticationMethods"` // {} when there was no face check
}

// RecordIdentity says whom an attempt was about.
type RecordIdentity struct {
	PersonID string `json:"personId"` // the CPF, 11 digits
}

// RecordPolicy says which policy was run.
type RecordPolicy struct {
	PolicyID string `json:"policyId"`
}

// AuthenticationMethods are the challenges of an attempt. The sandbox tells of the face check only.
type AuthenticationMethods struct {
	FaceAuthentication *FaceAuthenticationMethod `json:"face_authentication,omitzero"`
}

// FaceAuthenticationMethod is the face check of an attempt.
type FaceAuthenticationMethod struct {
	Attempts []FaceCheck `json:"attempts"`
}

// FaceCheck is one time that a face was shown.
type FaceCheck struct {
	Liveness  FaceCheckLiveness `json:"liveness"`
	FaceMatch FaceCheckMatch    `json:"faceMatch"`
}

// FaceCheckLiveness says whether somebody alive was seen.
type FaceCheckLiveness struct {
	IsAlive bool `json:"isAlive"`
}

// FaceCheckMatch says whether it was the right person.
type FaceCheckMatch struct {
	IsMatch bool `json:"isMatch"`
}

// FaceAttemptAnswer is the answer of GET /v1/faces/attempts/{attemptId}.
type FaceAttemptAnswer struct {
	RequestID string            `json:"requestId"` // of this call, not of the run
	Data      FaceAttemptRecord `json:"data"`
}

// FaceAttemptRecord is what the provider itself says of a run about a face.
type FaceAttemptRecord struct {
	ID        string              `json:"id"`                // the attempt ID
	CreatedAt string              `json:"createdAt"`         // RFC 3339, in UTC with milliseconds
	PersonID  string              `json:"personId,omitzero"` // the CPF, 11 digits; absent when the run named nobody
	Liveness  FaceAttemptLiveness `json:"liveness"`
	FaceMatch *FaceAttemptMatch   `json:"faceMatch,omitzero"` // nil for liveness, which compares nobody
	IsMatch   *bool               `json:"isMatch,omitzero"`   // alive and matched; nil for liveness
}

// FaceAttemptLiveness says how alive somebody seemed.
type FaceAttemptLiveness struct {
	Probability float64 `json:"probability"` // 0 to 1
	IsAlive     bool    `json:"isAlive"`
}

// FaceAttemptMatch says how alike two faces seemed.
type FaceAttemptMatch struct {
	Similarity  float64 `json:"similarity"` // 0 to 1
	IsFaceMatch bool    `json:"isFaceMatch"`
}

// recheck answers what became of an attempt of Smart Auth.
func (s *Sandbox) recheck(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	token, no := s.admit(w, r, opensRecord, productSmartAuth)
	if no != nil {
		return nil, no
	}
	known, ok := s.memory.attempt(r.PathValue("attemptId"))
	if !ok || known.product != productSmartAuth || known.clientID != token.key.clientID {
		return nil, unknownAttempt()
	}
	if no := token.isFor(known.person, "the person of this attempt"); no != nil {
		return nil, no
	}
	known = faultOf(r).falsify(known)
	answer := AuthenticationRecord{
		AttemptID: known.id, Status: known.status, CreatedAt: known.created.UTC().Format(iso8601),
		Identity: RecordIdentity{known.person.Digits()}, Policy: RecordPolicy{known.policyID},
	}
	if known.faceCheck {
		answer.Methods.FaceAuthentication = &FaceAuthenticationMethod{[]FaceCheck{{FaceCheckLiveness{true}, FaceCheckMatch{true}}}}
	}
	return answer, nil
}

// faceAttempt answers what became of a run about a face. The API token is the account's, and sees all keys'.
func (s *Sandbox) faceAttempt(_ http.ResponseWriter, r *http.Request) (any, *refusal) {
	sent := r.Header.Values("Authorization")
	token, ok := "", false
	if len(sent) == 1 {
		token, ok = bearer(sent[0])
	}
	if !ok || !s.apiToken(token) {
		return nil, badToken("send exactly one Authorization header, with the API token of this sandbox after Bearer; a mobile token is none")
	}
	known, ok := s.memory.attempt(r.PathValue("attemptId"))
	if !ok || known.product == productSmartAuth {
		return nil, unknownAttempt()
	}
	known = faultOf(r).falsify(known)
	answer := FaceAttemptRecord{
		ID: known.id, CreatedAt: known.created.UTC().Format(iso8601), PersonID: known.person.Digits(),
		Liveness: FaceAttemptLiveness{likelihood(known.isAlive), known.isAlive},
	}
	if known.product == productFaceAuthentication {
		answer.FaceMatch = &FaceAttemptMatch{likelihood(known.isMatch), known.isMatch}
		answer.IsMatch = new(known.isAlive && known.isMatch)
	}
	return FaceAttemptAnswer{NewUUID(), answer}, nil
}

// likelihood is a number that goes with a yes or a no.
func likelihood(yes bool) float64 {
	if yes {
		return 0.98
	}
	return 0.04
}

// falsify makes of a record what a fault asks for. Without one, it is as it was.
func (f *fault) falsify(known record) record {
	known.created = known.created.Add(f.skew)
	switch {
	case f.is(faultWrongPerson):
		known.person = somebodyElse(known.person)
	case f.is(faultRefused) && known.product == productSmartAuth:
		known.status, known.faceCheck = statusReproved, false
	case f.is(faultRefused) && known.product == productFaceLiveness:
		known.isAlive = false
	case f.is(faultRefused):
		known.isMatch = false
	}
	return known
}

var strangers = [2]selo.CPF{mustCPF("300.000.001-16"), mustCPF("300.000.002-05")}

// somebodyElse returns a CPF that is not this one.
func somebodyElse(cpf selo.CPF) selo.CPF {
	if cpf == strangers[0] {
		return strangers[1]
	}
	return strangers[0]
}

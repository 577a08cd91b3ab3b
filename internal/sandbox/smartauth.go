package sandbox

import (
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// FaceTokenHeader carries the second token of Smart Auth: the one of role face.
const FaceTokenHeader = "X-Face-Token"

// attestationLifetime is that of Caf's example.
const attestationLifetime = 120 * time.Second

// What the record of an attempt says of its end.
const (
	statusApproved = "approved"
	statusPending  = "pending"
	statusReproved = "reproved"
)

// finishing are the outcomes that a pending attempt can come to.
var finishing = []Outcome{OutcomeApprove, OutcomeReauthenticated, OutcomeNotAuthorized}

const finishBody = `{"outcome": "approve" | "reauthenticated" | "not-authorized", "wrap"?: true | false}`

// admitSmartAuth reads the second token. The two have the same form, and which is which is only in the name
// of the claim and in the key: so neither is taken for the other.
func (s *Sandbox) admitSmartAuth(w http.ResponseWriter, r *http.Request, identity *mobileToken) (*mobileToken, *refusal) {
	if identity.peopleID {
		return nil, badToken("the identity token names the person as personId; peopleId is for the face token")
	}
	face, no := s.admit(w, r, startsFace, productFaceLiveness)
	if no != nil {
		return nil, no
	}
	if face.personID {
		return nil, badToken("the face token in " + FaceTokenHeader + " names the person as peopleId; personId is for the identity token")
	}
	return face, nil
}

// smartAuth answers the first run of an attempt.
func (s *Sandbox) smartAuth(r *http.Request, n run, try attempt) (any, *refusal) {
	known := record{
		id: n.attempt, clientID: n.key.clientID, product: n.product.name, created: s.now(), person: n.person,
		policyID: try.PolicyID, status: statusOf(n.outcome), faceCheck: n.outcome == OutcomeApprove,
	}
	answer, no := n.attest(known, try.Wrap)
	if no != nil {
		return nil, no
	}
	s.memory.remember(known)
	s.fireSmartAuth(r, known)
	return answer, nil
}

// finish ends a pending attempt, which keeps its id.
func (s *Sandbox) finish(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	token, no := s.admit(w, r, startsSDK, productSmartAuth)
	if no != nil {
		return nil, no
	}
	if token.peopleID {
		return nil, badToken("the identity token names the person as personId; peopleId is for the face token")
	}
	var try struct {
		Outcome Outcome `json:"outcome"`
		Wrap    bool    `json:"wrap"`
	}
	if no := readBody(w, r, &try, finishBody); no != nil {
		return nil, no
	}
	if !slices.Contains(finishing, try.Outcome) {
		return nil, invalid("outcome must be one that finishes an attempt: " + named(finishing))
	}
	known, ok := s.memory.attempt(r.PathValue("attemptId"))
	if !ok || known.product != productSmartAuth || known.clientID != token.key.clientID {
		return nil, unknownAttempt()
	}
	if no := token.isFor(known.person, "the person of this attempt"); no != nil {
		return nil, no
	}
	known.status, known.faceCheck = statusOf(try.Outcome), try.Outcome == OutcomeApprove
	n := run{
		ids: ids{attempt: known.id}, product: productNamed(productSmartAuth), key: token.key, person: known.person,
		outcome: try.Outcome, at: s.now().Add(faultOf(r).skew),
	}
	answer, no := n.attest(known, try.Wrap)
	if no != nil {
		return nil, no
	}
	if !s.memory.finish(known.id, known.status, known.faceCheck) {
		return nil, &refusal{http.StatusConflict, codeNotPending, "this attempt is not pending: it ended already"}
	}
	w.Header().Set(AttemptHeader, known.id)
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "finished", slog.String("product", productSmartAuth),
		slog.String("client_id", token.key.clientID), slog.String("outcome", string(try.Outcome)), slog.String("attempt", known.id))
	s.fireSmartAuth(r, known)
	return answer, nil
}

func statusOf(o Outcome) string {
	switch o {
	case OutcomePending:
		return statusPending
	case OutcomeNotAuthorized:
		return statusReproved
	default:
		return statusApproved
	}
}

// attest answers with a signed attestation, or without one when the challenge failed.
func (n run) attest(known record, wrap bool) (any, *refusal) {
	if n.outcome == OutcomeNotAuthorized {
		return SmartAuthRefusal{AttemptID: n.attempt}, nil
	}
	return n.signed(SmartAuthAttestation{
		AttemptID: n.attempt, PeopleID: n.person.Digits(), PolicyID: known.policyID,
		IsAuthorized: n.outcome != OutcomePending, IsNewContext: n.outcome != OutcomeKnownContext,
		IssuedAt: n.at.Unix(), Expires: n.at.Add(attestationLifetime).Unix(),
	}, wrap)
}

// fireSmartAuth tells the webhooks of an attempt that ended.
func (s *Sandbox) fireSmartAuth(r *http.Request, known record) {
	if known.status != statusPending {
		s.fire(r, eventSmartAuth, WebhookData{AttemptID: known.id, PersonID: known.person.Digits(), IsAuthorized: new(known.status == statusApproved)})
	}
}

func unknownAttempt() *refusal {
	return &refusal{http.StatusNotFound, codeNotFound, "no such attempt, or not one of this token's"}
}

package sandbox

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/selo-id/selo"
)

// WarningHeader is on answers that would be refused if the sandbox did not have to do as Caf does.
const WarningHeader = "X-Sandbox-Warning"

// AttemptHeader is on the answer of every run, with the attempt ID for the re-check. Caf puts it into some
// signed responses only; the sandbox tells it, so that a test needs not guess.
const AttemptHeader = "X-Sandbox-Attempt"

const (
	warnNoExp   = "token has no exp"
	sdkVersion  = "0.0.0-sandbox"
	imageHost   = "https://images.sandbox.invalid/" // RFC 6761: resolves for nobody
	attemptBody = `{"personId": "<CPF>", "outcome"?: "<outcome>", "shape"?: "native" | "web-2d", "wrap"?: true | false, "policyId"?: "<policy>"}`

	shapeNative, shapeWeb = "native", "web-2d"

	iso8601 = "2006-01-02T15:04:05.000Z07:00" // as JavaScript writes it, and Caf after it
)

// attempt is one run of the SDK, as the app starts it.
type attempt struct {
	PersonID string   `json:"personId"`
	Outcome  *Outcome `json:"outcome"` // nil lets the CPF decide
	Shape    string   `json:"shape"`
	Wrap     bool     `json:"wrap"`
	PolicyID string   `json:"policyId"`
}

// run is an attempt that was let in.
type run struct {
	ids
	product *product
	key     *issuedKey
	person  selo.CPF
	outcome Outcome
	at      time.Time // by the provider's clock, which a fault may have put wrong
}

// sdk runs one attempt. The tokens come before the body, so that a stranger reaches no second parser.
func (s *Sandbox) sdk(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	p := productNamed("caf/" + r.PathValue("product"))
	if p == nil {
		return nil, &refusal{http.StatusNotFound, codeProductUnknown,
			"no such product; here are face-liveness, face-authentication, document-detection and smart-auth"}
	}
	token, no := s.admit(w, r, startsSDK, p.name)
	if no != nil {
		return nil, no
	}
	var face *mobileToken
	if p.name == productSmartAuth {
		if face, no = s.admitSmartAuth(w, r, token); no != nil {
			return nil, no
		}
	}
	var try attempt
	if no := readBody(w, r, &try, attemptBody); no != nil {
		return nil, no
	}
	cpf, outcome, no := try.check(p)
	if no != nil {
		return nil, no
	}
	if no := token.isFor(cpf, "personId"); no != nil {
		return nil, no
	}
	if face != nil {
		if no := face.isFor(cpf, "personId"); no != nil {
			return nil, no
		}
	}
	n := s.begin(w, r, run{product: p, key: token.key, person: cpf, outcome: outcome})
	switch p.name {
	case productSmartAuth:
		return s.smartAuth(r, n, try)
	case productDocumentDetection:
		return n.document(), nil
	default:
		return s.face(r, n, try)
	}
}

// check returns the person of an attempt at p, and how it ends.
func (t attempt) check(p *product) (selo.CPF, Outcome, *refusal) {
	refuse := func(code, message string) (selo.CPF, Outcome, *refusal) {
		return selo.CPF{}, "", &refusal{http.StatusBadRequest, code, message}
	}
	switch {
	case t.PersonID == "":
		return refuse(codeRequestInvalid, "personId is required: "+attemptBody)
	case t.Outcome != nil && !slices.Contains(p.outcomes, *t.Outcome):
		return refuse(codeRequestInvalid, "outcome must be one that "+p.name+" has: "+named(p.outcomes))
	case t.Shape != "" && p.name != productFaceLiveness:
		return refuse(codeRequestInvalid, "shape is for face-liveness only")
	case t.Shape != "" && t.Shape != shapeNative && t.Shape != shapeWeb:
		return refuse(codeRequestInvalid, "shape must be native or web-2d")
	case t.Wrap && p.module == "":
		return refuse(codeRequestInvalid, "wrap is for what is signed, and document-detection signs nothing")
	case (t.PolicyID != "") != (p.name == productSmartAuth):
		return refuse(codeRequestInvalid, "policyId is required for smart-auth, and for nothing else")
	case len(t.PolicyID) > maxClientIDSize:
		return refuse(codeRequestInvalid, "policyId must have 1 to 256 bytes")
	}
	cpf, err := selo.ParseCPF(t.PersonID)
	if err != nil {
		return refuse(codeCPFInvalid, "personId must be a CPF: 11 digits, bare or as 000.000.000-00, with correct check digits")
	}
	if t.Outcome != nil {
		return cpf, *t.Outcome, nil
	}
	return cpf, p.outcomeOf(cpf), nil
}

// begin gives a run its ids and time, and tells and logs it.
func (s *Sandbox) begin(w http.ResponseWriter, r *http.Request, n run) run {
	fault := faultOf(r)
	n.ids = s.memory.nextIDs(n.key.clientID, fault.is(faultDuplicate))
	n.at = s.now().Add(fault.skew)
	w.Header().Set(AttemptHeader, n.attempt)
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "run", slog.String("product", n.product.name),
		slog.String("client_id", n.key.clientID), slog.String("outcome", string(n.outcome)), slog.String("attempt", n.attempt))
	return n
}

// signed signs a payload, as the SDK hands it to the app.
func (n run) signed(payload any, wrap bool) (any, *refusal) {
	body, no := marshal(payload)
	if no != nil {
		return nil, no
	}
	answer := SDKAnswer{SignedResponse: n.key.sign(body)}
	if wrap {
		answer.ModuleName = n.product.module
	}
	return answer, nil
}

// face answers a run of face liveness or face authentication.
func (s *Sandbox) face(r *http.Request, n run, try attempt) (any, *refusal) {
	answer, no := n.signed(n.facePayload(try.Shape), try.Wrap)
	if no != nil {
		return nil, no
	}
	s.rememberFace(r, n)
	return answer, nil
}

// rememberFace keeps the record of a run about a face, and tells the webhooks of a comparison.
func (s *Sandbox) rememberFace(r *http.Request, n run) {
	s.memory.remember(record{
		id: n.attempt, clientID: n.key.clientID, product: n.product.name, created: s.now(), person: n.person,
		isAlive: n.alive(), isMatch: n.matches(),
	})
	if n.product.name == productFaceAuthentication {
		s.fire(r, eventFaceAuthentication, WebhookData{AttemptID: n.attempt, RequestID: n.request, PersonID: n.person.Digits(), IsMatch: new(n.matches())})
	}
}

func (n run) alive() bool   { return n.outcome != OutcomeNotAlive }
func (n run) matches() bool { return n.outcome == OutcomeApprove }

func (n run) imageURL() string { return imageHost + n.request + ".jpg" }

// facePayload is what is signed about a face.
func (n run) facePayload(shape string) any {
	if shape == shapeWeb {
		return WebLivenessResponse{
			SessionID: n.request, PersonID: n.person.Digits(), IsAlive: n.alive(), ImageURL: n.imageURL(),
			CreatedAt: n.at.UTC().Format(iso8601), IssuedAt: n.at.Unix(),
		}
	}
	liveness := FaceLivenessResponse{
		RequestID: n.request, IsAlive: n.alive(), Token: NewUUID(), UserID: NewUUID(), ImageURL: n.imageURL(),
		PersonID: n.person.Digits(), SDKVersion: sdkVersion, IssuedAt: n.at.Unix(),
	}
	if n.product.name == productFaceLiveness {
		return liveness
	}
	return FaceAuthenticationResponse{liveness, n.matches(), message(n.outcome)}
}

func message(o Outcome) string {
	switch o {
	case OutcomeApprove:
		return "the face matches"
	case OutcomeNotAlive:
		return "nobody alive was seen"
	default:
		return "the face does not match"
	}
}

// document answers a run of document detection: there is nothing to sign.
func (n run) document() DocumentDetection {
	answer := DocumentDetection{RequestID: n.request, Captures: []DocumentCapture{}}
	if n.outcome == OutcomeApprove {
		answer.DocumentType = "cnh"
		for _, side := range []string{"front", "back"} {
			answer.Captures = append(answer.Captures, DocumentCapture{imageHost + n.request + "-" + side + ".jpg", side})
		}
	}
	return answer
}

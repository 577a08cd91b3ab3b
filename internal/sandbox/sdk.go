package sandbox

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// Outcome is what the pretend camera is to have seen.
type Outcome string

// The outcomes.
const (
	OutcomeApprove  Outcome = "approve"   // someone alive, and (face-authentication) the right person
	OutcomeNotAlive Outcome = "not-alive" // a photograph, a mask; then nothing matches either
	OutcomeNoMatch  Outcome = "no-match"  // someone alive, but another person; face-authentication only
)

// WarningHeader is on answers that would be refused if the sandbox did not have to do as Caf does.
const WarningHeader = "X-Sandbox-Warning"

const (
	warnNoExp   = "token has no exp"
	sdkVersion  = "0.0.0-sandbox"
	imageHost   = "https://images.sandbox.invalid/" // RFC 6761: resolves for nobody
	attemptBody = `{"personId": "<CPF>", "outcome": "approve" | "not-alive" | "no-match"}`
)

// attempt is one run of the SDK, as the app starts it.
type attempt struct {
	PersonID string  `json:"personId"`
	Outcome  Outcome `json:"outcome"`
}

type attemptAnswer struct {
	SignedResponse string `json:"signedResponse"`
}

// sdk runs one attempt. The token comes before the body, so that a stranger reaches no second parser.
func (s *Sandbox) sdk(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	product := "caf/" + r.PathValue("product")
	if product != productFaceLiveness && product != productFaceAuthentication {
		return nil, &refusal{http.StatusNotFound, codeProductUnknown,
			"the products here are /sdk/" + productFaceLiveness + " and /sdk/" + productFaceAuthentication}
	}
	token, no := s.readToken(r.Header.Values("Authorization"))
	if no != nil {
		return nil, no
	}
	if token.noExp {
		w.Header().Set(WarningHeader, warnNoExp)
	}
	if !slices.Contains(token.key.products, product) {
		return nil, &refusal{http.StatusForbidden, codeToken,
			"the access key of this token is not activated for this product; use the key that is"}
	}
	var try attempt
	if no := readBody(w, r, &try, attemptBody); no != nil {
		return nil, no
	}
	cpf, no := try.check(product)
	if no != nil {
		return nil, no
	}
	if !token.cpf.IsZero() && token.cpf != cpf {
		return nil, &refusal{http.StatusForbidden, codeCPFMismatch,
			"personId is not the CPF in the token; each person needs a token of their own"}
	}
	signed, no := s.sign(token.key, product, cpf, try.Outcome)
	if no != nil {
		return nil, no
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "signed", slog.String("product", product),
		slog.String("client_id", token.key.clientID), slog.String("outcome", string(try.Outcome)))
	return attemptAnswer{signed}, nil
}

// check returns the person of an attempt at product.
func (t attempt) check(product string) (selo.CPF, *refusal) {
	invalid := func(code, message string) (selo.CPF, *refusal) {
		return selo.CPF{}, &refusal{http.StatusBadRequest, code, message}
	}
	if t.PersonID == "" || t.Outcome == "" {
		return invalid(codeRequestInvalid, "personId and outcome are both required: "+attemptBody)
	}
	switch t.Outcome {
	case OutcomeApprove, OutcomeNotAlive:
	case OutcomeNoMatch:
		if product == productFaceLiveness {
			return invalid(codeRequestInvalid, "face-liveness compares nobody, so no-match is an outcome of face-authentication only; use approve or not-alive")
		}
	default:
		return invalid(codeRequestInvalid, "outcome must be approve, not-alive or no-match")
	}
	cpf, err := selo.ParseCPF(t.PersonID)
	if err != nil {
		return invalid(codeCPFInvalid, "personId must be a CPF: 11 digits, bare or as 000.000.000-00, with correct check digits")
	}
	return cpf, nil
}

// sign makes the signed response of an attempt.
func (s *Sandbox) sign(key *issuedKey, product string, cpf selo.CPF, outcome Outcome) (string, *refusal) {
	id := newUUID()
	liveness := FaceLivenessResponse{
		RequestID:  id,
		IsAlive:    outcome != OutcomeNotAlive,
		Token:      newUUID(),
		UserID:     newUUID(),
		ImageURL:   imageHost + id + ".jpg",
		PersonID:   cpf.Digits(),
		SDKVersion: sdkVersion,
		IssuedAt:   s.now().Unix(),
	}
	var response any = liveness
	if product == productFaceAuthentication {
		response = FaceAuthenticationResponse{liveness, outcome == OutcomeApprove, message(outcome)}
	}
	payload, err := json.Marshal(response)
	if err != nil {
		return "", &refusal{http.StatusInternalServerError, codeInternal, "the response could not be written as JSON"}
	}
	return key.sign(payload), nil
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

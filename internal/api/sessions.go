package api

import (
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

var idempotencyKey = regexp.MustCompile(`^[!-~]{1,255}$`)

type openBody struct {
	Product *string        `json:"product"`
	Purpose *string        `json:"purpose"`
	Subject jsontext.Value `json:"subject"`
	CPF     jsontext.Value `json:"cpf"`
}

type openedBody struct {
	SessionID string            `json:"session_id"`
	Product   string            `json:"product"`
	Purpose   string            `json:"purpose"`
	PolicyID  string            `json:"policy_id,omitempty"`
	Tokens    map[string]string `json:"tokens"`
	ExpiresAt time.Time         `json:"expires_at"`
	RespondBy time.Time         `json:"respond_by"`
	SignUp    bool              `json:"sign_up,omitzero"`
}

func (s *server) openSession(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	var body openBody
	want := "product and purpose (strings), for a service also subject and cpf (strings)"
	if !x.read(c, broker.ActOpen, &body, want) {
		return
	}
	if body.Product == nil || body.Purpose == nil {
		x.unreadable(c, broker.ActOpen, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body", Detail: "must be a JSON object with " + want})
		return
	}
	req := broker.OpenRequest{Product: *body.Product, Purpose: *body.Purpose, RequestID: x.id}
	if keys, there := x.r.Header["Idempotency-Key"]; there {
		if len(keys) != 1 || !idempotencyKey.MatchString(keys[0]) {
			x.unreadable(c, broker.ActOpen, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "Idempotency-Key", Detail: "must be one header of 1 to 255 visible ASCII characters, such as a UUID"})
			return
		}
		req.IdempotencyKey = keys[0]
	}
	for _, f := range []struct {
		name  string
		value jsontext.Value
		into  **string
	}{{"subject", body.Subject, &req.Subject}, {"cpf", body.CPF, &req.CPF}} {
		if f.value == nil {
			continue
		}
		// What is there counts as there, null too: the broker refuses it from an end user.
		var text string
		if f.value.Kind() != '"' || json.Unmarshal(f.value, &text) != nil {
			text = ""
		}
		*f.into = &text
	}
	opened, err := s.Broker.OpenSession(x.act, c, req)
	if err != nil {
		x.fail(err)
		return
	}
	x.log = append(x.log, slog.String("session", opened.SessionID), slog.String("product", opened.Product), slog.String("purpose", opened.Purpose))
	if len(opened.Usage) == 0 {
		x.onRecord() // a repeated request
	}
	x.w.Header().Set("Location", "/v1/sessions/"+opened.SessionID)
	for _, u := range opened.Usage {
		x.rateLimit(u.Limit, u.Limit.Sessions-u.Used, u.Reset)
	}
	x.json(http.StatusCreated, openedBody{opened.SessionID, opened.Product, opened.Purpose, opened.PolicyID, opened.Tokens, opened.ExpiresAt.UTC(), opened.RespondBy.UTC(), opened.SignUp})
}

// respondBody is what an app brings back, in one of three forms and no mixture of them.
type respondBody struct {
	// The response, and the id of its attempt where it carries none.
	SignedResponse *string `json:"signed_response"`
	AttemptID      *string `json:"attempt_id"`
	// The response as CafSDK hands it over, per module.
	ModuleName        *string `json:"moduleName"`
	SDKSignedResponse *string `json:"signedResponse"`
	// A refused attempt for which the SDK gave no response.
	IsAuthorized *bool   `json:"isAuthorized"`
	SDKAttemptID *string `json:"attemptId"`
}

const respondForms = "signed_response, or moduleName and signedResponse, either with attempt_id where the response has none; or isAuthorized and attemptId"

// answer tells the form by the fields that are there. A body of two forms, or of half a one, is none.
func (b respondBody) answer() (a broker.Answer, ok bool) {
	const signed, attempt, module, sdkSigned, authorized, sdkAttempt = 1, 2, 4, 8, 16, 32
	there := 0
	for i, is := range []bool{b.SignedResponse != nil, b.AttemptID != nil, b.ModuleName != nil, b.SDKSignedResponse != nil, b.IsAuthorized != nil, b.SDKAttemptID != nil} {
		if is {
			there |= 1 << i
		}
	}
	switch there {
	case signed:
		return broker.Answer{SignedResponse: *b.SignedResponse}, true
	case signed | attempt:
		return broker.Answer{SignedResponse: *b.SignedResponse, AttemptID: *b.AttemptID}, true
	case module | sdkSigned, module | sdkSigned | attempt:
		a.SignedResponse = *b.SDKSignedResponse
		if b.AttemptID != nil {
			a.AttemptID = *b.AttemptID
		}
		return a, *b.ModuleName != "" && len(*b.ModuleName) <= 64
	case authorized | sdkAttempt:
		return broker.Answer{Unsigned: true, Refused: !*b.IsAuthorized}, *b.SDKAttemptID != "" && len(*b.SDKAttemptID) <= 256
	}
	return broker.Answer{}, false
}

type sessionBody struct {
	SessionID        string         `json:"session_id"`
	Product          string         `json:"product"`
	Purpose          string         `json:"purpose"`
	State            broker.State   `json:"state"`
	ExpiresAt        time.Time      `json:"expires_at"`
	RespondBy        time.Time      `json:"respond_by"`
	SignUp           bool           `json:"sign_up,omitzero"`
	AttemptsLeft     *int           `json:"attempts_left,omitzero"`
	Reasons          []selo.Reason  `json:"reasons,omitempty"`
	Assurance        selo.Assurance `json:"assurance,omitzero"`
	Receipt          string         `json:"receipt,omitempty"`
	ReceiptExpiresAt time.Time      `json:"receipt_expires_at,omitzero"`
}

func sessionAnswer(n *broker.Session) sessionBody {
	body := sessionBody{
		SessionID: n.ID, Product: n.Product, Purpose: n.Purpose, State: n.State,
		ExpiresAt: n.ExpiresAt.UTC(), RespondBy: n.RespondBy.UTC(), SignUp: n.SignUp,
		Reasons: n.Reasons, Assurance: n.Assurance, Receipt: n.Receipt,
	}
	if n.State == broker.StateOpen {
		body.AttemptsLeft = &n.AttemptsLeft
	}
	if n.Receipt != "" {
		body.ReceiptExpiresAt = n.ReceiptUntil.UTC()
	}
	return body
}

func (s *server) respond(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	var body respondBody
	if !x.read(c, broker.ActRespond, &body, respondForms) {
		return
	}
	answer, ok := body.answer()
	if !ok {
		x.unreadable(c, broker.ActRespond, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body", Detail: "must be a JSON object with " + respondForms})
		return
	}
	granted, err := s.Broker.Decide(x.act, c, x.r.PathValue("id"), answer, x.id)
	if err != nil {
		x.fail(err)
		return
	}
	x.log = append(x.log, slog.String("session", granted.ID), slog.String("state", string(granted.State)))
	x.json(http.StatusOK, sessionAnswer(granted))
}

func (s *server) session(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	n, err := s.Broker.Session(x.act, c, x.r.PathValue("id"), x.id)
	if err != nil {
		x.fail(err)
		return
	}
	if n.Receipt != "" {
		x.onRecord()
	}
	x.log = append(x.log, slog.String("session", n.ID), slog.String("state", string(n.State)))
	x.json(http.StatusOK, sessionAnswer(n))
}

package api

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

// problemTypes is where the type of each problem is explained.
const problemTypes = "https://github.com/selo-id/selo/blob/main/docs/errors.md#"

// problem is an RFC 9457 answer.
type problem struct {
	Type         string        `json:"type"`
	Title        string        `json:"title"`
	Status       int           `json:"status"`
	Detail       string        `json:"detail,omitempty"`
	Reasons      []selo.Reason `json:"reasons"`
	Field        string        `json:"field,omitempty"`
	SessionID    string        `json:"session_id,omitempty"`
	State        broker.State  `json:"state,omitempty"`
	AttemptsLeft *int          `json:"attempts_left,omitzero"`
	RequestID    string        `json:"request_id"`
}

var internalProblem = problem{Status: http.StatusInternalServerError, Title: "Internal error", Detail: "nothing was granted; the log has the cause under this request_id"}

// statuses is the one translation from reasons to HTTP. A reason that is not here is a 403: refused.
var statuses = map[selo.Reason]struct {
	status int
	title  string
}{
	selo.ReasonRequestInvalid:        {http.StatusBadRequest, "The request is not valid"},
	selo.ReasonCallerUnauthenticated: {http.StatusUnauthorized, "The caller is not authenticated"},
	selo.ReasonCallerForbidden:       {http.StatusForbidden, "The caller may not do this"},
	selo.ReasonCPFMissing:            {http.StatusForbidden, "No CPF is known"},
	selo.ReasonCPFInvalid:            {http.StatusForbidden, "The CPF is none"},
	selo.ReasonCPFMismatch:           {http.StatusForbidden, "The CPF is another person's"},
	selo.ReasonAssuranceTooLow:       {http.StatusForbidden, "The product proves too little for this purpose"},
	selo.ReasonProductUnknown:        {http.StatusBadRequest, "No such product"},
	selo.ReasonPurposeUnknown:        {http.StatusBadRequest, "No such purpose"},
	selo.ReasonCPFUnavailable:        {http.StatusServiceUnavailable, "The CPF cannot be looked up now"},
	selo.ReasonRuleDenied:            {http.StatusForbidden, "A rule does not allow it"},
	selo.ReasonRateLimited:           {http.StatusTooManyRequests, "Too many requests"},
	selo.ReasonKeyUnknown:            {http.StatusNotFound, "No such access key"},
	selo.ReasonCredentialUnknown:     {http.StatusNotFound, "No such credential"},
	selo.ReasonKeyUnavailable:        {http.StatusServiceUnavailable, "No access key is available"},
	selo.ReasonIdempotencyConflict:   {http.StatusUnprocessableEntity, "The Idempotency-Key was used for another request"},
	selo.ReasonProviderUnavailable:   {http.StatusBadGateway, "The provider is not available"},
	selo.ReasonStoreUnavailable:      {http.StatusServiceUnavailable, "The store is not available"},
	selo.ReasonTooLarge:              {http.StatusForbidden, "The response is too large"},
	selo.ReasonNotApproved:           {http.StatusForbidden, "The provider did not approve"},
	selo.ReasonRecheckDisagrees:      {http.StatusForbidden, "The provider's record contradicts the response"},
	selo.ReasonReplayed:              {http.StatusConflict, "The response was used before"},
	selo.ReasonSessionUnknown:        {http.StatusNotFound, "No such session"},
	selo.ReasonSessionNotOpen:        {http.StatusConflict, "The session is not open"},
}

// fail answers with the problem that err is. Whatever is not a refusal is an internal error, which denies.
func (x *exchange) fail(err error) {
	x.onRecord()
	var e *selo.Error
	if !errors.As(err, &e) {
		x.Log.ErrorContext(x.r.Context(), "internal error", "request_id", x.id, "error", err)
		x.problem(internalProblem)
		return
	}
	reasons := e.Reasons()
	p := problem{Status: http.StatusForbidden, Title: "The response was refused", Reasons: reasons, Field: e.Field}
	if s, ok := statuses[e.Reason]; ok {
		p.Status, p.Title = s.status, s.title
	}
	if e.Reason == selo.ReasonCallerUnauthenticated && e.Err != nil {
		// A 401 would make the app sign its user out because we cannot reach the issuer.
		p.Status, p.Title = http.StatusServiceUnavailable, "The caller cannot be authenticated now"
	}
	if e.Reason == selo.ReasonTooLarge && e.Field == "body" {
		p.Status, p.Title = http.StatusRequestEntityTooLarge, "The body is too large"
	}
	if e.Reason == selo.ReasonSessionNotOpen && slices.Contains(reasons, selo.ReasonExpired) {
		p.Status, p.Title = http.StatusGone, "The session has expired"
	}
	p.Type = problemTypes + string(e.Reason)
	p.Detail = detail(e)
	for _, one := range e.All() {
		switch {
		case one.Err == nil:
		case x.r.Context().Err() != nil:
			// Whoever leaves before the answer must not page anybody.
			x.Log.InfoContext(x.r.Context(), "the client left", "request_id", x.id)
		default:
			x.Log.ErrorContext(x.r.Context(), "refused for a cause of ours", "request_id", x.id, "reason", string(one.Reason), "error", one.Err)
		}
	}

	var r *broker.Refusal
	if errors.As(err, &r) {
		p.SessionID, p.State = r.Session, r.State
		if r.State == broker.StateOpen {
			p.AttemptsLeft = &r.AttemptsLeft
		}
		if r.RetryAfter > 0 && e.Reason == selo.ReasonProviderUnavailable {
			p.Status = http.StatusServiceUnavailable // it said, or we know, when to come back
		}
		if r.RetryAfter > 0 && e.Reason == selo.ReasonIdempotencyConflict {
			p.Status, p.Title = http.StatusConflict, "The request is being answered"
		}
		if r.RetryAfter > 0 {
			x.w.Header().Set("Retry-After", seconds(r.RetryAfter))
		}
		if r.Limit != nil {
			x.rateLimit(*r.Limit, 0, r.RetryAfter)
		}
	}
	switch p.Status {
	case http.StatusUnauthorized:
		scheme := "Bearer"
		if e.Field == selo.WebhookSignatureHeader {
			scheme = selo.WebhookSignatureHeader
		}
		x.w.Header().Set("WWW-Authenticate", scheme)
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		if x.w.Header().Get("Retry-After") == "" {
			x.w.Header().Set("Retry-After", "1")
		}
	}
	x.problem(p)
}

// rateLimit writes the fields of the IETF draft "RateLimit header fields for HTTP". The quota of a limit that others
// use up together with the caller is not told.
func (x *exchange) rateLimit(l broker.Limit, remaining int, reset time.Duration) {
	x.w.Header().Add("RateLimit", fmt.Sprintf("%q;r=%d;t=%s", l.By, remaining, seconds(reset)))
	switch l.By {
	case broker.LimitSubject, broker.LimitCPF:
		x.w.Header().Add("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%s", l.By, l.Sessions, seconds(l.Window)))
	case broker.LimitOpen:
		x.w.Header().Add("RateLimit-Policy", fmt.Sprintf("%q;q=%d", l.By, l.Sessions))
	}
}

// seconds rounds up: whoever comes back a moment too early is refused once more.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// detail says for a person what was wrong, and leaves out causes, which are internal.
func detail(e *selo.Error) string {
	var parts []string
	for _, one := range e.All() {
		switch {
		case one.Detail == "":
		case one.Field == "":
			parts = append(parts, one.Detail)
		default:
			parts = append(parts, one.Field+": "+one.Detail)
		}
	}
	return strings.Join(parts, "; ")
}

func (x *exchange) problem(p problem) {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Reasons == nil {
		p.Reasons = []selo.Reason{}
	}
	p.RequestID = x.id
	words := make([]string, len(p.Reasons))
	for i, r := range p.Reasons {
		words[i] = string(r)
	}
	if len(words) > 0 {
		x.log = append(x.log, slog.String("reasons", strings.Join(words, " ")), slog.String("field", p.Field))
	}
	if p.SessionID != "" {
		x.log = append(x.log, slog.String("session", p.SessionID), slog.String("state", string(p.State)))
	}
	body, err := json.Marshal(p)
	if err != nil {
		x.Log.ErrorContext(x.r.Context(), "encoding problem", "request_id", x.id, "error", fmt.Errorf("encoding problem: %w", err))
		body = []byte(`{"status":500}`)
		p.Status = http.StatusInternalServerError
	}
	x.send(p.Status, "application/problem+json", append(body, '\n'))
}

func firstReason(err error) selo.Reason {
	if rs := selo.ReasonsOf(err); len(rs) > 0 {
		return rs[0]
	}
	return selo.ReasonCallerUnauthenticated
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

// Bounds of how old an event may be. Its id is remembered for ever, so age is not what keeps it from counting
// twice: it bounds what a database restored from a backup would take again.
const (
	DefaultEventAge = 24 * time.Hour
	MaxEventAge     = 30 * 24 * time.Hour
	eventSkew       = 5 * time.Minute // how far ahead of now an event may be dated
)

// Webhook is where the provider tells us something by itself.
type Webhook struct {
	Name        string // in its path
	Environment selo.Environment
	Secret      selo.Secret   // its own, or an access key's
	MaxAge      time.Duration // how old an event may be; 0 is DefaultEventAge
}

func (w Webhook) withDefaults() Webhook {
	if w.MaxAge == 0 {
		w.MaxAge = DefaultEventAge
	}
	return w
}

// ErrNoWebhook means that no webhook of that name is configured.
var ErrNoWebhook = errors.New("no such webhook")

// event is a CloudEvent, as far as it is read. Caf's other members, and what it adds to data, are passed over.
type event struct {
	ID   *string        `json:"id"`
	Time *string        `json:"time"`
	Type *string        `json:"type"`
	Data jsontext.Value `json:"data"`
}

type eventData struct {
	AttemptID    jsontext.Value `json:"attemptId"`
	RequestID    jsontext.Value `json:"requestId"`
	SessionID    jsontext.Value `json:"sessionId"`
	IsAlive      jsontext.Value `json:"isAlive"`
	IsMatch      jsontext.Value `json:"isMatch"`
	IsAuthorized jsontext.Value `json:"isAuthorized"`
}

// Webhook takes an event that was posted to the webhook of that name, with the values of its signature header. It
// reports whether the event is new: one that was here before is acknowledged and changes nothing. An event is
// evidence for the audit trail. It never decides a session.
func (b *Broker) Webhook(ctx context.Context, name string, body []byte, signatures []string, requestID string) (isNew bool, _ error) {
	w, ok := b.webhooks[name]
	if !ok {
		return false, ErrNoWebhook
	}
	signature := ""
	if len(signatures) == 1 {
		signature = signatures[0]
	}
	if err := selo.VerifyWebhook(body, signature, w.Secret); err != nil {
		b.Unauthenticated(selo.ReasonCallerUnauthenticated)
		return false, &selo.Error{Reason: selo.ReasonCallerUnauthenticated, Field: selo.WebhookSignatureHeader,
			Detail: "must be, once, the lower-case hex HMAC-SHA256 of exactly this body under the webhook's secret"}
	}
	now := b.cfg.Now().Truncate(time.Microsecond)
	e, refused := w.read(body, now)
	if refused != nil {
		// Counted, and no row for each: what was signed once can be posted for ever, and everything that an access key
		// signed is signed for a webhook that shares its secret.
		b.Unauthenticated(refused.Reason)
		return false, refused
	}
	e.Audit = store.Audit{At: now, Act: ActWebhook, CallerKind: "provider", RequestID: requestID}
	done, err := b.cfg.Store.RecordEvent(ctx, *e)
	if err != nil {
		return false, unavailable(err)
	}
	if done.Contradicts {
		b.cfg.Log.WarnContext(ctx, "an event of the provider contradicts a grant", "webhook", w.Name, "sessions", done.Sessions, "request_id", requestID)
	}
	return done.New, nil
}

var eventType = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// read takes an event apart that is the provider's. Even so nothing in it is repeated that could be personal data.
func (w Webhook) read(body []byte, now time.Time) (*store.Event, *selo.Error) {
	var in event
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body", Detail: "must be one strict JSON object, a CloudEvent with id, time and type"}
	}
	if in.ID == nil || *in.ID == "" || len(*in.ID) > 256 {
		return nil, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "id", Detail: "must be the event's id, 1 to 256 bytes: without it the event could count twice"}
	}
	at, err := time.Time{}, error(nil)
	if in.Time != nil {
		at, err = time.Parse(time.RFC3339, *in.Time)
	}
	switch {
	case in.Time == nil || err != nil:
		return nil, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "time", Detail: "must say when the event happened, as RFC 3339"}
	case at.After(now.Add(eventSkew)):
		return nil, &selo.Error{Reason: selo.ReasonFromTheFuture, Field: "time", Detail: fmt.Sprintf("is more than %v ahead of now", eventSkew)}
	case at.Before(now.Add(-w.MaxAge)):
		return nil, &selo.Error{Reason: selo.ReasonStale, Field: "time", Detail: fmt.Sprintf("is more than %v ago", w.MaxAge)}
	}
	e := &store.Event{Webhook: w.Name, ID: *in.ID, Type: "(other)", At: at, ReceivedAt: now}
	if in.Type != nil && eventType.MatchString(*in.Type) && !manyDigits(*in.Type) {
		e.Type = *in.Type
	}
	var data eventData
	if in.Data.Kind() != '{' || json.Unmarshal(in.Data, &data) != nil {
		return e, nil // of something that has no attempt
	}
	for _, f := range []struct {
		field string
		value jsontext.Value
	}{{"attemptId", data.AttemptID}, {"requestId", data.RequestID}, {"sessionId", data.SessionID}} {
		var id string
		if f.value.Kind() == '"' && json.Unmarshal(f.value, &id) == nil && id != "" && len(id) <= 256 {
			e.IDs = append(e.IDs, selo.UsedID{Provider: "caf", Environment: w.Environment, Field: f.field, Value: id})
		}
	}
	e.Verdict = verdict(data.IsAlive, data.IsMatch, data.IsAuthorized)
	return e, nil
}

// verdict is no when any decision is false, yes when there are some and all are true, and nothing otherwise.
func verdict(decisions ...jsontext.Value) store.Verdict {
	said := store.VerdictNone
	unclear := false
	for _, d := range decisions {
		switch {
		case d == nil:
		case d.Kind() == 'f':
			return store.VerdictRefused
		case d.Kind() == 't':
			said = store.VerdictApproved
		default:
			unclear = true
		}
	}
	if unclear {
		return store.VerdictNone
	}
	return said
}

// manyDigits reports whether a text has enough of them to be a CPF.
func manyDigits(s string) bool {
	n := 0
	for _, c := range s {
		if '0' <= c && c <= '9' {
			n++
		}
	}
	return n >= 11
}

package api

import (
	"errors"
	"io"
	"net/http"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

type webhookBody struct {
	Status string `json:"status"` // recorded, or duplicate
}

// webhook takes an event of the provider, byte for byte, as it was signed.
func (s *server) webhook(x *exchange) {
	body, err := io.ReadAll(x.r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		x.Broker.Unauthenticated(selo.ReasonTooLarge)
		x.fail(&selo.Error{Reason: selo.ReasonTooLarge, Field: "body", Detail: "is longer than any event that is taken"})
		return
	}
	if err != nil {
		x.Broker.Unauthenticated(selo.ReasonRequestInvalid)
		x.fail(&selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body", Detail: "could not be read to its end"})
		return
	}
	isNew, err := s.Broker.Webhook(x.act, x.r.PathValue("name"), body, x.r.Header.Values(selo.WebhookSignatureHeader), x.id)
	switch {
	case errors.Is(err, broker.ErrNoWebhook):
		x.Broker.Unauthenticated(selo.ReasonCallerUnauthenticated)
		x.problem(problem{Status: http.StatusNotFound, Title: "No such webhook", Detail: "webhooks are named in the configuration"})
	case err != nil:
		x.fail(err)
	case isNew:
		x.json(http.StatusOK, webhookBody{"recorded"})
	default:
		x.json(http.StatusOK, webhookBody{"duplicate"})
	}
}

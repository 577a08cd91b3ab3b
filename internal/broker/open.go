package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// OpenRequest asks for a session.
type OpenRequest struct {
	Product string
	Purpose string
	// Subject and CPF say whom the session is for. Only a service may: an end user is who their bearer
	// token says.
	Subject *string
	CPF     *string

	RequestID string // for the audit trail
}

// Opened is a session that has begun, with the tokens that start the SDK.
type Opened struct {
	SessionID string
	Product   string
	Purpose   string
	Tokens    map[string]string // by role
	ExpiresAt time.Time         // of the tokens
	RespondBy time.Time         // after this no response is taken
}

// OpenSession checks that the caller may have a token for this product and purpose, makes it for the
// caller's own subject and CPF, and returns it once the session is on disk.
func (b *Broker) OpenSession(ctx context.Context, c *policy.Caller, req OpenRequest) (*Opened, error) {
	// Microseconds are what the store keeps: the session is decided by the very times it was opened with.
	now := b.cfg.Now().Truncate(time.Microsecond)
	row := b.audit(now, ActOpen, c, req.RequestID)
	row.Product, row.Purpose = b.known(c.App, req)
	pepper := b.cfg.Peppers.Current()

	subject, cpf, r := b.identify(c, req)
	if subject != (selo.Subject{}) {
		row.Person = person(pepper, subject, cpf)
	}
	if r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	profile, need, key, r := b.allow(c, req)
	if r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	token, err := selo.Mint(selo.MintRequest{Profile: profile, Key: key, CPF: cpf, Now: now, Lifetime: b.cfg.TokenLifetime})
	if err != nil {
		return nil, b.refuse(ctx, row, asRefusal(err))
	}

	n := store.Session{
		ID:             "ses_" + rand.Text(),
		App:            c.App,
		Product:        req.Product,
		Purpose:        req.Purpose,
		Environment:    key.Environment,
		Service:        c.Name,
		Person:         row.Person,
		Assurance:      need,
		Keys:           map[string]string{roleMobile: key.ClientID},
		OpenedAt:       now,
		TokenExpiresAt: token.ExpiresAt,
		RespondBy:      now.Add(b.cfg.RespondWithin).Truncate(time.Second),
		MaxAttempts:    b.cfg.MaxAttempts,
	}
	n.SubjectSealed = pepper.SealSubject(n.ID, subject.ID)
	act := store.OpenAct{Session: n, Limit: b.cfg.Limit, Audit: row}
	for _, p := range b.cfg.Peppers.All() {
		act.Subjects = append(act.Subjects, p.Subject(subject))
	}
	err = b.cfg.Store.Open(ctx, act)
	var limited *store.LimitError
	switch {
	case errors.As(err, &limited):
		r := refusal(selo.ReasonRateLimited, "", fmt.Sprintf("at most %d sessions in %v", b.cfg.Limit.Sessions, b.cfg.Limit.Window))
		r.RetryAfter = limited.RetryAfter
		return nil, r
	case err != nil:
		return nil, unavailable(err)
	}
	return &Opened{n.ID, n.Product, n.Purpose, map[string]string{roleMobile: token.JWT}, n.TokenExpiresAt, n.RespondBy}, nil
}

// identify says whom the session is for. It returns a subject together with a refusal when the subject is
// known and still must not have one.
func (b *Broker) identify(c *policy.Caller, req OpenRequest) (selo.Subject, selo.CPF, *Refusal) {
	if c.Kind != policy.KindService {
		for _, f := range []struct {
			name  string
			value *string
		}{{"cpf", req.CPF}, {"subject", req.Subject}} {
			if f.value != nil {
				return c.Subject, c.CPF, refusal(selo.ReasonRequestInvalid, f.name, "an end user is who their bearer token says; leave it out")
			}
		}
		if c.CPFFault != nil {
			return c.Subject, c.CPF, asRefusal(c.CPFFault)
		}
		if c.CPF.IsZero() {
			return c.Subject, c.CPF, refusal(selo.ReasonCPFMissing, "cpf", "the bearer token carries no CPF")
		}
		return c.Subject, c.CPF, nil
	}
	if !c.Has(policy.ScopeSessionsOpen) {
		return selo.Subject{}, selo.CPF{}, refusal(selo.ReasonCallerForbidden, "", "the service lacks the scope "+policy.ScopeSessionsOpen)
	}
	if req.Subject == nil || *req.Subject == "" || len(*req.Subject) > 255 ||
		strings.ContainsFunc(*req.Subject, unicode.IsControl) {
		return selo.Subject{}, selo.CPF{}, refusal(selo.ReasonRequestInvalid, "subject", "a service says whom the session is for: 1 to 255 bytes without control characters")
	}
	subject := selo.Subject{Issuer: c.SubjectIssuer(), ID: *req.Subject}
	if req.CPF == nil {
		return subject, selo.CPF{}, refusal(selo.ReasonCPFMissing, "cpf", "a service says whose CPF the session is for")
	}
	cpf, err := selo.ParseCPF(*req.CPF)
	if err != nil {
		return subject, selo.CPF{}, asRefusal(err)
	}
	return subject, cpf, nil
}

// allow says with which key the caller's app may run the product for the purpose.
func (b *Broker) allow(c *policy.Caller, req OpenRequest) (*selo.Profile, selo.Assurance, selo.AccessKey, *Refusal) {
	none := func(r *Refusal) (*selo.Profile, selo.Assurance, selo.AccessKey, *Refusal) {
		return nil, selo.AssuranceUnset, selo.AccessKey{}, r
	}
	app, ok := b.apps[c.App]
	if !ok {
		return none(refusal(selo.ReasonCallerForbidden, "", "the caller's app is not configured"))
	}
	profile, err := selo.LookupProfile(req.Product)
	if err != nil || !slices.Contains(app.Products, req.Product) {
		return none(refusal(selo.ReasonProductUnknown, "product", "must be one of the app's products: "+strings.Join(app.Products, " ")))
	}
	need, ok := app.Purposes[req.Purpose]
	if !ok {
		return none(refusal(selo.ReasonPurposeUnknown, "purpose", "must be one that the app declares: "+strings.Join(slices.Sorted(maps.Keys(app.Purposes)), " ")))
	}
	if need > profile.Assurance {
		return none(refusal(selo.ReasonAssuranceTooLow, "product", fmt.Sprintf("%s proves at most %v, the purpose %s requires %v", profile.Product, profile.Assurance, req.Purpose, need)))
	}
	key, err := b.cfg.Keys.ForMint(app.Environment, req.Product)
	if err != nil {
		return none(asRefusal(err))
	}
	return profile, need, key, nil
}

// known returns the names that the audit trail may repeat: ours, and not whatever a caller sends, which
// could be personal data.
func (b *Broker) known(app string, req OpenRequest) (product, purpose string) {
	product, purpose = "(unknown)", "(unknown)"
	if _, err := selo.LookupProfile(req.Product); err == nil {
		product = req.Product
	}
	if _, ok := b.apps[app].Purposes[req.Purpose]; ok {
		purpose = req.Purpose
	}
	return product, purpose
}

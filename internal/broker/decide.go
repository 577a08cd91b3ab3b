package broker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/provider"
	"github.com/selo-id/selo/internal/store"
)

// State of a session, as the store keeps it.
type State = store.State

// StateOpen is the one state that is not terminal.
const StateOpen = store.StateOpen

// Session is what its owner may know of one.
type Session struct {
	ID           string
	Product      string
	Purpose      string
	State        State
	ExpiresAt    time.Time // of its tokens
	RespondBy    time.Time
	AttemptsLeft int            // while open
	Reasons      []selo.Reason  // of a denial
	Assurance    selo.Assurance // that a grant proved
	Receipt      string         // of a grant; the same bytes every time
	ReceiptUntil time.Time
	SignUp       bool // no CPF was known when it was opened
}

// Answer is what the app brings back from the SDK.
type Answer struct {
	// SignedResponse is the provider's JWT.
	SignedResponse string
	// AttemptID says about which attempt the provider can be asked, for a response that does not carry it.
	AttemptID string
	// Unsigned says that the SDK gave no signed response, and Refused that it said no by that.
	Unsigned, Refused bool
}

// Decide verifies a signed response against the caller's session. It returns the granted session with its
// receipt, or an error: a nil error is the only grant. Whatever it decides is on disk before it returns.
func (b *Broker) Decide(ctx context.Context, c *policy.Caller, sessionID string, answer Answer, requestID string) (*Session, error) {
	start := b.cfg.Now()
	if err := b.cfg.Keys.Refresh(ctx); err != nil {
		return nil, unavailable(err)
	}
	now := start.Truncate(time.Microsecond)
	n, row, r := b.find(ctx, c, b.audit(now, ActRespond, c, requestID), sessionID, false)
	if r != nil {
		b.cfg.Metrics.Act(ActRespond, "(unknown)", "(unknown)", "refused", firstReason(r), b.cfg.Now().Sub(start))
		return nil, r
	}
	decided, err := b.decide(ctx, n, row, answer, requestID, now)
	outcome, refused := "granted", (*Refusal)(nil)
	if err != nil {
		outcome = "refused"
		if errors.As(err, &refused) && refused.State == store.StateDenied && !errors.Is(err, selo.ReasonSessionNotOpen) {
			outcome = "denied"
		}
	}
	b.cfg.Metrics.Act(ActRespond, n.Product, n.Purpose, outcome, firstReason(err), b.cfg.Now().Sub(start))
	return decided, err
}

func (b *Broker) decide(ctx context.Context, n *store.Session, row store.Audit, answer Answer, requestID string, now time.Time) (*Session, error) {
	act := store.DecideAct{SessionID: n.ID, At: now, Outcome: store.StateOpen, Audit: row}
	var found *selo.Error
	var receipt string
	if n.State == store.StateOpen {
		asked := false
		defer func() {
			// One question at a time about a session, until its attempt is counted: parallel posts buy no more calls.
			if asked {
				b.asking.Delete(n.ID)
			}
		}()
		response, ids, named, err := b.verify(ctx, n, answer, now, &asked)
		if asked { // which takes time
			now = b.cfg.Now().Truncate(time.Microsecond)
			act.At, act.Audit.At, act.Audit.Note = now, now, "the provider was asked about the attempt"
		}
		if n.SignUp {
			act.Audit.Person.CPF = named // whom the response was about: the session itself knows nobody
		}
		switch {
		case err == nil:
			granted := *n
			granted.EndedAt, granted.Proved, granted.ReceiptID = now, response.Assurance, "rct_"+rand.Text()
			// Signed before it is recorded: a grant whose receipt cannot be made must not exist.
			if receipt, err = b.receipt(&granted); err != nil {
				return nil, b.refuse(ctx, row, unavailable(fmt.Errorf("signing receipt: %w", err)))
			}
			act.Outcome, act.IDs, act.Proved, act.ReceiptID = store.StateGranted, ids, response.Assurance, granted.ReceiptID
		case errors.Is(err, selo.ReasonProviderUnavailable), errors.Is(err, selo.ReasonCPFUnavailable):
			// Nobody's fault who is asking: the same response may be posted again.
			r := asRefusal(err)
			r.Session, r.State, r.AttemptsLeft = n.ID, n.State, attemptsLeft(n)
			return nil, b.refuse(ctx, act.Audit, r)
		case errors.As(err, &found):
			act.Reasons = found.Reasons()
			if selo.Denied(err) {
				act.Outcome, act.IDs = store.StateDenied, ids
			}
		default:
			return nil, b.refuse(ctx, row, unavailable(err))
		}
	}
	d, err := b.cfg.Store.Decide(ctx, act)
	if err != nil {
		return nil, unavailable(err)
	}
	if d.Contradicted {
		b.cfg.Log.WarnContext(ctx, "an event of the provider contradicts a grant", "session", n.ID, "request_id", requestID)
	}
	if len(d.Reasons) == 0 && d.Session.State == store.StateGranted && d.Session.ReceiptID == act.ReceiptID && receipt != "" {
		return view(d.Session, receipt), nil
	}
	return nil, &Refusal{
		Err:          explain(found, d),
		Session:      n.ID,
		State:        d.Session.State,
		AttemptsLeft: attemptsLeft(d.Session),
	}
}

// verify runs the library's verification with the session's own record. It sets asked before it asks the provider,
// and then the caller ends that. The ids it returns are not used up yet: the store does that in the transaction of
// the decision.
//
// named is the pseudonym of the CPF that the response is about, if it came to that.
func (b *Broker) verify(ctx context.Context, n *store.Session, answer Answer, now time.Time, asked *bool) (_ *selo.Response, _ []selo.UsedID, named []byte, _ error) {
	none := func(err error) (*selo.Response, []selo.UsedID, []byte, error) { return nil, nil, nil, err }
	profile, err := selo.LookupProfile(n.Product)
	if err != nil {
		return none(err)
	}
	// The configuration may have become stricter since the session was opened, never laxer for it.
	app := b.apps[n.App]
	purpose, declared := app.Purposes[n.Purpose]
	if !declared {
		return none(&selo.Error{Reason: selo.ReasonRuleDenied, Field: "purpose", Detail: "is no longer one that the app declares"})
	}
	if !slices.Contains(app.Products, n.Product) {
		return none(&selo.Error{Reason: selo.ReasonRuleDenied, Field: "product", Detail: "is no longer one of the app's"})
	}
	if purpose.Capture && !provesNothing(profile) {
		return none(&selo.Error{Reason: selo.ReasonRuleDenied, Field: "purpose", Detail: "is for capture now, for which nothing is granted"})
	}
	if profile.HasPolicy() && purpose.PolicyID != n.PolicyID {
		return none(&selo.Error{Reason: selo.ReasonRuleDenied, Field: "policy_id", Detail: "is another one now than the session was opened with"})
	}
	if n.SignUp && (!purpose.SignUp || profile.Assurance > selo.AssurancePresence) {
		return none(&selo.Error{Reason: selo.ReasonRuleDenied, Field: "purpose", Detail: "is no longer for sign-up, and no CPF is known of this session"})
	}
	if answer.Unsigned {
		return none(unsigned(answer))
	}
	key, err := b.cfg.Keys.ForVerify(n.Environment, n.Keys[profile.Roles[0].Name], n.Product, now)
	if err != nil {
		return none(err)
	}
	b.cfg.Keys.Used(key, now)
	pepper, err := b.cfg.Peppers.Version(n.Person.PepperVersion)
	if err != nil {
		return none(err)
	}
	// Whoever signed up may have a CPF by now, and then it must be that.
	var known []byte
	if n.SignUp && app.CPFLookup != nil {
		subject, err := b.subject(n)
		if err != nil {
			return none(err)
		}
		cpf, err := app.CPFLookup.CPF(ctx, n.App, subject)
		if err != nil {
			return none(err)
		}
		if !cpf.IsZero() {
			known = pepper.CPF(cpf)
		}
	}
	// Which ids were used between a backup and its restore nobody knows: what was issued before it counts for nothing.
	opened := n.OpenedAt
	restored, err := b.cfg.Store.RestoredAt(ctx)
	if err != nil {
		return none(err)
	}
	// A clock of the provider's that is ahead by as much as is allowed makes an old response look that much newer.
	if least := restored.Add(selo.OpenedSlack + selo.DefaultSkew); !restored.IsZero() && opened.Before(least) {
		opened = least
	}
	var seen toBeUsed
	want := selo.Expectation{
		Profile: profile,
		Key:     key,
		SameCPF: func(cpf selo.CPF) bool {
			is := pepper.CPF(cpf)
			if !n.SignUp {
				return hmac.Equal(is, n.Person.CPF)
			}
			// Anybody, but the response and the provider's record must mean the same.
			if named == nil {
				named = is
			}
			return hmac.Equal(is, named) && (known == nil || hmac.Equal(is, known))
		},
		Once:      &seen,
		Opened:    opened,
		Now:       now,
		Assurance: max(n.Assurance, purpose.Assurance),
		Policy:    n.PolicyID,
		AttemptID: answer.AttemptID,
	}
	if purpose.Recheck != RecheckNever && b.cfg.rechecks(app, profile) {
		ask := rechecker(b.cfg.Providers[app.Environment], profile, key, b.cfg.Now)
		want.Recheck = func(ctx context.Context, attemptID string) (*selo.Attempt, error) {
			if _, busy := b.asking.LoadOrStore(n.ID, true); busy {
				return nil, &selo.Error{Reason: selo.ReasonProviderUnavailable, Detail: "the provider is being asked about another response of this session", Err: &provider.RetryAfter{After: time.Second}}
			}
			*asked = true
			return ask(ctx, attemptID)
		}
	}
	want.RecheckAlways = purpose.Recheck == RecheckAlways // and where nobody can be asked, nothing is granted
	response, err := selo.Verify(ctx, answer.SignedResponse, want)
	if err != nil {
		return nil, seen.ids, named, err
	}
	if n.SignUp && response.Assurance > selo.AssurancePresence {
		return none(fmt.Errorf("a sign-up session of %s proved %v", n.Product, response.Assurance))
	}
	return response, seen.ids, named, nil
}

// unsigned refuses an answer that carries no signed response. Anybody could have written it, so it is an attempt and
// nothing more, whatever it says.
func unsigned(answer Answer) *selo.Error {
	e := &selo.Error{Reason: selo.ReasonSignatureInvalid, Field: "signed_response", Detail: "is missing: an answer that nobody signed grants nothing and denies nothing, and counts as an attempt"}
	if answer.Refused {
		e.Also = []*selo.Error{{Reason: selo.ReasonNotApproved, Detail: "it says no"}, {Reason: selo.ReasonNotFinal}}
	}
	return e
}

// toBeUsed notes the ids that a decision uses up, so that they can be recorded together with it.
type toBeUsed struct{ ids []selo.UsedID }

func (t *toBeUsed) Use(_ context.Context, ids []selo.UsedID, _ time.Time) error {
	t.ids = slices.Clone(ids)
	return nil
}

// explain joins what verification found with what the transaction found.
func explain(found *selo.Error, d *store.Decided) *selo.Error {
	all := []*selo.Error{}
	if found != nil && !slices.Contains(d.Reasons, selo.ReasonSessionNotOpen) {
		all = append(all, found.All()...)
	}
	for _, r := range d.Reasons {
		if slices.ContainsFunc(all, func(e *selo.Error) bool { return e.Reason == r }) {
			continue
		}
		e := &selo.Error{Reason: r}
		switch r {
		case selo.ReasonSessionNotOpen:
			e.Field, e.Detail = "session", "is "+string(d.Session.State)+"; open a new one"
			if d.Session.State == store.StateGranted {
				e.Detail = "is granted already; GET it if its receipt got lost"
			}
		case selo.ReasonExpired:
			e.Field, e.Detail = "session", "was not answered in time"
		case selo.ReasonKeyRevoked:
			e.Field, e.Detail = "session", "the access key that made it was revoked meanwhile; open a new one"
		case selo.ReasonReplayed:
			e.Field, e.Detail = "signed_response", "carries an id that was used before"
		case selo.ReasonTooManyAttempts:
			e.Field, e.Detail = "session", "has no attempts left; open a new one"
		}
		all = append(all, e)
	}
	first := *all[0]
	first.Also = all[1:]
	return &first
}

// Session returns the caller's session: to its owner, and to a service of the same app with the scope
// sessions:read. A granted one comes with its receipt, so that an answer that got lost costs nothing.
func (b *Broker) Session(ctx context.Context, c *policy.Caller, sessionID, requestID string) (*Session, error) {
	if err := b.cfg.Keys.Refresh(ctx); err != nil {
		return nil, unavailable(err)
	}
	now := b.cfg.Now().Truncate(time.Microsecond)
	n, row, r := b.find(ctx, c, b.audit(now, ActRead, c, requestID), sessionID, c.Has(policy.ScopeSessionsRead))
	if r != nil {
		return nil, r
	}
	if n.State != store.StateGranted {
		return view(n, ""), nil
	}
	receipt, err := b.receipt(n)
	if err != nil {
		return nil, b.refuse(ctx, row, unavailable(fmt.Errorf("signing receipt: %w", err)))
	}
	row.Outcome = string(n.State)
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, unavailable(err)
	}
	return view(n, receipt), nil
}

// find returns a session that the caller may know of, and the audit row completed with it. Whether it does
// not exist or is somebody else's makes no difference to the caller.
func (b *Broker) find(ctx context.Context, c *policy.Caller, row store.Audit, id string, readAll bool) (*store.Session, store.Audit, *Refusal) {
	if c.Kind != policy.KindEndUser && c.Kind != policy.KindService {
		return nil, row, b.refuse(ctx, row, notForOperators())
	}
	n, err := b.cfg.Store.Session(ctx, id, row.At)
	switch {
	case errors.Is(err, store.ErrNotFound):
		row.SessionID = "(unknown)"
		return nil, row, b.refuse(ctx, row, refusal(selo.ReasonSessionUnknown, "session", "no such session, or not yours"))
	case err != nil:
		return nil, row, unavailable(err)
	}
	row.Note = "of " + n.ID // not on the session's own trail, which a stranger must not be able to fill
	mine, err := b.owns(c, n)
	if err != nil {
		return nil, row, b.refuse(ctx, row, unavailable(err))
	}
	// An app that changed its environment has none of its sessions of before.
	inApp := n.App == c.App && n.Environment == b.apps[n.App].Environment
	if !inApp || !mine && (!readAll || c.Kind != policy.KindService) {
		return nil, row, b.refuse(ctx, row, refusal(selo.ReasonSessionUnknown, "session", "no such session, or not yours"))
	}
	row.SessionID, row.Note = n.ID, ""
	row.Product, row.Purpose, row.Person, row.Keys = n.Product, n.Purpose, n.Person, n.Keys
	if r := b.samePerson(c, n); r != nil {
		return nil, row, b.refuse(ctx, row, r)
	}
	return n, row, nil
}

// owns reports whether the session is the caller's: the service that opened it, or the subject it is for.
func (b *Broker) owns(c *policy.Caller, n *store.Session) (bool, error) {
	if c.Kind == policy.KindService {
		return n.Service == c.Name && c.Has(policy.ScopeSessionsOpen), nil
	}
	pepper, err := b.cfg.Peppers.Version(n.Person.PepperVersion)
	if err != nil {
		return false, err
	}
	return hmac.Equal(pepper.Subject(c.Subject), n.Person.Subject), nil
}

// samePerson refuses an end user whose bearer token names another CPF than the session is for: the issuer
// changed its mind, or a service that speaks for its subjects opened the session with another.
func (b *Broker) samePerson(c *policy.Caller, n *store.Session) *Refusal {
	if c.CPF.IsZero() {
		return nil
	}
	pepper, err := b.cfg.Peppers.Version(n.Person.PepperVersion)
	if err != nil {
		return unavailable(err)
	}
	if !hmac.Equal(pepper.CPF(c.CPF), n.Person.CPF) {
		return refusal(selo.ReasonCPFMismatch, "cpf", "the bearer token names another person than the session is for")
	}
	return nil
}

// receipt makes the receipt of a granted session from its record alone, so that it is the same every time
// while the receipt key is.
func (b *Broker) receipt(n *store.Session) (string, error) {
	subject, err := b.subject(n)
	if err != nil {
		return "", err
	}
	return b.cfg.ReceiptKey.Sign(selo.Receipt{
		Issuer:    b.cfg.Issuer,
		App:       n.App,
		Subject:   subject,
		Session:   n.ID,
		Product:   n.Product,
		Purpose:   n.Purpose,
		Assurance: n.Proved,
		SignUp:    n.SignUp,
		IssuedAt:  n.EndedAt,
		ExpiresAt: receiptUntil(n),
		ID:        n.ReceiptID,
	})
}

func (b *Broker) subject(n *store.Session) (selo.Subject, error) {
	pepper, err := b.cfg.Peppers.Version(n.Person.PepperVersion)
	if err != nil {
		return selo.Subject{}, err
	}
	id, err := pepper.OpenSubject(n.ID, n.SubjectSealed)
	if err != nil {
		return selo.Subject{}, err
	}
	return selo.Subject{Issuer: n.Person.SubjectIssuer, ID: id}, nil
}

func receiptUntil(n *store.Session) time.Time {
	return n.EndedAt.Truncate(time.Second).Add(selo.MaxReceiptLifetime)
}

func attemptsLeft(n *store.Session) int {
	if n.State != store.StateOpen {
		return 0
	}
	return n.MaxAttempts - n.Attempts
}

func view(n *store.Session, receipt string) *Session {
	s := &Session{
		ID: n.ID, Product: n.Product, Purpose: n.Purpose, State: n.State,
		ExpiresAt: n.TokenExpiresAt, RespondBy: n.RespondBy, AttemptsLeft: attemptsLeft(n),
		Reasons: n.Reasons, Assurance: n.Proved, SignUp: n.SignUp,
	}
	if receipt != "" {
		s.Receipt, s.ReceiptUntil = receipt, receiptUntil(n)
	}
	return s
}

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

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/provider"
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

	// IdempotencyKey makes the request one that may be sent again: the same key and request get the same answer
	// and no second session. "" is none.
	IdempotencyKey string
	RequestID      string // for the audit trail
}

// Opened is a session that has begun, with the tokens that start the SDK.
type Opened struct {
	SessionID string
	Product   string
	Purpose   string
	PolicyID  string            // that the SDK must be started with, for products that run a provider policy
	Tokens    map[string]string // by role
	ExpiresAt time.Time         // of the tokens
	RespondBy time.Time         // after this no response is taken
	SignUp    bool              // no CPF is known
	Usage     []store.Usage     // of the subject's own limits; empty for a repeated request
}

// repeatFor is how long a request may be sent again under its key.
const repeatFor = 24 * time.Hour

// plan is how a session will be opened: what its caller may have, and with which keys.
type plan struct {
	profile   *selo.Profile
	purpose   Purpose
	keys      map[string]selo.AccessKey // by role
	exchanged bool
}

// OpenSession checks that the caller may have a token for this product and purpose, makes it for the
// caller's own subject and CPF, and returns it once the session is on disk.
func (b *Broker) OpenSession(ctx context.Context, c *policy.Caller, req OpenRequest) (*Opened, error) {
	start := b.cfg.Now()
	opened, err := b.openSession(ctx, c, req, start)
	product, purpose := b.known(c.App, req)
	outcome := "opened"
	if err != nil {
		outcome = "refused"
	}
	b.cfg.Metrics.Act(ActOpen, product, purpose, outcome, firstReason(err), b.cfg.Now().Sub(start))
	return opened, err
}

func (b *Broker) openSession(ctx context.Context, c *policy.Caller, req OpenRequest, start time.Time) (*Opened, error) {
	// Microseconds are what the store keeps: the session is decided by the very times it was opened with.
	now := start.Truncate(time.Microsecond)
	row := b.audit(now, ActOpen, c, req.RequestID)
	row.Product, row.Purpose = b.known(c.App, req)
	if err := b.cfg.Keys.Refresh(ctx); err != nil {
		return nil, unavailable(err)
	}
	pepper := b.cfg.Peppers.Current()

	whom, r := identify(c, req)
	if whom.subject != (selo.Subject{}) {
		row.Person = person(pepper, whom.subject, whom.cpf)
	}
	if r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	plan, r := b.allow(c, req)
	if r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	if r := b.settleCPF(ctx, c, plan, &whom); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	row.Person = person(pepper, whom.subject, whom.cpf)
	row.Note, r = b.rule(c, req, plan, whom, now)
	if r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	n := store.Session{
		ID:          "ses_" + rand.Text(),
		App:         c.App,
		Product:     req.Product,
		Purpose:     req.Purpose,
		Environment: b.apps[c.App].Environment,
		Person:      row.Person,
		SignUp:      whom.signUp,
		Assurance:   plan.purpose.Assurance,
		Keys:        make(map[string]string),
		OpenedAt:    now,
		RespondBy:   now.Add(b.cfg.RespondWithin).Truncate(time.Second),
		MaxAttempts: b.cfg.MaxAttempts,
	}
	if c.Kind == policy.KindService {
		n.Service = c.Name
	}
	if plan.profile.HasPolicy() {
		n.PolicyID = plan.purpose.PolicyID
	}
	for role, key := range plan.keys {
		n.Keys[role] = key.ClientID
	}
	n.SubjectSealed = pepper.SealSubject(n.ID, whom.subject.ID)
	act := store.OpenAct{Session: n, Limits: b.limits(n), Subjects: b.subjects(whom), CPFs: b.cpfs(whom), Audit: row}
	for _, p := range b.cfg.Peppers.All() {
		if req.IdempotencyKey != "" {
			// The current pepper's is the last, and the one that is recorded.
			act.Repeats = slices.Insert(act.Repeats, 0, store.Repeat{
				ID:      p.Request("key", c.App, string(c.Kind), c.Name, c.Subject.Issuer, c.Subject.ID, req.IdempotencyKey),
				Request: p.Request("open", req.Product, req.Purpose, whom.subject.Issuer, whom.subject.ID, whom.cpf.Digits()),
			})
			act.RepeatUntil = now.Add(repeatFor)
		}
	}
	if plan.exchanged {
		return b.openExchanged(ctx, plan, act, whom.cpf)
	}
	tokens, expires, err := b.mint(plan, whom.cpf, now)
	if err != nil {
		return nil, b.refuse(ctx, row, asRefusal(err))
	}
	act.Session.TokenExpiresAt = expires
	used, err := b.cfg.Store.Open(ctx, act)
	if errors.Is(err, store.ErrKeyEnded) {
		return nil, b.refuse(ctx, row, keyEnded())
	}
	if err != nil {
		return b.notOpened(err, plan, whom.cpf)
	}
	return b.opened(ctx, &act.Session, tokens, used), nil
}

// rule asks the app's rules, and returns what they said for the audit trail.
func (b *Broker) rule(c *policy.Caller, req OpenRequest, plan *plan, whom who, now time.Time) (note string, _ *Refusal) {
	facts := policy.Facts{
		Product: req.Product, Purpose: req.Purpose, Assurance: plan.purpose.Assurance.String(),
		Kind: c.Kind, Scopes: c.Scopes, Claims: c.Claims, CPFKnown: !whom.cpf.IsZero(), Now: now,
	}
	if c.Kind == policy.KindService {
		facts.Service = c.Name
	}
	verdict := b.apps[c.App].Rules.Judge(facts)
	for _, o := range verdict.Outcomes {
		b.cfg.Metrics.RuleOutcome(c.App, o.Rule, o.Result, o.Observe)
	}
	notes := []string{}
	if whom.signUp {
		notes = append(notes, "sign-up: no CPF is known")
	}
	if len(verdict.Outcomes) > 0 {
		notes = append(notes, verdict.String())
	}
	note = strings.Join(notes, "; ")
	if !verdict.Allowed {
		return note, refusal(selo.ReasonRuleDenied, "rule", verdict.By+" does not allow it")
	}
	return note, nil
}

// limits are those that hold for a session. Which of them apply to it the store knows.
func (b *Broker) limits(n store.Session) []store.Limit {
	all := slices.Clone(b.cfg.Limits)
	for _, l := range b.apps[n.App].Limits[n.Product] {
		l.By = store.LimitProduct
		all = append(all, l)
	}
	if most, there := b.cfg.Daily[n.Product]; there {
		all = append(all, store.Limit{By: store.LimitDaily, Sessions: most, Window: dailyWindow})
	}
	return all
}

// mint makes the mobile token of every role.
func (b *Broker) mint(plan *plan, cpf selo.CPF, now time.Time) (tokens map[string]string, expires time.Time, _ error) {
	tokens = make(map[string]string)
	for _, role := range plan.profile.Roles {
		b.cfg.Keys.Used(plan.keys[role.Name], now)
		profile, err := selo.LookupProfile(role.Product)
		if err != nil {
			return nil, expires, err
		}
		token, err := selo.Mint(selo.MintRequest{Profile: profile, Key: plan.keys[role.Name], CPF: cpf, Now: now, Lifetime: b.cfg.TokenLifetime})
		if err != nil {
			return nil, expires, err
		}
		tokens[role.Name] = token.JWT
		if expires.IsZero() || token.ExpiresAt.Before(expires) {
			expires = token.ExpiresAt
		}
	}
	return tokens, expires, nil
}

// openExchanged opens a session whose token the provider makes. The limit is taken first; the provider is called
// outside of any transaction; only then is there a session. If the provider gives no token nobody gets any, least
// of all the one that we show to the provider.
func (b *Broker) openExchanged(ctx context.Context, plan *plan, act store.OpenAct, cpf selo.CPF) (*Opened, error) {
	used, err := b.cfg.Store.Reserve(ctx, act)
	if err != nil {
		return b.notOpened(err, plan, cpf)
	}
	n := &act.Session
	role := plan.profile.Roles[0].Name
	b.cfg.Keys.Used(plan.keys[role], n.OpenedAt)
	given, err := b.exchange(ctx, n.Environment, plan.keys[role])
	act.Audit.At = b.cfg.Now().Truncate(time.Microsecond)
	if err != nil {
		return nil, b.release(ctx, act, asRefusal(err))
	}
	n.TokenExpiresAt = n.RespondBy // our ceiling on its use; its own expiry is the provider's
	if !given.ExpiresAt.IsZero() && given.ExpiresAt.Before(n.RespondBy) {
		n.TokenExpiresAt = given.ExpiresAt
	}
	if len(act.Repeats) > 0 {
		pepper, err := b.cfg.Peppers.Version(n.Person.PepperVersion) // with which it will be opened
		if err != nil {
			return nil, b.release(ctx, act, unavailable(err))
		}
		act.TokenSealed = pepper.SealToken(n.ID, given.JWT)
	}
	err = b.cfg.Store.OpenReserved(ctx, act)
	if errors.Is(err, store.ErrKeyEnded) {
		return nil, b.release(ctx, act, keyEnded())
	}
	if err != nil {
		return nil, b.release(ctx, act, unavailable(err))
	}
	return b.opened(ctx, n, map[string]string{role: given.JWT}, used), nil
}

// keyEnded refuses what began with an access key that has ended since.
func keyEnded() *Refusal {
	return refusal(selo.ReasonKeyUnavailable, "product", "the access key was revoked meanwhile; ask again")
}

// release gives the place of a session back that does not open, and records why, although its caller may have left.
func (b *Broker) release(ctx context.Context, act store.OpenAct, r *Refusal) *Refusal {
	row := act.Audit
	row.Outcome, row.Reasons, row.Keys = "refused", r.Err.Reasons(), act.Session.Keys
	if err := b.cfg.Store.Release(context.WithoutCancel(ctx), act.Session.ID, row); err != nil {
		return unavailable(errors.Join(err, r))
	}
	return r
}

func (b *Broker) exchange(ctx context.Context, env selo.Environment, key selo.AccessKey) (*provider.SessionToken, error) {
	token, err := selo.MintServerToken(key, b.cfg.Now())
	if err != nil {
		return nil, err
	}
	return b.cfg.Providers[env].Exchange(ctx, token.JWT)
}

// notOpened answers for a session that the store did not open. What it returns instead of an error is the session
// that the same request opened before.
func (b *Broker) notOpened(err error, plan *plan, cpf selo.CPF) (*Opened, error) {
	var limited *store.LimitError
	var again *store.RepeatedError
	switch {
	case errors.As(err, &again):
		return b.again(again, plan, cpf)
	case errors.As(err, &limited):
		return nil, overLimit(limited)
	case errors.Is(err, store.ErrRepeatConflict):
		return nil, refusal(selo.ReasonIdempotencyConflict, "Idempotency-Key", "was used for another request; a new request needs a new key")
	case errors.Is(err, store.ErrRepeatRunning):
		r := refusal(selo.ReasonIdempotencyConflict, "Idempotency-Key", "the same request is being answered right now; ask again")
		r.RetryAfter = time.Second
		return nil, r
	}
	return nil, unavailable(err)
}

// again gives the tokens of a session once more, to the request that got them: made anew from the record, the same
// to the byte, or unsealed.
func (b *Broker) again(found *store.RepeatedError, plan *plan, cpf selo.CPF) (*Opened, error) {
	n := found.Session
	changed := refusal(selo.ReasonIdempotencyConflict, "Idempotency-Key", "was used before the app was configured as it is now; use a new key")
	if n.Environment != b.apps[n.App].Environment {
		return nil, changed // of which the app has no session any more
	}
	if n.State != store.StateOpen {
		return nil, &Refusal{Err: &selo.Error{Reason: selo.ReasonSessionNotOpen, Field: "session", Detail: "that this request opened is " + string(n.State) + "; a new one needs a new key"},
			Session: n.ID, State: n.State}
	}
	if plan.exchanged && len(found.TokenSealed) == 0 || plan.profile.HasPolicy() && plan.purpose.PolicyID != n.PolicyID {
		return nil, changed
	}
	if !b.cfg.Now().Before(n.TokenExpiresAt) {
		return nil, refusal(selo.ReasonIdempotencyConflict, "Idempotency-Key", "its tokens have expired; use a new key")
	}
	keys := make(map[string]selo.AccessKey)
	for _, role := range plan.profile.Roles {
		var err error
		if keys[role.Name], err = b.cfg.Keys.Again(n.Environment, n.Keys[role.Name], role.Product); err != nil {
			return nil, asRefusal(err)
		}
	}
	tokens := make(map[string]string)
	if len(found.TokenSealed) > 0 {
		pepper, err := b.cfg.Peppers.Version(n.Person.PepperVersion)
		if err != nil {
			return nil, unavailable(err)
		}
		if tokens[plan.profile.Roles[0].Name], err = pepper.OpenToken(n.ID, found.TokenSealed); err != nil {
			return nil, unavailable(err)
		}
		return answer(n, tokens), nil
	}
	for _, role := range plan.profile.Roles {
		of, err := selo.LookupProfile(role.Product)
		if err != nil {
			return nil, asRefusal(err)
		}
		token, err := selo.Mint(selo.MintRequest{Profile: of, Key: keys[role.Name], CPF: cpf, Now: n.TokenExpiresAt.Add(-time.Minute), Lifetime: time.Minute})
		if err != nil {
			return nil, asRefusal(err)
		}
		tokens[role.Name] = token.JWT
	}
	return answer(n, tokens), nil
}

// overLimit refuses for the sake of a limit. What others use up is not told: how much a bank does in a day is its
// own business.
func overLimit(e *store.LimitError) *Refusal {
	detail := "this service has opened as many sessions as it may in a while"
	switch e.Limit.By {
	case store.LimitSubject, store.LimitCPF:
		detail = fmt.Sprintf("at most %d sessions in %s", e.Limit.Sessions, plain(e.Limit.Window))
	case store.LimitOpen:
		detail = fmt.Sprintf("at most %d open sessions at a time", e.Limit.Sessions)
	case store.LimitProduct, store.LimitDaily:
		detail = "there were as many sessions of this product as there may be in a while"
	}
	r := refusal(selo.ReasonRateLimited, string(e.Limit.By), detail)
	r.RetryAfter, r.Limit = e.RetryAfter, &e.Limit
	return r
}

// plain is a duration as it is written: 1h and not 1h0m0s.
func plain(d time.Duration) string {
	text := d.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// opened is the answer for a session that has just been opened. used is warned of where it is a daily ceiling.
func (b *Broker) opened(ctx context.Context, n *store.Session, tokens map[string]string, used []store.Usage) *Opened {
	o := answer(n, tokens)
	for _, u := range used {
		switch u.Limit.By {
		case store.LimitSubject:
			o.Usage = append(o.Usage, u)
		case store.LimitDaily:
			b.cfg.Metrics.Daily(string(n.Environment), n.Product, u.Used, u.Limit.Sessions)
			// Of the session that crosses it, so that it is said once each time.
			if warn := warnFrom(u.Limit.Sessions); u.Used == warn {
				b.cfg.Log.WarnContext(ctx, "a daily ceiling is near", "environment", string(n.Environment), "product", n.Product,
					"sessions", u.Used, "ceiling", u.Limit.Sessions)
			}
		}
	}
	return o
}

// warnFrom is the number of sessions at which a daily ceiling is warned of: four fifths.
func warnFrom(ceiling int) int { return ceiling - ceiling/5 }

func answer(n *store.Session, tokens map[string]string) *Opened {
	return &Opened{SessionID: n.ID, Product: n.Product, Purpose: n.Purpose, PolicyID: n.PolicyID, SignUp: n.SignUp,
		Tokens: tokens, ExpiresAt: n.TokenExpiresAt, RespondBy: n.RespondBy}
}

// allow says how the caller's app may run the product for the purpose.
func (b *Broker) allow(c *policy.Caller, req OpenRequest) (*plan, *Refusal) {
	app, ok := b.apps[c.App]
	if !ok {
		return nil, refusal(selo.ReasonCallerForbidden, "", "the caller's app is not configured")
	}
	profile, err := selo.LookupProfile(req.Product)
	if err != nil || !slices.Contains(app.Products, req.Product) {
		return nil, refusal(selo.ReasonProductUnknown, "product", "must be one of the app's products: "+strings.Join(app.Products, " "))
	}
	purpose, ok := app.Purposes[req.Purpose]
	if !ok {
		return nil, refusal(selo.ReasonPurposeUnknown, "purpose", "must be one that the app declares: "+strings.Join(slices.Sorted(maps.Keys(app.Purposes)), " "))
	}
	switch reach := b.cfg.reach(app, purpose, profile); {
	case purpose.Capture && !provesNothing(profile):
		return nil, refusal(selo.ReasonRequestInvalid, "product", "the purpose "+req.Purpose+" is for capture, for which nothing is granted: it takes products that prove nothing")
	case !purpose.Capture && provesNothing(profile):
		return nil, refusal(selo.ReasonAssuranceTooLow, "product", profile.Product+" proves nothing about a person: it needs a purpose with capture: true")
	case !purpose.Capture && purpose.Assurance > reach:
		return nil, refusal(selo.ReasonAssuranceTooLow, "product", fmt.Sprintf("%s proves at most %v, the purpose %s requires %v", profile.Product, reach, req.Purpose, purpose.Assurance))
	case profile.HasPolicy() && purpose.PolicyID == "":
		return nil, refusal(selo.ReasonProductUnknown, "product", "has no policy_id for this purpose in the configuration")
	}
	keys := make(map[string]selo.AccessKey)
	for _, role := range profile.Roles {
		if keys[role.Name], err = b.cfg.Keys.ForMint(app.Environment, role.Product, b.cfg.declared(app)); err != nil {
			return nil, asRefusal(err)
		}
	}
	return &plan{profile, purpose, keys, slices.Contains(app.Exchanged, req.Product)}, nil
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

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// What operators see of services and operators, and callers of limits, as the store keeps it.
type (
	Credential     = store.Credential
	CredentialKind = store.CredentialKind
	Limit          = store.Limit
	Usage          = store.Usage
)

// The kinds of credential, and the limits that are the caller's own.
const (
	LimitSubject = store.LimitSubject
	LimitCPF     = store.LimitCPF
	LimitOpen    = store.LimitOpen

	CredentialService  = store.CredentialService
	CredentialOperator = store.CredentialOperator
)

// MaxCredentialLife is the longest that a credential may be good for.
const MaxCredentialLife = 5 * 366 * 24 * time.Hour

// NewCredential is what somebody wants to be added.
type NewCredential struct {
	Kind        CredentialKind
	Name        string
	App         string // of a service
	Scopes      []string
	MapSubjects bool
	Certificate string // dns:NAME or uri:URI of a client certificate; "" makes an API key
	ExpiresAt   time.Time
}

// AddCredential adds a credential of a service or operator, and returns its API key, which nobody can be told
// again; for a certificate there is none.
func (b *Broker) AddCredential(ctx context.Context, by *policy.Caller, n NewCredential, requestID string) (*Credential, string, error) {
	now := b.cfg.Now().Truncate(time.Microsecond)
	row := b.audit(now, ActAdmin, by, requestID)
	if r := may(by, policy.ScopeAdmin); r != nil {
		return nil, "", b.refuse(ctx, row, r)
	}
	n.ExpiresAt = n.ExpiresAt.Truncate(time.Second)
	if r := b.checkCredential(n, now); r != nil {
		return nil, "", b.refuse(ctx, row, r)
	}
	c := Credential{Kind: n.Kind, Name: n.Name, App: n.App, Scopes: slices.Sorted(slices.Values(n.Scopes)),
		MapSubjects: n.MapSubjects, Certificate: n.Certificate, CreatedAt: now, ExpiresAt: n.ExpiresAt}
	key := policy.NewAPIKey(n.Kind)
	hash, id, err := policy.HashAPIKey(key)
	if err != nil {
		return nil, "", err
	}
	c.ID = id
	if n.Certificate != "" {
		key = "" // its id is as random as that of the others
	} else {
		c.KeyHash = hash
	}
	switch err := b.cfg.Store.AddCredential(ctx, c, row); {
	case errors.Is(err, store.ErrCredentialConflict):
		field := "name"
		if n.Certificate != "" && strings.Contains(err.Error(), n.Certificate) {
			field = "certificate"
		}
		_, why, _ := strings.Cut(err.Error(), store.ErrCredentialConflict.Error()+": ")
		return nil, "", b.refuse(ctx, row, refusal(selo.ReasonRequestInvalid, field, why))
	case err != nil:
		return nil, "", unavailable(err)
	}
	return &c, key, nil
}

// localName is policy.LocalOperator's.
var localName = policy.LocalOperator().Name

var (
	credentialName  = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	certificateName = regexp.MustCompile(`^(?:dns:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|uri:[a-z][a-z0-9+.-]*://[!-~]{1,240})$`)
)

func (b *Broker) checkCredential(n NewCredential, now time.Time) *Refusal {
	invalid := func(field, format string, args ...any) *Refusal {
		return refusal(selo.ReasonRequestInvalid, field, fmt.Sprintf(format, args...))
	}
	scopes, apps := policy.Scopes(n.Kind), strings.Join(slices.Sorted(maps.Keys(b.apps)), ", ")
	_, app := b.apps[n.App]
	switch {
	case n.Kind != CredentialService && n.Kind != CredentialOperator:
		return invalid("kind", "must be service or operator")
	case n.Name == localName:
		return invalid("name", "%s is who runs the commands of this program", localName)
	case !credentialName.MatchString(n.Name):
		return invalid("name", "must be 1 to 64 of a-z, 0-9 and -")
	case n.Kind == CredentialService && !app:
		return invalid("app", "must be one of the configured apps: %s", apps)
	case n.Kind == CredentialOperator && (n.App != "" || n.MapSubjects || n.Certificate != ""):
		return invalid("app", "an operator has no app, maps no subjects and shows no certificate")
	case len(n.Scopes) == 0:
		return invalid("scopes", "must name at least one of %s", strings.Join(scopes, ", "))
	case n.Certificate != "" && !certificateName.MatchString(n.Certificate):
		return invalid("certificate", "must be dns:NAME or uri:URI, a name in the client certificate, in lower case")
	case !n.ExpiresAt.After(now) || n.ExpiresAt.Sub(now) > MaxCredentialLife:
		return invalid("expires_at", "must be a time such as 2027-01-31T12:00:00Z, in the future and at most five years ahead")
	}
	for i, scope := range n.Scopes {
		if !slices.Contains(scopes, scope) || slices.Contains(n.Scopes[:i], scope) {
			return invalid("scopes", "must be some of %s, each once", strings.Join(scopes, ", "))
		}
	}
	return nil
}

// may refuses whoever is not an operator with the scope.
func may(by *policy.Caller, scope string) *Refusal {
	switch {
	case by.Kind != policy.KindOperator:
		return refusal(selo.ReasonCallerForbidden, "", "this is for operators")
	case !by.Has(scope):
		return refusal(selo.ReasonCallerForbidden, "", "the operator lacks the scope "+scope)
	}
	return nil
}

// Credentials lists the credentials of these kinds, also those that have ended.
func (b *Broker) Credentials(ctx context.Context, by *policy.Caller, requestID string, kinds ...CredentialKind) (all []*Credential, _ error) {
	row := b.audit(b.cfg.Now().Truncate(time.Microsecond), ActAdmin, by, requestID)
	if r := may(by, policy.ScopeViewer); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	for _, kind := range kinds {
		some, err := b.cfg.Store.Credentials(ctx, kind)
		if err != nil {
			return nil, unavailable(err)
		}
		all = append(all, some...)
	}
	row.Outcome = "listed"
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, unavailable(err)
	}
	return all, nil
}

// RevokeCredential ends a credential for ever. One that had ended already stays as it is.
func (b *Broker) RevokeCredential(ctx context.Context, by *policy.Caller, kind CredentialKind, id, requestID string) (*Credential, error) {
	now := b.cfg.Now().Truncate(time.Microsecond)
	row := b.audit(now, ActAdmin, by, requestID)
	scope := policy.ScopeAdmin
	if kind == CredentialService {
		scope = policy.ScopeOperator
	}
	if r := may(by, scope); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	c, err := b.cfg.Store.RevokeCredential(ctx, kind, id, now, row)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, b.refuse(ctx, row, refusal(selo.ReasonCredentialUnknown, "id", "no "+string(kind)+" has a credential of this id"))
	case err != nil:
		return nil, unavailable(err)
	}
	return c, nil
}

// Step is one row of the audit trail, with the rules that were asked.
type Step struct {
	At      time.Time
	Act     string
	Outcome string
	Reasons []selo.Reason
	Caller  string // its kind, and its name unless it is an end user
	Session string
	Note    string
	Rules   []RuleStep
	More    int // rules that were asked and are not on record, for there were too many
}

// RuleStep is what one rule said.
type RuleStep struct {
	Name    string
	Said    string // as in the audit trail, such as "deny observe false"
	Text    string // of the rule, "" when the configuration has none of that name any more
	Changed bool   // the rule has another text now
}

var rulesMore = regexp.MustCompile(`; ([0-9]{1,4}) more`)

var ruleSaid = regexp.MustCompile(`([a-z0-9-]{1,64})@([0-9a-f]{8}) ([a-z ]+)`)

// Explain tells what is on record of a session, or of one request by its X-Request-Id, oldest first: which rule
// decided, and why. Exactly one of the two is given.
func (b *Broker) Explain(ctx context.Context, by *policy.Caller, sessionID, ofRequest, requestID string) ([]Step, error) {
	row := b.audit(b.cfg.Now().Truncate(time.Microsecond), ActAdmin, by, requestID)
	if r := may(by, policy.ScopeViewer); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	rows, err := b.cfg.Store.Trail(ctx, sessionID, ofRequest)
	if err != nil {
		return nil, unavailable(err)
	}
	if len(rows) == 0 {
		return nil, b.refuse(ctx, row, refusal(selo.ReasonSessionUnknown, "session", "nothing is on record of it"))
	}
	// Who looks at a person's attempts is on record as well.
	row.Outcome, row.SessionID, row.Note = "explained", sessionID, ofRequest
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, unavailable(err)
	}
	var steps []Step
	for _, r := range rows {
		step := Step{At: r.At, Act: r.Act, Outcome: r.Outcome, Reasons: r.Reasons, Session: r.SessionID, Note: r.Note,
			Caller: strings.TrimSpace(r.CallerKind + " " + r.Service)}
		for _, said := range ruleSaid.FindAllStringSubmatch(r.Note, -1) {
			text, _, current := b.apps[r.App].Rules.Text(said[1], said[2])
			step.Rules = append(step.Rules, RuleStep{Name: said[1], Said: strings.TrimSpace(said[3]), Text: text, Changed: text != "" && !current})
		}
		if more := rulesMore.FindStringSubmatch(r.Note); more != nil && len(step.Rules) > 0 {
			step.More, _ = strconv.Atoi(more[1])
		}
		steps = append(steps, step)
	}
	return steps, nil
}

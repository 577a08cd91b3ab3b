// Package broker is the one door to minting and deciding. Each act goes authorise → act → record, and its
// record is durable before its answer leaves: a token without a session does not exist outside, and a
// grant without its used ids does not either.
//
// The caller is already authenticated (package policy). What the broker adds: whether this caller may open
// this session, whom the session is for, which access key it uses, whether a response grants it, and who
// may hear about it afterwards.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/metrics"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/provider"
	"github.com/selo-id/selo/internal/store"
)

// Defaults of Config and App.
const (
	DefaultRespondWithin = 10 * time.Minute
	DefaultMaxAttempts   = 5
	MaxRespondWithin     = time.Hour
)

// readyTimeout bounds what Ready waits for the store.
const readyTimeout = 2 * time.Second

// DefaultLimits hold when the configuration has none.
func DefaultLimits() []store.Limit {
	return []store.Limit{{By: store.LimitSubject, Sessions: 30, Window: time.Hour}}
}

// dailyWindow is that of a daily ceiling: any 24 hours, wherever a day begins.
const dailyWindow = 24 * time.Hour

// The acts of callers, as the audit trail names them.
const (
	ActOpen    = "open"
	ActRespond = "respond"
	ActRead    = "read"
	ActAdmin   = "admin"
	ActWebhook = "webhook" // of the provider
)

// App is what one mobile app may ask for.
type App struct {
	Name        string
	Environment selo.Environment
	Products    []string
	Exchanged   []string // of Products: those whose SDK is started by a session token that the provider makes
	PolicyID    string   // provider policy of products that run one, unless the purpose names its own
	Purposes    map[string]Purpose
	Limits      map[string][]store.Limit // by product, of this app; By is filled in here
	Rules       *policy.Rules            // nil: there are none
	CPFLookup   *policy.Lookup           // nil: nobody is asked
}

// Purpose is what an attempt may be for.
type Purpose struct {
	Assurance selo.Assurance // the least that a grant must prove; AssuranceUnset is AssuranceMatch
	Recheck   RecheckRule    // "" is RecheckWhenNeeded
	PolicyID  string         // "" is the app's

	// Capture is for products that prove nothing, such as document detection: their SDK is started, and nothing
	// is ever granted.
	Capture bool

	// SignUp lets end users open sessions of whom no CPF is known yet, with products that are exchanged. Such a
	// session is marked in its record and proves presence at most.
	SignUp bool
}

// RecheckRule says when the provider is asked about an attempt.
type RecheckRule string

// The rules.
const (
	RecheckWhenNeeded RecheckRule = "when-needed" // when the signed response alone is not enough
	RecheckAlways     RecheckRule = "always"      // before every grant
	RecheckNever      RecheckRule = "never"
)

func (p Purpose) withDefaults(app App) Purpose {
	if p.Assurance == selo.AssuranceUnset {
		p.Assurance = selo.AssuranceMatch
	}
	p.Recheck = cmp.Or(p.Recheck, RecheckWhenNeeded)
	p.PolicyID = cmp.Or(p.PolicyID, app.PolicyID)
	return p
}

// Config of a Broker. Zero durations and counts take the defaults.
type Config struct {
	Issuer     string // iss of receipts
	Apps       []App
	Keys       *keyring.Ring
	Peppers    *keyring.Peppers
	ReceiptKey *selo.ReceiptKey
	Store      *store.Store
	Providers  map[selo.Environment]*provider.Client // calls to the provider; what is not here is not called
	Webhooks   []Webhook

	TokenLifetime time.Duration  // of mobile tokens; 0 is the product's default
	RespondWithin time.Duration  // from opening; until then a response may be posted
	MaxAttempts   int            // refused responses until a session is denied
	LaxKeys       bool           // mint with keys that can do more than their app runs, and with shared ones that give no reason
	Limits        []store.Limit  // of all apps, other than LimitProduct and LimitDaily; nil is DefaultLimits
	Daily         map[string]int // product to the most sessions in 24 hours, of all apps of an environment

	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil discards
	Metrics *metrics.Metrics // nil counts nothing
}

// Broker opens sessions and decides responses. It is safe for concurrent use.
type Broker struct {
	cfg      Config
	apps     map[string]App
	webhooks map[string]Webhook

	mu              sync.Mutex
	unauthenticated map[refusalCount]int // not yet written

	asking sync.Map // ids of sessions about which the provider is being asked

	warnedAt time.Time
	counting sync.Mutex // held while what a leaked key touched is counted

	readyMu  sync.Mutex
	readyAt  time.Time
	readyErr error
}

type refusalCount struct {
	minute int64
	reason selo.Reason
}

// New checks the configuration and registers the peppers with the store, which refuses a pepper that
// changed under its version.
func New(ctx context.Context, cfg Config) (*Broker, error) {
	if err := Check(cfg); err != nil {
		return nil, err
	}
	if cfg.Keys == nil || cfg.Peppers == nil || cfg.ReceiptKey == nil || cfg.Store == nil {
		return nil, errors.New("broker: Keys, Peppers, ReceiptKey and Store are required")
	}
	if _, err := cfg.ReceiptKey.PEM(); err != nil {
		return nil, fmt.Errorf("broker: ReceiptKey: %w", err)
	}
	cfg = cfg.withDefaults()
	b := &Broker{cfg: cfg, apps: make(map[string]App), webhooks: make(map[string]Webhook), unauthenticated: make(map[refusalCount]int)}
	for _, app := range cfg.Apps {
		if _, twice := b.apps[app.Name]; twice || app.Name == "" {
			return nil, fmt.Errorf("app %q: every app needs a name of its own", app.Name)
		}
		app.Purposes = maps.Clone(app.Purposes)
		for name, p := range app.Purposes {
			app.Purposes[name] = p.withDefaults(app)
		}
		b.apps[app.Name] = app
	}
	for _, w := range cfg.Webhooks {
		b.webhooks[w.Name] = w.withDefaults()
	}
	for _, p := range cfg.Peppers.All() {
		if err := cfg.Store.RegisterPepper(ctx, p.Version(), p.Fingerprint()); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.RespondWithin == 0 {
		cfg.RespondWithin = DefaultRespondWithin
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = DefaultMaxAttempts
	}
	if cfg.Limits == nil {
		cfg.Limits = DefaultLimits()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Refusal is why the broker said no, with what the caller may know of the session. It always wraps an
// *selo.Error.
type Refusal struct {
	Err          *selo.Error
	Session      string        // "" when the caller may not know of one
	State        State         // "" likewise
	AttemptsLeft int           // while State is open
	RetryAfter   time.Duration // for rate_limited
	Limit        *store.Limit  // that was reached
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap gives the reasons to errors.Is and errors.As.
func (r *Refusal) Unwrap() error { return r.Err }

// firstReason is the reason of a refusal that counts, "" for nil.
func firstReason(err error) selo.Reason {
	if reasons := selo.ReasonsOf(err); len(reasons) > 0 {
		return reasons[0]
	}
	if err != nil {
		return "(other)"
	}
	return ""
}

func refusal(reason selo.Reason, field, detail string) *Refusal {
	return &Refusal{Err: &selo.Error{Reason: reason, Field: field, Detail: detail}}
}

// asRefusal wraps an *selo.Error, with the time to come back if a call to the provider said one; it returns any other
// error as what could not be done, which denies.
func asRefusal(err error) *Refusal {
	var e *selo.Error
	if !errors.As(err, &e) {
		return unavailable(err)
	}
	r := &Refusal{Err: e}
	var wait *provider.RetryAfter
	if errors.As(err, &wait) {
		r.RetryAfter = wait.After
	}
	return r
}

func unavailable(err error) *Refusal {
	return &Refusal{Err: &selo.Error{Reason: selo.ReasonStoreUnavailable, Detail: "the record could not be read or written; nothing was granted here, and GET tells how the session stands", Err: err}}
}

// Ready reports whether sessions can be opened and decided. Anybody may ask, and it takes a durable write to
// know, so it is asked of the store once a second at most.
func (b *Broker) Ready(ctx context.Context) error {
	b.readyMu.Lock()
	defer b.readyMu.Unlock()
	if age := b.cfg.Now().Sub(b.readyAt); b.readyAt.IsZero() || age < 0 || age >= time.Second {
		// Whoever asked may leave; the answer is for everybody who asks this second.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
		defer cancel()
		b.readyErr = errors.Join(b.cfg.Store.Ready(ctx), b.cfg.Keys.Refresh(ctx))
		b.readyAt = b.cfg.Now()
	}
	return b.readyErr
}

// refuse records that an authenticated caller was refused, and returns the refusal. Without the record
// the caller learns only that.
func (b *Broker) refuse(ctx context.Context, row store.Audit, r *Refusal) *Refusal {
	row.Outcome, row.Reasons = "refused", r.Err.Reasons()
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return unavailable(errors.Join(err, r))
	}
	return r
}

// Refused records that an authenticated caller sent what could not be read as a request, and returns the
// refusal.
func (b *Broker) Refused(ctx context.Context, c *policy.Caller, act string, e *selo.Error, requestID string) error {
	return b.refuse(ctx, b.audit(b.cfg.Now().Truncate(time.Microsecond), act, c, requestID), &Refusal{Err: e})
}

// Unauthenticated counts a request that could not be attributed to any caller. Counts are written by Run.
func (b *Broker) Unauthenticated(reason selo.Reason) {
	b.cfg.Metrics.Refused(reason)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unauthenticated[refusalCount{b.cfg.Now().Unix() / 60, reason}]++
}

// Run writes the counts of unauthenticated refusals every few seconds, and forgets what is past its time, until ctx
// ends; the counts it writes once more then.
func (b *Broker) Run(ctx context.Context) {
	b.warn(ctx)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.flush(ctx)
			b.warn(ctx)
			if err := b.cfg.Store.Sweep(ctx, b.cfg.Now()); err != nil {
				b.cfg.Log.ErrorContext(ctx, "what is past its time was not forgotten yet", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			b.flush(last)
			return
		}
	}
}

// warnEvery is how often what works and should not stay so is said again.
const warnEvery = 24 * time.Hour

// warn logs the standing warnings, at first and once a day. Only Run calls it.
func (b *Broker) warn(ctx context.Context) {
	if now := b.cfg.Now(); b.warnedAt.IsZero() || now.Sub(b.warnedAt) >= warnEvery {
		b.warnedAt = now
		for _, w := range b.Warnings() {
			b.cfg.Log.WarnContext(ctx, w)
		}
	}
}

// Warnings says what works, or does not, and should not stay so: products without a key, keys with too much power.
func (b *Broker) Warnings() []string {
	all := b.cfg.Keys.Warnings(b.cfg.Now())
	for _, app := range b.cfg.Apps {
		for _, name := range app.Products {
			profile, err := selo.LookupProfile(name)
			if err != nil {
				continue
			}
			for _, role := range profile.Roles {
				if _, err := b.cfg.Keys.ForMint(app.Environment, role.Product, b.cfg.declared(app)); err != nil {
					all = append(all, fmt.Sprintf("app %s: sessions of %s cannot be opened: %v", app.Name, name, err))
				}
			}
		}
	}
	return all
}

// declared are the products that an app's keys may be activated for, nil when that does not matter.
func (cfg Config) declared(app App) []string {
	if cfg.LaxKeys {
		return nil
	}
	all := slices.Clone(app.Products)
	for _, name := range app.Products {
		if profile, err := selo.LookupProfile(name); err == nil {
			for _, role := range profile.Roles {
				all = append(all, role.Product)
			}
		}
	}
	return all
}

func (b *Broker) flush(ctx context.Context) {
	if err := b.cfg.Keys.WriteUses(ctx); err != nil {
		b.cfg.Log.WarnContext(ctx, "when access keys were used last is not written", "error", err)
	}
	b.mu.Lock()
	counts := b.unauthenticated
	b.unauthenticated = make(map[refusalCount]int)
	b.mu.Unlock()
	for c, n := range counts {
		if err := b.cfg.Store.CountUnauthenticated(ctx, time.Unix(c.minute*60, 0), c.reason, n); err != nil {
			b.cfg.Log.ErrorContext(ctx, "unauthenticated refusals not counted yet", "reason", string(c.reason), "count", n, "error", err)
			b.mu.Lock()
			b.unauthenticated[c] += n
			b.mu.Unlock()
		}
	}
}

// person makes the pseudonyms under which the store knows a subject.
func person(p *keyring.Pepper, s selo.Subject, cpf selo.CPF) store.Person {
	who := store.Person{SubjectIssuer: s.Issuer, Subject: p.Subject(s), PepperVersion: p.Version()}
	if !cpf.IsZero() {
		who.CPF = p.CPF(cpf)
	}
	return who
}

// audit begins the row of an act. Until it is known whose session the act is about, an end user's is about
// themselves.
func (b *Broker) audit(now time.Time, act string, c *policy.Caller, requestID string) store.Audit {
	row := store.Audit{At: now, Act: act, CallerKind: string(c.Kind), Service: c.Name, App: c.App, RequestID: requestID}
	if c.Kind == policy.KindEndUser {
		row.Person = person(b.cfg.Peppers.Current(), c.Subject, c.CPF)
	}
	return row
}

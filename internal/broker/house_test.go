package broker_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

const (
	liveness = "caf/face-liveness"
	faceAuth = "caf/face-authentication"

	issuer   = "https://sign-in.bank.test"
	seloIss  = "https://selo.bank.test"
	thisTest = "request-of-this-test"
)

var start = time.Date(2026, 1, 2, 15, 4, 5, 123456789, time.UTC)

// clock stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// house is a broker with everything that it stands on, all of it real.
type house struct {
	*broker.Broker
	t     testing.TB
	path  string
	clock *clock
	store *store.Store
	cfg   broker.Config
	root  testing.TB // t may become a subtest's

	db      *sql.DB // see sql
	newRows *sql.Stmt
	rows    []auditRow // see trail
}

// defaultKeys are one key per product and one for both, in each environment that has an app.
func defaultKeys() []keyring.Key {
	return []keyring.Key{
		key("sbx-both", selo.EnvironmentSandbox, liveness, faceAuth),
		key("sbx-liveness", selo.EnvironmentSandbox, liveness),
		key("sbx-faceauth", selo.EnvironmentSandbox, faceAuth),
		key("prd-both", selo.EnvironmentProduction, liveness, faceAuth),
	}
}

func key(clientID string, env selo.Environment, products ...string) keyring.Key {
	secret, err := selo.NewSecret(secrets[clientID])
	if err != nil {
		panic(err)
	}
	return keyring.Key{AccessKey: selo.AccessKey{ClientID: clientID, Secret: secret, Environment: env}, Products: products}
}

func ring(t testing.TB, keys ...keyring.Key) *keyring.Ring {
	t.Helper()
	r, err := keyring.NewRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func peppers(t testing.TB, material ...[]byte) *keyring.Peppers {
	t.Helper()
	var all []*keyring.Pepper
	for i, m := range material {
		p, err := keyring.NewPepper(i+1, m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	ps, err := keyring.NewPeppers(all...)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

// newHouse builds a house; change may alter the configuration before it is used.
func newHouse(t testing.TB, change ...func(*broker.Config)) *house {
	t.Helper()
	purposes := map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}, "new-device": {Assurance: selo.AssuranceMatch}}
	h := &house{t: t, root: t, path: filepath.Join(t.TempDir(), "selo.db"), clock: &clock{now: start}}
	h.cfg = broker.Config{
		Issuer: seloIss,
		Apps: []broker.App{
			{Name: "bank", Environment: selo.EnvironmentSandbox, Products: []string{liveness, faceAuth}, Purposes: purposes},
			{Name: "shop", Environment: selo.EnvironmentProduction, Products: []string{liveness, faceAuth}, Purposes: purposes},
			{Name: "kiosk", Environment: selo.EnvironmentSandbox, Products: []string{liveness}, Purposes: map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}}},
		},
		Keys:       ring(t, defaultKeys()...),
		Peppers:    peppers(t, pepper1),
		ReceiptKey: receiptKey,
		LaxKeys:    true, // TestStrictKeys is about the other
		Now:        h.clock.Now,
		Log:        slog.New(slog.NewJSONHandler(transcript.Log(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.start()
	t.Cleanup(func() { _ = h.store.Close() })
	return h
}

func (h *house) start() {
	h.t.Helper()
	var err error
	if h.store, err = store.Open(context.Background(), h.path); err != nil {
		h.t.Fatal(err)
	}
	h.cfg.Store = h.store
	if h.Broker, err = broker.New(context.Background(), h.cfg); err != nil {
		h.t.Fatal(err)
	}
}

// restart stops the program and starts it with another configuration on the same database.
func (h *house) restart(change ...func(*broker.Config)) {
	h.t.Helper()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.start()
}

func withKeys(keys ...keyring.Key) func(*broker.Config) {
	return func(cfg *broker.Config) {
		r, err := keyring.NewRing(keys)
		if err != nil {
			panic(err)
		}
		cfg.Keys = r
	}
}

// The callers, as package policy makes them.

func endUser(app, sub string, cpf selo.CPF) *policy.Caller {
	return &policy.Caller{Kind: policy.KindEndUser, App: app, Issuer: issuer, Subject: selo.Subject{Issuer: issuer, ID: sub}, CPF: cpf}
}

func ana() *policy.Caller   { return endUser("bank", "ana", anaCPF) }
func bruno() *policy.Caller { return endUser("bank", "bruno", brunoCPF) }

func service(name string, scopes ...string) *policy.Caller {
	return &policy.Caller{Kind: policy.KindService, App: "bank", Issuer: issuer, Name: name, Scopes: scopes}
}

func backend() *policy.Caller {
	return service("backend", policy.ScopeSessionsOpen, policy.ScopeSessionsRead)
}

func in(app string, c *policy.Caller) *policy.Caller { c.App = app; return c }
func mapped(c *policy.Caller) *policy.Caller         { c.MapSubjects = true; return c }

// auditRow is what a test looks at of a row of the trail.
type auditRow struct {
	Act, Outcome, Reasons, Session, Kind, Service, App, Product, Purpose, Keys, Request string
	Named, WithCPF                                                                      bool
}

// trail is every row of the audit trail, oldest first. Rows are never changed, so only new ones are read.
func (h *house) trail() []auditRow {
	h.t.Helper()
	if h.newRows == nil {
		var err error
		if h.newRows, err = h.sql().PrepareContext(context.Background(), `SELECT act, outcome, reasons, session_id, caller_kind,
			service, app, product, purpose, client_ids, request_id, length(subject) > 0, length(cpf) > 0
			FROM audit WHERE id > ? ORDER BY id`); err != nil {
			h.t.Fatal(err)
		}
	}
	rows, err := h.newRows.QueryContext(context.Background(), len(h.rows)) // ids begin at 1 and leave nothing out
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r auditRow
		if err := rows.Scan(&r.Act, &r.Outcome, &r.Reasons, &r.Session, &r.Kind, &r.Service, &r.App, &r.Product, &r.Purpose,
			&r.Keys, &r.Request, &r.Named, &r.WithCPF); err != nil {
			h.t.Fatal(err)
		}
		h.rows = append(h.rows, r)
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	return h.rows
}

// sql is a connection of somebody else's to the database, beside the store's.
func (h *house) sql() *sql.DB {
	h.t.Helper()
	if h.db == nil {
		var err error
		if h.db, err = sql.Open("sqlite", "file:"+h.path+"?_pragma=busy_timeout(10000)"); err != nil {
			h.t.Fatal(err)
		}
		h.root.Cleanup(func() { _ = h.db.Close() })
	}
	return h.db
}

func (h *house) exec(statement string, args ...any) {
	h.t.Helper()
	if _, err := h.sql().ExecContext(context.Background(), statement, args...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) count(table string) (n int) {
	h.t.Helper()
	if err := h.sql().QueryRowContext(context.Background(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// recorded checks that an act left a row that says what the caller was told.
func (h *house) recorded(before int, act, outcome string, c *policy.Caller, err error) {
	h.t.Helper()
	rows := h.trail()
	if len(rows) == before {
		h.t.Errorf("%s by %s %s: no audit row", act, c.Kind, c.Name)
		return
	}
	got := rows[len(rows)-1]
	want := auditRow{Act: act, Outcome: outcome, Reasons: join(selo.ReasonsOf(err)), Kind: string(c.Kind), Service: c.Name, App: c.App, Request: thisTest}
	got.Session, got.Product, got.Purpose, got.Keys, got.Named, got.WithCPF = "", "", "", "", false, false
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("%s by %s %s: audit row (-want +got):\n%s", act, c.Kind, c.Name, diff)
	}
}

func join(reasons []selo.Reason) string {
	words := make([]string, len(reasons))
	for i, r := range reasons {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

// open asks for a session and checks that an answer is an answer or an error, recorded either way.
func (h *house) open(c *policy.Caller, req broker.OpenRequest) (*broker.Opened, error) {
	h.t.Helper()
	before := len(h.trail())
	req.RequestID = thisTest
	opened, err := h.OpenSession(context.Background(), c, req)
	_ = transcript.Error(err)
	if (opened == nil) == (err == nil) {
		h.t.Fatalf("opening: exactly one of session and error must be nil: %v, %v", opened != nil, err)
	}
	outcome := "opened"
	if err != nil {
		outcome = "refused"
	}
	h.recorded(before, "open", outcome, c, err)
	return opened, err
}

// opened opens a session that must open.
func (h *house) opened(c *policy.Caller, product, purpose string) *broker.Opened {
	h.t.Helper()
	req := broker.OpenRequest{Product: product, Purpose: purpose}
	if c.Kind == policy.KindService {
		req.Subject, req.CPF = new("customer-81"), new(brunoCPF.Digits())
	}
	s, err := h.open(c, req)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// decide posts a response and checks the same, and what the reply says of the session.
func (h *house) decide(c *policy.Caller, id, response string) (*broker.Session, error) {
	h.t.Helper()
	before := len(h.trail())
	granted, err := h.Decide(context.Background(), c, id, broker.Answer{SignedResponse: response}, thisTest)
	_ = transcript.Error(err)
	if (granted == nil) == (err == nil) {
		h.t.Fatalf("deciding: exactly one of session and error must be nil: %v, %v", granted != nil, err)
	}
	outcome := "granted"
	var refused *broker.Refusal
	switch {
	case errors.As(err, &refused):
		outcome = "refused"
		if refused.State == store.StateDenied && !slices.Contains(refused.Err.Reasons(), selo.ReasonSessionNotOpen) {
			outcome = "denied"
		}
	case err != nil:
		h.t.Fatalf("an error that is no refusal: %v", err)
	case granted.State != store.StateGranted || granted.Receipt == "":
		h.t.Fatalf("no error, yet state %s and receipt %q", granted.State, granted.Receipt)
	}
	h.recorded(before, "respond", outcome, c, err)
	return granted, err
}

// read gets a session, with the same checks.
func (h *house) read(c *policy.Caller, id string) (*broker.Session, error) {
	h.t.Helper()
	before := len(h.trail())
	s, err := h.Session(context.Background(), c, id, thisTest)
	_ = transcript.Error(err)
	if (s == nil) == (err == nil) {
		h.t.Fatalf("reading: exactly one of session and error must be nil: %v, %v", s != nil, err)
	}
	switch {
	case err != nil:
		h.recorded(before, "read", "refused", c, err)
	case s.Receipt != "": // a look at a session that has none is not recorded
		h.recorded(before, "read", string(s.State), c, nil)
	}
	return s, err
}

// state is the state of a session, as its owner reads it.
func (h *house) state(c *policy.Caller, id string) store.State {
	h.t.Helper()
	s, err := h.read(c, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.State
}

// told is what a refusal says. It is no error, so that a test which has seen enough may leave it.
type told broker.Refusal

// refused checks the reasons of a refusal, in order.
func refused(t testing.TB, err error, want ...selo.Reason) *told {
	t.Helper()
	var r *broker.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v, want a refusal for %v", err, want)
	}
	for _, reason := range r.Err.Reasons() {
		provoked.Store(reason, true)
	}
	if diff := cmp.Diff(want, selo.ReasonsOf(err)); diff != "" {
		t.Fatalf("reasons (-want +got):\n%s", diff)
	}
	return (*told)(r)
}

// payload is what a provider says; a test changes it before it is signed.
type payload map[string]any

// approved is an approval of this person by product, made now.
func (h *house) approved(product string, cpf selo.CPF) payload {
	h.t.Helper()
	one := sandbox.FaceLivenessResponse{
		RequestID: string(randomHex()[:32]), IsAlive: true, Token: "t", UserID: "u", ImageURL: "https://images.test/1.jpg",
		PersonID: cpf.Digits(), SDKVersion: "1", IssuedAt: h.clock.Now().Unix(),
	}
	var response any = one
	if product == faceAuth {
		response = sandbox.FaceAuthenticationResponse{FaceLivenessResponse: one, IsMatch: true, Message: "ok"}
	}
	text, err := json.Marshal(response)
	if err != nil {
		h.t.Fatal(err)
	}
	var p payload
	if err := json.Unmarshal(text, &p); err != nil {
		h.t.Fatal(err)
	}
	p["iat"] = one.IssuedAt // not a float64
	return p
}

// with returns p with one claim changed; nil takes it away.
func (p payload) with(name string, value any) payload {
	changed := maps.Clone(p)
	changed[name] = value
	if value == nil {
		delete(changed, name)
	}
	return changed
}

func (p payload) json() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// by signs p as the provider would for this access key.
func (p payload) by(clientID string) string { return signed(clientID, p.json()) }

func signed(clientID, payload string) string {
	return sandbox.Sign(secrets[clientID], []byte(sandbox.HS256Header), []byte(payload))
}

// keyOf is the client ID of the key that a fresh house picks for a product of a sandbox app.
func keyOf(product string) string {
	if product == faceAuth {
		return "sbx-faceauth"
	}
	return "sbx-liveness"
}

func perSubject(sessions int, window time.Duration) []store.Limit {
	return []store.Limit{{By: store.LimitSubject, Sessions: sessions, Window: window}}
}

// warnLog writes what is worth a warning to w, and everything to the transcript.
func warnLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(w, transcript.Log()), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

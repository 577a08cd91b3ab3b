package broker_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

var kekMaterial = plant(randomHex())

// ringKeys are client IDs of these tests, with their secrets in secrets.
var ringKeys = func() (ids []string) {
	for i := range 4 {
		id := fmt.Sprint("gen-", i)
		secrets[id] = plant(randomHex())
		ids = append(ids, id)
	}
	secrets["twin/production"] = plant(randomHex())
	secrets["twin"] = plant(randomHex())
	return ids
}()

func keeper(t testing.TB) *seal.Keeper {
	t.Helper()
	kek, err := seal.NewKEK(kekMaterial)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.NewKeeper(kek)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newLiveHouse is a house whose keys and peppers are in its database. It has no key yet.
func newLiveHouse(t testing.TB, change ...func(*broker.Config)) *house {
	t.Helper()
	h := newHouse(t, change...)
	if err := keyring.ImportPepper(t.Context(), h.store, keeper(t), 1, bytes.Clone(pepper1), store.Audit{At: start, CallerKind: "operator"}); err != nil {
		t.Fatal(err)
	}
	h.live()
	return h
}

// live takes keys and peppers from the database.
func (h *house) live() {
	h.t.Helper()
	var err error
	if h.cfg.Keys, h.cfg.Peppers, err = keyring.Open(h.t.Context(), h.store, keeper(h.t)); transcript.Error(err) != nil {
		h.t.Fatal(err)
	}
	if h.Broker, err = broker.New(h.t.Context(), h.cfg); transcript.Error(err) != nil {
		h.t.Fatal(err)
	}
}

// neighbour is another process on the same database.
func (h *house) neighbour() *house {
	h.t.Helper()
	n := &house{t: h.t, root: h.root, path: h.path, clock: h.clock, cfg: h.cfg}
	var err error
	if n.store, err = store.Open(context.Background(), h.path); err != nil {
		h.t.Fatal(err)
	}
	h.root.Cleanup(func() { _ = n.store.Close() })
	n.cfg.Store = n.store
	n.live()
	return n
}

func (h *house) add(clientID string, env selo.Environment, reason string, products ...string) {
	h.t.Helper()
	secret := secrets[clientID]
	if env == selo.EnvironmentProduction && secrets[clientID+"/production"] != nil {
		secret = secrets[clientID+"/production"]
	}
	given := bytes.Clone(secret)
	if _, err := h.AddKey(h.t.Context(), policy.LocalOperator(), broker.NewKey{ClientID: clientID, Environment: env, Products: products, SharedReason: reason}, given, thisTest); transcript.Error(err) != nil {
		h.t.Fatal(err)
	}
	if !bytes.Equal(given, make([]byte, len(given))) {
		h.t.Error("the secret is not wiped")
	}
}

func (h *house) change(clientID string, env selo.Environment, to store.KeyState) {
	h.t.Helper()
	c := broker.KeyChange{ClientID: clientID, Environment: env, To: string(to)}
	if to == store.KeyRetiring {
		c.Until = h.cfg.Now().Add(time.Hour)
	}
	if _, _, err := h.ChangeKey(h.t.Context(), policy.LocalOperator(), c, thisTest); transcript.Error(err) != nil {
		h.t.Fatal(err)
	}
}

func (h *house) addActive(clientID string, env selo.Environment, reason string, products ...string) {
	h.t.Helper()
	h.add(clientID, env, reason, products...)
	h.change(clientID, env, store.KeyActive)
}

// minter is the client ID that is in a token.
func minter(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	var c struct {
		Iss string `json:"iss"`
	}
	if err != nil || json.Unmarshal(text, &c) != nil {
		return "(no token)"
	}
	return c.Iss
}

// within polls for at most a second of real time: what operators are promised.
func within(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !done(); <-tick.C {
		if time.Since(began) > time.Second {
			t.Fatalf("not after a second: %s", what)
		}
	}
}

const sandboxEnv, productionEnv = selo.EnvironmentSandbox, selo.EnvironmentProduction

// A key that can do more than the app runs mints nothing for it, nor does a shared one without a reason, unless keys are lax.
func TestStrictKeys(t *testing.T) {
	t.Parallel()
	kiosk := func() *policy.Caller { return endUser("kiosk", "ana", anaCPF) } // runs liveness alone
	for _, one := range []struct {
		name, reason  string
		lax           bool
		products      []string
		bank, inKiosk bool // whether it mints there
	}{
		{"for one product", "", false, []string{liveness}, true, true},
		{"for two, with a reason", "the console cannot split it", false, []string{faceAuth, liveness}, true, false},
		{"for two, without a reason", "", false, []string{faceAuth, liveness}, false, false},
		{"for one that no app runs", "a reason", false, []string{"caf/document-detection", liveness}, false, false},
		{"lax, for two, without a reason", "", true, []string{faceAuth, liveness}, true, true},
		{"lax, for one that no app runs", "", true, []string{"caf/document-detection", liveness}, true, true},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			h := newLiveHouse(t) // where any key may be added
			h.addActive("gen-0", sandboxEnv, one.reason, one.products...)
			h.cfg.LaxKeys = one.lax
			h.live()
			for _, as := range []struct {
				c     *policy.Caller
				mints bool
			}{{ana(), one.bank}, {kiosk(), one.inKiosk}} {
				s, err := h.open(as.c, broker.OpenRequest{Product: liveness, Purpose: "login"})
				if !as.mints {
					refused(t, err, selo.ReasonKeyUnavailable)
					if strings.Contains(err.Error(), "gen-0") {
						t.Error("the refusal names a client ID that may be the secret")
					}
					continue
				}
				if err != nil || minter(s.Tokens["mobile"]) != "gen-0" {
					t.Errorf("%s: %v", as.c.App, err)
				}
			}
			warned := strings.Join(h.Warnings(), "\n")
			if shared := len(one.products) > 1; strings.Contains(warned, fmt.Sprintf("activated for %d products", len(one.products))) != shared {
				t.Errorf("warnings: %s", warned)
			}
		})
	}
	// A key of its own is taken although a shared one is there.
	h := newLiveHouse(t)
	h.addActive("gen-0", sandboxEnv, "", faceAuth, liveness)
	h.addActive("gen-1", sandboxEnv, "", liveness)
	h.cfg.LaxKeys = false
	h.live()
	if got := minter(h.opened(ana(), liveness, "login").Tokens["mobile"]); got != "gen-1" {
		t.Errorf("minted with %s", got)
	}
}

// Among keys for as many products the newest mints, by when it was activated; one for more does not, however new.
func TestNewestKeyMints(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	expect := func(want string) {
		t.Helper()
		if got := minter(h.opened(ana(), liveness, "login").Tokens["mobile"]); got != want {
			t.Errorf("minted with %s, want %s", got, want)
		}
	}
	for _, id := range []string{"gen-0", "gen-1", "gen-2"} {
		h.add(id, sandboxEnv, "", liveness)
		h.clock.move(time.Second)
	}
	for _, id := range []string{"gen-1", "gen-2", "gen-0"} { // not the order in which they came
		h.change(id, sandboxEnv, store.KeyActive)
		h.clock.move(time.Second)
		expect(id)
	}
	h.addActive("gen-3", sandboxEnv, "a reason", faceAuth, liveness)
	expect("gen-0")
	h.change("gen-0", sandboxEnv, store.KeyRetiring)
	expect("gen-2")
	h.change("gen-2", sandboxEnv, store.KeyRevoked)
	expect("gen-1")
}

// A client ID that is there in both environments is two keys, which have nothing to do with each other.
func TestOneClientIDInBothEnvironments(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	shop := func() *policy.Caller { return endUser("shop", "ana", anaCPF) }
	_, err := h.open(shop(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonKeyUnavailable)
	h.addActive("twin", sandboxEnv, "", liveness)
	_, err = h.open(shop(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonKeyUnavailable) // a sandbox key mints nothing in production
	h.addActive("twin", productionEnv, "", liveness)

	inSandbox, inShop := h.opened(ana(), liveness, "login"), h.opened(shop(), liveness, "login")
	yes := h.approved(liveness, anaCPF)
	_, err = h.decide(shop(), inShop.SessionID, yes.by("twin"))
	refused(t, err, selo.ReasonSignatureInvalid)
	_, err = h.decide(ana(), inSandbox.SessionID, yes.by("twin/production"))
	refused(t, err, selo.ReasonSignatureInvalid)

	// Bug: of two keys of one client ID only one had a fingerprint, so a scanner did not find the other's secret.
	prints, err := h.Fingerprints(t.Context(), policy.LocalOperator(), thisTest)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"twin", "twin/production"} {
		if !slices.ContainsFunc(values(prints), func(p string) bool { return fingerprints(t, p, secrets[id]) }) {
			t.Errorf("%s has no fingerprint in %v", id, prints)
		}
	}

	h.change("twin", sandboxEnv, store.KeyRevoked)
	_, err = h.decide(ana(), inSandbox.SessionID, yes.by("twin"))
	refused(t, err, selo.ReasonKeyRevoked)
	_, err = h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonKeyUnavailable) // nor the production key in the sandbox
	if _, err := h.decide(shop(), inShop.SessionID, yes.by("twin/production")); err != nil {
		t.Errorf("the production key went with that of the sandbox: %v", err)
	}
}

func values(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// fingerprints says whether a fingerprint is of the secret, as a scanner does.
func fingerprints(t testing.TB, print string, secret []byte) bool {
	t.Helper()
	saltText, macText, ok := strings.Cut(strings.TrimPrefix(print, broker.FingerprintPrefix), ":")
	salt, err1 := hex.DecodeString(saltText)
	want, err2 := hex.DecodeString(macText)
	if !ok || err1 != nil || err2 != nil || len(salt) != 16 {
		t.Fatalf("%q is no fingerprint", print)
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write(secret)
	return hmac.Equal(mac.Sum(nil), want)
}

// traffic is honest journeys without pause, on two processes.
type traffic struct {
	t        *testing.T
	houses   [2]*house
	least    [2]atomic.Int64 // the oldest generation that may mint there
	journeys []atomic.Int64  // that were granted, by worker
	stop     atomic.Bool

	mu    sync.Mutex
	mints map[string]int
	cross int // opened here, decided there
}

func generation(clientID string) int64 { return int64(slices.Index(ringKeys, clientID)) }

// journey is what an honest user does. Every one of them must be granted.
func (tr *traffic) journey(worker, n int) error {
	j, err := tr.begin(rand.IntN(2), fmt.Sprintf("user-%d-%d", worker, n))
	if err != nil {
		return err
	}
	return tr.end(j, rand.IntN(2))
}

// underWay is a journey whose user has the token.
type underWay struct {
	at       int // index of houses
	c        *policy.Caller
	id, with string // the session, and the access key
}

func (tr *traffic) begin(at int, user string) (*underWay, error) {
	c := endUser("bank", user, anaCPF)
	least := tr.least[at].Load() // before it begins
	opened, err := tr.houses[at].OpenSession(context.Background(), c, broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	with := minter(opened.Tokens["mobile"])
	if generation(with) < least {
		return nil, fmt.Errorf("minted with %s, after generation %d was activated", with, least)
	}
	return &underWay{at, c, opened.SessionID, with}, nil
}

func (tr *traffic) end(j *underWay, then int) error {
	tr.mu.Lock()
	tr.mints[j.with]++
	if j.at != then {
		tr.cross++
	}
	tr.mu.Unlock()
	yes := tr.houses[0].approved(liveness, anaCPF).with("iat", time.Now().Unix())
	granted, err := tr.houses[then].Decide(context.Background(), j.c, j.id, broker.Answer{SignedResponse: yes.by(j.with)}, thisTest)
	if err != nil {
		return fmt.Errorf("deciding at %d what %s minted at %d: %w", then, j.with, j.at, err)
	}
	if granted.Receipt == "" {
		return errors.New("no receipt")
	}
	return nil
}

// turn waits until every worker has gone at least twice through a whole journey: what was under way before is over.
func (tr *traffic) turn() {
	tr.t.Helper()
	before := make([]int64, len(tr.journeys))
	for i := range before {
		before[i] = tr.journeys[i].Load()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		over := true
		for i := range before {
			over = over && tr.journeys[i].Load() >= before[i]+2
		}
		if over || tr.t.Failed() {
			return
		}
		if time.Since(began) > 20*time.Second {
			tr.t.Fatal("the traffic stands still")
		}
	}
}

// Must show: rotation while journeys run, with none that fails, and no mint with the old key once the new one is active.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t, func(c *broker.Config) { c.Now = time.Now })
	h.addActive("gen-0", sandboxEnv, "", liveness)
	tr := &traffic{t: t, houses: [2]*house{h, h.neighbour()}, journeys: make([]atomic.Int64, 6), mints: make(map[string]int)}
	var all sync.WaitGroup
	for w := range tr.journeys {
		all.Go(func() {
			for n := 0; !tr.stop.Load(); n++ {
				if err := tr.journey(w, n); transcript.Error(err) != nil {
					t.Errorf("an honest journey failed: %v", err)
					return
				}
				tr.journeys[w].Add(1)
			}
		})
	}
	defer all.Wait()
	defer tr.stop.Store(true)
	there := func(id string, want keyring.State) func() bool {
		return func() bool {
			return slices.ContainsFunc(tr.houses[1].cfg.Keys.All(), func(k keyring.Key) bool { return k.ClientID == id && k.State == want })
		}
	}
	const generations = 3
	for g := 1; g < generations; g++ {
		old, fresh := ringKeys[g-1], ringKeys[g]
		tr.turn()
		var slow []*underWay // users who take their time
		for i := range 4 {
			j, err := tr.begin(i%2, fmt.Sprintf("slow-%d-%d", g, i))
			if err != nil || j.with != old {
				t.Fatalf("%v, minted with %v", err, j)
			}
			slow = append(slow, j)
		}
		h.add(fresh, sandboxEnv, "", liveness)
		tr.turn()
		h.change(fresh, sandboxEnv, store.KeyActive)
		tr.least[0].Store(int64(g)) // the call has returned
		within(t, fresh+" is active in the other process", there(fresh, keyring.Active))
		tr.least[1].Store(int64(g))
		followed := time.Now()
		tr.turn()
		h.change(old, sandboxEnv, store.KeyRetiring)
		within(t, old+" is retiring in the other process", there(old, keyring.Retiring))
		for i, j := range slow {
			if err := transcript.Error(tr.end(j, i/2)); err != nil {
				t.Errorf("an honest journey that began on the retiring key failed: %v", err)
			}
		}
		tr.turn()
		// By now nobody is on the way with the old key.
		var waiting, late int
		if err := h.sql().QueryRowContext(t.Context(), `SELECT count(*) FILTER (WHERE s.state = 'open'), count(*) FILTER (WHERE s.opened_at > ?)
			FROM sessions s JOIN session_keys k ON k.session_id = s.id WHERE k.client_id = ?`, followed.UnixMicro(), old).Scan(&waiting, &late); err != nil {
			t.Fatal(err)
		}
		if waiting > 0 || late > 0 {
			t.Errorf("%d sessions of %s are still open, %d were opened after %s took over", waiting, old, late, fresh)
		}
		h.change(old, sandboxEnv, store.KeyRevoked)
		within(t, old+" is revoked in the other process", there(old, keyring.Revoked))
		tr.turn()
	}
	tr.stop.Store(true)
	all.Wait()
	total := 0
	for i := range tr.journeys {
		total += int(tr.journeys[i].Load())
	}
	if total < 100 || tr.cross < 20 || len(tr.mints) != generations {
		t.Errorf("%d journeys, %d over both processes, mints %v: too few to show anything", total, tr.cross, tr.mints)
	}
	if denied := h.count(`sessions WHERE state <> 'granted'`); denied > 0 {
		t.Errorf("%d sessions are not granted", denied)
	}
	t.Logf("%d journeys, %d over both processes, mints %v", total, tr.cross, tr.mints)
}

// Bug: a session that one process opened with a key, or under a pepper, that it had just been given was refused by another
// for up to a quarter of a second, and cost an attempt.
func TestWhatWasJustActivatedIsKnownEverywhere(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	n := h.neighbour()
	for i, id := range ringKeys[:3] {
		// The neighbour has just looked.
		if _, err := n.read(bruno(), "ses_none"); err == nil {
			t.Fatal("found")
		}
		h.addActive(id, sandboxEnv, "", liveness)
		h.clock.move(time.Second)
		if _, err := keyring.AddPepper(t.Context(), h.store, keeper(t), store.Audit{At: start, CallerKind: "operator"}); err != nil {
			t.Fatal(err)
		}
		s := h.opened(ana(), liveness, "login")
		if got := minter(s.Tokens["mobile"]); got != id {
			t.Errorf("minted with %s, want %s", got, id)
		}
		if _, err := n.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by(id)); err != nil {
			t.Errorf("generation %d: %v", i, err)
		}
	}
}

// What is revoked in one process mints and verifies in another for a second at most.
func TestRevokedEverywhere(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	h.addActive("gen-0", sandboxEnv, "", liveness)
	n := h.neighbour()
	c := func(i int) *policy.Caller { return endUser("bank", fmt.Sprint("user-", i), anaCPF) }
	i := 0
	openThere := func() error {
		i++
		_, err := n.open(c(i), broker.OpenRequest{Product: liveness, Purpose: "login"})
		return err
	}
	s := n.opened(ana(), liveness, "login")
	if err := openThere(); err != nil {
		t.Fatal(err)
	}
	h.change("gen-0", sandboxEnv, store.KeyRevoked)
	within(t, "mints no more", func() bool { return errors.Is(openThere(), selo.ReasonKeyUnavailable) })
	_, err := n.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("gen-0"))
	refused(t, err, selo.ReasonKeyRevoked)

	// And the verifying alone, of a process that opens nothing.
	h.addActive("gen-1", sandboxEnv, "", liveness)
	s = h.opened(bruno(), liveness, "login")
	rubbish := func() error {
		_, err := n.Decide(t.Context(), bruno(), s.SessionID, broker.Answer{SignedResponse: "rubbish"}, thisTest)
		return transcript.Error(err)
	}
	if err := rubbish(); !errors.Is(err, selo.ReasonMalformed) {
		t.Errorf("before: %v", err)
	}
	h.change("gen-1", sandboxEnv, store.KeyRevoked)
	within(t, "verifies no more", func() bool { return errors.Is(rubbish(), selo.ReasonKeyRevoked) })
	h.expectNoGrants()
}

func (h *house) expectNoGrants() {
	h.t.Helper()
	if n := h.count(`sessions WHERE state = 'granted'`); n > 0 {
		h.t.Errorf("%d grants", n)
	}
}

// Whoever revokes a leaked key learns what it may have touched, and the trail keeps it.
func TestLeakedKey(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	h.addActive("gen-0", sandboxEnv, "", liveness)
	h.addActive("gen-1", sandboxEnv, "", faceAuth) // whose sessions do not count
	grant := func(c *policy.Caller, cpf selo.CPF) {
		t.Helper()
		s := h.opened(c, liveness, "login")
		if _, err := h.decide(c, s.SessionID, h.approved(liveness, cpf).by("gen-0")); err != nil {
			t.Fatal(err)
		}
	}
	grant(ana(), anaCPF) // before the leak
	h.clock.move(2 * time.Hour)
	since := h.clock.Now()
	h.clock.move(time.Minute)
	grant(bruno(), brunoCPF)
	open := h.opened(ana(), liveness, "login")
	other := h.opened(endUser("bank", "carla", anaCPF), faceAuth, "login")

	leak := broker.KeyChange{ClientID: "gen-0", Environment: sandboxEnv, To: string(store.KeyRevoked), Leaked: true, Since: since}
	viewer := &policy.Caller{Kind: policy.KindOperator, Name: "viewer", Scopes: []string{policy.ScopeViewer}}
	_, _, err := h.ChangeKey(t.Context(), viewer, leak, thisTest)
	refused(t, err, selo.ReasonCallerForbidden)
	operator := &policy.Caller{Kind: policy.KindOperator, Name: "operator", Scopes: []string{policy.ScopeOperator, policy.ScopeViewer}}
	k, radius, err := h.ChangeKey(t.Context(), operator, leak, thisTest)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	if k.State != store.KeyRevoked || !k.Leaked {
		t.Errorf("it is %s, leaked %v", k.State, k.Leaked)
	}
	pepper := h.cfg.Peppers.Current()
	want := []string{hex.EncodeToString(pepper.Subject(ana().Subject)), hex.EncodeToString(pepper.Subject(bruno().Subject))}
	got := slices.Clone(radius.Pseudonyms)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
	counts := []int{radius.TokensAlive, radius.OpenSessions, radius.Subjects, radius.GrantsSince, radius.SessionsSince}
	if diff := cmp.Diff([]int{2, 1, 2, 1, 2}, counts); diff != "" {
		t.Errorf("tokens alive, open sessions, subjects, grants and sessions since (-want +got):\n%s", diff)
	}
	if !radius.LatestTokenExpiry.Equal(open.ExpiresAt) {
		t.Errorf("the last token lives until %v, want %v", radius.LatestTokenExpiry, open.ExpiresAt)
	}
	var note, by string
	if err := h.sql().QueryRowContext(t.Context(), `SELECT note, service FROM audit WHERE outcome = 'counted'`).Scan(&note, &by); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"gen-0 (sandbox)", "leaked: 2 tokens alive, 1 open sessions, 2 subjects, 1 grants since " + since.UTC().Format(time.RFC3339)} {
		if !strings.Contains(note, part) || by != "operator" {
			t.Errorf("recorded by %s: %q, without %q", by, note, part)
		}
	}
	_, err = h.decide(ana(), open.SessionID, h.approved(liveness, anaCPF).by("gen-0"))
	refused(t, err, selo.ReasonKeyRevoked)
	if _, err := h.decide(endUser("bank", "carla", anaCPF), other.SessionID, h.approved(faceAuth, anaCPF).by("gen-1")); err != nil {
		t.Errorf("another key suffered: %v", err)
	}
	_, _, err = h.ChangeKey(t.Context(), operator, broker.KeyChange{ClientID: "nobody", Environment: sandboxEnv, To: string(store.KeyRevoked), Leaked: true}, thisTest)
	refused(t, err, selo.ReasonKeyUnknown)
}

// A new pepper changes nothing for sessions and limits of before.
func TestNewPepperWhileOpen(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t, func(c *broker.Config) { c.Limits = perSubject(2, time.Hour) })
	h.addActive("gen-0", sandboxEnv, "", liveness)
	h.opened(ana(), liveness, "login")
	s := h.opened(ana(), liveness, "login")
	if version, err := keyring.AddPepper(t.Context(), h.store, keeper(t), store.Audit{At: start, CallerKind: "operator"}); err != nil || version != 2 {
		t.Fatal(version, err)
	}
	_, err := h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonRateLimited)
	if h.cfg.Peppers.Current().Version() != 2 {
		t.Error("the new pepper is not used")
	}
	h.opened(bruno(), liveness, "login")
	granted, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("gen-0"))
	if err != nil {
		t.Fatal(err)
	}
	verifyReceipt(t, h, granted, selo.Subject{Issuer: issuer, ID: "ana"})
}

// Nobody knows which responses were used between a backup and its restore: none of before it counts.
func TestRestored(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	h.addActive("gen-0", sandboxEnv, "", liveness)
	used, open := h.opened(ana(), liveness, "login"), h.opened(bruno(), liveness, "login")
	dir := t.TempDir()
	if err := transcript.Error(h.store.Backup(t.Context(), filepath.Join(dir, "copy.db"))); err != nil {
		t.Fatal(err)
	}
	h.clock.move(time.Minute)
	response := h.approved(liveness, anaCPF)
	if _, err := h.decide(ana(), used.SessionID, response.by("gen-0")); err != nil {
		t.Fatal(err)
	}
	// Two seconds later the database is lost, and put back.
	h.clock.move(2 * time.Second)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	h.path = filepath.Join(dir, "restored.db")
	if err := transcript.Error(store.Restore(t.Context(), filepath.Join(dir, "copy.db"), h.path, h.clock.Now())); err != nil {
		t.Fatal(err)
	}
	h.db, h.newRows, h.rows = nil, nil, nil // of the one that is lost
	h.start()
	h.live()
	h.clock.move(time.Second)

	if n := h.count("consumed_ids"); n != 0 {
		t.Fatalf("%d used ids are known: the test shows nothing", n)
	}
	if got := h.state(bruno(), open.SessionID); got != store.StateExpired {
		t.Errorf("a session of before is %s", got)
	}
	_, err := h.decide(ana(), used.SessionID, response.by("gen-0"))
	refused(t, err, selo.ReasonSessionNotOpen, selo.ReasonExpired)
	s := h.opened(ana(), liveness, "login")
	// Its time is within what clocks may differ by, so nothing but the restore is against it.
	_, err = h.decide(ana(), s.SessionID, response.by("gen-0"))
	refused(t, err, selo.ReasonStale)
	// Nor does one count that is dated a little after the restore: the provider's clock may be ahead.
	h.clock.move(selo.DefaultSkew - 3*time.Second)
	_, err = h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("gen-0"))
	refused(t, err, selo.ReasonStale)
	h.clock.move(3 * time.Second)
	granted, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("gen-0"))
	if err != nil {
		t.Fatal(err)
	}
	verifyReceipt(t, h, granted, selo.Subject{Issuer: issuer, ID: "ana"})

	t.Run("control", func(t *testing.T) {
		h := newLiveHouse(t)
		h.addActive("gen-0", sandboxEnv, "", liveness)
		early := h.approved(liveness, anaCPF)
		h.clock.move(3 * time.Second)
		if _, err := h.decide(ana(), h.opened(ana(), liveness, "login").SessionID, early.by("gen-0")); err != nil {
			t.Errorf("without a restore: %v", err)
		}
	})
}

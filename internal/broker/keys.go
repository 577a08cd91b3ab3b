package broker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// AccessKey is an access key as operators see it: without its secret, which nobody sees.
type AccessKey = store.AccessKey

// NewKey is an access key that somebody wants to be added.
type NewKey struct {
	ClientID     string
	Environment  selo.Environment
	Products     []string
	Name, Note   string
	SharedReason string // required, under strict keys, of one for several products
	// State is prepared if empty. One that is taken over from somewhere else may be active or, until a time, retiring.
	State store.KeyState
	Until time.Time
}

// AddKey seals the secret of an access key and records the key. secret is wiped.
func (b *Broker) AddKey(ctx context.Context, by *policy.Caller, n NewKey, secret []byte, requestID string) (*AccessKey, error) {
	defer clear(secret)
	now := b.cfg.Now().Truncate(time.Microsecond)
	row := b.audit(now, ActAdmin, by, requestID)
	if r := may(by, policy.ScopeAdmin); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	if err := b.cfg.Keys.Refresh(ctx); err != nil {
		return nil, unavailable(err)
	}
	if r := b.checkKey(n, secret); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	k := &AccessKey{ClientID: n.ClientID, Environment: n.Environment, Name: n.Name, Note: n.Note, Products: slices.Clone(n.Products),
		SharedReason: n.SharedReason, State: cmp.Or(n.State, store.KeyPrepared), CreatedAt: now, RetireUntil: n.Until.Truncate(time.Microsecond)}
	if k.State != store.KeyPrepared {
		k.ActivatedAt = now
	}
	if err := b.cfg.Keys.SealKey(ctx, k, secret); err != nil {
		return nil, unavailable(err)
	}
	switch err := b.cfg.Store.AddKey(ctx, *k, row); {
	case errors.Is(err, store.ErrKeyConflict):
		_, why, _ := strings.Cut(err.Error(), store.ErrKeyConflict.Error()+": ")
		return nil, b.refuse(ctx, row, refusal(selo.ReasonRequestInvalid, "client_id", why))
	case err != nil:
		return nil, unavailable(err)
	}
	return k, nil
}

func (b *Broker) checkKey(n NewKey, secret []byte) *Refusal {
	invalid := func(field, detail string) *Refusal { return refusal(selo.ReasonRequestInvalid, field, detail) }
	text := func(s string, most int) bool { // Cf: what makes a name look like another
		return len(s) <= most && !strings.ContainsFunc(s, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf) })
	}
	given, err := selo.NewSecret(secret)
	switch {
	case n.ClientID == "" || len(n.ClientID) > 256 || strings.ContainsFunc(n.ClientID, func(c rune) bool { return c <= ' ' || c > '~' }):
		return invalid("client_id", "must be 1 to 256 visible ASCII characters")
	case n.Environment != selo.EnvironmentProduction && n.Environment != selo.EnvironmentSandbox:
		return invalid("environment", "must be production or sandbox")
	case len(n.Products) == 0:
		return invalid("products", "must list what the provider activated the key for")
	case !text(n.Name, 64) || !text(n.Note, 500) || !text(n.SharedReason, 500):
		return invalid("name", "name, note and shared_reason must be at most 64, 500 and 500 bytes without control characters")
	case err != nil:
		return asRefusal(err)
	case string(secret) == n.ClientID:
		return invalid("client_secret", "is the client ID")
	case keyring.LooksLikeClientID(string(secret)) && !keyring.LooksLikeClientID(n.ClientID):
		return invalid("client_id", "looks like the secret, and the secret like a client ID: they are swapped")
	case !bytes.Equal(bytes.TrimSpace(secret), secret) || bytes.ContainsFunc(secret, unicode.IsControl):
		return invalid("client_secret", "begins or ends with a space, or has a line break in it")
	case len(n.Products) > 1 && strings.TrimSpace(n.SharedReason) == "" && !b.cfg.LaxKeys:
		return invalid("shared_reason", "is required by strict_keys of a key for several products: why is it shared? Better is a key for each")
	case n.State != "" && n.State != store.KeyPrepared && n.State != store.KeyActive && n.State != store.KeyRetiring:
		return invalid("state", "must be prepared, active or retiring")
	case (n.State == store.KeyRetiring) != n.Until.After(b.cfg.Now()):
		return invalid("until", "a retiring key needs a time to come, and others have none")
	}
	for i, p := range n.Products {
		if _, err := selo.LookupProfile(p); err != nil || slices.Contains(n.Products[:i], p) {
			var known []string
			for _, profile := range selo.Profiles() {
				known = append(known, profile.Product)
			}
			return invalid("products", "must be of "+strings.Join(known, ", ")+", each once")
		}
	}
	for _, w := range b.cfg.Webhooks {
		if w.Environment != n.Environment && w.Secret.Equal(given) {
			return invalid("client_secret", "is that of webhook "+w.Name)
		}
	}
	for _, k := range b.cfg.Keys.All() {
		// Also of what the row's fingerprint cannot know: a key of a fixed ring.
		if !k.Secret.IsZero() && k.Secret.Equal(given) {
			return invalid("client_secret", "is that of access key "+k.ClientID+"; every key has its own")
		}
	}
	return nil
}

// AccessKeys lists all access keys, revoked ones too.
func (b *Broker) AccessKeys(ctx context.Context, by *policy.Caller, requestID string) ([]*AccessKey, error) {
	row := b.audit(b.cfg.Now().Truncate(time.Microsecond), ActAdmin, by, requestID)
	if r := may(by, policy.ScopeViewer); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	all, _, err := b.cfg.Store.Keys(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	row.Outcome = "listed"
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, unavailable(err)
	}
	return all, nil
}

// AccessKey returns one of them.
func (b *Broker) AccessKey(ctx context.Context, by *policy.Caller, clientID string, env selo.Environment, requestID string) (*AccessKey, error) {
	row := b.audit(b.cfg.Now().Truncate(time.Microsecond), ActAdmin, by, requestID)
	if r := may(by, policy.ScopeViewer); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	all, _, err := b.cfg.Store.Keys(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	i := slices.IndexFunc(all, func(k *AccessKey) bool { return k.ClientID == clientID && k.Environment == env })
	if i < 0 {
		return nil, b.refuse(ctx, row, keyUnknown())
	}
	row.Outcome = "listed"
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, unavailable(err)
	}
	return all[i], nil
}

func keyUnknown() *Refusal {
	return refusal(selo.ReasonKeyUnknown, "client_id", "there is no access key of this client ID in this environment")
}

// Rewrap seals everything under the current KEK that is sealed under a previous one, and returns how many values there
// were. Whatever goes wrong, what is done stays done, and it may be asked for again.
func (b *Broker) Rewrap(ctx context.Context, by *policy.Caller, requestID string) (count int, _ error) {
	row := b.audit(b.cfg.Now().Truncate(time.Microsecond), ActAdmin, by, requestID)
	if r := may(by, policy.ScopeAdmin); r != nil {
		return 0, b.refuse(ctx, row, r)
	}
	count, err := b.cfg.Keys.Rewrap(ctx, row)
	if err != nil {
		return count, unavailable(err)
	}
	row.Outcome, row.Note = "rewrapped", fmt.Sprintf("%d values", count)
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return count, unavailable(err)
	}
	return count, nil
}

// FingerprintPrefix begins every fingerprint: selo-fp1:SALT:HMAC, both in hex, where HMAC is HMAC-SHA256 of the client
// secret under the salt.
const FingerprintPrefix = "selo-fp1:"

// Fingerprints returns a fingerprint of every access key that is not revoked, under a new salt, by the key's ID, such as
// "tenant-1 (production)".
func (b *Broker) Fingerprints(ctx context.Context, by *policy.Caller, requestID string) (map[string]string, error) {
	row := b.audit(b.cfg.Now().Truncate(time.Microsecond), ActAdmin, by, requestID)
	if r := may(by, policy.ScopeAdmin); r != nil {
		return nil, b.refuse(ctx, row, r)
	}
	all, _, err := b.cfg.Store.Keys(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	found := make(map[string]string)
	for _, k := range all {
		if k.State == store.KeyRevoked {
			continue
		}
		mac, err := b.cfg.Keys.Fingerprint(ctx, k, salt)
		if err != nil {
			return nil, unavailable(err)
		}
		found[k.ID().String()] = FingerprintPrefix + hex.EncodeToString(salt) + ":" + hex.EncodeToString(mac)
	}
	row.Outcome = "fingerprinted"
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, unavailable(err)
	}
	return found, nil
}

// KeyChange moves an access key on.
type KeyChange struct {
	ClientID    string
	Environment selo.Environment
	To          string    // active, retiring or revoked
	Until       time.Time // of retiring
	Leaked      bool      // of revoked
	Since       time.Time // of leaked: from when on grants are counted
}

// countTimeout bounds the count of what a leaked key may have touched.
const countTimeout = time.Minute

// Radius is what a leaked key may have touched.
type Radius struct {
	*store.BlastRadius
	Pseudonyms []string // of subjects, in hex; at most 100
}

// ChangeKey activates, retires or revokes an access key. Every process knows of it within a second. Of a leaked one it
// returns and records what somebody who has the secret may have touched; for that it may be revoked again.
func (b *Broker) ChangeKey(ctx context.Context, by *policy.Caller, c KeyChange, requestID string) (*AccessKey, *Radius, error) {
	now := b.cfg.Now().Truncate(time.Microsecond)
	row := b.audit(now, ActAdmin, by, requestID)
	c.Until = c.Until.Truncate(time.Microsecond) // as it is stored
	scope := policy.ScopeAdmin
	if c.To == string(store.KeyRevoked) {
		scope = policy.ScopeOperator
	}
	if r := may(by, scope); r != nil {
		return nil, nil, b.refuse(ctx, row, r)
	}
	state := store.KeyState(c.To)
	switch {
	case state != store.KeyActive && state != store.KeyRetiring && state != store.KeyRevoked:
		return nil, nil, b.refuse(ctx, row, refusal(selo.ReasonRequestInvalid, "state", "must be active, retiring or revoked"))
	case state == store.KeyRetiring && c.Until.Before(now.Add(b.cfg.RespondWithin)):
		return nil, nil, b.refuse(ctx, row, refusal(selo.ReasonRequestInvalid, "until",
			fmt.Sprintf("must be at least respond_within, %v, from now: until then sessions that the key minted may be answered. To end it now, revoke it", b.cfg.RespondWithin)))
	case c.Leaked && state != store.KeyRevoked:
		return nil, nil, b.refuse(ctx, row, refusal(selo.ReasonRequestInvalid, "leaked", "is only for revoking"))
	}
	changed, err := b.cfg.Store.ChangeKey(ctx, store.KeyChange{ClientID: c.ClientID, Environment: c.Environment, To: state, At: now,
		RetireUntil: c.Until, Leaked: c.Leaked}, row)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, b.refuse(ctx, row, keyUnknown())
	case errors.Is(err, store.ErrKeyState):
		return nil, nil, b.refuse(ctx, row, refusal(selo.ReasonRequestInvalid, "state", err.Error()))
	case err != nil:
		return nil, nil, unavailable(err)
	}
	if !c.Leaked {
		return changed, nil, nil
	}
	// After the key has ended, not before: what it minted up to its end is counted, and ending it waits for no count.
	// One at a time, and not for ever: it may read millions of rows, and others want to read as well.
	b.counting.Lock()
	defer b.counting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	found, err := b.cfg.Store.BlastRadius(ctx, c.ClientID, c.Environment, c.Since, now)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	radius := &Radius{BlastRadius: found}
	for _, p := range found.SubjectPseudonyms {
		radius.Pseudonyms = append(radius.Pseudonyms, hex.EncodeToString(p))
	}
	row.Outcome = "counted"
	row.Note = fmt.Sprintf("access key %v leaked: %d tokens alive, %d open sessions, %d subjects, %d grants since %s", changed.ID(), found.TokensAlive,
		found.OpenSessions, found.Subjects, found.GrantsSince, c.Since.UTC().Format(time.RFC3339))
	if err := b.cfg.Store.Record(ctx, row); err != nil {
		return nil, nil, unavailable(err)
	}
	return changed, radius, nil
}

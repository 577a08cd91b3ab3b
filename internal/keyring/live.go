package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
)

// source is where a Ring and its Peppers come from.
type source struct {
	store   *store.Store
	keeper  *seal.Keeper
	peppers *Peppers

	generation atomic.Int64 // that the set is of; stored under mu

	mu       sync.Mutex
	unsealed map[string]selo.Secret // by row, as sealedAs makes it: an HSM is asked once about each
	opened   map[string]*Pepper     // so too
	used     map[store.KeyID]time.Time
}

// Open unseals what is in the store. An empty one gets its first pepper. A value that does not open, because it is sealed
// with another KEK or was changed or moved, is an error, and nothing is written.
func Open(ctx context.Context, s *store.Store, keeper *seal.Keeper) (*Ring, *Peppers, error) {
	// In this order: whoever makes a pepper seals it before it is used.
	used, err := s.PepperVersions(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, err := s.SealedPeppers(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A version that is sealed is newer than those that were used before, or one of them: an import that was interrupted has
	// perhaps not come to the newest yet. Older ones may have been given up.
	if len(used) > 0 && (len(all) == 0 || all[len(all)-1].Version < used[len(used)-1]) {
		return nil, nil, fmt.Errorf("the database was used with peppers and access keys of a configuration file, and pepper %d is not in it: take them over with selo key import", used[len(used)-1])
	}
	if len(all) == 0 {
		if err := firstPepper(ctx, s, keeper); err != nil {
			return nil, nil, err
		}
	}
	src := &source{store: s, keeper: keeper, peppers: &Peppers{}, unsealed: make(map[string]selo.Secret), used: make(map[store.KeyID]time.Time)}
	r := &Ring{source: src}
	if err := r.reload(ctx); err != nil {
		return nil, nil, err
	}
	return r, src.peppers, nil
}

// firstPepper makes version 1. Of several processes at once one is first.
func firstPepper(ctx context.Context, s *store.Store, keeper *seal.Keeper) error {
	material := make([]byte, minPepperSize)
	_, _ = rand.Read(material) // never fails
	defer clear(material)
	err := sealPepper(ctx, s, keeper, 1, material, store.Audit{At: time.Now(), CallerKind: "selo"})
	if errors.Is(err, store.ErrPepperConflict) {
		return nil
	}
	return err
}

// sealPepper seals a pepper and records it. Its fingerprint is recorded when it is first read again: were that to come
// first, a process that dies in between would leave a version that no pepper ever fits.
func sealPepper(ctx context.Context, s *store.Store, keeper *seal.Keeper, version int, material []byte, row store.Audit) error {
	sealed, err := keeper.Seal(ctx, pepperRecord(version), material)
	if err != nil {
		return fmt.Errorf("sealing pepper %d: %w", version, err)
	}
	return s.AddPepper(ctx, version, sealed.Blob, sealed.KEK, row)
}

// AddPepper makes a new pepper, of the next version, under which new pseudonyms are made from then on.
func AddPepper(ctx context.Context, s *store.Store, keeper *seal.Keeper, row store.Audit) (version int, _ error) {
	all, err := s.SealedPeppers(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		version = max(version, p.Version)
	}
	used, err := s.PepperVersions(ctx) // also one that is not imported yet
	if err != nil {
		return 0, err
	}
	for _, v := range used {
		version = max(version, v)
	}
	version++
	material := make([]byte, minPepperSize)
	_, _ = rand.Read(material) // never fails
	defer clear(material)
	return version, sealPepper(ctx, s, keeper, version, material, row)
}

// ImportPepper takes over a pepper that was in a file. It must be the one that was used under this version, if one was.
func ImportPepper(ctx context.Context, s *store.Store, keeper *seal.Keeper, version int, material []byte, row store.Audit) error {
	pepper, err := NewPepper(version, material)
	if err != nil {
		return err
	}
	if err := s.RegisterPepper(ctx, version, pepper.Fingerprint()); err != nil {
		return err
	}
	return sealPepper(ctx, s, keeper, version, material, row)
}

func pepperRecord(version int) seal.Record {
	return seal.Record{Kind: "pepper", Parts: []string{fmt.Sprint(version)}}
}

// KeyRecord is what the secret of an access key is bound to: moved to another key, or to more products, it does not open.
func KeyRecord(id store.KeyID, products []string) seal.Record {
	return seal.Record{Kind: "access key", Parts: append([]string{id.ClientID, string(id.Environment)}, products...)}
}

// Refresh makes the set one of this moment, a fixed one excepted. Every act begins with it, and asks the store, which takes
// some microseconds: a set that is a little old would refuse, in this process, what another has just opened with a key that
// it has just been given. Where the store cannot be asked the set stays as it is, and with an error nobody may act on it.
func (r *Ring) Refresh(ctx context.Context) error {
	src := r.source
	if src == nil {
		return nil
	}
	generation, err := src.store.Generation(ctx)
	if err != nil || generation == src.generation.Load() {
		return err
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if generation <= src.generation.Load() {
		return nil // somebody else was faster
	}
	return r.reload(ctx)
}

// reload reads and unseals everything. The caller holds mu, or nobody else has the ring yet.
func (r *Ring) reload(ctx context.Context) error {
	src := r.source
	// The generation first: what is read after it is at least as new, and at worst read again. The other way round, a pepper that
	// comes in between would be of a generation that is known, and never seen.
	rows, generation, err := src.store.Keys(ctx)
	if err != nil {
		return err
	}
	sealed, err := src.store.SealedPeppers(ctx)
	if err != nil {
		return err
	}
	var peppers []*Pepper
	opened := make(map[string]*Pepper)
	for _, p := range sealed {
		as := fmt.Sprintf("%d %s %q", p.Version, p.KEK, p.Sealed)
		if known, there := src.opened[as]; there {
			peppers, opened[as] = append(peppers, known), known
			continue
		}
		material, err := src.keeper.Open(ctx, pepperRecord(p.Version), seal.Sealed{KEK: p.KEK, Blob: p.Sealed})
		if err != nil {
			return fmt.Errorf("unsealing pepper %d: %w", p.Version, err)
		}
		pepper, err := NewPepper(p.Version, material)
		clear(material)
		if err != nil {
			return err
		}
		if err := src.store.RegisterPepper(ctx, p.Version, pepper.Fingerprint()); err != nil {
			return err
		}
		peppers, opened[as] = append(peppers, pepper), pepper
	}
	fixed, err := NewPeppers(peppers...)
	if err != nil {
		return err
	}
	unsealed := make(map[string]selo.Secret)
	keys := make([]Key, 0, len(rows))
	for _, row := range rows {
		k := Key{AccessKey: selo.AccessKey{ClientID: row.ClientID, Environment: row.Environment}, Products: row.Products,
			State: State(row.State), Name: row.Name, SharedReason: row.SharedReason, ActivatedAt: row.ActivatedAt}
		if k.State == Retiring {
			k.Until = row.RetireUntil
		}
		if k.State != Revoked { // whose secret is needed no more
			secret, there := src.unsealed[sealedAs(row)]
			if !there {
				if secret, err = openSecret(ctx, src.keeper, peppers, row); err != nil {
					return err
				}
			}
			unsealed[sealedAs(row)], k.Secret = secret, secret
		}
		keys = append(keys, k)
	}
	src.peppers.now.Store(fixed.now.Load())
	r.now.Store(&keys)
	src.unsealed = unsealed
	src.generation.Store(generation)
	src.opened = opened
	return nil
}

// sealedAs is a sealed secret and what it must be bound to: what was moved to another record is not known to open there.
func sealedAs(row *store.AccessKey) string {
	return fmt.Sprintf("%q", append([]string{row.KEK, string(row.Sealed), row.ClientID, string(row.Environment)}, row.Products...))
}

// openSecret unseals a secret, which must be the one that its row was added with here: one that another installation sealed
// under the same KEK opens too, and is not ours.
func openSecret(ctx context.Context, keeper *seal.Keeper, peppers []*Pepper, row *store.AccessKey) (selo.Secret, error) {
	text, err := keeper.Open(ctx, KeyRecord(row.ID(), row.Products), seal.Sealed{KEK: row.KEK, Blob: row.Sealed})
	if err != nil {
		return selo.Secret{}, fmt.Errorf("unsealing access key %v: %w", row.ID(), err)
	}
	defer clear(text)
	if !slices.ContainsFunc(peppers, func(p *Pepper) bool { return hmac.Equal(row.Fingerprint, p.secret(text)) }) {
		return selo.Secret{}, fmt.Errorf("access key %v: its secret was not added to this database: %w", row.ID(), seal.ErrSealBroken)
	}
	return selo.NewSecret(text)
}

// Used notes that a key minted or verified; WriteUses records it.
func (r *Ring) Used(k selo.AccessKey, at time.Time) {
	if src := r.source; src != nil {
		src.mu.Lock()
		defer src.mu.Unlock()
		src.used[store.KeyID{ClientID: k.ClientID, Environment: k.Environment}] = at
	}
}

// WriteUses records when keys were used last.
func (r *Ring) WriteUses(ctx context.Context) error {
	src := r.source
	if src == nil {
		return nil
	}
	src.mu.Lock()
	used := maps.Clone(src.used)
	clear(src.used)
	src.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	return src.store.KeysUsed(ctx, used)
}

// Rewrap seals everything that is sealed with another KEK than the current one with that, one value at a time, and returns
// how many there were. It may be stopped and begun again, and others may act meanwhile: what they add is looked at as well.
func Rewrap(ctx context.Context, s *store.Store, keeper *seal.Keeper, row store.Audit) (count int, _ error) {
	for {
		n, err := rewrapOnce(ctx, s, keeper, row)
		count += n
		if err != nil || n == 0 {
			return count, err
		}
	}
}

// Rewrap is the function of that name, with the ring's own store and KEKs.
func (r *Ring) Rewrap(ctx context.Context, row store.Audit) (count int, _ error) {
	if r.source == nil {
		return 0, errors.New("nothing of a fixed ring is sealed")
	}
	return Rewrap(ctx, r.source.store, r.source.keeper, row)
}

// rewrapOnce goes through what is there when it begins.
func rewrapOnce(ctx context.Context, s *store.Store, keeper *seal.Keeper, row store.Audit) (int, error) {
	count := 0
	peppers, err := s.SealedPeppers(ctx)
	if err != nil {
		return count, err
	}
	for _, p := range peppers {
		after, changed, err := keeper.Rewrap(ctx, pepperRecord(p.Version), seal.Sealed{KEK: p.KEK, Blob: p.Sealed})
		switch {
		case err != nil:
			return count, fmt.Errorf("rewrapping pepper %d: %w", p.Version, err)
		case !changed:
			continue
		}
		if err := s.RewrapPepper(ctx, p.Version, p.Sealed, after.Blob, after.KEK, row); err != nil && !errors.Is(err, store.ErrChanged) {
			return count, err
		}
		count++
	}
	keys, _, err := s.Keys(ctx)
	if err != nil {
		return count, err
	}
	for _, k := range keys {
		after, changed, err := keeper.Rewrap(ctx, KeyRecord(k.ID(), k.Products), seal.Sealed{KEK: k.KEK, Blob: k.Sealed})
		switch {
		case err != nil:
			return count, fmt.Errorf("rewrapping access key %v: %w", k.ID(), err)
		case !changed:
			continue
		}
		// Another rewrap was faster: then it is done.
		if err := s.RewrapKey(ctx, k.ClientID, k.Environment, k.Sealed, after.Blob, after.KEK, row); err != nil && !errors.Is(err, store.ErrChanged) {
			return count, err
		}
		count++
	}
	return count, nil
}

// Fingerprint is an HMAC of an access key's secret under a salt: who has both can tell whether a text is the secret, and
// no more. For a scanner, which then needs to hold no secret.
func (r *Ring) Fingerprint(ctx context.Context, row *store.AccessKey, salt []byte) ([]byte, error) {
	src := r.source
	if src == nil {
		return nil, errors.New("a fixed ring fingerprints nothing")
	}
	secret, err := src.keeper.Open(ctx, KeyRecord(row.ID(), row.Products), seal.Sealed{KEK: row.KEK, Blob: row.Sealed})
	if err != nil {
		return nil, fmt.Errorf("unsealing access key %v: %w", row.ID(), err)
	}
	defer clear(secret)
	mac := hmac.New(sha256.New, salt)
	mac.Write(secret)
	return mac.Sum(nil), nil
}

// SealKey seals the secret of a new access key into its row, which has everything else, and fingerprints it under the first
// pepper, which stays for ever. secret is wiped.
func (r *Ring) SealKey(ctx context.Context, row *store.AccessKey, secret []byte) error {
	defer clear(secret)
	src := r.source
	if src == nil {
		return errors.New("a fixed ring takes no key")
	}
	slices.Sort(row.Products)
	sealed, err := src.keeper.Seal(ctx, KeyRecord(row.ID(), row.Products), secret)
	if err != nil {
		return fmt.Errorf("sealing access key %v: %w", row.ID(), err)
	}
	row.Sealed, row.KEK = sealed.Blob, sealed.KEK
	row.Fingerprint = src.peppers.all()[0].secret(secret)
	return nil
}

// Unopened are a ring and peppers of nothing, for acts that need no secret: to look at keys and to end one must be possible
// without the KEK.
func Unopened() (*Ring, *Peppers) {
	r, ps := &Ring{}, &Peppers{}
	r.now.Store(&[]Key{})
	ps.now.Store(&[]*Pepper{})
	return r, ps
}

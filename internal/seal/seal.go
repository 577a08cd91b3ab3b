package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// MaxSize is the most bytes that are sealed as one value.
const MaxSize = 1 << 20

const (
	version1 = 1
	// maxBlob is more than Tink makes of MaxSize bytes: its longest wrapped data key is 4096 bytes.
	maxBlob = MaxSize + 8<<10

	// kekTimeout bounds one call to a KEK, which may be far away.
	kekTimeout = 5 * time.Second
)

var (
	// ErrWrongKEK means that a value was sealed with a KEK that the Keeper does not have.
	ErrWrongKEK = errors.New("sealed with another KEK")
	// ErrSealBroken means that a sealed value was changed, or is another record's. That cannot be told apart.
	ErrSealBroken = errors.New("the sealed value does not open: it was changed, or it is another record's")
)

// Sealed is an encrypted value. It is no secret.
type Sealed struct {
	// KEK is the ID of the KEK that wraps the data key.
	KEK string
	// Blob is a version byte, 1, and Tink's envelope: the wrapped data key, after its length in four bytes, and the
	// ciphertext.
	Blob []byte
}

// Record says what a value belongs to. A value opens only with the record that it was sealed with: the same kind,
// and the same parts in the same order.
type Record struct {
	Kind  string // required; says what the parts are
	Parts []string
}

// digest is the associated data. It has one short length since HSMs bound theirs, and shows them no names.
func (r Record) digest() ([]byte, error) {
	if r.Kind == "" {
		return nil, errors.New("the record has no kind: say what the sealed value is")
	}
	h := sha256.New()
	h.Write([]byte("selo seal v1"))
	// With their lengths and in their order, no two records are the same message.
	for _, part := range append([]string{r.Kind}, r.Parts...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil), nil
}

// Keeper seals with the current KEK and opens with whichever of its KEKs sealed. It may be used by many goroutines.
// It does not close its KEKs.
type Keeper struct {
	unprintable
	keks []KEK // the current one first
	dek  *tinkpb.KeyTemplate
}

// NewKeeper makes a Keeper of the KEK that seals and those that may still be needed to open. None may be there twice.
func NewKeeper(current KEK, previous ...KEK) (*Keeper, error) {
	keks := append([]KEK{current}, previous...)
	seen := make(map[string]bool)
	for i, kek := range keks {
		switch {
		case kek == nil && i == 0:
			return nil, errors.New("the current KEK is missing")
		case kek == nil:
			return nil, fmt.Errorf("previous KEK %d is missing", i)
		case seen[kek.ID()]:
			return nil, fmt.Errorf("the KEK %s is there twice: list the current one only as current", kek.ID())
		}
		seen[kek.ID()] = true
	}
	return &Keeper{keks: keks, dek: aead.AES256GCMKeyTemplate()}, nil
}

// Current is the ID of the KEK that seals.
func (k *Keeper) Current() string { return k.keks[0].ID() }

// IDs are those of all KEKs, the current one first.
func (k *Keeper) IDs() []string {
	ids := make([]string, len(k.keks))
	for i, kek := range k.keks {
		ids[i] = kek.ID()
	}
	return ids
}

// Seal encrypts a secret of at most MaxSize bytes, which may be empty, for one record. It fails only if its
// arguments are wrong or the KEK cannot be used. The secret remains the caller's to wipe.
func (k *Keeper) Seal(ctx context.Context, r Record, secret []byte) (Sealed, error) {
	if len(secret) > MaxSize {
		return Sealed{}, fmt.Errorf("the secret has %d bytes; at most %d are sealed", len(secret), MaxSize)
	}
	ad, err := r.digest()
	if err != nil {
		return Sealed{}, err
	}
	w := &wrapper{kek: k.keks[0], ad: ad}
	defer w.wipe()
	envelope, err := aead.NewKMSEnvelopeAEADWithContext(k.dek, w)
	if err != nil {
		return Sealed{}, fmt.Errorf("sealing: %w", err)
	}
	sealed, err := envelope.EncryptWithContext(ctx, secret, ad)
	if err != nil {
		return Sealed{}, fmt.Errorf("sealing with KEK %s: %w", k.Current(), err)
	}
	return Sealed{KEK: k.Current(), Blob: append([]byte{version1}, sealed...)}, nil
}

// Open decrypts what Seal made for the same record. It fails with ErrWrongKEK, with ErrSealBroken, or because the
// KEK cannot be used now. The secret is the caller's to wipe.
func (k *Keeper) Open(ctx context.Context, r Record, s Sealed) ([]byte, error) {
	ad, err := r.digest()
	if err != nil {
		return nil, err
	}
	kek, err := k.find(s.KEK)
	if err != nil {
		return nil, err
	}
	switch {
	case len(s.Blob) == 0 || len(s.Blob) > maxBlob:
		return nil, fmt.Errorf("%w (its size is that of no sealed value)", ErrSealBroken)
	case s.Blob[0] != version1:
		return nil, fmt.Errorf("%w (or a later Selo sealed it: it has version %d, this one knows %d)", ErrSealBroken, s.Blob[0], version1)
	}
	w := &wrapper{kek: kek, ad: ad}
	defer w.wipe()
	envelope, err := aead.NewKMSEnvelopeAEADWithContext(k.dek, w)
	if err != nil {
		return nil, fmt.Errorf("opening what is sealed: %w", err)
	}
	secret, err := envelope.DecryptWithContext(ctx, s.Blob[1:], ad)
	switch {
	case err == nil:
		return secret, nil
	case w.err != nil && !errors.Is(w.err, ErrSealBroken):
		return nil, fmt.Errorf("opening what is sealed with KEK %s: %w", kek.ID(), w.err)
	}
	return nil, ErrSealBroken // whatever Tink found wrong
}

// find returns the KEK of that ID.
func (k *Keeper) find(id string) (KEK, error) {
	for _, kek := range k.keks {
		if kek.ID() == id {
			return kek, nil
		}
	}
	needed := id
	if b, err := hex.DecodeString(id); err != nil || len(b) != idSize {
		needed = "with an ID that is not one" // and could be anything, so it is not repeated
	}
	return nil, fmt.Errorf("%w: needs KEK %s, and there is %s: configure the needed one as a previous KEK", ErrWrongKEK, needed, strings.Join(k.IDs(), ", "))
}

// Rewrap seals anew, under the current KEK and a new data key, what another KEK sealed, and reports whether that was
// needed. What the current KEK sealed already comes back as it is, and is not opened.
func (k *Keeper) Rewrap(ctx context.Context, r Record, s Sealed) (_ Sealed, changed bool, _ error) {
	if s.KEK == k.Current() {
		return s, false, nil
	}
	secret, err := k.Open(ctx, r, s)
	if err != nil {
		return Sealed{}, false, err
	}
	defer clear(secret)
	sealed, err := k.Seal(ctx, r, secret)
	if err != nil {
		return Sealed{}, false, err
	}
	return sealed, true, nil
}

// Check wraps and unwraps a random value with the current KEK: it is reachable, and can. It asks no previous KEK.
func (k *Keeper) Check(ctx context.Context) error {
	value := make([]byte, 32)
	_, _ = rand.Read(value) // never fails
	w := &wrapper{kek: k.keks[0], ad: []byte("selo kek check")}
	defer w.wipe()
	wrapped, err := w.EncryptWithContext(ctx, bytes.Clone(value), nil)
	if err != nil {
		return fmt.Errorf("checking KEK %s: %w", k.Current(), err)
	}
	got, err := w.DecryptWithContext(ctx, wrapped, nil)
	if err != nil {
		return fmt.Errorf("checking KEK %s: %w", k.Current(), err)
	}
	if subtle.ConstantTimeCompare(value, got) != 1 {
		return fmt.Errorf("checking KEK %s: it unwraps another value than it wrapped", k.Current())
	}
	return nil
}

// wrapper gives a KEK to Tink for one value. Tink binds a wrapped data key to nothing; the wrapper binds it to the
// record. It holds the data keys that it saw, to wipe them, which Tink does not.
type wrapper struct {
	kek  KEK
	ad   []byte
	deks [][]byte
	err  error // the KEK's own
}

// EncryptWithContext wraps a data key.
func (w *wrapper) EncryptWithContext(ctx context.Context, dek, _ []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kekTimeout)
	defer cancel()
	w.deks = append(w.deks, dek)
	wrapped, err := w.kek.Wrap(ctx, dek, w.ad)
	w.err = err
	return wrapped, err
}

// DecryptWithContext unwraps a data key.
func (w *wrapper) DecryptWithContext(ctx context.Context, wrapped, _ []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kekTimeout)
	defer cancel()
	dek, err := w.kek.Unwrap(ctx, wrapped, w.ad)
	w.deks = append(w.deks, dek)
	w.err = err
	return dek, err
}

// wipe must come after Tink's last use of the data keys.
func (w *wrapper) wipe() {
	for _, dek := range w.deks {
		clear(dek)
	}
}

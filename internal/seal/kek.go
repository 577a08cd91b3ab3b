package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	minMaterial = 32
	maxMaterial = 4 << 10 // so that a wrong path does not become a key
	// minDistinct is far below what 32 random bytes have, in hex or raw, and above what a pattern has.
	minDistinct = 8

	idSize = 8 // bytes; twice as many hex digits
)

// KEK is a key-encryption key: it wraps the data key of one sealed value. It may be far away: an HSM. It may be
// used by many goroutines.
type KEK interface {
	// ID tells two KEKs apart and says nothing else of them. It is stable; 16 hex digits.
	ID() string
	// Wrap encrypts a data key, bound to ad. It returns when ctx ends, and does not keep dek or ad.
	Wrap(ctx context.Context, dek, ad []byte) ([]byte, error)
	// Unwrap decrypts what Wrap made with the same ad. It fails with ErrSealBroken exactly if the KEK works and
	// wrapped is not of it and ad. It returns when ctx ends, and does not keep wrapped or ad.
	Unwrap(ctx context.Context, wrapped, ad []byte) ([]byte, error)
	// Close ends the use of the KEK. Wrap and Unwrap fail from then on.
	Close() error
}

var errClosed = errors.New("the KEK is closed")

// materialKEK is a KEK whose key is in this process.
type materialKEK struct {
	unprintable
	id string
	// A function, since fmt prints fields by reflection, also those of what it points to. It returns nil when the
	// KEK is closed.
	key  func() tink.AEAD
	drop func()
}

// NewKEK makes a KEK of at least 32 random bytes, which it takes as they are: hex digits are not decoded. It
// refuses material that is short or plainly not random. The caller may wipe material.
func NewKEK(material []byte) (KEK, error) {
	const fix = "make one with: openssl rand -hex 32"
	switch {
	case len(material) < minMaterial:
		return nil, fmt.Errorf("the KEK has %d bytes and needs at least %d random ones; %s", len(material), minMaterial, fix)
	case len(material) > maxMaterial:
		return nil, fmt.Errorf("the KEK has more than %d bytes, so it is something else; %s", maxMaterial, fix)
	case distinct(material) < minDistinct:
		return nil, fmt.Errorf("the KEK repeats fewer than %d different bytes, so it is not random; %s", minDistinct, fix)
	}
	key, err := hkdf.Key(sha256.New, material, nil, "selo kek wrap v1", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the KEK: %w", err)
	}
	defer clear(key)
	id, err := hkdf.Key(sha256.New, material, nil, "selo kek id v1", idSize)
	if err != nil {
		return nil, fmt.Errorf("deriving the KEK: %w", err)
	}
	gcm, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("deriving the KEK: %w", err)
	}
	var held atomic.Pointer[subtle.AESGCM]
	held.Store(gcm)
	return &materialKEK{
		id: hex.EncodeToString(id),
		key: func() tink.AEAD {
			if gcm := held.Load(); gcm != nil {
				return gcm
			}
			return nil
		},
		drop: func() { held.Store(nil) },
	}, nil
}

func distinct(b []byte) (n int) {
	var seen [256]bool
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

func (k *materialKEK) ID() string { return k.id }

func (k *materialKEK) Wrap(ctx context.Context, dek, ad []byte) ([]byte, error) {
	key := k.key()
	if key == nil {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return key.Encrypt(dek, ad)
}

func (k *materialKEK) Unwrap(ctx context.Context, wrapped, ad []byte) ([]byte, error) {
	key := k.key()
	if key == nil {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dek, err := key.Decrypt(wrapped, ad)
	if err != nil {
		return nil, ErrSealBroken // Tink says no more than that it failed
	}
	return dek, nil
}

func (k *materialKEK) Close() error {
	k.drop()
	return nil
}

// unprintable is embedded in what holds keys or leads to them.
type unprintable struct{}

const redacted = "[secret]"

var errMarshal = errors.New("seal: what holds keys does not marshal")

// String prints [secret].
func (unprintable) String() string { return redacted }

// Format prints [secret] for every verb.
func (unprintable) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs [secret].
func (unprintable) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, and with it JSON, XML and YAML.
func (unprintable) MarshalText() ([]byte, error) { return nil, errMarshal }

// MarshalBinary always fails.
func (unprintable) MarshalBinary() ([]byte, error) { return nil, errMarshal }

// GobEncode always fails.
func (unprintable) GobEncode() ([]byte, error) { return nil, errMarshal }

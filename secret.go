package selo

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// WeakSecretSize is the length in bytes under which Secret.Weak warns: RFC 7518 section 3.2 asks for a
// key at least as long as the hash.
const WeakSecretSize = 32

// maxSecretSize bounds what ReadSecretFile takes, so that a wrong path does not become a key.
const maxSecretSize = 4 << 10

// Secret is the shared secret of an access key. It cannot be printed, logged or marshalled, at any depth
// of any struct, and there is no way to get the bytes back out: it only signs and verifies. The zero
// value is no secret; minting and verifying refuse it.
//
// A Secret keeps HMAC states that were keyed in advance, in a pool, because keying costs as much as
// hashing a short token. Those states are key material just as the bytes are: they live as long as the
// Secret does.
type Secret struct {
	// Format alone protects too little: fmt prints the unexported fields of somebody's struct by
	// reflection, and with %s even what a pointer there points to. So the bytes are in no field: they
	// are captured by the function that keys new HMAC states.
	key *secretKey
}

type secretKey struct {
	size   int
	states sync.Pool // of hash.Hash, keyed
}

// NewSecret makes a Secret of the bytes of b, which it copies; the caller may wipe b. Caf's client secret
// is used as the UTF-8 bytes of the string shown, never base64-decoded (docs/providers/caf.md).
func NewSecret(b []byte) (Secret, error) {
	if len(b) == 0 {
		return Secret{}, refuse(ReasonRequestInvalid, "secret", "is empty")
	}
	raw := bytes.Clone(b)
	k := &secretKey{size: len(raw)}
	k.states.New = func() any { return hmac.New(sha256.New, raw) }
	return Secret{k}, nil
}

// ReadSecretFile reads a Secret from a file that holds the secret and nothing else. One trailing LF or
// CRLF, which editors add, is removed; everything else is part of the secret.
func ReadSecretFile(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("reading secret file: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretSize+1))
	if err != nil {
		return Secret{}, fmt.Errorf("reading secret file: %w", err)
	}
	defer clear(b)
	if len(b) > maxSecretSize {
		return Secret{}, secretFileError(path, fmt.Errorf("longer than %d bytes, so not a client secret", maxSecretSize))
	}
	if trimmed, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		b, _ = bytes.CutSuffix(trimmed, []byte("\r"))
	}
	s, err := NewSecret(b)
	if err != nil {
		return Secret{}, secretFileError(path, err)
	}
	return s, nil
}

// secretFileError has the form of what os returns, so that a caller can take the path out alike.
func secretFileError(path string, err error) error {
	return fmt.Errorf("reading secret file: %w", &fs.PathError{Op: "read", Path: path, Err: err})
}

// IsZero reports whether s is the zero value, which is no secret.
func (s Secret) IsZero() bool { return s.key == nil }

// Weak reports whether the secret is shorter than WeakSecretSize. Selo works with such a secret, since
// the provider chooses it, and warns wherever one is configured.
func (s Secret) Weak() bool { return s.key != nil && s.key.size < WeakSecretSize }

// Equal reports whether two secrets have the same bytes, in constant time. Secrets made apart are never ==.
func (s Secret) Equal(t Secret) bool {
	if s.IsZero() || t.IsZero() {
		return s.IsZero() == t.IsZero()
	}
	message := []byte("selo: the same secret?")
	return hmac.Equal(s.mac(nil, message), t.mac(nil, message))
}

// mac appends HMAC-SHA256(secret, msg) to dst. The secret must not be zero.
func (s Secret) mac(dst, msg []byte) []byte {
	h := s.key.states.Get().(hash.Hash)
	h.Reset()
	_, _ = h.Write(msg)
	dst = h.Sum(dst)
	s.key.states.Put(h)
	return dst
}

const redacted = "[secret]"

var errSecretMarshal = errors.New("selo: a Secret does not marshal")

// String prints [secret].
func (s Secret) String() string { return redacted }

// Format prints [secret] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs [secret].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, and with it JSON, XML and YAML.
func (s Secret) MarshalText() ([]byte, error) { return nil, errSecretMarshal }

// MarshalBinary always fails, and with it gob.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, errSecretMarshal }

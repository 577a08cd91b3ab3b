package sandbox

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

const maxClientIDSize = 256 // as in selo.AccessKey

const redacted = "[secret]"

var errMarshal = errors.New("sandbox: what holds a secret does not marshal")

// unprintable is embedded in what holds a secret. fmt cannot be stopped from walking into the unexported
// fields of a struct, so keep nothing of the kind in one that is printed.
type unprintable struct{}

// String prints [secret].
func (unprintable) String() string { return redacted }

// Format prints [secret] for every verb.
func (unprintable) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs [secret].
func (unprintable) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, and with it JSON, XML and YAML.
func (unprintable) MarshalText() ([]byte, error) { return nil, errMarshal }

// MarshalBinary always fails, and with it gob.
func (unprintable) MarshalBinary() ([]byte, error) { return nil, errMarshal }

// Key is an access key as the provider keeps it. Unlike selo.AccessKey it holds the secret as bytes,
// because the provider's side signs payloads of its own making.
//
// A Key prints and logs as [secret] and does not marshal. fmt cannot be stopped from walking into the
// unexported fields of a struct, so do not keep a Key in one that is printed.
type Key struct {
	unprintable

	ClientID string   // 1 to 256 bytes; the iss of mobile tokens
	Secret   []byte   // the UTF-8 bytes of the secret shown, of any length but 0
	Products []string // what the key is activated for: "caf/face-liveness", "caf/smart-auth" and so on
}

// APIToken is the token of Caf's API for whole accounts, the bytes that stand after Bearer. It prints and
// logs as [secret] and does not marshal.
type APIToken []byte

// String prints [secret].
func (APIToken) String() string { return redacted }

// Format prints [secret] for every verb.
func (APIToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs [secret].
func (APIToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, and with it JSON, XML and YAML.
func (APIToken) MarshalText() ([]byte, error) { return nil, errMarshal }

// MarshalBinary always fails, and with it gob.
func (APIToken) MarshalBinary() ([]byte, error) { return nil, errMarshal }

// check returns what contradicts itself in k, without its secret.
func (k Key) check() error {
	switch {
	case k.ClientID == "" || len(k.ClientID) > maxClientIDSize || !utf8.ValidString(k.ClientID):
		return fmt.Errorf("ClientID must have 1 to %d bytes of UTF-8", maxClientIDSize)
	case len(k.Secret) == 0:
		return fmt.Errorf("client %q: Secret is empty; anyone could sign with it", k.ClientID)
	case len(k.Products) == 0:
		return fmt.Errorf("client %q: no Products, so the key could never be used", k.ClientID)
	}
	for i, p := range k.Products {
		if productNamed(p) == nil {
			return fmt.Errorf("client %q: product %q is not one of %s", k.ClientID, p, strings.Join(productNames(), ", "))
		}
		if slices.Contains(k.Products[:i], p) {
			return fmt.Errorf("client %q: product %q is named twice", k.ClientID, p)
		}
	}
	return nil
}

// issuedKey is a Key that was checked.
type issuedKey struct {
	clientID string
	products []string
	signer
}

// signer signs and verifies under one secret. The secret is in the two functions and nowhere else, because
// fmt shows of a function only the address; of a struct, and of a pointer to one under %s, it shows it all.
type signer struct {
	sign   func(payload []byte) string
	verify func(*jose.JSONWebSignature) error
}

func newIssuedKey(k Key) *issuedKey {
	return &issuedKey{clientID: k.ClientID, products: slices.Clone(k.Products), signer: newSigner(k.Secret)}
}

// newSigner copies secret.
func newSigner(secret []byte) signer {
	secret = bytes.Clone(secret)
	// go-jose verifies with no key under 32 bytes. HMAC pads every key with zero bytes to 64, so padding
	// it here changes nothing.
	padded := append(bytes.Clone(secret), make([]byte, max(0, sha256.Size-len(secret)))...)
	return signer{
		sign: func(payload []byte) string { return Sign(secret, []byte(HS256Header), payload) },
		verify: func(token *jose.JSONWebSignature) error {
			_, err := token.Verify(padded)
			return err
		},
	}
}

// newMAC returns HMAC-SHA256 under a copy of secret.
func newMAC(secret []byte) func(message []byte) []byte {
	secret = bytes.Clone(secret)
	return func(message []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write(message)
		return mac.Sum(nil)
	}
}

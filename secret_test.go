package selo_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selo-id/selo"
)

func TestSecretUnprinted(t *testing.T) {
	// All byte values, since some printers treat text and other bytes differently.
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i*167 + 13)
	}
	for name, raw := range map[string][]byte{"text": []byte(testSecret), "binary": binary} {
		t.Run(name, func(t *testing.T) {
			s := secretOf(t, string(raw))
			// Used, so that the pool holds what was keyed with it.
			if _, err := selo.Mint(selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: selo.AccessKey{ClientID: "c", Secret: s}, CPF: cpfOf(t, testCPF)}); err != nil {
				t.Fatal(err)
			}
			must := forms(raw)
			checkUnprinted(t, s, must)
			checkUnprinted(t, selo.AccessKey{ClientID: "c", Secret: s}, must)
			checkUnprinted(t, selo.MintRequest{Key: selo.AccessKey{Secret: s}}, must)
			checkUnprinted(t, selo.Expectation{Key: selo.AccessKey{Secret: s}}, must)
			checkUnprinted(t, map[selo.Secret]selo.Secret{s: s}, must)
			type embedding struct{ selo.Secret }
			checkUnprinted(t, embedding{s}, must)
		})
	}
}

func TestSecretPrintsAsSecret(t *testing.T) {
	s := secretOf(t, testSecret)
	for _, verb := range verbs {
		if got := fmt.Sprintf(verb, s); got != "[secret]" && verb != "%T" && verb != "%p" && verb != "%w" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if s.String() != "[secret]" || s.LogValue().String() != "[secret]" {
		t.Errorf("String %q, LogValue %q", s, s.LogValue())
	}
	if _, err := s.MarshalText(); err == nil {
		t.Error("MarshalText succeeds")
	}
	if _, err := s.MarshalBinary(); err == nil {
		t.Error("MarshalBinary succeeds")
	}
}

func TestReceiptKeyUnprinted(t *testing.T) {
	seed := []byte("a fake Ed25519 seed of 32 bytes!")
	key := receiptKeyOf(t, seed)
	t.Run("pointer", func(t *testing.T) { checkUnprinted(t, key, forms(seed)) })
	// By value in somebody's unexported field, fmt does not ask Format.
	t.Run("value", func(t *testing.T) { checkUnprinted(t, *key, forms(seed)) })
	for _, verb := range verbs {
		if got := fmt.Sprintf(verb, key); got != "[secret]" && verb != "%T" && verb != "%p" && verb != "%w" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

// receiptKeyOf makes a key that is the same in every run.
func receiptKeyOf(t testing.TB, seed []byte) *selo.ReceiptKey {
	t.Helper()
	k, err := selo.ParseReceiptKey(pemOf(t, ed25519.NewKeyFromSeed(seed)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pemOf(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// signsAs reports whether s signs as raw does.
func signsAs(t *testing.T, s selo.Secret, raw string) bool {
	t.Helper()
	token, err := selo.Mint(selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: selo.AccessKey{ClientID: "c", Secret: s}, CPF: cpfOf(t, testCPF)})
	if err != nil {
		t.Fatal(err)
	}
	return seal(raw, token.JWT[:strings.LastIndexByte(token.JWT, '.')]) == token.JWT
}

func TestNewSecret(t *testing.T) {
	for _, empty := range [][]byte{nil, {}} {
		if s, err := selo.NewSecret(empty); err == nil || !s.IsZero() || !errors.Is(err, selo.ReasonRequestInvalid) {
			t.Errorf("NewSecret(%v) = %v, %v", empty, s, err)
		}
	}
	raw := []byte(testSecret)
	s, err := selo.NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if !signsAs(t, s, testSecret) {
		t.Error("wiping the input changes the secret")
	}
	if s.IsZero() || !(selo.Secret{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestSecretWeak(t *testing.T) {
	for n, want := range map[int]bool{1: true, 31: true, 32: false, 33: false, 4096: false} {
		if got := secretOf(t, strings.Repeat("x", n)).Weak(); got != want {
			t.Errorf("a secret of %d bytes: Weak = %v, want %v", n, got, want)
		}
	}
	if (selo.Secret{}).Weak() {
		t.Error("no secret is not a weak one")
	}
}

func TestReadSecretFile(t *testing.T) {
	tests := []struct {
		name, content, want string // want "" is refused
	}{
		{"no newline", "fake-secret", "fake-secret"},
		{"LF", "fake-secret\n", "fake-secret"},
		{"CRLF", "fake-secret\r\n", "fake-secret"},
		{"two LF", "fake-secret\n\n", "fake-secret\n"},
		{"two CRLF", "fake-secret\r\n\r\n", "fake-secret\r\n"},
		{"CR", "fake-secret\r", "fake-secret\r"},
		{"LF first", "\nfake-secret", "\nfake-secret"},
		{"spaces", " fake-secret \n", " fake-secret "},
		{"lines", "fake\nsecret\n", "fake\nsecret"},
		{"not text", "\x00\xff\x80\n", "\x00\xff\x80"},
		{"empty", "", ""},
		{"only LF", "\n", ""},
		{"only CRLF", "\r\n", ""},
		{"4096 bytes", strings.Repeat("x", 4096), strings.Repeat("x", 4096)},
		{"4097 bytes", strings.Repeat("x", 4097), ""},
		{"far too long", strings.Repeat("fake-secret", 10_000), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := selo.ReadSecretFile(path)
			if tt.want == "" {
				if err == nil || !s.IsZero() {
					t.Fatalf("ReadSecretFile = %v, %v; want an error", s, err)
				}
				if strings.Contains(err.Error(), "fake-secret") || !strings.Contains(err.Error(), path) {
					t.Errorf("the error must name the file and not its content: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !signsAs(t, s, tt.want) {
				t.Errorf("the secret is not %q", tt.want)
			}
		})
	}
}

func TestReadSecretFileFails(t *testing.T) {
	dir := t.TempDir()
	if s, err := selo.ReadSecretFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !s.IsZero() {
		t.Errorf("missing file: %v, %v", s, err)
	}
	if s, err := selo.ReadSecretFile(dir); err == nil || !s.IsZero() {
		t.Errorf("directory: %v, %v", s, err)
	}
}

func TestSecretEqual(t *testing.T) {
	a, b, c := secretOf(t, "the same secret"), secretOf(t, "the same secret"), secretOf(t, "another secret")
	if !a.Equal(b) || a == b || a.Equal(c) || a.Equal(selo.Secret{}) || (selo.Secret{}).Equal(a) || !(selo.Secret{}).Equal(selo.Secret{}) {
		t.Error("Equal does not compare the bytes")
	}
}

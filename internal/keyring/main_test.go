package keyring

import (
	"os"
	"testing"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// TestMain searches every error, warning and print of these tests for the values planted here.
func TestMain(m *testing.M) { os.Exit(transcript.Main(m)) }

var (
	material        = transcript.Secret([]byte("0123456789abcdef0123456789abcdef"))
	otherMaterial   = transcript.Secret([]byte("golden vectors, never a real pepper: 2"))
	clientSecret    = transcript.Secret("a client secret of the keyring tests, 1")
	exchangedSecret = transcript.Secret("a-client-secret-that-stands-for-the-client-id")
	weakSecret      = transcript.Secret("a weak client secret")
	ana             = transcript.CPF("52998224725")
	bruno           = transcript.CPF("11144477735")
)

func newPepper(t testing.TB, version int, material []byte) *Pepper {
	t.Helper()
	p, err := NewPepper(version, material)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return p
}

func parseCPF(t testing.TB, digits string) selo.CPF {
	t.Helper()
	cpf, err := selo.ParseCPF(digits)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return cpf
}

func secret(t testing.TB, value string) selo.Secret {
	t.Helper()
	s, err := selo.NewSecret([]byte(value))
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return s
}

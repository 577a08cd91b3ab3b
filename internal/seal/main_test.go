package seal

import (
	"os"
	"testing"

	"github.com/selo-id/selo/internal/transcript"
)

// TestMain searches every error and print of these tests for the values planted here.
func TestMain(m *testing.M) {
	code := transcript.Main(m)
	endHSM()
	os.Exit(code)
}

var (
	material      = transcript.Secret([]byte("6f1c0b7e92ad4358c1e07f3b9a5d2864"))
	otherMaterial = transcript.Secret([]byte("c94e7a1f08b25d63e7f10a9c4b8d3256\n"))
	clientSecret  = transcript.Secret([]byte("a client secret of the seal tests, not real"))
	person        = transcript.CPF("52998224725")
)

var record = Record{Kind: "access key secret", Parts: []string{"sandbox", "client-1", person}}

func newKEK(t testing.TB, material []byte) KEK {
	t.Helper()
	kek, err := NewKEK(material)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return kek
}

func newKeeper(t testing.TB, current KEK, previous ...KEK) *Keeper {
	t.Helper()
	k, err := NewKeeper(current, previous...)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, k *Keeper, r Record, secret []byte) Sealed {
	t.Helper()
	s, err := k.Seal(t.Context(), r, secret)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return s
}

func mustOpen(t testing.TB, k *Keeper, r Record, s Sealed, want []byte) {
	t.Helper()
	got, err := k.Open(t.Context(), r, s)
	if transcript.Error(err) != nil {
		t.Error(err)
	} else if string(got) != string(want) {
		t.Errorf("opens as %d bytes that are not the %d sealed ones", len(got), len(want))
	}
}

package seal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

func TestSealOpen(t *testing.T) {
	k := newKeeper(t, newKEK(t, material))
	for name, secret := range map[string][]byte{
		"secret": clientSecret, "empty": {}, "nil": nil, "binary": {0, 255, 10}, "longest": bytes.Repeat([]byte("x"), MaxSize),
	} {
		t.Run(name, func(t *testing.T) {
			s := sealed(t, k, record, secret)
			if s.KEK != k.Current() || s.Blob[0] != 1 || len(secret) > 0 && bytes.Contains(s.Blob, secret) {
				t.Errorf("sealed under %q, version %d", s.KEK, s.Blob[0])
			}
			mustOpen(t, k, record, s, secret)
		})
	}
	if _, err := k.Seal(t.Context(), record, make([]byte, MaxSize+1)); transcript.Error(err) == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("one byte too many: %v", err)
	}
	if _, err := k.Seal(t.Context(), Record{}, clientSecret); transcript.Error(err) == nil {
		t.Error("sealed for a record without a kind")
	}
	kept := bytes.Clone(clientSecret)
	sealed(t, k, record, kept)
	if !bytes.Equal(kept, clientSecret) {
		t.Error("Seal changed the caller's secret")
	}
}

func TestSealsDiffer(t *testing.T) {
	k := newKeeper(t, newKEK(t, material))
	seen := make(map[string]bool)
	const at = 1 + 4 + 12 // the wrapped key without its IV
	for range 50 {
		s := sealed(t, k, record, clientSecret)
		for _, part := range []string{string(s.Blob), string(s.Blob[at : at+32]), string(s.Blob[len(s.Blob)-16:])} {
			if seen[part] {
				t.Fatal("two seals of the same secret have the same data key, ciphertext or tag")
			}
			seen[part] = true
		}
	}
}

func TestTamper(t *testing.T) {
	k := newKeeper(t, newKEK(t, material), newKEK(t, otherMaterial))
	s := sealed(t, k, record, clientSecret)
	testTamper(t, k, record, s)
	s.KEK = k.IDs()[1]
	if _, err := k.Open(t.Context(), record, s); !errors.Is(transcript.Error(err), ErrSealBroken) {
		t.Errorf("under the ID of another KEK: %v", err)
	}
}

// testTamper changes every byte, cuts at every length, and adds.
func testTamper(t *testing.T, k *Keeper, r Record, s Sealed) {
	t.Helper()
	broken := func(what string, at int, blob []byte) {
		t.Helper()
		got, err := k.Open(t.Context(), r, Sealed{s.KEK, blob})
		if !errors.Is(transcript.Error(err), ErrSealBroken) || got != nil {
			t.Errorf("%s %d: %v", what, at, err)
		}
	}
	for i := range s.Blob {
		for _, flip := range []byte{1, 0x80, 0xff} {
			changed := bytes.Clone(s.Blob)
			changed[i] ^= flip
			broken("changed byte", i, changed)
		}
		broken("cut at", i, s.Blob[:i])
		broken("without byte", i, slices.Delete(bytes.Clone(s.Blob), i, i+1))
	}
	broken("one more byte after", len(s.Blob), append(bytes.Clone(s.Blob), 0))
	broken("too long", maxBlob+1, append(bytes.Clone(s.Blob), make([]byte, maxBlob)...))
}

func TestOtherRecord(t *testing.T) {
	k := newKeeper(t, newKEK(t, material))
	testOtherRecords(t, k, sealed(t, k, record, clientSecret))
}

// testOtherRecords opens what is sealed for record as what it is not.
func testOtherRecords(t *testing.T, k *Keeper, s Sealed) {
	t.Helper()
	p := record.Parts
	for name, r := range map[string]Record{
		"kind":            {"pepper", p},
		"first part":      {record.Kind, []string{"production", p[1], p[2]}},
		"second part":     {record.Kind, []string{p[0], "client-2", p[2]}},
		"third part":      {record.Kind, []string{p[0], p[1], "11144477735"}},
		"order":           {record.Kind, []string{p[1], p[0], p[2]}},
		"shifted":         {record.Kind, []string{p[0] + p[1][:1], p[1][1:], p[2]}},
		"shifted to kind": {record.Kind + p[0][:1], []string{p[0][1:], p[1], p[2]}},
		"kind in part":    {record.Kind + p[0], p[1:]},
		"joined":          {record.Kind, []string{p[0] + p[1], p[2]}},
		"joined, empty":   {record.Kind, []string{p[0] + p[1], "", p[2]}},
		"one more":        {record.Kind, append(slices.Clone(p), "")},
		"one less":        {record.Kind, p[:2]},
		"none":            {record.Kind, nil},
		"case":            {record.Kind, []string{"Sandbox", p[1], p[2]}},
	} {
		if got, err := k.Open(t.Context(), r, s); !errors.Is(transcript.Error(err), ErrSealBroken) || got != nil {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := k.Open(t.Context(), Record{}, s); transcript.Error(err) == nil {
		t.Error("opened for a record without a kind")
	}
}

// The parts of two blobs do not fit together, though KEK and record are the same.
func TestMixedBlobs(t *testing.T) {
	k := newKeeper(t, newKEK(t, material))
	a, b := sealed(t, k, record, clientSecret), sealed(t, k, record, []byte("another"))
	dekEnd := 1 + 4 + int(a.Blob[4])
	mixed := Sealed{a.KEK, slices.Concat(a.Blob[:dekEnd], b.Blob[dekEnd:])}
	if _, err := k.Open(t.Context(), record, mixed); !errors.Is(transcript.Error(err), ErrSealBroken) {
		t.Errorf("error %v", err)
	}
}

func TestWrongKEK(t *testing.T) {
	a, b := newKEK(t, material), newKEK(t, otherMaterial)
	s := sealed(t, newKeeper(t, a), record, clientSecret)
	_, err := newKeeper(t, b).Open(t.Context(), record, s)
	if !errors.Is(transcript.Error(err), ErrWrongKEK) || !strings.Contains(err.Error(), "needs KEK "+a.ID()) || !strings.Contains(err.Error(), "there is "+b.ID()) {
		t.Errorf("error %v", err)
	}
	for _, id := range []string{"", string(material), strings.ToUpper(a.ID()), a.ID() + "\n"} {
		s.KEK = id
		if _, err := newKeeper(t, a).Open(t.Context(), record, s); !errors.Is(transcript.Error(err), ErrWrongKEK) {
			t.Errorf("ID %q: %v", id, err)
		}
	}
}

func TestNewKeeper(t *testing.T) {
	a, b := newKEK(t, material), newKEK(t, otherMaterial)
	k := newKeeper(t, a, b)
	if k.Current() != a.ID() || !slices.Equal(k.IDs(), []string{a.ID(), b.ID()}) {
		t.Errorf("current %q of %q", k.Current(), k.IDs())
	}
	for name, keks := range map[string][]KEK{"nil": {nil}, "previous nil": {a, nil}, "twice": {a, newKEK(t, material)}, "previous twice": {a, b, b}} {
		if k, err := NewKeeper(keks[0], keks[1:]...); transcript.Error(err) == nil || k != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRewrap(t *testing.T) { testRewrap(t, newKEK(t, otherMaterial), newKEK(t, material)) }

// testRewrap moves a value from one KEK to another: nothing but the wrapping changes.
func testRewrap(t *testing.T, from, to KEK) {
	t.Helper()
	old := sealed(t, newKeeper(t, from), record, clientSecret)
	before := bytes.Clone(old.Blob)
	k := newKeeper(t, to, from)
	s, changed, err := k.Rewrap(t.Context(), record, old)
	if transcript.Error(err) != nil || !changed || s.KEK != to.ID() {
		t.Fatalf("rewrapped under %q, %v: %v", s.KEK, changed, err)
	}
	if !bytes.Equal(old.Blob, before) {
		t.Error("Rewrap wrote into what it was given")
	}
	if bytes.Equal(s.Blob[len(s.Blob)-16:], old.Blob[len(old.Blob)-16:]) {
		t.Error("the data key is still the old one")
	}
	onlyNew := newKeeper(t, to)
	mustOpen(t, onlyNew, record, s, clientSecret)
	testOtherRecords(t, onlyNew, s)
	mustOpen(t, k, record, old, clientSecret)

	again, changed, err := k.Rewrap(t.Context(), record, s)
	if diff := cmp.Diff(s, again); err != nil || changed || diff != "" {
		t.Errorf("rewrapped again: %v, %v\n%s", changed, err, diff)
	}
	old.Blob[len(old.Blob)-1] ^= 1
	if s, changed, err := k.Rewrap(t.Context(), record, old); !errors.Is(transcript.Error(err), ErrSealBroken) || changed || s.Blob != nil {
		t.Errorf("rewrapped what is broken: %v", err)
	}
	if _, _, err := onlyNew.Rewrap(t.Context(), record, old); !errors.Is(transcript.Error(err), ErrWrongKEK) {
		t.Errorf("rewrapped without the old KEK: %v", err)
	}
}

// What version 1 sealed, every later version opens. Never regenerate the blob.
func TestVersion1(t *testing.T) {
	raw, err := os.ReadFile("testdata/version1.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string)
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
			known[name] = value
		}
	}
	blob, err := hex.DecodeString(known["blob"])
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, newKEK(t, []byte(known["material"])))
	if k.Current() != known["kek"] {
		t.Errorf("the KEK's ID is now %q", k.Current())
	}
	r := Record{known["kind"], strings.Split(known["parts"], "|")}
	mustOpen(t, k, r, Sealed{known["kek"], blob}, []byte(known["secret"]))
	testTamper(t, k, r, Sealed{known["kek"], blob})
}

// fakeKEK is another KEK that fails as it is told, and shows what it got.
type fakeKEK struct {
	KEK
	wrap, unwrap func(context.Context) error
	saw          [][]byte
}

func (f *fakeKEK) Wrap(ctx context.Context, dek, ad []byte) ([]byte, error) {
	f.saw = append(f.saw, dek)
	if f.wrap != nil {
		return nil, f.wrap(ctx)
	}
	return f.KEK.Wrap(ctx, dek, ad)
}

func (f *fakeKEK) Unwrap(ctx context.Context, wrapped, ad []byte) ([]byte, error) {
	if f.unwrap != nil {
		return nil, f.unwrap(ctx)
	}
	dek, err := f.KEK.Unwrap(ctx, wrapped, ad)
	f.saw = append(f.saw, dek)
	return dek, err
}

// A KEK that cannot be used is not a broken seal.
func TestKEKFails(t *testing.T) {
	away := errors.New("the HSM is away")
	f := &fakeKEK{KEK: newKEK(t, material)}
	k := newKeeper(t, f)
	s := sealed(t, k, record, clientSecret)
	f.wrap = func(context.Context) error { return away }
	f.unwrap = f.wrap
	if s, err := k.Seal(t.Context(), record, clientSecret); !errors.Is(transcript.Error(err), away) || s.Blob != nil || s.KEK != "" {
		t.Errorf("sealed: %v", err)
	}
	if got, err := k.Open(t.Context(), record, s); !errors.Is(transcript.Error(err), away) || errors.Is(err, ErrSealBroken) || got != nil {
		t.Errorf("opened: %v", err)
	}
	if err := k.Check(t.Context()); !errors.Is(transcript.Error(err), away) {
		t.Errorf("checked: %v", err)
	}
	f.wrap = nil
	if err := k.Check(t.Context()); !errors.Is(transcript.Error(err), away) {
		t.Errorf("checked, though it cannot unwrap: %v", err)
	}
	f.unwrap = nil
	if err := k.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKEKWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeKEK{KEK: newKEK(t, material)}
		f.wrap = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		_, err := newKeeper(t, f).Seal(t.Context(), record, clientSecret)
		if !errors.Is(transcript.Error(err), context.DeadlineExceeded) || time.Since(began) != kekTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := newKeeper(t, newKEK(t, material))
	if _, err := k.Seal(ctx, record, clientSecret); !errors.Is(transcript.Error(err), context.Canceled) {
		t.Errorf("sealed: %v", err)
	}
	if _, err := k.Open(ctx, record, sealed(t, k, record, clientSecret)); !errors.Is(transcript.Error(err), context.Canceled) {
		t.Errorf("opened: %v", err)
	}
}

func TestDataKeysWiped(t *testing.T) {
	f := &fakeKEK{KEK: newKEK(t, material)}
	k := newKeeper(t, f)
	mustOpen(t, k, record, sealed(t, k, record, clientSecret), clientSecret)
	if err := k.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.saw) != 4 {
		t.Fatalf("%d data keys passed", len(f.saw))
	}
	for i, dek := range f.saw {
		if len(dek) < 32 || !bytes.Equal(dek, make([]byte, len(dek))) {
			t.Errorf("data key %d is still there after its use", i)
		}
	}
}

func TestClosed(t *testing.T) {
	kek := newKEK(t, material)
	k := newKeeper(t, kek)
	s := sealed(t, k, record, clientSecret)
	for range 2 {
		if err := kek.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.Open(t.Context(), record, s); !errors.Is(transcript.Error(err), errClosed) {
		t.Errorf("opened: %v", err)
	}
	if _, err := k.Seal(t.Context(), record, clientSecret); !errors.Is(transcript.Error(err), errClosed) {
		t.Errorf("sealed: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKeeper(f, newKEK(f, material), newKEK(f, otherMaterial))
	s := sealed(f, k, record, clientSecret)
	f.Add(true, s.Blob)
	f.Add(false, s.Blob)
	f.Add(true, []byte{})
	f.Add(true, []byte{1, 0, 0, 0, 0})
	f.Add(true, []byte{1, 0xff, 0xff, 0xff, 0xff, 0})
	f.Add(true, append([]byte{1, 0, 0, 0x10, 0}, make([]byte, 5000)...))
	f.Fuzz(func(t *testing.T, current bool, blob []byte) {
		id := k.IDs()[0]
		if !current {
			id = k.IDs()[1]
		}
		got, err := k.Open(t.Context(), record, Sealed{id, blob})
		// The fuzzer has no key, so what opens it was given.
		if err == nil && !bytes.Equal(got, clientSecret) || err != nil && (got != nil || !errors.Is(err, ErrSealBroken)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func BenchmarkMaterial(b *testing.B) { benchmark(b, newKEK(b, material)) }

func benchmark(b *testing.B, kek KEK) {
	k := newKeeper(b, kek)
	s := sealed(b, k, record, clientSecret)
	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.Seal(b.Context(), record, clientSecret); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.Open(b.Context(), record, s); err != nil {
				b.Fatal(err)
			}
		}
	})
}

//go:build pkcs11 && cgo

package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/selo-id/selo/internal/transcript"
)

// hsm is a SoftHSM with tokens, for the whole test process, as a PKCS#11 library is.
type hsm struct {
	module, dir string
	lib         *pkcs11.Ctx
	slots       map[string]uint // by label
}

var pin = transcript.Secret("pin 7351 of the seal tests")

// theHSM needs Debian's softhsm2. The tokens have to be there when the library is initialized, the first time.
var theHSM = sync.OnceValues(startHSM)

var running *hsm // what endHSM ends, also of a start that failed

func startHSM() (*hsm, error) {
	modules := []string{os.Getenv("SOFTHSM2_MODULE"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"}
	at := slices.IndexFunc(modules, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if at < 0 {
		return nil, errors.New("SoftHSM is missing: apt-get install softhsm2")
	}
	dir, err := os.MkdirTemp("", "selo-softhsm-")
	if err != nil {
		return nil, err
	}
	h := &hsm{module: modules[at], dir: dir, slots: make(map[string]uint)}
	running = h
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return nil, err
	}
	err = os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\nslots.removable = true\n"), 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil { // not t.Setenv: it holds for all tests
		return nil, err
	}
	for _, label := range []string{"first", "second", "locked"} {
		out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", pin).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("softhsm2-util: %w: %s", err, out)
		}
	}
	h.lib = pkcs11.New(h.module)
	if h.lib == nil {
		return nil, fmt.Errorf("%s does not load", h.module)
	}
	if err := h.lib.Initialize(); err != nil {
		return nil, err
	}
	slots, err := h.lib.GetSlotList(true)
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		info, err := h.lib.GetTokenInfo(slot)
		if err != nil {
			return nil, err
		}
		h.slots[info.Label] = slot
	}
	return h, errors.Join(
		h.generate("first", "kek-1", nil), h.generate("first", "kek-2", nil), h.generate("second", "kek-3", nil), h.generate("locked", "kek", nil),
		h.generate("first", "twice", nil), h.generate("first", "twice", nil),
		h.generate("first", "short", map[uint]any{pkcs11.CKA_VALUE_LEN: 16}),
		h.generate("first", "loose", map[uint]any{pkcs11.CKA_EXTRACTABLE: true}),
		h.generate("first", "readable", map[uint]any{pkcs11.CKA_SENSITIVE: false}),
		h.generate("first", "one-way", map[uint]any{pkcs11.CKA_DECRYPT: false}),
	)
}

// generate makes an AES key as the manual of the package says, but for the given attributes.
func (h *hsm) generate(token, label string, but map[uint]any) error {
	s, err := h.lib.OpenSession(h.slots[token], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return err
	}
	defer func() { _ = h.lib.CloseSession(s) }()
	if err := h.lib.Login(s, pkcs11.CKU_USER, pin); err != nil {
		return err
	}
	attributes := map[uint]any{
		pkcs11.CKA_TOKEN: true, pkcs11.CKA_PRIVATE: true, pkcs11.CKA_SENSITIVE: true, pkcs11.CKA_EXTRACTABLE: false,
		pkcs11.CKA_ENCRYPT: true, pkcs11.CKA_DECRYPT: true, pkcs11.CKA_VALUE_LEN: 32, pkcs11.CKA_LABEL: label,
	}
	for a, v := range but {
		attributes[a] = v
	}
	var template []*pkcs11.Attribute
	for a, v := range attributes {
		template = append(template, pkcs11.NewAttribute(a, v))
	}
	_, err = h.lib.GenerateKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, template)
	return err
}

// endHSM runs after the tests, so that the library's own clean-up has nothing left to do.
func endHSM() {
	if running == nil {
		return
	}
	if running.lib != nil {
		_ = running.lib.Finalize()
	}
	_ = os.RemoveAll(running.dir)
}

func needHSM(t testing.TB) *hsm {
	t.Helper()
	h, err := theHSM()
	if err != nil && os.Getenv("SELO_CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return h
}

func pinFile(t testing.TB, pin string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(pin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hsmKey(t testing.TB, token, key string) *hsmKEK {
	t.Helper()
	h := needHSM(t)
	kek, err := Open(t.Context(), Source{PKCS11: &PKCS11{h.module, token, key, pinFile(t, pin)}})
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kek.Close(); err != nil {
			t.Error(err)
		}
	})
	return kek.(*hsmKEK)
}

func TestHSM(t *testing.T) {
	kek := hsmKey(t, "first", "kek-1")
	if len(kek.ID()) != 16 || kek.ID() != hsmKey(t, "first", "kek-1").ID() || kek.ID() == hsmKey(t, "first", "kek-2").ID() {
		t.Errorf("ID %q", kek.ID())
	}
	k := newKeeper(t, kek)
	if err := k.Check(t.Context()); transcript.Error(err) != nil {
		t.Fatal(err)
	}
	s := sealed(t, k, record, clientSecret)
	mustOpen(t, k, record, s, clientSecret)
	testTamper(t, k, record, s)
	testOtherRecords(t, k, s)
	for size := range 3 * ivSize {
		if _, err := kek.Unwrap(t.Context(), make([]byte, size), nil); !errors.Is(err, ErrSealBroken) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if err := kek.Close(); err != nil {
		t.Error(err)
	}
	if _, err := k.Open(t.Context(), record, s); !errors.Is(transcript.Error(err), errClosed) {
		t.Errorf("opened with a closed KEK: %v", err)
	}
}

func TestHSMRewrap(t *testing.T) {
	for name, pair := range map[string][2]KEK{
		"file to HSM":        {newKEK(t, material), hsmKey(t, "first", "kek-1")},
		"HSM to file":        {hsmKey(t, "first", "kek-1"), newKEK(t, material)},
		"key to key":         {hsmKey(t, "first", "kek-1"), hsmKey(t, "first", "kek-2")},
		"token to token":     {hsmKey(t, "first", "kek-1"), hsmKey(t, "second", "kek-3")},
		"token to token, up": {hsmKey(t, "second", "kek-3"), hsmKey(t, "first", "kek-2")},
	} {
		t.Run(name, func(t *testing.T) { testRewrap(t, pair[0], pair[1]) })
	}
}

// A token that goes away is an error that is not ErrSealBroken, and the next call after it came back works.
func TestHSMTokenComesBack(t *testing.T) {
	h := needHSM(t)
	kek := hsmKey(t, "second", "kek-3")
	k := newKeeper(t, kek)
	s := sealed(t, k, record, clientSecret)
	bystander := hsmKey(t, "first", "kek-1") // of the same library
	other := sealed(t, newKeeper(t, bystander), record, clientSecret)

	tokens, away := filepath.Join(h.dir, "tokens"), filepath.Join(h.dir, "away")
	if err := os.Rename(tokens, away); err != nil {
		t.Fatal(err)
	}
	secret, err := k.Open(t.Context(), record, s)
	t.Log("without the token:", transcript.Error(err))
	if err == nil || errors.Is(err, ErrSealBroken) || secret != nil {
		t.Errorf("opened without the token: %v", err)
	}
	if err := k.Check(t.Context()); transcript.Error(err) == nil {
		t.Error("the check passed without the token")
	}
	if err := os.Rename(away, tokens); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, k, record, s, clientSecret)
	mustOpen(t, k, record, s, clientSecret)
	mustOpen(t, newKeeper(t, bystander), record, other, clientSecret)
	if err := k.Check(t.Context()); transcript.Error(err) != nil {
		t.Error(err)
	}
}

// One token goes away, and the KEKs in the others, of the same library, go on.
func TestHSMOneTokenComesBack(t *testing.T) {
	h := needHSM(t)
	gone, stays := newKeeper(t, hsmKey(t, "second", "kek-3")), newKeeper(t, hsmKey(t, "first", "kek-1"))
	info, err := h.lib.GetTokenInfo(h.slots["second"])
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := os.ReadDir(filepath.Join(h.dir, "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(dirs, func(d os.DirEntry) bool {
		return strings.HasSuffix(strings.ReplaceAll(d.Name(), "-", ""), info.SerialNumber)
	})
	if at < 0 {
		t.Fatalf("no directory for the token %s in %v", info.SerialNumber, dirs)
	}
	dir, away := filepath.Join(h.dir, "tokens", dirs[at].Name()), filepath.Join(h.dir, "away")
	s := sealed(t, gone, record, clientSecret)
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := gone.Open(t.Context(), record, s); transcript.Error(err) == nil || errors.Is(err, ErrSealBroken) {
			t.Errorf("opened without the token: %v", err)
		}
		if err := stays.Check(t.Context()); transcript.Error(err) != nil {
			t.Errorf("the other token: %v", err)
		}
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, gone, record, s, clientSecret)
	if err := stays.Check(t.Context()); transcript.Error(err) != nil {
		t.Errorf("the other token: %v", err)
	}
}

// The same with many calls at a time, of two KEKs: all of them work as soon as the token is back.
func TestHSMTokenComesBackToMany(t *testing.T) {
	h := needHSM(t)
	keepers := []*Keeper{newKeeper(t, hsmKey(t, "first", "kek-1")), newKeeper(t, hsmKey(t, "second", "kek-3"))}
	tokens, away := filepath.Join(h.dir, "tokens"), filepath.Join(h.dir, "away")
	for range 5 {
		inParallel(t, 4*maxSessions, func(i int) error { return keepers[i%2].Check(t.Context()) })
		if err := os.Rename(tokens, away); err != nil {
			t.Fatal(err)
		}
		inParallel(t, 4*maxSessions, func(i int) error {
			if keepers[i%2].Check(t.Context()) == nil {
				return errors.New("the check passed without the token")
			}
			return nil
		})
		if err := os.Rename(away, tokens); err != nil {
			t.Fatal(err)
		}
		inParallel(t, 4*maxSessions, func(i int) error { return keepers[i%2].Check(t.Context()) })
	}
}

// Whatever ends the sessions, the next call has new ones.
func TestHSMSessionsLost(t *testing.T) {
	h := needHSM(t)
	kek := hsmKey(t, "second", "kek-3")
	k := newKeeper(t, kek)
	s := sealed(t, k, record, clientSecret)
	for name, lose := range map[string]func() error{
		"sessions closed": func() error { return h.lib.CloseAllSessions(h.slots["second"]) },
		"finalized":       func() error { return h.lib.Finalize() },
		"finalized and initialized by another": func() error {
			return errors.Join(h.lib.Finalize(), h.lib.Initialize())
		},
		"logged out": func() error {
			own := <-kek.sessions
			defer func() { kek.sessions <- own }()
			if _, err := kek.attempt(t.Context(), own, func(*session) ([]byte, error) { return nil, kek.probe(own) }); err != nil {
				return err
			}
			return h.lib.Logout(own.handle)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inParallel(t, 2*maxSessions, func(int) error { return k.Check(t.Context()) }) // all sessions are open
			if err := lose(); err != nil {
				t.Fatal(err)
			}
			mustOpen(t, k, record, s, clientSecret)
			inParallel(t, 2*maxSessions, func(int) error { return k.Check(t.Context()) })
		})
	}
}

func TestHSMRefusals(t *testing.T) {
	h := needHSM(t)
	good := PKCS11{h.module, "first", "kek-1", pinFile(t, pin)}
	for name, tc := range map[string]struct {
		change func(*PKCS11)
		want   string
	}{
		"no module":        {func(c *PKCS11) { c.Module = "" }, "pkcs11: module, token label, key label and PIN file are all required"},
		"relative module":  {func(c *PKCS11) { c.Module = "libsofthsm2.so" }, "must be an absolute path"},
		"module not there": {func(c *PKCS11) { c.Module = "/nonexistent.so" }, "finding the module: no such file"},
		"not PKCS#11":      {func(c *PKCS11) { c.Module = "/lib/x86_64-linux-gnu/libm.so.6" }, "does not load as a PKCS#11 library"},
		"no token":         {func(c *PKCS11) { c.TokenLabel = "third" }, `no token has the label "third"`},
		"no key":           {func(c *PKCS11) { c.KeyLabel = "kek-9" }, `no AES key with the label "kek-9": make one with pkcs11-tool`},
		"two keys":         {func(c *PKCS11) { c.KeyLabel = "twice" }, "more than one AES key"},
		"short key":        {func(c *PKCS11) { c.KeyLabel = "short" }, "does not have 32 bytes"},
		"extractable key":  {func(c *PKCS11) { c.KeyLabel = "loose" }, "may leave the token"},
		"readable key":     {func(c *PKCS11) { c.KeyLabel = "readable" }, "can be read"},
		"key of one way":   {func(c *PKCS11) { c.KeyLabel = "one-way" }, "must be allowed to encrypt and decrypt with CKM_AES_GCM"},
		"no PIN file":      {func(c *PKCS11) { c.PINFile = filepath.Join(t.TempDir(), "none") }, "reading the PIN file: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			kek, err := Open(t.Context(), Source{PKCS11: &c})
			if transcript.Error(err) == nil || kek != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// A wrong PIN is refused, and tried once: tokens lock after a few. With the right one in the file it goes on.
func TestHSMWrongPIN(t *testing.T) {
	h := needHSM(t)
	file := pinFile(t, "0000-not-it")
	c := PKCS11{h.module, "locked", "kek", file}
	_, err := Open(t.Context(), Source{PKCS11: &c})
	if !errors.Is(transcript.Error(err), pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)) || !strings.Contains(err.Error(), "correct the PIN file") {
		t.Errorf("opened with a wrong PIN: %v", err)
	}
	if err := os.WriteFile(file, []byte(pin+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := OpenPKCS11(t.Context(), c)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	defer kek.Close()
	k := newKeeper(t, kek)
	change := func(pin string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file, []byte(pin), 0o600), h.lib.CloseAllSessions(h.slots["locked"])); err != nil {
			t.Fatal(err)
		}
	}
	change("0000-not-it")
	if err := k.Check(t.Context()); !errors.Is(transcript.Error(err), pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)) {
		t.Errorf("a wrong PIN: %v", err)
	}
	for range 3 {
		if err := k.Check(t.Context()); transcript.Error(err) == nil || !strings.Contains(err.Error(), "not tried again") {
			t.Errorf("the same wrong PIN again: %v", err)
		}
	}
	change(pin)
	if err := k.Check(t.Context()); transcript.Error(err) != nil {
		t.Error(err)
	}
}

// A label that names another key than before does not get to wrap.
func TestHSMOtherKey(t *testing.T) {
	h := needHSM(t)
	kek := hsmKey(t, "first", "kek-1")
	s := sealed(t, newKeeper(t, kek), record, clientSecret)
	kek.conf.KeyLabel = "kek-2"
	if err := h.lib.CloseAllSessions(h.slots["first"]); err != nil {
		t.Fatal(err)
	}
	_, err := newKeeper(t, kek).Open(t.Context(), record, s)
	if transcript.Error(err) == nil || errors.Is(err, ErrSealBroken) || !strings.Contains(err.Error(), "is now another one") {
		t.Errorf("error %v", err)
	}
}

func TestHSMConcurrent(t *testing.T) {
	k := newKeeper(t, hsmKey(t, "first", "kek-1"), hsmKey(t, "second", "kek-3"), newKEK(t, material))
	inParallel(t, 32, func(i int) error {
		r, secret := Record{"parallel", []string{fmt.Sprint(i)}}, fmt.Appendf(nil, "secret %d", i)
		s, err := k.Seal(t.Context(), r, secret)
		if err != nil {
			return err
		}
		got, err := k.Open(t.Context(), r, s)
		if err == nil && !bytes.Equal(got, secret) {
			err = errors.New("opened as another's")
		}
		return err
	})
}

// A call to the module that hangs delays its caller no longer than the context does, and such calls are bounded.
func TestHSMHangs(t *testing.T) {
	kek := hsmKey(t, "first", "kek-1")
	release, entered := make(chan struct{}), make(chan struct{})
	hang := func(*session) ([]byte, error) {
		entered <- struct{}{}
		<-release
		return []byte("late"), nil
	}
	for range maxSessions {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-entered; cancel() }()
		if out, err := kek.call(ctx, hang); !errors.Is(transcript.Error(err), context.Canceled) || out != nil {
			t.Errorf("a hanging call: %q, %v", out, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := kek.Wrap(ctx, []byte("dek"), nil); !errors.Is(transcript.Error(err), context.DeadlineExceeded) {
		t.Errorf("one call too many: %v", err)
	}
	close(release)
	mustWork := newKeeper(t, kek)
	if err := mustWork.Check(t.Context()); transcript.Error(err) != nil {
		t.Error(err)
	}
	cancel()
	if _, err := kek.Wrap(ctx, []byte("dek"), nil); err == nil {
		t.Error("wrapped although the context had ended")
	}
}

func TestHSMPrintsNothing(t *testing.T) {
	kek := hsmKey(t, "first", "kek-1")
	checkUnprintable(t, kek, []byte(pin))
	checkUnprintable(t, newKeeper(t, kek), []byte(pin))
}

func inParallel(t *testing.T, n int, f func(int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	if err := transcript.Error(errors.Join(errs...)); err != nil {
		t.Error(err)
	}
}

func BenchmarkHSM(b *testing.B) {
	h := needHSM(b)
	kek, err := OpenPKCS11(b.Context(), PKCS11{h.module, "first", "kek-1", pinFile(b, pin)})
	if err != nil {
		b.Fatal(err)
	}
	defer kek.Close()
	benchmark(b, kek)
}

//go:build pkcs11 && cgo

package seal

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

const (
	// maxSessions is also how many calls may be stuck in the module at once, each holding a thread.
	maxSessions = 4

	ivSize, tagSize = 12, 16
)

// hsmKEK is a KEK whose key is in a token. Wrapped is IV, ciphertext and tag.
type hsmKEK struct {
	unprintable
	id       string
	lib      *library
	conf     PKCS11
	sessions chan *session // those at rest; the channel takes all of them
	closed   atomic.Bool

	refused func(pin string) bool // whether the token has refused this PIN; a function, so that it does not print
	refuse  func(pin string)      // remembers that it has
}

// refusal is an error that only somebody who corrects something can end, so nothing is tried again.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// session is one session with the token, or the place for one.
type session struct {
	open       bool
	generation uint64
	handle     pkcs11.SessionHandle
	key        pkcs11.ObjectHandle
	id         string // of the key
}

// OpenPKCS11 makes a KEK of an AES key in an HSM. The key must be of 32 bytes, and unable to leave the token.
//
// Its ID is made of an encryption under the key, not of CKA_ID and the token's serial number: so it is the same for
// a copy of the key in a second HSM, and never the same for two keys.
//
// A token that goes away and comes back is taken up again by the next call. A PIN that the token has refused is not
// tried again until the PIN file has another, because tokens lock after a few wrong ones.
func OpenPKCS11(ctx context.Context, c PKCS11) (KEK, error) {
	if c.Module == "" || c.TokenLabel == "" || c.KeyLabel == "" || c.PINFile == "" {
		return nil, errors.New("module, token label, key label and PIN file are all required")
	}
	lib, err := loadLibrary(c.Module)
	if err != nil {
		return nil, err
	}
	k := &hsmKEK{lib: lib, conf: c, sessions: make(chan *session, maxSessions)}
	var last []byte
	k.refused = func(pin string) bool { return last != nil && hmac.Equal(last, pinHash(pin)) }
	k.refuse = func(pin string) { last = pinHash(pin) }
	for range maxSessions {
		k.sessions <- new(session)
	}
	ctx, cancel := context.WithTimeout(ctx, kekTimeout)
	defer cancel()
	id, err := k.call(ctx, func(s *session) ([]byte, error) { return []byte(s.id), k.probe(s) })
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.id = string(id)
	return k, nil
}

func pinHash(pin string) []byte {
	h := sha256.Sum256([]byte(pin))
	return h[:]
}

func (k *hsmKEK) ID() string { return k.id }

func (k *hsmKEK) Wrap(ctx context.Context, dek, ad []byte) ([]byte, error) {
	dek, ad = slices.Clone(dek), slices.Clone(ad) // the call may outlive Wrap
	return k.call(ctx, func(s *session) ([]byte, error) { return k.encrypt(s, dek, ad) }, dek)
}

func (k *hsmKEK) Unwrap(ctx context.Context, wrapped, ad []byte) ([]byte, error) {
	if len(wrapped) < ivSize+tagSize || len(wrapped) > maxBlob {
		return nil, ErrSealBroken
	}
	wrapped, ad = slices.Clone(wrapped), slices.Clone(ad)
	return k.call(ctx, func(s *session) ([]byte, error) {
		dek, err := k.decrypt(s, wrapped, ad)
		// Libraries name a wrong tag differently, and SoftHSM as it names any trouble. If the session can decrypt
		// something else, and still not this, it is what is wrapped.
		if err != nil && k.probe(s) == nil {
			if dek, err = k.decrypt(s, wrapped, ad); err != nil {
				return nil, ErrSealBroken
			}
		}
		return dek, err
	})
}

// Close leaves alone the sessions that calls are using; these close them. The token logs out by itself when the last
// session of the process is closed.
func (k *hsmKEK) Close() error {
	k.closed.Store(true)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), kekTimeout)
	defer cancel()
	go func() { done <- k.closeIdle(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("closing the sessions with the token: %w", ctx.Err())
	}
}

// closeIdle closes the sessions at rest, of a KEK that is closed.
func (k *hsmKEK) closeIdle(ctx context.Context) error {
	if err := k.lib.enter(ctx); err != nil {
		return err
	}
	defer k.lib.leave()
	for range maxSessions {
		select {
		case s := <-k.sessions:
			k.drop(s)
			k.sessions <- s
		default:
		}
	}
	return nil
}

// call runs f with a session of its own, and wipes what is given for that when f is done. C cannot be interrupted: if
// ctx ends first, call returns, and the goroutine keeps the session until C comes back. So there are never more such
// goroutines than sessions.
func (k *hsmKEK) call(ctx context.Context, f func(*session) ([]byte, error), wipe ...[]byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var s *session
	select {
	case s = <-k.sessions:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for one of the %d sessions with the token: %w", maxSessions, ctx.Err())
	}
	type result struct {
		out []byte
		err error
	}
	done := make(chan result)
	go func() {
		out, err := k.retry(ctx, s, f)
		for _, b := range wipe {
			clear(b)
		}
		k.sessions <- s
		if k.closed.Load() {
			_ = k.closeIdle(ctx) // when ctx has ended, the session ends with the process
		}
		select {
		case done <- result{out, err}:
		case <-ctx.Done():
			clear(out) // it may be a data key
		}
	}()
	select {
	case r := <-done:
		return r.out, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the token: %w", ctx.Err())
	}
}

// retry runs f until it succeeds, with more effort each time: with the session that is there, with a new one, and
// with a library that is initialized anew. It goes by no list of codes: libraries report a token that went away with
// many, and some with a general one.
func (k *hsmKEK) retry(ctx context.Context, s *session, f func(*session) ([]byte, error)) ([]byte, error) {
	for reset := false; ; {
		if k.closed.Load() {
			return nil, errClosed
		}
		generation, had := k.lib.generation.Load(), k.usable(s)
		out, err := k.attempt(ctx, s, f)
		switch refused := (refusal{}); {
		case err == nil:
			return out, nil
		case errors.Is(err, ErrSealBroken), errors.As(err, &refused), ctx.Err() != nil:
			return nil, err
		case had: // and it is dropped
		case reset:
			return nil, err
		case k.lib.reset(ctx, generation) != nil:
			return nil, err
		default:
			reset = true
		}
	}
}

// attempt runs f once, with a session that works or did.
func (k *hsmKEK) attempt(ctx context.Context, s *session, f func(*session) ([]byte, error)) ([]byte, error) {
	if err := k.lib.enter(ctx); err != nil {
		return nil, err
	}
	defer k.lib.leave()
	if !k.usable(s) {
		if err := k.connect(s); err != nil {
			return nil, err
		}
	}
	out, err := f(s)
	if err != nil && !errors.Is(err, ErrSealBroken) {
		k.drop(s)
		return nil, err
	}
	return out, err
}

// usable reports whether a session is open, as far as that is known.
func (k *hsmKEK) usable(s *session) bool { return s.open && s.generation == k.lib.generation.Load() }

// drop closes a session, so that the next attempt opens another.
func (k *hsmKEK) drop(s *session) {
	if k.usable(s) {
		_ = k.lib.CloseSession(s.handle) // it may be gone already, which is as good
	}
	*s = session{}
}

// connect opens a session, logs in, and finds the key.
func (k *hsmKEK) connect(s *session) error {
	k.lib.opening.Lock()
	defer k.lib.opening.Unlock()
	if err := k.lib.start(); err != nil {
		return err
	}
	slot, err := k.slot()
	if err != nil {
		return err
	}
	handle, err := k.lib.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return fmt.Errorf("opening a session with the token: %w", err)
	}
	*s = session{open: true, generation: k.lib.generation.Load(), handle: handle}
	if err := k.unlock(s); err != nil {
		k.drop(s)
		return err
	}
	return nil
}

// slot finds the token, which may be in another slot than last time.
func (k *hsmKEK) slot() (uint, error) {
	slots, err := k.lib.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("listing the tokens: %w", err)
	}
	var found []uint
	for _, slot := range slots {
		// A slot that does not answer is not the one.
		if info, err := k.lib.GetTokenInfo(slot); err == nil && info.Label == k.conf.TokenLabel {
			found = append(found, slot)
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("no token has the label %q: is it there, and may this user reach it?", short(k.conf.TokenLabel))
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("%d tokens have the label %q: give each its own", len(found), short(k.conf.TokenLabel))
}

// unlock logs in, unless another session of this process has, and finds the key.
func (k *hsmKEK) unlock(s *session) (err error) {
	if err := k.login(s); err != nil {
		return err
	}
	if s.key, err = k.find(s); err != nil {
		return err
	}
	if s.id, err = k.identify(s); err != nil {
		return err
	}
	if k.id != "" && s.id != k.id {
		return refusal{fmt.Errorf("the key %q is now another one (%s) than when it was opened (%s)", short(k.conf.KeyLabel), s.id, k.id)}
	}
	return nil
}

func (k *hsmKEK) login(s *session) error {
	b, err := readFile(k.conf.PINFile)
	if err != nil {
		return refusal{fmt.Errorf("reading the PIN file: %w", err)}
	}
	pin := string(b)
	clear(b)
	const fix = "correct the PIN file before the token locks"
	if k.refused(pin) {
		return refusal{fmt.Errorf("the token refused this PIN before, so it is not tried again: %s", fix)}
	}
	err = k.lib.Login(s.handle, pkcs11.CKU_USER, pin)
	switch code := pkcs11.Error(0); {
	case err == nil:
		return nil
	case !errors.As(err, &code):
	case code == pkcs11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case code == pkcs11.CKR_PIN_INCORRECT, code == pkcs11.CKR_PIN_INVALID, code == pkcs11.CKR_PIN_LEN_RANGE:
		k.refuse(pin)
		return refusal{fmt.Errorf("the token refuses the PIN: %s: %w", fix, err)}
	case code == pkcs11.CKR_PIN_LOCKED, code == pkcs11.CKR_PIN_EXPIRED, code == pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return refusal{fmt.Errorf("the token takes no PIN until its administrator sets another: %w", err)}
	}
	return fmt.Errorf("logging in to the token: %w", err)
}

// find returns the key, if it is what a KEK should be.
func (k *hsmKEK) find(s *session) (pkcs11.ObjectHandle, error) {
	label := short(k.conf.KeyLabel)
	err := k.lib.FindObjectsInit(s.handle, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.conf.KeyLabel),
	})
	if err != nil {
		return 0, fmt.Errorf("looking for the key: %w", err)
	}
	keys, _, err := k.lib.FindObjects(s.handle, 2)
	if err := errors.Join(err, k.lib.FindObjectsFinal(s.handle)); err != nil {
		return 0, fmt.Errorf("looking for the key: %w", err)
	}
	switch len(keys) {
	case 0:
		return 0, fmt.Errorf("the token has no AES key with the label %q: make one with pkcs11-tool --login --keygen --key-type AES:32 --sensitive, and this label", label)
	case 2:
		return 0, fmt.Errorf("more than one AES key has the label %q: give each its own", label)
	}
	attributes, err := k.lib.GetAttributeValue(s.handle, keys[0], []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, nil),
	})
	if err != nil {
		return 0, fmt.Errorf("reading the attributes of the key: %w", err)
	}
	for _, a := range attributes {
		var wrong string
		switch {
		case a.Type == pkcs11.CKA_EXTRACTABLE && !slices.Equal(a.Value, []byte{0}):
			wrong = "may leave the token (CKA_EXTRACTABLE)"
		case a.Type == pkcs11.CKA_SENSITIVE && !slices.Equal(a.Value, []byte{1}):
			wrong = "can be read (CKA_SENSITIVE is false)"
		case a.Type == pkcs11.CKA_VALUE_LEN && !slices.Equal(a.Value, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32).Value):
			wrong = "does not have 32 bytes"
		default:
			continue
		}
		return 0, refusal{fmt.Errorf("the key %q %s: make another with pkcs11-tool --keygen --key-type AES:32 --sensitive", label, wrong)}
	}
	return keys[0], nil
}

// identify makes the ID: a hash of one block that the key encrypts, which no value that it wraps contains but by
// chance of 2^-96, and from which nobody gets back to the key.
func (k *hsmKEK) identify(s *session) (string, error) {
	mechanism := pkcs11.NewMechanism(pkcs11.CKM_AES_CBC, make([]byte, 16)) // of one block, so the same as ECB, which policies forbid more often
	if err := k.lib.EncryptInit(s.handle, []*pkcs11.Mechanism{mechanism}, s.key); err != nil {
		return "", explain("CKM_AES_CBC", err)
	}
	out, err := k.lib.Encrypt(s.handle, []byte("selo kek id v1: "))
	if err != nil {
		return "", explain("CKM_AES_CBC", err)
	}
	h := sha256.Sum256(out)
	return hex.EncodeToString(h[:idSize]), nil
}

// explain says what a token must be able to do.
func explain(mechanism string, err error) error {
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID)) || errors.Is(err, pkcs11.Error(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)) {
		return refusal{fmt.Errorf("the key must be allowed to encrypt and decrypt with %s in this token: %w", mechanism, err)}
	}
	return fmt.Errorf("using %s: %w", mechanism, err)
}

// gcm gives the AD a prefix since there are modules that abort the process when it is empty.
func gcm(iv, ad []byte) (*pkcs11.GCMParams, []*pkcs11.Mechanism) {
	p := pkcs11.NewGCMParams(iv, append([]byte("selo kek wrap v1"), ad...), 8*tagSize)
	return p, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, p)}
}

func (k *hsmKEK) encrypt(s *session, dek, ad []byte) ([]byte, error) {
	iv := make([]byte, ivSize)
	_, _ = rand.Read(iv) // never fails
	p, mechanism := gcm(iv, ad)
	defer p.Free()
	if err := k.lib.EncryptInit(s.handle, mechanism, s.key); err != nil {
		return nil, explain("CKM_AES_GCM", err)
	}
	out, err := k.lib.Encrypt(s.handle, dek)
	if err != nil {
		return nil, explain("CKM_AES_GCM", err)
	}
	return append(p.IV(), out...), nil // some tokens choose their own, and write it over ours
}

func (k *hsmKEK) decrypt(s *session, wrapped, ad []byte) ([]byte, error) {
	p, mechanism := gcm(wrapped[:ivSize], ad)
	defer p.Free()
	if err := k.lib.DecryptInit(s.handle, mechanism, s.key); err != nil {
		return nil, explain("CKM_AES_GCM", err)
	}
	out, err := k.lib.Decrypt(s.handle, wrapped[ivSize:])
	if err != nil {
		return nil, explain("CKM_AES_GCM", err)
	}
	return out, nil
}

// probe reports whether the key in this session encrypts and decrypts.
func (k *hsmKEK) probe(s *session) error {
	value := []byte("selo kek probe")
	wrapped, err := k.encrypt(s, value, []byte("probe"))
	if err != nil {
		return err
	}
	got, err := k.decrypt(s, wrapped, []byte("probe"))
	if err != nil {
		return err
	}
	if !hmac.Equal(got, value) {
		return errors.New("the token decrypts another value than it encrypted")
	}
	return nil
}

package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/selo-id/selo"
)

// minPepperSize is 32 bytes: a CPF has 10^9 values, so the pepper alone keeps a pseudonym from being
// reversed in seconds.
const minPepperSize = 32

// Pepper makes pseudonyms of people: HMACs that only its holder can make or compare. It cannot be printed.
type Pepper struct {
	version int
	keys    func() pepperKeys // a function, since fmt cannot print what one captures; see selo.Secret
}

type pepperKeys struct {
	mac  []byte
	seal cipher.AEAD
}

// NewPepper makes a pepper of at least 32 random bytes. Versions start at 1 and say which pepper a
// pseudonym was made with.
func NewPepper(version int, material []byte) (*Pepper, error) {
	if version < 1 {
		return nil, fmt.Errorf("pepper version %d: must be 1 or more", version)
	}
	if len(material) < minPepperSize {
		return nil, fmt.Errorf("pepper version %d: has %d bytes, needs at least %d random ones (openssl rand -hex 32)", version, len(material), minPepperSize)
	}
	macKey, err := hkdf.Key(sha256.New, material, nil, "selo pseudonym v1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving pepper keys: %w", err)
	}
	sealKey, err := hkdf.Key(sha256.New, material, nil, "selo subject seal v1", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving pepper keys: %w", err)
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, fmt.Errorf("deriving pepper keys: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("deriving pepper keys: %w", err)
	}
	return &Pepper{version, func() pepperKeys { return pepperKeys{macKey, seal} }}, nil
}

// Version is the number stored beside every pseudonym.
func (p *Pepper) Version() int { return p.version }

// Fingerprint tells two peppers apart and says nothing else of them.
func (p *Pepper) Fingerprint() []byte { return p.hmac("fingerprint") }

// CPF returns the pseudonym of a CPF.
func (p *Pepper) CPF(cpf selo.CPF) []byte { return p.hmac("cpf", cpf.Digits()) }

// secret tells whether two client secrets are the same.
func (p *Pepper) secret(text []byte) []byte { return p.hmac("access key secret", string(text)) }

// Subject returns the pseudonym of a subject.
func (p *Pepper) Subject(s selo.Subject) []byte { return p.hmac("subject", s.Issuer, s.ID) }

// hmac separates its parts by their lengths, so that no two lists of parts are the same message.
func (p *Pepper) hmac(parts ...string) []byte {
	h := hmac.New(sha256.New, p.keys().mac)
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// SealSubject encrypts a subject's ID for one session: receipts name it, and some issuers use the CPF.
func (p *Pepper) SealSubject(session, id string) []byte {
	return p.keys().seal.Seal(nil, nil, []byte(id), []byte(session))
}

// OpenSubject decrypts what SealSubject made for the same session.
func (p *Pepper) OpenSubject(session string, sealed []byte) (string, error) {
	id, err := p.keys().seal.Open(nil, nil, sealed, []byte(session))
	if err != nil {
		return "", errors.New("the sealed subject does not open: another pepper, or another session's")
	}
	return string(id), nil
}

// SealToken encrypts a token that the provider made for one session, for whoever repeats the request that got it.
func (p *Pepper) SealToken(session, token string) []byte {
	return p.keys().seal.Seal(nil, nil, []byte(token), []byte("token "+session))
}

// OpenToken decrypts what SealToken made for the same session.
func (p *Pepper) OpenToken(session string, sealed []byte) (string, error) {
	token, err := p.keys().seal.Open(nil, nil, sealed, []byte("token "+session))
	if err != nil {
		return "", errors.New("the sealed token does not open: another pepper, or another session's")
	}
	return string(token), nil
}

// Request returns the hash under which a request is found that its caller sends again. It may be made of a CPF.
func (p *Pepper) Request(parts ...string) []byte {
	return p.hmac(append([]string{"request"}, parts...)...)
}

// Format prints [secret] for every verb.
func (Pepper) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// MarshalText always fails.
func (Pepper) MarshalText() ([]byte, error) { return nil, errors.New("a pepper does not marshal") }

// Peppers are all live versions. New pseudonyms are made with the highest. They are safe for concurrent use.
type Peppers struct {
	now atomic.Pointer[[]*Pepper] // of this moment, ascending; never changed in place
}

func (ps *Peppers) all() []*Pepper { return *ps.now.Load() }

// NewPeppers needs at least one pepper, and no version twice.
func NewPeppers(all ...*Pepper) (*Peppers, error) {
	if len(all) == 0 {
		return nil, errors.New("peppers: at least one is required (openssl rand -hex 32)")
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b *Pepper) int { return a.version - b.version })
	for i := range all[1:] {
		if all[i].version == all[i+1].version {
			return nil, fmt.Errorf("peppers: version %d is listed twice", all[i].version)
		}
	}
	ps := &Peppers{}
	ps.now.Store(&all)
	return ps, nil
}

// Current is the pepper for new pseudonyms.
func (ps *Peppers) Current() *Pepper {
	all := ps.all()
	return all[len(all)-1]
}

// All returns the live peppers, oldest first.
func (ps *Peppers) All() []*Pepper { return slices.Clone(ps.all()) }

// Version returns the pepper of that version, or an error that says how to bring it back.
func (ps *Peppers) Version(version int) (*Pepper, error) {
	for _, p := range ps.all() {
		if p.version == version {
			return p, nil
		}
	}
	return nil, fmt.Errorf("pepper version %d is not configured, but sessions made with it are still asked for: put it back", version)
}

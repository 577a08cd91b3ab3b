package scan

import "hash"

// keyed tries keys on tokens. It is HMAC (RFC 2104) without what crypto/hmac allocates and hashes anew for each key and token,
// of which there are millions: some five times as fast. It decides nothing but what is told; TestKeyed compares it.
type keyed struct{ states map[string]*keyedHash }

type keyedHash struct {
	h            hash.Hash
	inner, outer []byte // the key, padded
	sum          []byte
	fresh        bool // they are of the key that is tried
}

func newKeyed() *keyed { return &keyed{make(map[string]*keyedHash)} }

// next begins with another key.
func (k *keyed) next() {
	for _, s := range k.states {
		s.fresh = false
	}
}

// signed reports that key signed a token. next must be called before another key.
func (k *keyed) signed(t *jwt, key []byte) bool {
	s := k.states[t.algorithm]
	if s == nil {
		h := t.hash()()
		s = &keyedHash{h: h, inner: make([]byte, h.BlockSize()), outer: make([]byte, h.BlockSize())}
		k.states[t.algorithm] = s
	}
	if !s.fresh {
		s.pad(key)
	}
	s.h.Reset()
	s.h.Write(s.inner)
	s.h.Write([]byte(t.signed))
	s.sum = s.h.Sum(s.sum[:0])
	s.h.Reset()
	s.h.Write(s.outer)
	s.h.Write(s.sum)
	s.sum = s.h.Sum(s.sum[:0])
	return string(s.sum) == t.mac
}

func (s *keyedHash) pad(key []byte) {
	if len(key) > len(s.inner) {
		s.h.Reset()
		s.h.Write(key)
		key = s.h.Sum(nil)
	}
	clear(s.inner)
	copy(s.inner, key)
	copy(s.outer, s.inner)
	for i := range s.inner {
		s.inner[i] ^= 0x36
		s.outer[i] ^= 0x5c
	}
	s.fresh = true
}

package scan

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const (
	minPiece = 6  // bytes in a piece of a secret: shorter strings are pieces of anything
	covered  = 80 // per cent of a secret that pieces must make up to prove that it was cut up
)

// fragments recognises strings that are pieces of secrets. A string counts only as a whole: an arbitrary stretch of a long
// hexadecimal text has six digits in common with a secret by chance, but whole strings that are nothing else do not.
type fragments struct {
	secrets [][]byte
	starts  map[uint64][]piece // the first six bytes of what may be a piece
	filter  [1 << 10]uint64
}

// piece is where in a secret a string stands.
type piece struct {
	secret   int
	from, to int
}

func newFragments(secrets [][]byte) *fragments {
	f := &fragments{secrets: secrets, starts: make(map[uint64][]piece)}
	for s, secret := range secrets {
		for from := 0; from+minPiece <= len(secret); from++ {
			k := sixBytes(secret[from:])
			f.starts[k] = append(f.starts[k], piece{s, from, 0})
			h := k * spread >> 48
			f.filter[h>>6] |= 1 << (h & 63)
		}
	}
	return f
}

func sixBytes(b []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint16(b[4:]))<<32
}

// pieces calls found for each place in a secret at which b stands. The whole secret is no piece of itself.
func (f *fragments) pieces(b []byte, found func(piece)) {
	if len(b) < minPiece || len(f.secrets) == 0 {
		return
	}
	k := sixBytes(b)
	h := k * spread >> 48
	if f.filter[h>>6]&(1<<(h&63)) == 0 {
		return
	}
	for _, p := range f.starts[k] {
		secret := f.secrets[p.secret]
		if len(b) < len(secret) && bytes.HasPrefix(secret[p.from:], b) {
			found(piece{p.secret, p.from, p.from + len(b)})
		}
	}
}

// coverage returns how many bytes of a secret the pieces make up together.
func coverage(pieces []piece) int {
	sorted := slices.Clone(pieces)
	slices.SortFunc(sorted, func(a, b piece) int { return a.from - b.from })
	n, end := 0, 0
	for _, p := range sorted {
		n += max(0, p.to-max(p.from, end))
		end = max(end, p.to)
	}
	return n
}

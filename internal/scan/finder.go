package scan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// window is how many bytes the filter looks at.
const window = 8

// finder finds needles in bytes. It looks at every stride-th window of eight bytes only: each needle has put as many
// windows into the filter as there are bytes in a stride, so one of them is met wherever the needle lies. What the filter
// lets through is looked up in a table, and compared whole.
//
// A finder does not change, and may be used by many at once.
type finder struct {
	plain  lagged
	xored  []lagged // nil when XOR is not looked for
	needle []needle
}

// lagged finds patterns in the bytes as they are (lag 0), or in what each byte and the one lag before it differ by.
// A repeating key falls out of that difference if its length divides lag: so 12 is for keys of 1, 2, 3 and 4 bytes.
type lagged struct {
	lag    int
	stride int
	shift  uint
	bits   []uint64
	at     map[uint64][]place
}

type place struct {
	needle int
	offset int // of the window in the needle
}

// hit is a needle that was found.
type hit struct {
	needle   int
	offset   int // of its first byte in the data
	spelling string
}

// newFinder makes a finder of secrets in every spelling, and of words as they are and in UTF-16. The needles of the latter
// have secret -1, -2 and so on.
func newFinder(secrets [][]byte, words []string, xor bool) *finder {
	f := new(finder)
	var plain, by12, by4 []int
	for i, secret := range secrets {
		for _, n := range needles(secret, i) {
			if n.spelling == "plain" {
				switch {
				case len(secret) >= minXOR12:
					by12 = append(by12, len(f.needle))
				case len(secret) >= minXOR4:
					by4 = append(by4, len(f.needle))
				}
			}
			plain = append(plain, len(f.needle))
			f.needle = append(f.needle, n)
		}
	}
	for i, word := range words {
		for _, b := range [][]byte{[]byte(word), wide([]byte(word), 2, false)} {
			plain = append(plain, len(f.needle))
			f.needle = append(f.needle, needle{b, -1 - i, "plain"})
		}
	}
	f.plain = f.newLagged(plain, 0)
	if xor {
		for _, x := range []struct {
			needles []int
			lag     int
		}{{by12, 12}, {by4, 4}, {by4, 3}} {
			if len(x.needles) > 0 {
				f.xored = append(f.xored, f.newLagged(x.needles, x.lag))
			}
		}
	}
	return f
}

// The shortest secrets that are looked for XORed: with what is left of them after the lag, a chance match in
// hexadecimal text, of which each byte has but four bits, is less likely than one in 2^32.
const (
	minXOR12 = 24
	minXOR4  = 16
)

func (f *finder) newLagged(list []int, lag int) lagged {
	l := lagged{lag: lag, stride: window, at: make(map[uint64][]place)}
	for _, n := range list {
		l.stride = min(l.stride, len(f.needle[n].b)-lag-window+1)
	}
	for _, n := range list {
		d := f.needle[n].b
		if lag > 0 {
			d = difference(d, lag)
			if slices.Max(counts(d)) > len(d)/2 {
				continue // a secret that repeats itself differs by hardly anything from itself, as does half of any app
			}
		}
		for offset := range l.stride {
			w := binary.LittleEndian.Uint64(d[offset:])
			l.at[w] = append(l.at[w], place{n, offset})
		}
	}
	size := min(max(bits.Len(uint(64*len(l.at))), 15), 23)
	l.shift = uint(64 - size)
	l.bits = make([]uint64, 1<<(size-6))
	for w := range l.at {
		h := w * spread >> l.shift
		l.bits[h>>6] |= 1 << (h & 63)
	}
	return l
}

// spread is 2^64 divided by the golden ratio: its product's upper bits depend on all bits of a window.
const spread = 0x9e3779b97f4a7c15

func difference(b []byte, lag int) []byte {
	d := make([]byte, len(b)-lag)
	for i := range d {
		d[i] = b[i] ^ b[i+lag]
	}
	return d
}

func counts(b []byte) []int {
	n := make([]int, 256)
	for _, c := range b {
		n[c]++
	}
	return n
}

// find calls found for each needle in data, in no order; one needle at one place is told once, for of the windows in its
// first stride bytes just one lies where the filter looks.
func (f *finder) find(data []byte, found func(hit)) {
	if len(f.needle) == 0 {
		return
	}
	f.findPlain(data, found)
	for i := range f.xored {
		f.findXORed(&f.xored[i], data, found)
	}
}

func (f *finder) findPlain(data []byte, found func(hit)) {
	l := &f.plain
	shift, filter := l.shift, l.bits
	for i := 0; i+window <= len(data); i += l.stride {
		w := binary.LittleEndian.Uint64(data[i:])
		h := w * spread >> shift
		if filter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, p := range l.at[w] {
			n, start := &f.needle[p.needle], i-p.offset
			if start >= 0 && bytes.HasPrefix(data[start:], n.b) {
				found(hit{p.needle, start, n.spelling})
			}
		}
	}
}

func (f *finder) findXORed(l *lagged, data []byte, found func(hit)) {
	shift, filter, lag := l.shift, l.bits, l.lag
	for i := 0; i+lag+window <= len(data); i += l.stride {
		w := binary.LittleEndian.Uint64(data[i:]) ^ binary.LittleEndian.Uint64(data[i+lag:])
		h := w * spread >> shift
		if filter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, p := range l.at[w] {
			n, start := &f.needle[p.needle], i-p.offset
			if start < 0 || start+len(n.b) > len(data) {
				continue
			}
			if size := xorKey(data[start:start+len(n.b)], n.b); size > 0 {
				found(hit{p.needle, start, xorSpelling[size]})
			}
		}
	}
}

var xorSpelling = [...]string{1: "XOR with a key of 1 byte", 2: "XOR with a key of 2 bytes", 3: "XOR with a key of 3 bytes", 4: "XOR with a key of 4 bytes"}

// xorKey returns the length, of 1 to 4, of the repeating key by which data differs from secret, or 0.
func xorKey(data, secret []byte) int {
	var key [4]byte
	for size := 1; size <= len(key); size++ {
		for i := range size {
			key[i] = data[i] ^ secret[i]
		}
		if !repeats(data, secret, key[:size]) {
			continue
		}
		if key == [4]byte{} {
			return 0 // plain, which is told already
		}
		return size
	}
	return 0
}

func repeats(data, secret, key []byte) bool {
	for i := range secret {
		if data[i]^secret[i] != key[i%len(key)] {
			return false
		}
	}
	return true
}

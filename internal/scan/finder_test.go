package scan

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// textOf returns n characters that nobody can guess from a seed of their own.
func textOf(seed uint64, n int, alphabet string) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return b
}

const (
	hexAlphabet = "0123456789abcdef"
	mixed       = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
)

// noise is what there is much of in an app: code, words, zeros.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		switch r.IntN(4) {
		case 0:
			b = append(b, make([]byte, r.IntN(24))...)
		case 1:
			b = append(b, textOf(r.Uint64(), r.IntN(40), hexAlphabet)...)
		case 2:
			b = append(b, "getSystemService;Landroid/content/Context;"...)
		default:
			for range r.IntN(24) {
				b = append(b, byte(r.Uint32()))
			}
		}
	}
	return b[:n]
}

// TestFinderFindsEverywhere puts each spelling at every place of a stride, and at both ends.
func TestFinderFindsEverywhere(t *testing.T) {
	t.Parallel()
	for _, size := range []int{12, 13, 16, 20, 23, 24, 32, 64} {
		secrets := [][]byte{textOf(uint64(size), size, mixed), textOf(uint64(size)+100, size, hexAlphabet)}
		f := newFinder(secrets, []string{"com/combateafraude/"}, true)
		for ni, n := range f.needle {
			for at := range 17 {
				data := noise(uint64(ni), 700)
				copy(data[at:], n.b)
				data = data[:max(680-at, at+len(n.b))]
				if got := found(f, data); !slices.Contains(got, hit{ni, at, n.spelling}) {
					t.Fatalf("size %d: %s at %d is not found; found %v", size, n.spelling, at, got)
				}
				if end := append(noise(3, at), n.b...); !slices.Contains(found(f, end), hit{ni, at, n.spelling}) {
					t.Fatalf("size %d: %s at the end is not found", size, n.spelling)
				}
			}
		}
	}
}

// TestFinderFindsXOR tries keys of 1 to 4 bytes at every place of a stride.
func TestFinderFindsXOR(t *testing.T) {
	t.Parallel()
	for _, size := range []int{16, 19, 20, 23, 24, 25, 32, 64} {
		secret := textOf(uint64(size), size, mixed)
		f := newFinder([][]byte{secret}, nil, true)
		for _, key := range [][]byte{{0x5a}, {0x5a, 0xc3}, {0, 0x41}, {1, 2, 3}, {0xde, 0xad, 0xbe, 0xef}, {0, 0, 0, 9}} {
			for at := range 19 {
				data := noise(uint64(at), 300)
				for i, c := range secret {
					data[at+i] = c ^ key[i%len(key)]
				}
				want := strings.TrimSuffix(fmt.Sprintf("XOR with a key of %d bytes", len(key)), map[bool]string{true: "s"}[len(key) == 1])
				got := found(f, data)
				if !slices.ContainsFunc(got, func(h hit) bool { return h.offset == at && h.spelling == want }) {
					t.Fatalf("size %d, key % x at %d: not found; found %v", size, key, at, got)
				}
			}
		}
		if got := found(f, noise(77, 200)); len(got) > 0 {
			t.Errorf("found in noise: %v", got)
		}
	}
}

// TestFinderTellsOnce: one needle at one place is one hit, and what is plain is not XORed as well.
func TestFinderTellsOnce(t *testing.T) {
	t.Parallel()
	secret := textOf(1, 32, mixed)
	f := newFinder([][]byte{secret}, nil, true)
	data := slices.Concat(noise(1, 99), secret, noise(2, 50), secret)
	if got := found(f, data); len(got) != 2 || got[0].spelling != "plain" || got[1].spelling != "plain" {
		t.Errorf("found %v, want two plain ones", got)
	}
}

// TestFinderSlow compares the finder with bytes.Index over random texts of few letters, in which windows meet often.
func TestFinderSlow(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		secret := textOf(r.Uint64(), 12+r.IntN(30), "abcde")
		f := newFinder([][]byte{secret}, nil, false)
		var data []byte
		for range 20 {
			switch r.IntN(3) {
			case 0:
				data = append(data, f.needle[r.IntN(len(f.needle))].b...)
			case 1:
				data = append(data, secret[r.IntN(8):]...)
			default:
				data = append(data, textOf(r.Uint64(), r.IntN(20), "abcde")...)
			}
		}
		var want []hit
		for i, n := range f.needle {
			for at := 0; at+len(n.b) <= len(data); at++ {
				if bytes.HasPrefix(data[at:], n.b) {
					want = append(want, hit{i, at, n.spelling})
				}
			}
		}
		got := found(f, data)
		order := func(a, b hit) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
		slices.SortFunc(got, order)
		slices.SortFunc(want, order)
		if !slices.Equal(got, want) {
			t.Fatalf("found %v, want %v", got, want)
		}
	}
}

func found(f *finder, data []byte) (hits []hit) {
	f.find(data, func(h hit) { hits = append(hits, h) })
	return hits
}

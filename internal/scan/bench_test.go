package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/flate"
)

// BenchmarkScanPlain and BenchmarkScanXOR look for three secrets in an app. The floor is what no scanner does without, on
// as many goroutines: it inflates everything, and goes once through every byte with all needles at once. It knows no XOR, no
// encodings of strings, no formats, no tokens.
func BenchmarkScanPlain(b *testing.B) { benchmarkScan(b, true) }

func BenchmarkScanXOR(b *testing.B) { benchmarkScan(b, false) }

func benchmarkScan(b *testing.B, noXOR bool) {
	apk := benchAPK(b)
	secrets := []Secret{
		{"a", textOf(1, 64, hexAlphabet)}, {"b", textOf(2, 40, mixed[:62])}, {"c", textOf(3, 24, mixed)},
	}
	b.Run("floor", func(b *testing.B) {
		values := make([][]byte, len(secrets))
		for i, s := range secrets {
			values[i] = s.value
		}
		var patterns [][]byte
		for _, n := range newFinder(values, nil, false).needle {
			patterns = append(patterns, n.b)
		}
		a := newAutomaton(patterns)
		size := floorScan(b, a, apk)
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			floorScan(b, a, apk)
		}
	})
	b.Run("selo", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := Scan(context.Background(), []Target{{Path: apk}}, Options{Secrets: secrets, noXOR: noXOR})
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.Outcome == "fail" || f.Rule == ruleEverything && f.Outcome != "pass" {
					b.Fatalf("%s: %s", f.Rule, f.Message)
				}
			}
		}
	})
}

// floorScan looks in every entry of a ZIP file and returns how many bytes they have.
func floorScan(b *testing.B, a automaton, name string) int64 {
	b.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		b.Fatal(err)
	}
	defer z.Close()
	var next, size, found atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var lies, is []byte
			inflate := flate.NewReader(bytes.NewReader(nil))
			for {
				i := int(next.Add(1)) - 1
				if i >= len(z.File) {
					return
				}
				// A ZIP file that nobody made to do harm: what it says of sizes is so.
				f := z.File[i]
				lies = slices.Grow(lies[:0], int(f.CompressedSize64))[:f.CompressedSize64]
				is = slices.Grow(is[:0], int(f.UncompressedSize64))[:f.UncompressedSize64]
				r, err := f.OpenRaw()
				if err == nil {
					_, err = io.ReadFull(r, lies)
				}
				switch {
				case f.Method == zip.Store:
					copy(is, lies)
				case err == nil:
					if err = inflate.(flate.Resetter).Reset(bytes.NewReader(lies), nil); err == nil {
						_, err = io.ReadFull(inflate, is)
					}
				}
				if err != nil {
					b.Error(err)
				}
				size.Add(int64(len(is)))
				found.Add(int64(a.count(is)))
			}
		})
	}
	all.Wait()
	if found.Load() > 0 {
		b.Fatal("the floor found a secret that is nowhere")
	}
	return size.Load()
}

// automaton is that of Aho and Corasick as one table: for each state the next one for each byte. Of a state in which a
// pattern ends the number is negated.
type automaton [][256]int32

func newAutomaton(patterns [][]byte) automaton {
	a := make(automaton, 1)
	ends := []bool{false}
	for _, p := range patterns {
		s := int32(0)
		for _, c := range p {
			if a[s][c] == 0 {
				a[s][c] = int32(len(a))
				a = append(a, [256]int32{})
				ends = append(ends, false)
			}
			s = a[s][c]
		}
		ends[s] = true
	}
	// Breadth first: the state that a state falls back to is complete before it.
	fall := make([]int32, len(a))
	queue := []int32{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for c := range 256 {
			t := a[s][c]
			switch {
			case t == 0:
				a[s][c] = a[fall[s]][c]
				continue
			case s != 0:
				fall[t] = a[fall[s]][c]
			}
			ends[t] = ends[t] || ends[fall[t]]
			queue = append(queue, t)
		}
	}
	for s := range a {
		for c, t := range a[s] {
			if ends[t] {
				a[s][c] = -t
			}
		}
	}
	return a
}

func (a automaton) count(data []byte) (n int) {
	s := int32(0)
	for _, c := range data {
		if s = a[s][c]; s < 0 {
			s = -s
			n++
		}
	}
	return n
}

// TestAutomaton: a floor that finds nothing would be a fast one.
func TestAutomaton(t *testing.T) {
	t.Parallel()
	secret := textOf(5, 20, mixed)
	var patterns [][]byte
	for _, n := range needles(secret, 0) {
		patterns = append(patterns, n.b)
	}
	a := newAutomaton(patterns)
	for _, p := range patterns {
		if a.count(append(noise(1, 50), p...)) == 0 {
			t.Errorf("%q is not found", p)
		}
	}
	if n := a.count(noise(2, 1<<16)); n != 0 {
		t.Errorf("%d found in noise", n)
	}
}

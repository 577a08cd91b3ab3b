package scan

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestWindows: what is larger than is held is given in windows that overlap and leave nothing out, wherever it lies.
func TestWindows(t *testing.T) {
	t.Parallel()
	l := smallLimits()
	for _, n := range []int{15 << 10, 16 << 10, 17 << 10, 24 << 10, 24<<10 + 64, 100_000} {
		data := compressible(rand.New(rand.NewPCG(1, uint64(n))), wordList(rand.New(rand.NewPCG(3, 4))), n)
		tarred := makeTar(t, tar.FormatUSTAR, map[string][]byte{"e": data})
		for how, s := range map[string]*seen{
			"memory": walkLimited(t, "e", data, l), "disk": walkFile(t, "e", data, l), "reader": walkReader(t, "e", data, l),
			"stored": walkFile(t, "x", makeZip(t, zipEntry{name: "e", data: data}), l).without("x!"), "deflated": walkFile(t, "x", makeZip(t, zipEntry{name: "e", data: data, method: zipDeflated}), l).without("x!"),
			"of a size that is not so": walkLimited(t, "x", makeZip(t, zipEntry{name: "e", data: data, method: zipDeflated, dir: func(h []byte) { copy(h[24:], "\x05\x00\x00\x00") }}), l).without("x!"),
			"of a size beyond all":     walkLimited(t, "x", makeZip(t, zipEntry{name: "e", data: data, method: zipDeflated, dir: func(h []byte) { copy(h[24:], "\xf5\xff\xff\x0f") }}), l).without("x!"),
			"a zip too large to be held": walkFile(t, "o", makeZip(t, zipEntry{name: "x", method: zipDeflated,
				data: makeZip(t, zipEntry{name: "e", data: data, method: zipDeflated}, zipEntry{name: "f", data: filler(20_000)})}), l).without("o!x!").dropped("f"),
			"one that is stored": walkFile(t, "o", makeZip(t, zipEntry{name: "x", data: makeZip(t, zipEntry{name: "e", data: data, method: zipDeflated}, zipEntry{name: "f", data: filler(20_000)})}), l).without("o!x!").dropped("f"),
			"tar":                walkLimited(t, "x", tarred, l).without("x!"), "tar.gz": walkLimited(t, "x", gzipped(t, tarred), l).without("x!"), "gz": walkReader(t, "e.gz", gzipped(t, data), l).without("e.gz!"),
		} {
			wantNoProblems(t, s)
			wantData(t, fmt.Sprint(n, " ", how), map[string][]byte{"e": data}, s.data)
		}
	}
}

func (s *seen) dropped(path string) *seen {
	delete(s.data, path)
	return s
}

// TestArena: loans do not overlap, and end.
func TestArena(t *testing.T) {
	t.Parallel()
	a := newArena(64 << 10)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 200 {
				l := a.lend(1 + r.Int64N(40<<10))
				for k := range l.b {
					l.b[k] = byte(i)
				}
				if r.IntN(2) == 0 {
					a.shrink(&l, 1)
				}
				for _, c := range l.b {
					if c != byte(i) {
						t.Error("somebody else wrote here")
						return
					}
				}
				a.giveBack(l)
			}
		}()
	}
	for range 100 {
		l := a.hold(20 << 10)
		for k := range l.b {
			l.b[k] = 99
		}
		l = a.settle(l, 5000)
		for _, c := range l.b[:5000] {
			if c != 99 {
				t.Fatal("somebody else wrote here")
			}
		}
		a.drop(l)
		kept := a.lend(15 << 10)
		for k := range kept.b {
			kept.b[k] = byte(k / 100)
		}
		kept = a.keep(kept, 14<<10)
		for k, c := range kept.b[:14<<10] {
			if c != byte(k/100) {
				t.Fatal("it was not moved")
			}
		}
		a.drop(kept)
	}
	wg.Wait()
	if len(a.lent) != 0 || a.top != a.size {
		t.Errorf("%d loans, the stack ends at %d", len(a.lent), a.top)
	}
	a.close()
}

// TestOverlap: with the limits that there are, a token as long as is looked for, in UTF-16, is whole in some window, in whatever is
// given in windows.
func TestOverlap(t *testing.T) {
	t.Parallel()
	const longest = 2 * (8 + 64) << 10
	l := windowLimits()
	data := dense(4 << 20)
	gap := zipBuilder{}
	gap.add(t, zipEntry{name: "a", data: []byte("a")})
	gap.buf.Write(data)
	gap.add(t, zipEntry{name: "b", data: []byte("b")})
	one := makeTar(t, tar.FormatUSTAR, map[string][]byte{"a": []byte("a")})
	comment := append([]byte{0x1f, 0x8b, 8, 16, 0, 0, 0, 0, 0, 0}, append(data, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)...)
	for _, tc := range []struct {
		name, path string
		data       []byte
	}{
		{"e", "e", data}, {"x.zip", "x.zip!e", makeZip(t, zipEntry{name: "e", data: data, method: zipDeflated})}, {"x.zip", "x.zip!(between entries)", gap.bytes()},
		{"x.tar", "x.tar!e", makeTar(t, tar.FormatUSTAR, map[string][]byte{"e": data})}, {"x.tar", "x.tar!(between entries)", append(one, data...)},
		{"x.gz", "x.gz!(between entries)", comment}, {"x.zst", "x.zst!(as it lies)", zstded(t, data)},
	} {
		var mu sync.Mutex
		l := l
		if tc.name == "x.zst" {
			l = defaultLimits() // its decoder needs more than a megabyte
		}
		for how, read := range map[string]func(*walker){
			"memory": func(w *walker) { w.bytes(context.Background(), tc.name, tc.data) },
			"reader": func(w *walker) { _ = w.reader(context.Background(), tc.name, bytes.NewReader(tc.data)) },
		} {
			end, visits := int64(0), 0
			read(&walker{limits: l, workers: 2, problem: func(string, error) {}, visit: func(e *entry) {
				mu.Lock()
				defer mu.Unlock()
				if e.path != tc.path || len(e.data) <= longest/2 {
					return
				}
				visits++
				if end > 0 && end-e.offset < longest {
					t.Errorf("%s, %s: a window that ends at %d, and one that begins at %d", tc.path, how, end, e.offset)
				}
				end = e.offset + int64(len(e.data))
			}})
			if visits < 2 {
				t.Errorf("%s, %s: %d visits", tc.path, how, visits)
			}
		}
	}
}

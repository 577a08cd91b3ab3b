package scan

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/flate"
)

// compressible is n bytes that deflate to about what programs do.
func compressible(r *rand.Rand, words [][]byte, n int) []byte {
	var b bytes.Buffer
	b.Grow(n + 16)
	for b.Len() < n {
		b.Write(words[int(float64(len(words))*r.Float64()*r.Float64())])
		if r.IntN(3) == 0 {
			b.WriteByte(byte(r.IntN(256)))
		}
	}
	return b.Bytes()[:n]
}

func wordList(r *rand.Rand) [][]byte {
	words := make([][]byte, 4000)
	for i := range words {
		w := make([]byte, 3+r.IntN(9))
		for j := range w {
			w[j] = byte('a' + r.IntN(26))
		}
		words[i] = w
	}
	return words
}

// sampleAPK is as large as an app is: 43 MB in 3,000 entries, of which four are DEX files and half are stored.
func sampleAPK(tb testing.TB) []byte {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := wordList(r)
	var z zipBuilder
	for i := range 4 {
		z.add(tb, zipEntry{name: fmt.Sprintf("classes%d.dex", i), data: compressible(r, words, 7<<20), method: zipDeflated})
	}
	for i := range 1500 {
		z.add(tb, zipEntry{name: fmt.Sprintf("res/layout/%d.xml", i), data: compressible(r, words, 500+r.IntN(8000)), method: zipDeflated})
		z.add(tb, zipEntry{name: fmt.Sprintf("res/drawable/%d.png", i), data: compressible(r, words, 500+r.IntN(3000))})
	}
	z.add(tb, zipEntry{name: "resources.arsc", data: compressible(r, words, 2<<20)})
	z.add(tb, zipEntry{name: "assets/index.android.bundle", data: compressible(r, words, 4<<20), method: zipDeflated})
	return z.bytes()
}

// BenchmarkWalk sets a walk that looks at nothing beside the least that any walk does: to inflate every entry, whose place is
// known, into memory that is there.
func BenchmarkWalk(b *testing.B) {
	apk := sampleAPK(b)
	name := filepath.Join(b.TempDir(), "app.apk")
	if err := os.WriteFile(name, apk, 0o600); err != nil {
		b.Fatal(err)
	}
	type place struct {
		off, n, size int64
		deflated     bool
	}
	var places []place
	var total int64
	z := zipFile{at: bytes.NewReader(apk), size: int64(len(apk))}
	for _, d := range zipDirectories(z.at, z.size, make([]byte, endReach)) {
		br := bufio.NewReaderSize(io.NewSectionReader(z.at, d.at, z.size-d.at), zipBuffer)
		for {
			m, ok := readDirEntry(br)
			if !ok {
				break
			}
			_, length, _ := z.local(m.offset)
			places = append(places, place{m.offset + length, m.deflated, m.inflated, m.method == zipDeflated})
			total += m.inflated
		}
	}
	b.Logf("%d entries, %d bytes, inflated %d", len(places), len(apk), total)

	b.Run("floor", func(b *testing.B) {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		buf := make([]byte, 8<<20)
		br := bufio.NewReaderSize(nil, smallBuffer)
		inflate := flate.NewReader(br)
		b.SetBytes(total)
		b.ReportAllocs()
		for b.Loop() {
			for _, p := range places {
				part := io.NewSectionReader(f, p.off, p.n)
				var r io.Reader = part
				if p.deflated {
					br.Reset(part)
					if err := inflate.(flate.Resetter).Reset(br, nil); err != nil {
						b.Fatal(err)
					}
					r = inflate
				}
				if _, err := io.ReadFull(r, buf[:p.size]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("selo", func(b *testing.B) {
		var n int64
		w := &walker{limits: defaultLimits(), workers: 1, visit: func(e *entry) { n += int64(len(e.data)) }, problem: func(path string, err error) { b.Fatal(path, err) }}
		b.SetBytes(total)
		b.ReportAllocs()
		for b.Loop() {
			n = 0
			if err := w.file(context.Background(), name); err != nil {
				b.Fatal(err)
			}
			if n < total {
				b.Fatalf("visited %d bytes of %d", n, total)
			}
		}
	})
}

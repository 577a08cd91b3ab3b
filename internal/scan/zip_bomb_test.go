package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"
)

// zeros is n zeros, deflated.
func zeros(t testing.TB, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeroReader{}, n); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bombWalk is a walk that only counts, so that bombs cost what the walk costs.
type bombWalk struct {
	visits, bytes atomic.Int64
	problems      map[string]error
}

func (c *bombWalk) walk(l limits, name string, data []byte) {
	c.problems = map[string]error{}
	w := &walker{limits: l, workers: 2, visit: func(e *entry) { c.visits.Add(1); c.bytes.Add(int64(len(e.data))) }, problem: func(path string, err error) { c.problems[path] = err }}
	w.bytes(context.Background(), name, data)
}

func (c *bombWalk) wantProblem(t *testing.T, part string) {
	t.Helper()
	for path, err := range c.problems {
		if strings.Contains(fmt.Sprint(path, ": ", err), part) {
			return
		}
	}
	t.Errorf("no problem %q: %v", part, c.problems)
}

// TestZipBombZeros: 10 GiB in one entry cost 64 MiB.
func TestZipBombZeros(t *testing.T) {
	t.Parallel()
	// Repeated blocks of zeros, as to deflate 10 GiB here takes half a minute: every byte after the first megabyte is the same.
	one := zeros(t, 1<<20)
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeroReader{}, 4<<20); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	block := b.Bytes()
	packed := bytes.Repeat(block, 2560)
	packed = append(packed, one...)
	for _, said := range []int{0, 1 << 30} {
		data := makeZip(t, zipEntry{name: "bomb", data: nil, packed: packed, method: zipDeflated, dir: func(h []byte) { binary.LittleEndian.PutUint32(h[24:], uint32(said)) }}, zipEntry{name: "after", data: []byte("after")})
		var c bombWalk
		l := defaultLimits()
		l.ratioFrom = 16 << 20 // a quarter, for the race detector
		c.walk(l, "x.zip", data)
		c.wantProblem(t, "x.zip!bomb: inflating to 500 times as much")
		if n := c.bytes.Load(); n > 40<<20 {
			t.Errorf("visited %d bytes", n)
		}
	}
}

// TestZipBombLimit: what deflates less well is stopped by the limit of an entry, and then by that of everything.
func TestZipBombLimit(t *testing.T) {
	t.Parallel()
	l := defaultLimits()
	l.ratioFrom, l.entry, l.total = 1<<40, 8<<20, 20<<20
	packed := zeros(t, 16<<20)
	var entries []zipEntry
	for i := range 10 {
		entries = append(entries, zipEntry{name: fmt.Sprint("bomb", i), packed: packed, method: zipDeflated})
	}
	var c bombWalk
	c.walk(l, "x.zip", makeZip(t, entries...))
	c.wantProblem(t, ": inflating 8388608 bytes: more than")
	c.wantProblem(t, "bytes in all: more than")
	if n := c.bytes.Load(); n > 24<<20 {
		t.Errorf("visited %d bytes", n)
	}
}

// TestZipBombOverlap is https://www.bamsoftware.com/hacks/zipbomb/ in its quoting form: each entry's data begins with
// the header of the next, and all end with the same kernel.
func TestZipBombOverlap(t *testing.T) {
	t.Parallel()
	const n, kernelSize = 250, 2 << 20
	kernel := zeros(t, kernelSize)
	// From the last to the first, so that each knows what it quotes. A quoting block is one of stored bytes.
	body := []byte{}
	type at struct{ fromEnd, size int }
	var places []at
	for i := n - 1; i >= 0; i-- {
		name := fmt.Sprintf("%03d", i)
		h := make([]byte, localLen)
		copy(h, localSig)
		h[4], h[8] = 20, 8
		data := kernel
		if i < n-1 {
			next := localLen + 3
			data = append([]byte{0, byte(next), 0, ^byte(next), 0xff}, body...)
		}
		binary.LittleEndian.PutUint32(h[18:], uint32(len(data)))
		binary.LittleEndian.PutUint32(h[22:], kernelSize)
		binary.LittleEndian.PutUint16(h[26:], 3)
		body = append(append(h, name...), data...)
		places = append(places, at{len(body), len(data)})
	}
	var z zipBuilder
	z.buf.Write(body)
	for i := range n {
		p := places[n-1-i]
		d := make([]byte, dirLen)
		copy(d, dirSig)
		d[10] = 8
		binary.LittleEndian.PutUint32(d[20:], uint32(p.size))
		binary.LittleEndian.PutUint32(d[24:], kernelSize)
		d[28] = 3
		binary.LittleEndian.PutUint32(d[42:], uint32(len(body)-p.fromEnd))
		z.dirs = append(z.dirs, fmt.Appendf(d, "%03d", i))
	}
	data := z.bytes()
	l := defaultLimits()
	l.problems = 1 << 20 // quoted headers make each entry a damaged zip
	var c bombWalk
	c.walk(l, "x.zip", data)
	c.wantProblem(t, "its entries overlap")
	if got := c.bytes.Load(); got > n*kernelSize/3 || got < kernelSize {
		t.Errorf("visited %d bytes of %d that the zip says it has, in %d", got, n*kernelSize, len(data))
	}
}

// TestZipBombNested: 42.zip has five levels of sixteen zips each, and 4 GiB in each at the bottom.
func TestZipBombNested(t *testing.T) {
	t.Parallel()
	l := defaultLimits()
	l.total = 30 << 20
	level := makeZip(t, zipEntry{name: "0.dll", packed: zeros(t, 5<<20), method: zipDeflated})
	for i := range 5 {
		var entries []zipEntry
		for k := range 16 {
			entries = append(entries, zipEntry{name: fmt.Sprintf("lib %d%x.zip", i, k), data: level, method: zipDeflated})
		}
		level = makeZip(t, entries...)
	}
	var c bombWalk
	c.walk(l, "42.zip", level)
	c.wantProblem(t, "bytes in all: more than")
	if n := c.bytes.Load(); n > 40<<20 {
		t.Errorf("visited %d bytes", n)
	}
}

// TestZipEntries: a zip of more entries than are allowed is read up to there.
func TestZipEntries(t *testing.T) {
	t.Parallel()
	l := defaultLimits()
	l.entries = 5000
	var z zipBuilder
	z.add(t, zipEntry{name: "same", data: []byte("x")})
	for range 20_000 {
		z.dirs = append(z.dirs, z.dirs[0])
	}
	data := z.bytes()
	var c bombWalk
	start := time.Now()
	c.walk(l, "x.zip", data)
	c.wantProblem(t, "entries")
	if n := c.visits.Load(); n > 5100 {
		t.Errorf("%d visits", n)
	}
	// Names all the same, and problems all the same, take time that grows with their number only.
	l.entries = 100_000
	c = bombWalk{}
	c.walk(l, "x.zip", data)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if len(c.problems) > int(l.problems)+2 {
		t.Errorf("%d problems", len(c.problems))
	}
}

// rZip is a zip that contains nothing but itself, by Russ Cox (https://research.swtch.com/zip).
const rZip = `
504b03041400000008000803643cf9f4896448010000b801000007000000722f722e7a6970002500daff504b03041400000008000803643cf9f48964
48010000b801000007000000722f722e7a6970002f00d0ff002500daff504b03041400000008000803643cf9f4896448010000b80100000700000072
2f722e7a6970002f00d0ffc2548e5739000500faffc2548e5739000500faff000500faff001400ebffc2548e5739000500faff000500faff001400eb
ff428821c400001400ebff428821c400001400ebff428821c400001400ebff428821c400001400ebff428821c400000000ffff000000ffff003400cb
ff428821c400000000ffff000000ffff003400cbff42e8215e0f000000ffff0af066641261c015dce8a048bf48af2ab320c09b950dc4670442530606
0640000600f9ff6d010000000042e8215e0f000000ffff0af066641261c015dce8a048bf48af2ab320c09b950dc46704425306060640000600f9ff6d
0100000000504b010214001400000008000803643cf9f4896448010000b8010000070000000000000000000000000000000000722f722e7a6970504b
05060000000001000100350000006d0100000000`

// TestQuine: what contains itself ends.
func TestQuine(t *testing.T) {
	t.Parallel()
	data, err := hex.DecodeString(strings.ReplaceAll(rZip, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	s := walkBytes(t, "r.zip", data)
	deepest := "r.zip" + strings.Repeat("!r/r.zip", 8)
	wantProblem(t, s, deepest, errTooMuch)
	if len(s.problems) != 1 || !bytes.Equal(s.data[deepest], data) {
		t.Errorf("problems %v, visited %q", s.problems, s.paths())
	}
}

// TestDepth: at the depth where containers are not opened, they are visited as they are.
func TestDepth(t *testing.T) {
	t.Parallel()
	data := []byte("marker-bottom")
	for i := range 12 {
		data = makeZip(t, zipEntry{name: fmt.Sprint(i), data: data, method: uint16(i % 2 * 8)})
	}
	s := walkBytes(t, "x.zip", data)
	deepest := "x.zip!11!10!9!8!7!6!5!4"
	wantProblem(t, s, deepest, errTooMuch)
	if len(s.problems) != 1 || s.times[deepest] == 0 {
		t.Errorf("problems %v, visited %q", s.problems, s.paths())
	}
}

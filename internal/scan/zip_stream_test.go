package scan

import (
	"bytes"
	"context"
	"testing"
)

// streamed reads a zip by its local headers, as if it were too large to be held.
func streamed(t testing.TB, data []byte) *seen {
	t.Helper()
	s := newSeen()
	w := s.walker(defaultLimits(), 2).start(context.Background(), "x.zip")
	defer w.end()
	br := w.buffer(&w.small, bytes.NewReader(data))
	w.zipStream(nest{path: "x.zip", depth: 1}, wholeOf(br))
	return s
}

// TestZipStreamed: what is seen of a zip that is read once is what is seen of it at rest, but for what only the directory tells.
func TestZipStreamed(t *testing.T) {
	t.Parallel()
	inner := makeZip(t, zipEntry{name: "deep", data: filler(5000), method: zipDeflated})
	data := makeZip(t,
		zipEntry{name: "a", data: filler(300_000), method: zipDeflated}, zipEntry{name: "b", data: filler(300_000)},
		zipEntry{name: "c", data: filler(700), method: zipDeflated, desc: true}, zipEntry{name: "d", data: filler(700), method: zipDeflated, desc: true, noSig: true},
		zipEntry{name: "in.apk", data: inner}, zipEntry{name: "in2.apk", data: inner, method: zipDeflated, desc: true}, zipEntry{name: "dir/"},
		zipEntry{name: "u", data: filler(600), method: 0x999}, zipEntry{name: "e", data: filler(600), method: zipDeflated, flags: 1})
	data = append(data, "marker-appended"...)
	want, got := walkBytes(t, "x.zip", data), streamed(t, data)
	wantNoProblems(t, want)
	wantNoProblems(t, got)
	wantData(t, "streamed", want.data, got.data)
	if !got.has("x.zip!(between entries)", "marker-appended") || !got.has("x.zip!u", string(filler(600))) {
		t.Error("something raw is missing")
	}
	// A stretch between entries is longer than what is in memory at once, and a marker lies across its end.
	for at := zipBuffer - 400; at < zipBuffer+20; at += 7 {
		var z zipBuilder
		z.add(t, zipEntry{name: "a", data: []byte("a")})
		z.buf.Write(filler(at - z.buf.Len()))
		z.buf.WriteString("marker-across")
		z.buf.Write(filler(100_000))
		z.add(t, zipEntry{name: "b", data: []byte("marker-b")})
		s := streamed(t, z.bytes())
		if !s.anywhere("marker-across") || !s.has("x.zip!b", "marker-b") {
			t.Fatalf("at %d: not seen", at)
		}
	}
}

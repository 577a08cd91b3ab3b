package scan

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
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

// TestZipDirectoryRandom compares the entries of a directory that is longer than what it is read with, and has names of any length,
// with what the standard library makes of it.
func TestZipDirectoryRandom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for i := range 800 {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("n", r.IntN(2000)))
		fh := &zip.FileHeader{Name: name, Method: uint16(r.IntN(2) * 8), Comment: strings.Repeat("c", r.IntN(300))}
		if i%100 == 99 {
			fh.Name += strings.Repeat("l", 40_000)
		}
		w, err := zw.CreateHeader(fh)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, "data of ", i)
	}
	zw.Close()
	data := b.Bytes()
	zr, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	dirs := zipDirectories(bytes.NewReader(data), int64(len(data)), make([]byte, endReach))
	if len(dirs) != 1 || dirs[0].end-dirs[0].at < 2*zipBuffer {
		t.Fatalf("directories %v", dirs)
	}
	z := &zipFile{at: bytes.NewReader(data), size: int64(len(data))}
	br := bufio.NewReaderSize(bytes.NewReader(data[dirs[0].at:]), zipBuffer)
	want := map[string][]byte{}
	for _, f := range zr.File {
		m, ok := readDirEntry(br)
		if !ok {
			t.Fatalf("no entry for %.20q", f.Name)
		}
		at, err := f.DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		_, length, ok := z.local(m.offset)
		if string(m.name) != f.Name || !ok || m.offset+length != at || m.deflated != int64(f.CompressedSize64) || m.inflated != int64(f.UncompressedSize64) || m.crc != f.CRC32 {
			t.Errorf("got %.20q, %d bytes of name, at %d; want %.20q, %d, with data at %d", m.name, len(m.name), m.offset, f.Name, len(f.Name), at)
		}
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		path := nest{path: "x.zip"}.join([]byte(f.Name))
		want[path] = content
	}
	if _, ok := readDirEntry(br); ok {
		t.Error("one entry more")
	}
	for how, s := range map[string]*seen{"memory": walkBytes(t, "x.zip", data), "disk": walkFile(t, "x.zip", data, defaultLimits())} {
		wantNoProblems(t, s)
		wantData(t, how, want, s.data)
	}
	// Cut off anywhere in a header, the rest of it is not made up.
	start := int(dirs[0].at)
	for cut := range dirLen + 10 {
		m, ok := readDirEntry(bufio.NewReaderSize(bytes.NewReader(data[start:start+cut]), zipBuffer))
		if ok != (cut >= dirLen) || ok && len(m.name) > 10 {
			t.Errorf("cut after %d bytes: %v", cut, ok)
		}
	}
}

package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

// TestZipHostile: for each way in which a zip can lie, what must be seen of it.
func TestZipHostile(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	ordinary := zipEntry{name: "ordinary", data: []byte("marker-ordinary"), method: zipDeflated}
	text := bytes.Repeat([]byte("so much of this that it deflates "), 20)
	with := func(marker string) []byte { return append(append([]byte{}, text...), marker...) }
	long := strings.Repeat("ab", 30_000) + "marker-name"

	for _, tc := range []struct {
		name    string
		zip     func(t *testing.T) []byte
		see     map[string]string // path to marker
		problem map[string]error
		here    string // if the path of the zip is not x.zip
	}{
		{
			name: "prefix", zip: func(t *testing.T) []byte {
				return append([]byte("#!/bin/sh marker-prefix\n"), makeZip(t, ordinary)...)
			},
			see: map[string]string{"x.zip!ordinary": "marker-ordinary", "x.zip!(between entries)": "marker-prefix"},
		},
		{
			name: "prefix that offsets count in", zip: func(t *testing.T) []byte {
				var z zipBuilder
				z.buf.WriteString("stub marker-prefix")
				z.add(t, ordinary)
				return z.bytes()
			},
			see: map[string]string{"x.zip!ordinary": "marker-ordinary", "x.zip!(between entries)": "marker-prefix"},
		},
		{
			name: "gaps, comments, extra fields, appended", zip: func(t *testing.T) []byte {
				var z zipBuilder
				z.add(t, zipEntry{name: "a", data: []byte("marker-a"), extra: []byte("\xca\xfe\x0d\x00marker-extra."), comment: "marker-comment"})
				z.buf.WriteString("marker-gap")
				z.add(t, ordinary)
				z.buf.WriteString("APK Sig Block marker-block")
				z.comment = []byte("marker-end")
				return append(z.bytes(), "marker-appended"...)
			},
			see: map[string]string{
				"x.zip!a": "marker-a", "x.zip!ordinary": "marker-ordinary",
				"x.zip!(between entries)": "marker-extra,marker-comment,marker-gap,marker-block,marker-end,marker-appended",
			},
		},
		{
			name: "not in the directory", zip: func(t *testing.T) []byte {
				return makeZip(t, ordinary, zipEntry{name: "hidden", data: with("marker-hidden"), method: zipDeflated, hidden: true},
					zipEntry{name: "stored", data: with("marker-stored"), hidden: true}, zipEntry{name: "described", data: with("marker-desc"), method: zipDeflated, hidden: true, desc: true},
					zipEntry{name: "last", data: []byte("marker-last")})
			},
			see: map[string]string{
				"x.zip!ordinary": "marker-ordinary", "x.zip!hidden (not in the directory)": "marker-hidden", "x.zip!last": "marker-last",
				"x.zip!stored (not in the directory)": "marker-stored", "x.zip!described (not in the directory)": "marker-desc",
			},
		},
		{
			name: "hidden in what an entry says is its own", zip: func(t *testing.T) []byte {
				inner := makeZip(t, zipEntry{name: "within", data: with("marker-within"), method: zipDeflated})
				packed := append(deflated(t, with("marker-outer")), inner[:bytes.Index(inner, []byte(dirSig))]...)
				return makeZip(t, zipEntry{name: "outer", data: with("marker-outer"), packed: packed, method: zipDeflated}, ordinary)
			},
			see: map[string]string{"x.zip!outer": "marker-outer", "x.zip!within (not in the directory)": "marker-within", "x.zip!ordinary": "marker-ordinary"},
		},
		{
			name: "no directory", zip: func(t *testing.T) []byte {
				b := makeZip(t, ordinary, zipEntry{name: "b", data: with("marker-b"), method: zipDeflated})
				return b[:bytes.Index(b, []byte(dirSig))]
			},
			see: map[string]string{
				"x.zip!ordinary (not in the directory)": "marker-ordinary", "x.zip!b (not in the directory)": "marker-b",
			},
			problem: map[string]error{"x.zip": errDamaged},
		},
		{
			name: "duplicates", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "d", data: []byte("marker-1")}, zipEntry{name: "d", data: []byte("marker-2")}, zipEntry{name: "d", data: with("marker-3"), method: zipDeflated})
			},
			see: map[string]string{"x.zip!d": "marker-1", "x.zip!d#2": "marker-2", "x.zip!d#3": "marker-3"},
		},
		{
			name: "unknown method", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "u", data: []byte("marker-unknown"), method: 0x1337}, zipEntry{name: "v", data: with("marker-inflated"), packed: deflated(t, with("marker-inflated")), method: 0x7777},
					zipEntry{name: "w", data: text, packed: []byte("not so long"), method: 14}, ordinary)
			},
			see:     map[string]string{"x.zip!u": "marker-unknown", "x.zip!v (inflated)": "marker-inflated", "x.zip!ordinary": "marker-ordinary", "x.zip!w": "not so long"},
			problem: map[string]error{"x.zip!w": errVersion},
		},
		{
			name: "stored here, deflated there", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "u", data: with("marker-inflated"), method: zipDeflated, dir: func(h []byte) { le.PutUint16(h[10:], 0); le.PutUint32(h[24:], le.Uint32(h[20:])) }},
					zipEntry{name: "v", data: with("marker-both"), method: zipDeflated, local: func(h []byte) { le.PutUint16(h[8:], 0) }})
			},
			see: map[string]string{"x.zip!u (inflated)": "marker-inflated", "x.zip!v": "marker-both"},
		},
		{
			name: "says that it is encrypted", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "e", data: with("marker-not"), method: zipDeflated, flags: 1}, zipEntry{name: "s", data: with("marker-stored"), flags: 1},
					zipEntry{name: "a", data: with("marker-aes"), method: zipDeflated, extra: []byte("\x01\x99\x07\x00\x02\x00AE\x03\x08\x00")})
			},
			see: map[string]string{"x.zip!e": "marker-not", "x.zip!s": "marker-stored", "x.zip!a": "marker-aes"},
		},
		{
			name: "is encrypted", zip: func(t *testing.T) []byte {
				secret := bytes.Repeat([]byte{0xc7, 0x9e, 0x31, 0x55, 0xea}, 100)
				return makeZip(t, ordinary, zipEntry{name: "e", data: text, packed: secret, method: zipDeflated, flags: 1}, zipEntry{name: "s", data: text, packed: secret, flags: 1},
					zipEntry{name: "a", data: text, packed: secret, method: 99, flags: 1, extra: []byte("\x01\x99\x07\x00\x02\x00AE\x03\x08\x00")})
			},
			see:     map[string]string{"x.zip!ordinary": "marker-ordinary", "x.zip!e": "\xea\xc7", "x.zip!s": "\xea\xc7", "x.zip!a": "\xea\xc7"},
			problem: map[string]error{"x.zip!e": errEncrypted, "x.zip!s": errEncrypted, "x.zip!a": errEncrypted},
		},
		{
			name: "sizes too small", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "d", data: with("marker-deflated"), method: zipDeflated, dir: func(h []byte) { le.PutUint32(h[20:], 3); le.PutUint32(h[24:], 3) }},
					zipEntry{name: "s", data: []byte("marker-stored"), dir: func(h []byte) { le.PutUint32(h[20:], 3) }},
					zipEntry{name: "r", data: []byte("marker-rest"), dir: func(h []byte) { le.PutUint32(h[20:], 3); le.PutUint32(h[24:], 3) }},
					zipEntry{name: "z", data: with("marker-zero"), method: zipDeflated, dir: func(h []byte) { le.PutUint32(h[20:], 0); le.PutUint32(h[24:], 0) }})
			},
			see: map[string]string{"x.zip!d": "marker-deflated", "x.zip!s": "marker-stored", "x.zip!r": "mar", "x.zip!(between entries)": "ker-rest", "x.zip!z (not in the directory)": "marker-zero"},
		},
		{
			name: "sizes too large", zip: func(t *testing.T) []byte {
				huge := func(h []byte) { le.PutUint32(h[20:], 0xfffffff0); le.PutUint32(h[24:], 0xfffffff0) }
				return makeZip(t, zipEntry{name: "d", data: with("marker-deflated"), method: zipDeflated, dir: huge},
					zipEntry{name: "s", data: []byte("marker-stored"), dir: func(h []byte) { le.PutUint32(h[24:], 0xfffffff0) }}, ordinary)
			},
			see: map[string]string{"x.zip!d": "marker-deflated", "x.zip!s": "marker-stored", "x.zip!ordinary": "marker-ordinary"},
		},
		{
			name: "data descriptors", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "d", data: with("marker-d"), method: zipDeflated, desc: true}, zipEntry{name: "n", data: with("marker-n"), method: zipDeflated, desc: true, noSig: true},
					zipEntry{name: "s", data: with("marker-s"), desc: true})
			},
			see: map[string]string{"x.zip!d": "marker-d", "x.zip!n": "marker-n", "x.zip!s": "marker-s"},
		},
		{
			name: "zip64", zip: func(t *testing.T) []byte {
				var z zipBuilder
				data := with("marker-64")
				extra := le.AppendUint64(le.AppendUint64([]byte{1, 0, 24, 0}, uint64(len(data))), uint64(len(data)))
				extra = le.AppendUint64(extra, 0)
				max := func(off int) func([]byte) {
					return func(h []byte) { le.PutUint32(h[off:], 0xffffffff); le.PutUint32(h[off+4:], 0xffffffff) }
				}
				z.add(t, zipEntry{name: "big", data: data, extra: extra, local: max(18), dir: func(h []byte) { max(20)(h); le.PutUint32(h[42:], 0xffffffff) }})
				start := z.buf.Len()
				z.buf.Write(z.dirs[0])
				where := z.buf.Len()
				rec := make([]byte, 56)
				copy(rec, end64Sig)
				le.PutUint64(rec[4:], 44)
				le.PutUint64(rec[32:], 1)
				le.PutUint64(rec[40:], uint64(where-start))
				le.PutUint64(rec[48:], uint64(start))
				z.buf.Write(rec)
				z.buf.Write(le.AppendUint32(le.AppendUint64([]byte(loc64Sig+"\x00\x00\x00\x00"), uint64(where)), 1))
				end := make([]byte, endLen)
				copy(end, endSig+"\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
				z.buf.Write(end)
				return z.buf.Bytes()
			},
			see: map[string]string{"x.zip!big": "marker-64"},
		},
		{
			name: "an end record in the comment, with another directory", zip: func(t *testing.T) []byte {
				var z zipBuilder
				z.add(t, ordinary)
				off := z.add(t, zipEntry{name: "other", data: with("marker-other"), method: zipDeflated, hidden: true})
				var other zipBuilder
				other.buf.Write(make([]byte, off))
				other.add(t, zipEntry{name: "other", data: with("marker-other"), method: zipDeflated})
				b := other.bytes()
				fake := b[bytes.Index(b, []byte(dirSig)):]
				start := z.buf.Len()
				le.PutUint32(fake[len(fake)-6:], uint32(start+dirLen+len("ordinary")+endLen))
				z.comment = fake
				return z.bytes()
			},
			see: map[string]string{"x.zip!ordinary": "marker-ordinary", "x.zip!other": "marker-other"},
		},
		{
			name: "names", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "../../etc/passwd", data: []byte("marker-up")}, zipEntry{name: "/root", data: []byte("marker-root")}, zipEntry{name: "C:\\x", data: []byte("marker-c")},
					zipEntry{name: "a\x00b", data: []byte("marker-nul")}, zipEntry{name: "\xff\xfe", data: []byte("marker-utf")}, zipEntry{name: long, data: []byte("marker-long")}, zipEntry{name: "", data: []byte("marker-none")},
					zipEntry{name: "dir/"}, zipEntry{name: "empty", method: zipDeflated})
			},
			see: map[string]string{
				"x.zip!../../etc/passwd": "marker-up", "x.zip!/root": "marker-root", "x.zip!C:\\x": "marker-c", "x.zip!a\x00b": "marker-nul", "x.zip!\xff\xfe": "marker-utf",
				"x.zip!" + long[:maxName] + "…": "marker-long", "x.zip!(between entries)": "marker-name", "x.zip!": "marker-none", "x.zip!dir/": "", "x.zip!empty": "",
			},
		},
		{
			name: "hidden, of a name that is none", zip: func(t *testing.T) []byte {
				return makeZip(t, ordinary, zipEntry{name: "a\x00b", data: with("marker-nul"), method: zipDeflated, hidden: true}, zipEntry{name: "", data: with("marker-none"), hidden: true})
			},
			see: map[string]string{"x.zip!a\x00b (not in the directory)": "marker-nul", "x.zip!(between entries)": "marker-none"},
		},
		{
			name: "damaged", zip: func(t *testing.T) []byte {
				data := append(filler(100_000), "marker-begin"...)
				var b bytes.Buffer
				w, _ := flate.NewWriter(&b, 6)
				w.Write(data)
				if err := w.Flush(); err != nil { // to a whole byte
					t.Fatal(err)
				}
				packed := append(b.Bytes(), 0x07, 99) // a block of a kind that there is not
				data = append(data, "marker-lost"...)
				return makeZip(t, zipEntry{name: "d", data: data, packed: packed, method: zipDeflated}, ordinary)
			},
			see:     map[string]string{"x.zip!d": "marker-begin", "x.zip!ordinary": "marker-ordinary"},
			problem: map[string]error{"x.zip!d": errDamaged},
		},
		{
			name: "wrong checksum", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "d", data: with("marker"), method: zipDeflated, dir: func(h []byte) { h[16]++ }})
			},
			see: map[string]string{"x.zip!d": "marker"},
		},
		{
			name: "no local header", zip: func(t *testing.T) []byte {
				return makeZip(t, ordinary, zipEntry{name: "n", data: []byte("marker-n"), local: func(h []byte) { h[0] = 'Q' }}, zipEntry{name: "far", data: []byte("marker-far"), dir: func(h []byte) { le.PutUint32(h[42:], 1<<31) }})
			},
			see:     map[string]string{"x.zip!ordinary": "marker-ordinary", "x.zip!(between entries)": "marker-n", "x.zip!far (not in the directory)": "marker-far"},
			problem: map[string]error{"x.zip!n": errDamaged, "x.zip!far": errDamaged},
		},
		{
			name: "nested, with a prefix and no magic", zip: func(t *testing.T) []byte {
				inner := append([]byte("MZ stub"), makeZip(t, zipEntry{name: "i", data: with("marker-i"), method: zipDeflated})...)
				commented := append([]byte("MZ stub"), func() []byte {
					z := zipBuilder{comment: []byte("so it does not end in an end record")}
					z.add(t, zipEntry{name: "i", data: with("marker-i"), method: zipDeflated})
					return z.bytes()
				}()...)
				return makeZip(t, zipEntry{name: "a.bin", data: inner, method: zipDeflated}, zipEntry{name: "b.bin", data: inner}, zipEntry{name: "c.exe", data: commented, method: zipDeflated})
			},
			see: map[string]string{"x.zip!a.bin!i": "marker-i", "x.zip!b.bin!i": "marker-i", "x.zip!c.exe!i": "marker-i", "x.zip!a.bin!(between entries)": "MZ stub"},
		},
		{
			name: "begins like a container and is none", zip: func(t *testing.T) []byte {
				return makeZip(t, zipEntry{name: "z", data: []byte("PK\x03\x04marker-z")}, zipEntry{name: "g", data: []byte("\x1f\x8b\x08marker-gzip")}, zipEntry{name: "x.br", data: []byte("marker-brotli")},
					zipEntry{name: "7", data: []byte("7z\xbc\xaf\x27\x1cmarker-7z"), method: zipDeflated}, zipEntry{name: "zst", data: []byte("\x28\xb5\x2f\xfdmarker-zstd"), method: zipDeflated})
			},
			see:     map[string]string{"x.zip!z!(between entries)": "marker-z", "x.zip!g": "marker-gzip", "x.zip!x.br": "marker-brotli", "x.zip!7": "marker-7z", "x.zip!zst": "marker-zstd"},
			problem: map[string]error{"x.zip!z": errDamaged, "x.zip!g": errDamaged, "x.zip!x.br": errDamaged, "x.zip!7": errUnread, "x.zip!zst": errDamaged},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			data := tc.zip(t)
			for how, s := range map[string]*seen{
				"memory": walkBytes(t, "x.zip", data), "disk": walkFile(t, "x.zip", data, defaultLimits()), "reader": walkReader(t, "x.zip", data, defaultLimits()),
				"nested": walkBytes(t, "o.zip", makeZip(t, zipEntry{name: "x.zip", data: data, method: zipDeflated}, zipEntry{name: "y", data: []byte("y")})).without("o.zip!"),
			} {
				for path, markers := range tc.see {
					if s.times[path] == 0 {
						t.Errorf("%s: %.99q was not visited; these were: %.999q", how, path, s.paths())
					}
					for m := range strings.SplitSeq(markers, ",") {
						if !s.has(path, m) {
							t.Errorf("%s: %.99q: no %q", how, path, m)
						}
					}
				}
				for path, want := range tc.problem {
					wantProblem(t, s, path, want)
				}
				for path, err := range s.problems {
					if tc.problem[path] == nil {
						t.Errorf("%s: %.99q: %v", how, path, err)
					}
					if strings.Contains(err.Error(), "marker") {
						t.Errorf("%s: the problem tells content: %v", how, err)
					}
				}
			}
		})
	}
}

// TestZipTruncated cuts a small zip at every byte. What lies before the cut is seen, and that something is missing is told.
func TestZipTruncated(t *testing.T) {
	t.Parallel()
	var z zipBuilder
	var ends []int
	for i, method := range []uint16{zipStored, zipDeflated, zipDeflated} {
		z.add(t, zipEntry{name: fmt.Sprint("entry", i), data: append(bytes.Repeat([]byte("abc "), 20), fmt.Sprint("marker", i)...), method: method, desc: i == 2})
		ends = append(ends, z.buf.Len())
	}
	ends[2] -= 16
	all := z.bytes()
	for cut := range len(all) {
		for how, s := range map[string]*seen{"memory": walkBytes(t, "x.apk", all[:cut]), "reader": streamed(t, all[:cut])} {
			for i, end := range ends {
				if cut >= end && !s.anywhere(fmt.Sprint("marker", i)) {
					t.Fatalf("%s, cut at %d: no marker%d", how, cut, i)
				}
			}
			if cut > 4 && len(s.problems) == 0 {
				t.Fatalf("%s, cut at %d: no problem", how, cut)
			}
		}
	}
}

// TestZipOrdinary: of a zip as the standard library writes it the same is seen as it reads.
func TestZipOrdinary(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for i := range 50 {
		fh := &zip.FileHeader{Name: fmt.Sprintf("dir%d/file%d", i%5, i), Method: uint16(8 * (i % 2)), Comment: "c", Extra: []byte{1, 2, 0, 0}}
		w, err := zw.CreateHeader(fh)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(filler(i * i * 100))
	}
	if _, err := zw.Create("folder/"); err != nil {
		t.Fatal(err)
	}
	if err := zw.SetComment("a comment"); err != nil {
		t.Fatal(err)
	}
	zw.Close()
	want := map[string][]byte{}
	zr, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range zr.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		want["x.zip!"+f.Name] = data
	}
	for how, s := range map[string]*seen{"memory": walkBytes(t, "x.zip", b.Bytes()), "disk": walkFile(t, "x.zip", b.Bytes(), defaultLimits()), "streamed": streamed(t, b.Bytes())} {
		wantNoProblems(t, s)
		if how == "streamed" { // stored entries whose size is behind them are among the raw bytes
			for path, data := range want {
				if !s.has(path, string(data)) && !s.has("x.zip!(between entries)", string(data)) {
					t.Errorf("%s is missing", path)
				}
			}
			continue
		}
		wantData(t, how, want, s.data)
		for path, n := range s.times {
			if n > 1 && !strings.HasSuffix(path, "(between entries)") {
				t.Errorf("%s: %s was visited %d times", how, path, n)
			}
		}
	}
}

// TestZipManyEntries: a directory that is larger than the memory it is read with. Once, a header across the end of that was
// misread, so it ends at each part of one.
func TestZipManyEntries(t *testing.T) {
	t.Parallel()
	for shift := 0; shift < 250; shift += 25 {
		var z zipBuilder
		want := map[string][]byte{}
		for i := range 1800 {
			e := zipEntry{name: fmt.Sprintf("%0200d", i), data: fmt.Append(nil, "data of ", i)}
			if i == 0 {
				e.comment = strings.Repeat("c", shift)
			}
			want["x.zip!"+e.name] = e.data
			z.add(t, e)
		}
		data := z.bytes()
		for how, s := range map[string]*seen{"memory": walkBytes(t, "x.zip", data), "disk": walkFile(t, "x.zip", data, defaultLimits()), "streamed": streamed(t, data)} {
			wantNoProblems(t, s)
			wantData(t, how, want, s.data)
		}
	}
}

// TestZipEveryByte: each byte of a file belongs to an entry or is visited raw. A number counts up in it.
func TestZipEveryByte(t *testing.T) {
	t.Parallel()
	var z zipBuilder
	var deflatedNumbers [][]byte
	count := 0
	numbers := func(n int) []byte {
		var b bytes.Buffer
		for range n {
			fmt.Fprintf(&b, "<%05d>", count)
			count++
		}
		return b.Bytes()
	}
	z.buf.Write(numbers(20_000)) // more than a buffer
	for i := range 20 {
		inside := numbers(100)
		deflatedNumbers = append(deflatedNumbers, numbered.FindAll(inside, -1)...)
		z.add(t, zipEntry{name: string(numbers(3)), data: inside, method: uint16(i % 2 * 8), extra: append([]byte{0xfe, 0xca, 70, 0}, numbers(10)...), comment: string(numbers(5)), hidden: i%7 == 6})
		z.buf.Write(numbers(2))
	}
	z.comment = numbers(50)
	data := append(z.bytes(), numbers(5)...)
	small := smallLimits()
	for how, s := range map[string]*seen{"memory": walkBytes(t, "x", data), "disk": walkFile(t, "x", data, defaultLimits()), "disk, small": walkFile(t, "x", data, small), "streamed": streamed(t, data)} {
		var all bytes.Buffer
		for path := range s.times {
			all.Write(s.data[path])
			all.Write(s.raw[path])
		}
		visited, inFile := numbered.FindAll(all.Bytes(), -1), numbered.FindAll(data, -1)
		sort.Slice(visited, func(i, j int) bool { return bytes.Compare(visited[i], visited[j]) < 0 })
		for _, n := range append(inFile, deflatedNumbers...) {
			if how == "streamed" && bytes.Compare(n, []byte("<20000>")) < 0 {
				continue // in s.raw the windows are put together
			}
			if _, ok := slices.BinarySearchFunc(visited, n, bytes.Compare); !ok {
				t.Errorf("%s: %s was not seen", how, n)
			}
		}
	}
}

var numbered = regexp.MustCompile(`<[0-9]{5}>`)

// smallLimits make windows and budgets matter for inputs of some kilobytes.
func smallLimits() limits {
	l := defaultLimits()
	l.entry, l.total, l.entries = 256<<10, 1<<20, 200
	l.whole, l.window, l.overlap, l.live = 16<<10, 8<<10, 64, 160<<10
	l.ratioFrom = 32 << 10
	return l
}

func TestStopped(t *testing.T) {
	t.Parallel()
	data := makeZip(t, zipEntry{name: "a", data: []byte("a")}, zipEntry{name: "b", data: []byte("b")})
	ctx, cancel := context.WithCancel(context.Background())
	s := newSeen()
	w := &walker{limits: defaultLimits(), workers: 1, problem: s.problem, visit: func(e *entry) { s.visit(e); cancel() }}
	w.bytes(ctx, "x.zip", data)
	if err := s.problems["x.zip"]; !errors.Is(err, context.Canceled) || s.told != 1 {
		t.Errorf("got %v, told %d times", err, s.told)
	}
	if len(s.data) != 1 {
		t.Errorf("visited %q", s.paths())
	}
}

package scan

import (
	"archive/tar"
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestUnread: what is known and not read is a problem, wherever it lies, and visited as it is.
func TestUnread(t *testing.T) {
	t.Parallel()
	iso := append(make([]byte, isoAt), "CD001 marker"...)
	dmg := append(append([]byte("marker"), filler(1000)...), append([]byte("koly"), make([]byte, 508)...)...)
	for _, tc := range []struct{ name, begin string }{
		{"x.xz", "\xfd7zXZ\x00"}, {"x.7z", "7z\xbc\xaf\x27\x1c"}, {"x.rar", "Rar!\x1a\x07\x00"}, {"x.dmg", string(dmg)}, {"deflated.dmg", string(zlibbed(t, []byte("block"))) + string(dmg)},
		{"x.dmg", "encrcdsa"}, {"x.dmg", "cdsaencr"}, {"x.iso", string(iso)}, {"x", "hsqs"}, {"x", "sqsh"}, {"x.pkg", "xar!"}, {"x", "pbzx"}, {"x.lz", "LZIP\x01"},
		{"x.Z", "\x1f\x9d"}, {"x.lz4", "\x04\x22\x4d\x18"}, {"x.cab", "MSCF"}, {"x.rpm", "\xed\xab\xee\xdb"}, {"x", "age-encryption.org/v1\n"}, {"x.dll", "XALZ"},
		{"data.unity3d", "UnityFS\x00"}, {"x", "UnityWeb\x00"}, {"x", "UnityRaw\x00"}, {"x", "bvx2"}, {"x", "bvxn"}, {"x", "bvx1"}, {"x", "bvx-"},
		{"x.lzma", "\x5d\x00\x00"}, {"x.pack", "PACK\x00\x00\x00\x02"}, {"x.pack", "PACK\x00\x00\x00\x03"},
	} {
		data := []byte(tc.begin)
		if !endsAsDmg(data) {
			data = append(data, "marker"...)
		}
		small := smallLimits()
		for how, s := range map[string]*seen{
			"memory": walkBytes(t, tc.name, data), "disk": walkFile(t, tc.name, data, defaultLimits()), "reader": walkReader(t, tc.name, data, defaultLimits()),
			"stored":   walkFile(t, "o", makeZip(t, zipEntry{name: tc.name, data: data}), defaultLimits()).without("o!"),
			"deflated": walkBytes(t, "o", makeZip(t, zipEntry{name: tc.name, data: data, method: zipDeflated})).without("o!"),
			"tar":      walkBytes(t, "o", makeTar(t, tar.FormatUSTAR, map[string][]byte{tc.name: data})).without("o!"),
			"gzip":     walkBytes(t, tc.name+".gz", gzipped(t, data)).without(tc.name + ".gz!"),
			"small":    walkFile(t, "o", makeZip(t, zipEntry{name: tc.name, data: data, method: zipDeflated}), small).without("o!"),
		} {
			if how == "small" && tc.name == "x.iso" {
				continue // its head does not fit
			}
			if tc.name == "deflated.dmg" { // a zlib stream, with something behind it
				if s.problems[tc.name] == nil {
					tc.name += "!(after the end)"
				}
			}
			wantProblem(t, s, tc.name, errUnread)
			if !s.has(tc.name, "marker") && !s.anywhere("marker") {
				t.Errorf("%s, %s: not visited as it is", tc.name, how)
			}
			if tc.name == "deflated.dmg!(after the end)" {
				tc.name = "deflated.dmg"
			}
			if len(s.problems) != 1 {
				t.Errorf("%s, %s: %v", tc.name, how, s.problems)
			}
		}
	}
	// One too large to be held is known by its last window.
	large := append(filler(3<<20), dmg...)
	for _, s := range []*seen{
		walkFile(t, "o", makeZip(t, zipEntry{name: "e", data: large, method: zipDeflated}), windowLimits()).without("o!"),
		walkLimited(t, "o", makeTar(t, tar.FormatUSTAR, map[string][]byte{"e": large}), windowLimits()).without("o!"),
	} {
		wantProblem(t, s, "e", errUnread)
	}
	for name, text := range map[string]string{"x.txt": "PACK\x00\x00\x00\x02", "x.c": "\x1f\x9d", "y": "\x5d\x00\x00", "z": "LZIP is a format", "CD001": "CD001", "k": "koly"} {
		s := walkBytes(t, name, []byte(text))
		wantNoProblems(t, s)
		wantData(t, name, map[string][]byte{name: []byte(text)}, s.data)
	}
	if got, want := formatXz.unread().Error(), "xz, which selo does not read"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// windowLimits make windows of some kilobytes, with the overlap that there is.
func windowLimits() limits {
	l := defaultLimits()
	l.whole, l.window = 1<<20, 1<<20
	return l
}

func zlibbed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// TestZlib: a zlib stream is a container, but not what begins like one.
func TestZlib(t *testing.T) {
	t.Parallel()
	for _, data := range [][]byte{[]byte("marker"), nil, filler(300_000), dense(100_000)} {
		z := zlibbed(t, data)
		for how, s := range map[string]*seen{
			"memory": walkBytes(t, "x.zlib", z), "disk": walkFile(t, "x.zlib", z, defaultLimits()), "reader": walkReader(t, "x.zlib", z, defaultLimits()),
			"deflated": walkBytes(t, "o", makeZip(t, zipEntry{name: "x.zlib", data: z, method: zipDeflated})).without("o!"),
			"tar":      walkBytes(t, "o", makeTar(t, tar.FormatUSTAR, map[string][]byte{"x.zlib": z})).without("o!"),
		} {
			wantNoProblems(t, s)
			wantData(t, how, map[string][]byte{"x.zlib!x": data}, s.data)
		}
	}
	z := zlibbed(t, []byte("marker-z"))
	s := walkBytes(t, "x", append(bytes.Clone(z), append(zlibbed(t, []byte("marker-y")), "marker-end"...)...))
	wantNoProblems(t, s)
	if !s.has("x!x", "marker-z") || !s.anywhere("marker-y") || !s.anywhere("marker-end") {
		t.Errorf("visited %q", s.paths())
	}
	wrong := bytes.Clone(z)
	wrong[len(wrong)-1]++
	for name, data := range map[string][]byte{"cut off": z[:len(z)-1], "wrong": wrong, "text": []byte("x^2 + y^2 = z^2"), "two": z[:2]} {
		s := walkBytes(t, name, data)
		wantNoProblems(t, s)
		wantData(t, name, map[string][]byte{name: data}, s.data)
	}
	long := zlibbed(t, append([]byte("marker"), dense(100_000)...))
	s = walkBytes(t, "x", long[:len(long)-50])
	wantProblem(t, s, "x", errDamaged)
	if !s.has("x!x", "marker") {
		t.Error("nothing was seen of a long one that is cut off")
	}
}

// TestGitObjects reads what git itself writes: a blob that was never committed.
func TestGitObjects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("marker-blob"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"hash-object", "-w", "f"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			needTool(t, "git %q: %v: %s", args, err, out)
		}
	}
	if err := os.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	s := newSeen()
	if err := s.walker(defaultLimits(), 2).file(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	wantNoProblems(t, s)
	if !s.anywhere("marker-blob") {
		t.Errorf("not in %q", s.paths())
	}
}

// TestGzipAfter: what follows a gzip file is read if it is another, behind zeros or not, and is a problem if it may be one.
func TestGzipAfter(t *testing.T) {
	t.Parallel()
	a, b := gzipped(t, []byte("marker-a,")), gzipped(t, []byte("marker-b"))
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, zeros := range []int{0, 1, 3, 512, 200_000} {
		s := walkBytes(t, "x.gz", cat(a, make([]byte, zeros), b, make([]byte, zeros)))
		wantNoProblems(t, s)
		wantData(t, fmt.Sprint(zeros), map[string][]byte{"x.gz!x": []byte("marker-a,marker-b")}, s.data)
	}
	for _, junk := range [][]byte{[]byte("j"), filler(70_000), append(make([]byte, 10), 'j')} {
		s := walkBytes(t, "x.gz", cat(a, junk, b))
		wantProblem(t, s, "x.gz", errDamaged)
		if !s.anywhere("marker-a") || !s.has("x.gz!(after the end)", string(b)) {
			t.Errorf("visited %q", s.paths())
		}
		wantNoProblems(t, walkBytes(t, "x.gz", cat(a, junk)))
	}
	s := walkBytes(t, "x.gz", cat(a, makeZip(t, zipEntry{name: "z", data: []byte("marker-z"), method: zipDeflated})))
	wantNoProblems(t, s)
	if !s.has("x.gz!(after the end)!z", "marker-z") {
		t.Errorf("visited %q", s.paths())
	}
	// All of a comment is seen.
	long := append([]byte{0x1f, 0x8b, 8, 16, 0, 0, 0, 0, 0, 0}, append(bytes.Repeat([]byte("c"), 3<<20), "marker-comment\x00"...)...)
	s = walkBytes(t, "x.gz", append(long, a[10:]...))
	wantNoProblems(t, s)
	if !s.has("x.gz!(between entries)", "marker-comment") {
		t.Error("the end of a long comment was not seen")
	}
}

// TestSkippedFrames: what decoders pass over is visited as it lies.
func TestSkippedFrames(t *testing.T) {
	t.Parallel()
	skipped := func(marker string) []byte {
		return append([]byte{0x50, 0x2a, 0x4d, 0x18, byte(len(marker)), 0, 0, 0}, marker...)
	}
	data := filler(5000)
	z := bytes.Join([][]byte{skipped("marker-first"), zstded(t, data), skipped("marker-between"), zstded(t, data), skipped("marker-last")}, nil)
	for path, s := range map[string]*seen{"x.zst": walkBytes(t, "x.zst", z), "x.zip!z": walkBytes(t, "x.zip", makeZip(t, zipEntry{name: "z", data: append(data, data...), packed: z, method: zipZstd}))} {
		wantNoProblems(t, s)
		for _, m := range []string{"marker-first", "marker-between", "marker-last"} {
			if !s.has(path+"!(as it lies)", m) {
				t.Errorf("%s: no %s", path, m)
			}
		}
	}
	br := append([]byte{0x2c, 6}, "marker-brotli\x03"...) // a block of metadata with 13 bytes, and one that is the last
	s := walkBytes(t, "x.br", br)
	wantNoProblems(t, s)
	if !s.has("x.br!(as it lies)", "marker-brotli") {
		t.Error("no marker-brotli")
	}
}

// TestZipBehind: a zip that has something before it is found within other containers, whatever it is called.
func TestZipBehind(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{"\x89PNG\r\n\x1a\n marker-begin", "#!/bin/sh\nmarker-begin\n"} {
		for _, comment := range []string{"", "a comment", string(filler(60_000))} {
			z := zipBuilder{comment: []byte(comment)}
			z.add(t, zipEntry{name: "i", data: append(filler(1000), "marker-i"...), method: zipDeflated})
			z.add(t, zipEntry{name: "broken", data: []byte("b"), hidden: true})
			data := append([]byte(begin), z.bytes()...)
			tarred := makeTar(t, tar.FormatUSTAR, map[string][]byte{"p.png": data})
			l := defaultLimits()
			for how, s := range map[string]*seen{
				"stored": walkBytes(t, "o", makeZip(t, zipEntry{name: "p.png", data: data})), "deflated": walkBytes(t, "o", makeZip(t, zipEntry{name: "p.png", data: data, method: zipDeflated})),
				"stored, on disk": walkFile(t, "o", makeZip(t, zipEntry{name: "p.png", data: data}), l), "deflated, on disk": walkFile(t, "o", makeZip(t, zipEntry{name: "p.png", data: data, method: zipDeflated}), l),
				"tar": walkBytes(t, "o", tarred), "tar.gz": walkBytes(t, "o", gzipped(t, tarred)),
				"zip in tar":      walkBytes(t, "o", makeTar(t, tar.FormatUSTAR, map[string][]byte{"x": makeZip(t, zipEntry{name: "p.png", data: data, method: zipDeflated})})).without("o!x!").with("o!"),
				"gzip":            walkBytes(t, "p.png.gz", gzipped(t, data)).without("p.png.gz!").with("o!"),
				"gzip in a zip":   walkBytes(t, "x", makeZip(t, zipEntry{name: "p.png.gz", data: gzipped(t, data)})).without("x!p.png.gz!").with("o!"),
				"streamed":        streamed(t, makeZip(t, zipEntry{name: "p.png", data: data, method: zipDeflated})).without("x.zip!").with("o!"),
				"after something": walkBytes(t, "g", append(gzipped(t, nil), data...)).without("g!(after the end)").with("o!p.png"),
			} {
				wantNoProblems(t, s)
				if !s.has("o!p.png!i", "marker-i") || !s.has("o!p.png", "marker-begin") || s.times["o!p.png"] != 1 {
					t.Errorf("%s: visited %q", how, s.paths())
				}
			}
		}
	}
	// One that is too large to be held is found where it lies, too.
	z := append([]byte("stub"), makeZip(t, zipEntry{name: "i", data: []byte("marker-i")}, zipEntry{name: "large", data: filler(2 << 20)})...)
	s := walkFile(t, "o", makeZip(t, zipEntry{name: "p", data: z}), windowLimits())
	wantNoProblems(t, s)
	if !s.has("o!p!i", "marker-i") {
		t.Errorf("visited %q", s.paths())
	}
	// At the depth limit that is told, and nothing opened.
	data := append([]byte("stub"), makeZip(t, zipEntry{name: "i", data: filler(100), method: zipDeflated})...)
	l := defaultLimits()
	l.depth = 1
	for how, o := range map[string][]byte{"deflated": makeZip(t, zipEntry{name: "p", data: data, method: zipDeflated}), "tar": makeTar(t, tar.FormatUSTAR, map[string][]byte{"p": data})} {
		s := walkLimited(t, "o", o, l)
		wantProblem(t, s, "o!p", errTooMuch)
		if s.times["o!p"] != 1 || s.told != 1 {
			t.Errorf("%s: visited %d times, told %d", how, s.times["o!p"], s.told)
		}
	}
	// What only looks like one is no problem.
	end := make([]byte, endLen)
	copy(end, endSig)
	end[10], end[12] = 1, dirLen
	for name, data := range map[string][]byte{"end": end, "directory": append(append([]byte("text "), append([]byte(dirSig), make([]byte, dirLen-4)...)...), end...)} {
		s := walkBytes(t, "o", makeZip(t, zipEntry{name: name, data: append([]byte("text"), data...), method: zipDeflated}))
		wantNoProblems(t, s)
		if !s.has("o!"+name, "text") {
			t.Errorf("%s: visited %q", name, s.paths())
		}
	}
}

// with is s, with a prefix put before all paths.
func (s *seen) with(prefix string) *seen {
	c := newSeen()
	for k, v := range s.data {
		c.data[prefix+k] = v
	}
	for k, v := range s.raw {
		c.raw[prefix+k] = v
	}
	for k, v := range s.times {
		c.times[prefix+k] = v
	}
	for k, v := range s.problems {
		c.problems[prefix+k] = v
	}
	return c
}

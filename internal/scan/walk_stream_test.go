package scan

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

func compressWith(t testing.TB, args ...string) func([]byte) []byte {
	t.Helper()
	return func(data []byte) []byte {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			needTool(t, "%q: %v", args, err)
		}
		return out
	}
}

func brotlied(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zstded(t testing.TB, data []byte, options ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// TestCompressed: each format, on its own, within a zip and around a tar.
func TestCompressed(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{"dir/a": filler(70_000), "b": []byte("marker")}
	for ext, compress := range map[string]func([]byte) []byte{
		".gz": func(b []byte) []byte { return gzipped(t, b) }, ".br": func(b []byte) []byte { return brotlied(t, b) },
		".zst": func(b []byte) []byte { return zstded(t, b) }, ".bz2": compressWith(t, "bzip2", "-c"),
	} {
		bundle, archive := compress(files["dir/a"]), compress(makeTar(t, tar.FormatUSTAR, files))
		z := makeZip(t, zipEntry{name: "bundle.js" + ext, data: bundle, method: zipDeflated}, zipEntry{name: "x.tar" + ext, data: archive}, zipEntry{name: "empty" + ext, data: compress(nil)})
		want := map[string][]byte{
			"x.zip!bundle.js" + ext + "!bundle.js": files["dir/a"], "x.zip!x.tar" + ext + "!dir/a": files["dir/a"], "x.zip!x.tar" + ext + "!b": files["b"],
			"x.zip!empty" + ext + "!empty": {},
		}
		for how, s := range map[string]*seen{"memory": walkBytes(t, "x.zip", z), "disk": walkFile(t, "x.zip", z, defaultLimits()), "streamed": streamed(t, z)} {
			wantNoProblems(t, s)
			wantData(t, ext+" "+how, want, s.data)
		}
		s := walkReader(t, "x.tar"+ext, archive, defaultLimits())
		wantNoProblems(t, s)
		wantData(t, ext+" from a reader", map[string][]byte{"x.tar" + ext + "!dir/a": files["dir/a"], "x.tar" + ext + "!b": files["b"]}, s.data)

		// Cut off, what was before is seen.
		s = walkBytes(t, "b.js"+ext, bundle[:len(bundle)*3/4])
		wantProblem(t, s, "b.js"+ext, errDamaged)
	}
}

// TestGzip: several members, names and comments, and what comes after the last.
func TestGzip(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for i := range 3 {
		w := gzip.NewWriter(&b)
		w.Name, w.Comment, w.Extra = fmt.Sprint("marker-name", i), "marker-comment", []byte("marker-extra")
		fmt.Fprintf(w, "member %d, ", i)
		w.Close()
	}
	b.Bytes()[b.Len()-5]++ // a wrong checksum ends nothing
	s := walkBytes(t, "x.js.gz", append(b.Bytes(), "marker-after"...))
	wantNoProblems(t, s)
	wantData(t, "gzip", map[string][]byte{"x.js.gz!x.js": []byte("member 0, member 1, member 2, ")}, s.data)
	for _, m := range []string{"marker-name2", "marker-comment", "marker-extra"} {
		if !s.has("x.js.gz!(between entries)", m) {
			t.Errorf("no %s", m)
		}
	}
	if !s.has("x.js.gz!(after the end)", "marker-after") {
		t.Error("no marker-after")
	}
}

// TestZipMethods reads what 7-Zip and zip write.
func TestZipMethods(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := map[string][]byte{}
	for name, data := range map[string][]byte{"a": filler(200_000), "b c": []byte("marker"), "é": filler(3)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		want["x.zip!"+name] = data
	}
	for _, args := range [][]string{
		{"7z", "a", "-tzip", "-mm=Deflate", "x.zip", "a", "b c", "é"}, {"7z", "a", "-tzip", "-mm=BZip2", "x.zip", "a", "b c", "é"}, {"7z", "a", "-tzip", "-mm=Copy", "x.zip", "a", "b c", "é"},
		{"zip", "-q", "x.zip", "a", "b c", "é"}, {"zip", "-q", "-fz", "x.zip", "a", "b c", "é"},
	} {
		for _, extra := range [][]string{nil, {"encrypted"}} {
			args := args
			if extra != nil {
				password := "-psecret"
				if args[0] == "zip" {
					password = "-Psecret"
				}
				args = append([]string{args[0], args[1], password}, args[2:]...)
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				needTool(t, "%q: %v: %s", args, err, out)
			}
			data, err := os.ReadFile(filepath.Join(dir, "x.zip"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "x.zip")); err != nil {
				t.Fatal(err)
			}
			s := walkBytes(t, "x.zip", data)
			if extra == nil {
				wantNoProblems(t, s)
				wantData(t, fmt.Sprint(args), want, s.data)
				continue
			}
			for path := range want {
				wantProblem(t, s, path, errEncrypted)
			}
		}
	}
	// Zstandard, which few programs write.
	data := filler(200_000)
	s := walkBytes(t, "x.zip", makeZip(t, zipEntry{name: "z", data: data, packed: zstded(t, data), method: zipZstd}))
	wantNoProblems(t, s)
	wantData(t, "zstd", map[string][]byte{"x.zip!z": data}, s.data)
}

// TestDeb reads a package of Debian, whose files lie in a tar in an ar.
func TestDeb(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "p")
	for name, data := range map[string]string{"DEBIAN/control": "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@m.example>\nDescription: marker-control\n", "usr/share/p/data": "marker-data"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, z := range []string{"gzip", "none", "xz"} {
		if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Z"+z, "-b", root, root+".deb").CombinedOutput(); err != nil {
			needTool(t, "dpkg-deb: %v: %s", err, out)
		}
		data, err := os.ReadFile(root + ".deb")
		if err != nil {
			t.Fatal(err)
		}
		s := walkBytes(t, "p.deb", data)
		if z == "xz" {
			wantProblem(t, s, "p.deb!data.tar.xz", errUnread)
			continue
		}
		wantNoProblems(t, s)
		ext := map[string]string{"gzip": ".gz"}[z]
		if path := "p.deb!data.tar" + ext + "!./usr/share/p/data"; !s.has(path, "marker-data") {
			t.Errorf("%s: no %s: %q", z, path, s.paths())
		}
	}
}

// TestArHostile: what is wrong is told, and names are as both kinds of ar write them.
func TestArHostile(t *testing.T) {
	t.Parallel()
	entry := func(name, size, data string) string {
		return fmt.Sprintf("%-16s%-32s%-10s`\n%s%s", name, "marker-header", size, data, strings.Repeat("\n", len(data)%2))
	}
	s := walkBytes(t, "x.a", []byte(arMagic+entry("gnu/", "8", "marker-a")+entry("#1/10", "18", "long\x00\x00\x00\x00\x00\x00marker-b")+entry("#1/-5", "8", "marker-c")+
		entry("odd", "3", "odd")+entry("#1/4000", "8", "marker-d")+entry("last", "999", "marker-e")))
	for path, marker := range map[string]string{"gnu": "marker-a", "long": "marker-b", "#1/-5": "marker-c", "odd": "odd", "#1/4000": "marker-d", "last": "marker-e", "(between entries)": "marker-header"} {
		if !s.has("x.a!"+path, marker) {
			t.Errorf("no %s in %s: %q", marker, path, s.paths())
		}
	}
	wantProblem(t, s, "x.a!last", errDamaged)
	for _, size := range []string{"-1", "x", ""} {
		s := walkBytes(t, "x.a", []byte(arMagic+entry("bad", size, "marker-rest")))
		wantProblem(t, s, "x.a", errDamaged)
		if !s.has("x.a!(after the end)", "marker-rest") {
			t.Errorf("size %q: %q", size, s.paths())
		}
	}
}

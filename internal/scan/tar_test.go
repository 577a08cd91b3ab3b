package scan

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tarOf is what the standard library reads.
func tarOf(t *testing.T, path string, data []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeXGlobalHeader {
			all[path+"!"+h.Name] = b
		}
	}
}

func makeTar(t testing.TB, format tar.Format, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for name, data := range files {
		h := &tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600, Format: format}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if format == tar.FormatPAX {
			h.PAXRecords = map[string]string{"VENDOR.marker": "marker-record"}
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		tw.Write(data)
	}
	tw.Close()
	return b.Bytes()
}

// TestTarOrdinary: of a tar as the standard library writes it the same is seen as it reads.
func TestTarOrdinary(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a long name/", 30) + "end"
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		files := map[string][]byte{"a": []byte("marker"), "dir/": nil, "dir/empty": nil, "dir/b": filler(512), "c": filler(513), "d": filler(100_000)}
		if format != tar.FormatUSTAR {
			files[long] = filler(1000)
			files["ção/日本"] = filler(10)
		} else {
			files[strings.Repeat("p", 120)+"/"+strings.Repeat("n", 90)] = filler(3)
		}
		data := makeTar(t, format, files)
		want := tarOf(t, "x.tar", data)
		for how, s := range map[string]*seen{
			"memory": walkBytes(t, "x.tar", data), "disk": walkFile(t, "x.tar", data, defaultLimits()), "reader": walkReader(t, "x.tar", data, defaultLimits()),
			"gzip": walkBytes(t, "x.tar", gzipped(t, data)), // the path is that of the compressed file
		} {
			wantNoProblems(t, s)
			wantData(t, fmt.Sprint(format, ", ", how), want, s.data)
			if format == tar.FormatPAX && !s.has("x.tar!(between entries)", "marker-record") {
				t.Errorf("%s: records were not visited", how)
			}
		}
	}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// TestTarGNU compares with what the standard library reads of what GNU's tar writes: sparse files in all its forms, links, long
// names, times that others have for a name's beginning.
func TestTarGNU(t *testing.T) {
	t.Parallel()
	gnu, err := exec.LookPath("tar")
	if err != nil {
		needTool(t, "GNU tar is missing: %v", err)
	}
	dir := t.TempDir()
	write := func(name string, pieces map[int64][]byte, size int64) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for at, b := range pieces {
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
		if size > 0 {
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
		}
	}
	many := map[int64][]byte{}
	for i := range int64(60) {
		many[i*8192] = fmt.Appendf(nil, "piece %d", i)
	}
	write("plain", map[int64][]byte{0: filler(3000)}, 0)
	write("sparse", map[int64][]byte{0: []byte("begin"), 8192: []byte("middle"), 16384: []byte("end")}, 24000)
	write("hole-first", map[int64][]byte{8192: filler(8192)}, 0)
	write("many", many, 60*8192)
	write("all-hole", nil, 8000)
	write(strings.Repeat("n", 200), map[int64][]byte{4096: []byte("of a long name")}, 8192)
	for link, to := range map[string]string{"soft": "plain", "far": "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--format=gnu"}, {"--format=gnu", "--sparse"}, {"--format=oldgnu", "--sparse"}, {"--format=posix"},
		{"--format=posix", "--sparse", "--sparse-version=0.0"}, {"--format=posix", "--sparse", "--sparse-version=0.1"}, {"--format=posix", "--sparse", "--sparse-version=1.0"},
	} {
		out, err := exec.Command(gnu, append(args, "-C", dir, "-cf", "-", ".")...).Output()
		if err != nil {
			needTool(t, "%s %q: %v", gnu, args, err)
		}
		s := walkBytes(t, "x.tar", out)
		wantNoProblems(t, s)
		wantData(t, fmt.Sprint(args), tarOf(t, "x.tar", out), s.data)
	}
}

// TestTarHostile: what is wrong is told, and what comes after it is read.
func TestTarHostile(t *testing.T) {
	t.Parallel()
	one := makeTar(t, tar.FormatUSTAR, map[string][]byte{"a": []byte("marker-a")})[:1024]
	two := makeTar(t, tar.FormatUSTAR, map[string][]byte{"b": filler(2000)})
	junk := bytes.Repeat([]byte("marker-junk "), 100)
	junk = append(junk, make([]byte, -len(junk)&511)...)
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	with := func(at int, text string) []byte {
		b := bytes.Clone(one)
		copy(b[at:], text)
		var sum int
		for i, c := range b[:512] {
			if 148 <= i && i < 156 {
				c = ' '
			}
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		return b
	}
	for _, tc := range []struct {
		name    string
		data    []byte
		see     []string // "path=marker"
		problem map[string]error
	}{
		{"junk between", cat(one, junk, two), []string{"!a=marker-a", "!b=a", "!(between entries)=marker-junk"}, map[string]error{"": errDamaged}},
		{"two archives", cat(one, make([]byte, 5000-5000%512), two), []string{"!a=marker-a", "!b=a"}, nil},
		{"no end", one, []string{"!a=marker-a"}, nil},
		{"cut", cat(one, two[:1500]), []string{"!a=marker-a", "!b=a"}, map[string]error{"!b": errDamaged}},
		{"cut header", cat(one, two[:300]), []string{"!a=marker-a"}, map[string]error{"": errDamaged}},
		{"no size", cat(with(124, "what is this"), two), []string{"!b=a", "!(between entries)=marker-a"}, map[string]error{"": errDamaged}},
		{"a size less than 0", cat(with(124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), two), []string{"!b=a"}, map[string]error{"": errDamaged}},
		{"a size of all there is", cat(with(124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), two), []string{"!a=marker-a"}, map[string]error{"!a": errDamaged}},
		{"a size in octal that is too large", cat(with(124, "777777777777"), two), []string{"!a=marker-a"}, map[string]error{"!a": errDamaged}},
		{"data of a link", cat(with(156, "2"), two), []string{"!a=", "!b=a", "!(between entries)=marker-a"}, map[string]error{"": errDamaged}},
		{"records that never end", cat(with(156, "x"), two), []string{"!b=a", "!(between entries)=marker-a"}, nil},
		{"a name that is cut off", with(156, "L")[:516], []string{"!(between entries)=mark"}, map[string]error{"": errDamaged}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := walkBytes(t, "x.tar", tc.data)
			for _, want := range tc.see {
				path, marker, _ := strings.Cut(want, "=")
				if path = "x.tar" + path; s.times[path] == 0 || !s.has(path, marker) {
					t.Errorf("%q was not seen; visited %q", want, s.paths())
				}
			}
			for path, want := range tc.problem {
				wantProblem(t, s, "x.tar"+path, want)
			}
			if len(s.problems) != len(tc.problem) {
				t.Errorf("problems %v", s.problems)
			}
		})
	}
}

// TestTarSparseBomb: a hole is as large as a header says, and costs nothing.
func TestTarSparseBomb(t *testing.T) {
	t.Parallel()
	records := ""
	for _, kv := range []string{"GNU.sparse.size=9000000000000000", "GNU.sparse.map=0,4,8999999999999000,4"} {
		n := len(kv) + 3
		n += len(fmt.Sprint(n)) - 1
		records += fmt.Sprintf("%d %s\n", n, kv)
	}
	b := makeTar(t, tar.FormatUSTAR, map[string][]byte{"r": []byte(records)})
	b[156] = 'x'
	for i, sum := 0, 0; i < 512; i++ {
		if c := b[i]; 148 <= i && i < 156 {
			sum += ' '
		} else {
			sum += int(c)
		}
		if i == 511 {
			copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		}
	}
	data := append(b[:512+(len(records)+511)/512*512:512+(len(records)+511)/512*512], makeTar(t, tar.FormatUSTAR, map[string][]byte{"s": []byte("head" + "tail")})...)
	s := walkBytes(t, "x.tar", data)
	wantNoProblems(t, s)
	if got := s.data["x.tar!s"]; !bytes.HasPrefix(got, []byte("head\x00")) || !bytes.Contains(got, []byte("\x00tail")) || len(got) > 20_000 {
		t.Errorf("%d bytes: %.20q", len(got), got)
	}
}

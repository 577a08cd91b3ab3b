package scan

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// npmPackages are the packages that tests unpack, with the sha512 of their tarballs as npm tells it.
var npmPackages = map[string]string{
	"hermes-engine@0.11.0":           "7aMUlZja2IyLYAcZ69NBnwJAR5ZOYlSllj0oMpx08a8HzxHOys0eKCzfphrf6D0vX1JGO1QQvVsQKe6TkYherw==",
	"react-native@0.72.17":           "k3dNe0XqoYCGGWTenbupWSj+ljW3GIfmYS5P4s3if4j0csx2YbenKgH1aJNWLp+UP7ONwfId6G+uBoUJfyMxXg==",
	"hermes-compiler@0.17.0":         "U7V2ghBtnmWFhCNdWj/oMQY6Vg838vBDYYTy798wHlCjWqpBXNCn034vq9ltXvDozD//omtPEDNPmIb+iPM2nw==",
	"hermes-compiler@250829098.0.19": "qMdHsuntdFVNqx3EPOZyyQd4qHD2g0o3y32SYX2Z7jKG1uF7B2WDBHeZK/6qOnl06BQiXPhBuD6SdZv10ngtyw==",
	"hermes-compiler@260318099.0.8":  "gRG9IqjGkWs6QRdIUurtRUbB3M+RboPRcYtsu03EOSypzQZwusYoZK7F2YdAXPowNUU3Ur3xRlvdjA1tukRbQg==",
	"acorn@8.19.0":                   "oJlA3XiRm7Cyk6qFD2Jn8ak9B7jSy0qy00ADO3+8dpT0LSjFihQYv4C02LFCSYJV3Q37xYwwRy5m+IpIiUzqWw==",
	"@esbuild/linux-x64@0.28.2":      "4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ==",
}

// hermesCompilers are where the compilers of each version of the bytecode come from. Others that the decoder was tried
// with once are those of 76 (hermes-engine@0.7.2) and 89 (react-native@0.70.15, a download of 75 MB).
var hermesCompilers = map[string]struct{ pkg, version, path string }{
	"84": {"hermes-engine", "0.11.0", "linux64-bin/hermesc"},
	"94": {"react-native", "0.72.17", "sdks/hermesc/linux64-bin/hermesc"},
	"96": {"hermes-compiler", "0.17.0", "hermesc/linux64-bin/hermesc"},
	"98": {"hermes-compiler", "250829098.0.19", "hermesc/linux64-bin/hermesc"},
	"99": {"hermes-compiler", "260318099.0.8", "hermesc/linux64-bin/hermesc"},
}

var hermesVersions = []string{"84", "94", "96", "98", "99"}

// hermesc returns the path of the compiler to a version of the bytecode, one of hermesVersions.
func hermesc(t *testing.T, version string) string {
	t.Helper()
	c, ok := hermesCompilers[version]
	if !ok {
		t.Fatalf("no compiler for version %s", version)
	}
	linuxOnly(t)
	return filepath.Join(npmTarball(t, c.pkg, c.version), c.path)
}

func codeEsbuild(t *testing.T) string {
	t.Helper()
	linuxOnly(t)
	return filepath.Join(npmTarball(t, "@esbuild/linux-x64", "0.28.2"), "bin/esbuild")
}

// linuxOnly ends a test that needs a program which is pinned for one platform.
func linuxOnly(t *testing.T) {
	t.Helper()
	if platform := runtime.GOOS + "/" + runtime.GOARCH; platform != "linux/amd64" {
		needTool(t, "no program for %s", platform)
	}
}

// codeTool returns the path of the first of these programs that is there.
func codeTool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		if paths, _ := filepath.Glob("/usr/lib/llvm-*/bin/" + name); len(paths) > 0 { // Debian links only some
			return paths[len(paths)-1]
		}
	}
	needTool(t, "%s: not installed", names[0])
	return ""
}

// runCode runs a program in dir and returns what it writes to its standard output.
func runCode(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return out
}

var npmLock sync.Mutex // one download is enough

// npmTarball returns the folder of a package from npm, one of npmPackages. It is fetched into the cache only when asked
// for (SELO_CI, SELO_FETCH).
func npmTarball(t *testing.T, pkg, version string) string {
	t.Helper()
	npmLock.Lock()
	defer npmLock.Unlock()
	spec := pkg + "@" + version
	want, ok := npmPackages[spec]
	if !ok {
		t.Fatalf("%s is not pinned", spec)
	}
	cache := os.Getenv("SELO_NPM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			needTool(t, "no cache folder: %v", err)
		}
		cache = filepath.Join(user, "selo-npm")
	}
	dir := filepath.Join(cache, strings.NewReplacer("@", "", "/", "-").Replace(pkg)+"-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if os.Getenv("SELO_CI") == "" && os.Getenv("SELO_FETCH") == "" {
		t.Skipf("%s is not in %s; SELO_FETCH=1 fetches it", spec, cache)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a cache
	npm := codeTool(t, "npm")
	runCode(t, tmp, npm, "pack", "--silent", spec)
	tarballs, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("npm pack %s: %q, %v", spec, tarballs, err)
	}
	tarball, err := os.ReadFile(tarballs[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(tarball)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != want {
		t.Fatalf("%s: sha512 is %s, want %s", spec, got, want)
	}
	npmUnpack(t, tarball, filepath.Join(tmp, "unpacked"))
	if err := os.Rename(filepath.Join(tmp, "unpacked"), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// npmUnpack unpacks a package from npm without the folder that all of it is in.
func npmUnpack(t *testing.T, tarball []byte, dir string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, h.FileInfo().Mode()|0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// codeTexts collects what a decoder gives, with copies of the bytes, and fails for what lies outside of the data.
func codeTexts(t *testing.T, data []byte, decode func([]byte, func(text)) error) ([]text, error) {
	t.Helper()
	var texts []text
	err := decode(data, func(x text) {
		if x.off < 0 || x.off > len(data) {
			t.Errorf("text at %d of %d", x.off, len(data))
		} else if !x.made && !bytes.HasPrefix(data[x.off:], x.b) {
			t.Errorf("%q does not lie at %d", x.b, x.off)
		}
		x.b = bytes.Clone(x.b)
		texts = append(texts, x)
	})
	return texts, err
}

// hasText reports that one of texts has the key and the bytes.
func hasText(texts []text, key, b string) bool {
	return slices.ContainsFunc(texts, func(x text) bool {
		return x.key == key && x.named == (key != "" && key != "comment") && string(x.b) == b
	})
}

// hermesBytecode compiles testdata/dec/literals.js.
func hermesBytecode(t *testing.T, version string, args ...string) []byte {
	t.Helper()
	source, err := filepath.Abs("testdata/dec/literals.js")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	runCode(t, dir, hermesc(t, version), append(args, "-emit-binary", "-out", "out.hbc", source)...)
	data, err := os.ReadFile(filepath.Join(dir, "out.hbc"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// dumped is what the compiler itself says of its string table: where in the storage each one is.
var dumped = regexp.MustCompile(`(?m)^[si]\d+\[(ASCII|UTF-16), (\d+)\.\.(-?\d+)\]`)

func TestHermesStrings(t *testing.T) {
	t.Parallel()
	for _, version := range hermesVersions {
		for _, mode := range []string{"-O", "-O0", "-g"} {
			t.Run(version+mode, func(t *testing.T) {
				t.Parallel()
				data := hermesBytecode(t, version, mode)
				if !isHermes(data) {
					t.Fatal("not recognised")
				}
				got, err := codeTexts(t, data, hermesTexts)
				if err != nil {
					t.Fatal(err)
				}
				if v := binary.LittleEndian.Uint32(data[8:]); strconv.Itoa(int(v)) != version {
					t.Fatalf("compiled to version %d", v)
				}

				file := filepath.Join(t.TempDir(), "in.hbc")
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
				dump := runCode(t, "", hermesc(t, version), "-dump-bytecode", "-b", file)
				table := dumped.FindAllSubmatch(dump, -1)
				if len(table) < 40 {
					t.Fatalf("dump of %d strings", len(table))
				}
				anchor := regexp.MustCompile(`\[ASCII, (\d+)\.\.\d+\]: 0:an anchor`).FindSubmatch(dump)
				if anchor == nil {
					t.Fatalf("no anchor in %s", dump)
				}
				storage := bytes.Index(data, []byte("0:an anchor")) - atoi(t, anchor[1])
				places := map[int]bool{}
				for _, x := range got {
					places[x.off-storage] = true
				}
				for _, row := range table {
					first, last := atoi(t, row[2]), atoi(t, row[3])
					if last >= first && !places[first] {
						t.Errorf("no text for %s", row[0])
					}
				}

				for _, want := range []string{
					"0:an anchor", "s3cr3t-Value-0123456789abcdef", "segredo-ção-日本語-😀", "café-token-value",
					strings.Repeat("Zabcdefghijklmnopqrstuvwxyz0123456789", 8), // too long for the table of short ones
					"ClientSecret!\"\xfa", "wide: 日本", // numbers
				} {
					if !hasText(got, "", want) {
						t.Errorf("%q is missing", want)
					}
				}
				for _, want := range [][2]string{
					{"clientSecret", "s3cr3t-Value-0123456789abcdef"}, {"apiKey", "AKIAIOSFODNN7EXAMPLE"},
					{"beta", "second-value"}, {"gamma", "third-value"}, {"wide", "segredo-ção-日本語-😀"},
					{"assigned", "assigned-secret-42"}, {"late", "the-last-value"},
				} {
					if !hasText(got, want[0], want[1]) {
						t.Errorf("no %s with %q", want[0], want[1])
					}
				}
				for _, x := range got {
					if x.key == "clientSecret" && string(x.b) != "s3cr3t-Value-0123456789abcdef" {
						t.Errorf("clientSecret is %q", x.b)
					}
				}
			})
		}
	}
}

func atoi(t *testing.T, b []byte) int {
	t.Helper()
	n, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hermesByHand is a file of the layout that versions have had: strings "abcdefgh" and, of UTF-16, "çé".
func hermesByHand(version uint32, functionSize int) []byte {
	words := make([]byte, hermesHeaderSize)
	binary.LittleEndian.PutUint64(words, hermesMagic)
	binary.LittleEndian.PutUint32(words[8:], version)
	put := func(word int, v uint32) { binary.LittleEndian.PutUint32(words[32+4*word:], v) }
	put(hermesFunctions, 1)
	put(hermesKinds, 1)
	put(hermesStrings, 2)
	put(hermesStorage, 12)
	data := append(words, make([]byte, functionSize)...)
	data = binary.LittleEndian.AppendUint32(data, 2)
	data = binary.LittleEndian.AppendUint32(data, 8<<24)
	data = binary.LittleEndian.AppendUint32(data, 2<<24|8<<1|1)
	data = append(data, "abcdefgh\xe7\x00\xe9\x00"...)
	data = append(data, make([]byte, 20)...)
	binary.LittleEndian.PutUint32(data[32:], uint32(len(data)))
	return data
}

func TestHermesLayouts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		version      uint32
		functionSize int
	}{{84, 16}, {97, 16}, {97, 12}, {98, 12}, {98, 16}, {99, 12}, {100, 24}, {60, 16}} {
		got, err := codeTexts(t, hermesByHand(test.version, test.functionSize), hermesTexts)
		if err != nil {
			t.Errorf("%v: %v", test, err)
		}
		if !hasText(got, "", "abcdefgh") || !hasText(got, "", "çé") {
			t.Errorf("%v: %v", test, got)
		}
	}
}

func TestHermesDamaged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   error
		lost   bool
	}{
		"cut in the header":      {func(b []byte) []byte { return b[:100] }, errDamaged, true},
		"cut in the storage":     {func(b []byte) []byte { return b[:len(b)-24] }, errDamaged, false},
		"unknown version":        {func(b []byte) []byte { b[8], b[32+4*hermesStrings] = 200, 3; return b }, errVersion, false},
		"known version":          {func(b []byte) []byte { b[32+4*hermesStrings] = 3; return b }, errDamaged, false},
		"string outside of all":  {func(b []byte) []byte { b[hermesHeaderSize+16+4+2] = 0xFF; return b }, errDamaged, false},
		"longer than it says":    {func(b []byte) []byte { return append(b, "behind the end"...) }, nil, false},
		"functions without end":  {func(b []byte) []byte { b[32+4*hermesFunctions+3] = 0xFF; return b }, errDamaged, false},
		"overflow without table": {func(b []byte) []byte { b[hermesHeaderSize+16+4+3] = 0xFF; return b }, errDamaged, false},
	} {
		data := test.change(hermesByHand(96, 16))
		got, err := codeTexts(t, data, hermesTexts)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if !test.lost && !slices.ContainsFunc(got, func(x text) bool { return bytes.Contains(x.b, []byte("abcdefgh")) }) {
			t.Errorf("%s: what can be read is lost: %v", name, got)
		}
		if name == "longer than it says" && !hasText(got, "", "behind the end") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A table of strings that are all the longest one: the file is small, what it spells is not.
func TestHermesTooMuch(t *testing.T) {
	t.Parallel()
	const n = 1000
	data := hermesByHand(96, 16)
	binary.LittleEndian.PutUint32(data[32+4*hermesStrings:], n)
	binary.LittleEndian.PutUint32(data[32+4*hermesStorage:], 1<<16)
	binary.LittleEndian.PutUint32(data[32+4*hermesOverflows:], 1)
	data = data[:hermesHeaderSize+16]
	data = binary.LittleEndian.AppendUint32(data, n)
	for range n {
		data = binary.LittleEndian.AppendUint32(data, 0xFF<<24)
	}
	data = binary.LittleEndian.AppendUint64(data, 1<<48)
	data = append(data, bytes.Repeat([]byte{'a'}, 1<<16)...)
	got, err := codeTexts(t, data, hermesTexts)
	if !errors.Is(err, errTooMuch) {
		t.Error(err)
	}
	total := 0
	for _, x := range got {
		total += len(x.b)
	}
	if total > 8*len(data)+1<<17 || total < 1<<16 {
		t.Errorf("%d bytes of %d", total, len(data))
	}
}

// Every instruction table must say of a real program what the compiler's own disassembler says.
func TestHermesFunctions(t *testing.T) {
	t.Parallel()
	for _, version := range hermesVersions {
		data := hermesBytecode(t, version, "-O")
		h := hermesFile{data: data, version: binary.LittleEndian.Uint32(data[8:])}
		for i := range h.words {
			h.words[i] = le32(data[32+4*i:])
		}
		if !h.locate() {
			t.Fatalf("%s: no tables", version)
		}
		code := h.code()
		if code == nil || strconv.Itoa(int(code.version)) != version {
			t.Fatalf("%s: table %v", version, code)
		}
		fits := 0
		for i := range h.functions {
			if code.fits(h.body(i)) {
				fits++
			}
		}
		if diff := cmp.Diff(h.functions, fits); diff != "" || fits < 4 {
			t.Errorf("%s: functions %s", version, diff)
		}
	}
}

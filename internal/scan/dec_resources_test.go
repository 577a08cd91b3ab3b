package scan

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type decodeFunc = func(data []byte, emit func(text)) error

// decGather returns what a decoder gives, as "key = text", and fails for what breaks the contract.
func decGather(t testing.TB, data []byte, decode decodeFunc) (all []string, err error) {
	t.Helper()
	err = decode(data, func(x text) {
		if x.off < 0 || x.off >= len(data) {
			t.Fatalf("a text at %d of %d bytes", x.off, len(data))
		}
		if !x.made && !bytes.HasPrefix(data[x.off:], x.b) {
			t.Fatalf("what is said to lie at %#x as it is does not: %q", x.off, x.b)
		}
		if len(x.key) > keyLimit {
			t.Fatalf("a key of %d bytes", len(x.key))
		}
		if !x.named && x.key != "" && x.key != "comment" {
			t.Fatalf("key %q without named", x.key)
		}
		all = append(all, x.key+" = "+string(x.b))
	})
	return all, err
}

// wantGiven fails unless all of want, one a line, are given, and nothing is wrong.
func wantGiven(t *testing.T, data []byte, decode decodeFunc, want string) {
	t.Helper()
	all, err := decGather(t, data, decode)
	if err != nil {
		t.Errorf("an error: %v", err)
	}
	for _, w := range decLines(want) {
		if !slices.Contains(all, w) {
			t.Errorf("%q is not among\n%s", w, strings.Join(all, "\n"))
		}
	}
}

// decLines splits an indented list into its lines, with the escapes of Go in them replaced.
func decLines(s string) (lines []string) {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if strings.Contains(line, `\`) {
			if u, err := strconv.Unquote(`"` + line + `"`); err == nil {
				line = u
			}
		}
		if strings.HasPrefix(line, "= ") {
			line = " " + line
		}
		lines = append(lines, line)
	}
	return lines
}

func decSample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "dec", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decTool runs a program that CI must have, and returns what it prints.
func decTool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		needTool(t, "%s is missing", name)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, stderr.Bytes())
	}
	return out
}

const androidFramework = "/usr/share/android-framework-res/framework-res.apk"

// decBuild makes a package of testdata/dec/src, and returns where it is.
func decBuild(t *testing.T, form string) string {
	t.Helper()
	if _, err := os.Stat(androidFramework); err != nil {
		needTool(t, "%v", err)
	}
	src, dir := filepath.Join("testdata", "dec", "src"), t.TempDir()
	manifest, res := filepath.Join(src, "AndroidManifest.xml"), filepath.Join(src, "res")
	apk := filepath.Join(dir, "app.apk")
	switch form {
	case "aapt":
		decTool(t, "aapt", "package", "-f", "-M", manifest, "-S", res, "-I", androidFramework, "-F", apk)
	case "aapt-utf16":
		decTool(t, "aapt", "package", "--utf16", "-f", "-M", manifest, "-S", res, "-I", androidFramework, "-F", apk)
	default:
		compiled := filepath.Join(dir, "compiled.zip")
		decTool(t, "aapt2", "compile", "--dir", res, "-o", compiled)
		link := []string{"link", "-o", apk, "-I", androidFramework, "--manifest", manifest, compiled}
		if form != "aapt2" {
			link = append(link, form)
		}
		decTool(t, "aapt2", link...)
	}
	return apk
}

func decZipped(t *testing.T, archive, name string) []byte {
	t.Helper()
	z, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const (
	wantResources = `
		string/api_key = pool-value-é😀-end
		string/app_name = Sample
		string/styled = see bold text
		array/keys[0] = first-key
		array/keys[1] = second-key
		xml/net = res/xml/net.xml`
	wantPool = `
		= pool-value-é😀-end
		= second-key
		= api_key`
	wantManifest = `
		meta-data/com.example.API_KEY = meta-value-é😀
		manifest@package = com.example.app
		manifest@versionName = 1.2.3`
)

func TestARSC(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"aapt-utf8.arsc", "aapt-utf16.arsc", "aapt2.arsc"} {
		data := decSample(t, name)
		if !isARSC(data) || isAXML(data) {
			t.Errorf("%s is not recognized", name)
		}
		wantGiven(t, data, arscTexts, wantResources+wantPool)
	}
	for _, form := range []string{"aapt", "aapt-utf16", "aapt2", "--enable-sparse-encoding"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			wantGiven(t, decZipped(t, decBuild(t, form), "resources.arsc"), arscTexts, wantResources+wantPool)
		})
	}
}

// Compact entries, 16-bit offsets and sparse tables are written by tools that no distribution has yet.
func TestARSCFormsOfEntries(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"plain", "offset16", "sparse", "compact", "split"} {
		wantGiven(t, decTable(form), arscTexts, "string/k1 = value-one\nstring/k3 = value-three")
	}
}

// The length of a string in UTF-8 has 15 bits, and aapt cut that of longer ones.
func TestStringPoolOfLongStrings(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0x7FFF, 0x8000, 0x12345} {
		long := strings.Repeat("a", n-4) + "tail"
		content := []byte{0x80 | byte(n>>8), byte(n), 0x80 | byte(n>>8), byte(n)}
		content = append(append(content, long...), 0)
		le := binary.LittleEndian
		data := le.AppendUint16(le.AppendUint16(nil, resStringPool), 28)
		for _, v := range []int{32 + len(content), 1, 0, 0x100, 32, 0, 0} {
			data = le.AppendUint32(data, uint32(v))
		}
		c, _, ok := resChunkAt(append(data, content...), 0, len(data)+len(content))
		p, err := resPoolAt(append(data, content...), c)
		if b, _, _, whole := p.at(0, 0, new([]byte)); !ok || err != nil || !whole || string(b) != long {
			t.Errorf("%d bytes: got %d, %v", n, len(b), err)
		}
	}
}

// What aapt2 says about the largest table that there is, the framework's, is what the decoder says, but for the values
// that aapt2 cannot spell on one line.
func TestARSCOfTheFramework(t *testing.T) {
	t.Parallel()
	dump := decTool(t, "aapt2", "dump", "resources", androidFramework)
	data := decZipped(t, androidFramework, "resources.arsc")
	given := map[string]bool{}
	if err := arscTexts(data, func(x text) {
		if strings.HasPrefix(x.key, "string/") {
			given[x.key+" = "+string(x.b)] = true
		}
	}); err != nil {
		t.Error(err)
	}
	key, checked := "", 0
	for line := range bytes.Lines(dump) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if name, ok := bytes.CutPrefix(line, []byte("    resource 0x")); ok {
			key = string(bytes.Fields(name)[1])
			continue
		}
		// The line of a value: (configuration) "value"
		_, value, ok := bytes.Cut(line, []byte(`) "`))
		if !ok || !strings.HasPrefix(key, "string/") || !bytes.HasPrefix(line, []byte("      (")) {
			continue
		}
		if value, ok = bytes.CutSuffix(value, []byte(`"`)); !ok || len(value) == 0 {
			continue
		}
		checked++
		if w := key + " = " + string(value); !given[w] {
			t.Errorf("%q is not given", w)
		}
	}
	if checked < 10_000 {
		t.Errorf("only %d values compared", checked)
	}
}

func TestAXML(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, data []byte) {
		t.Helper()
		if !isAXML(data) || isARSC(data) {
			t.Error("not recognized")
		}
		wantGiven(t, data, axmlTexts, wantManifest+"\n= meta-value-é😀")
		wantManifestAttrs(t, data, axmlAttrs)
	}
	check(t, decSample(t, "aapt.axml"))
	check(t, decSample(t, "aapt2.axml"))
	wantGiven(t, decSample(t, "net.axml"), axmlTexts, "domain = insecure.example.com")
	for _, form := range []string{"aapt", "aapt2", "--keep-raw-values"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			apk := decBuild(t, form)
			check(t, decZipped(t, apk, "AndroidManifest.xml"))
			wantGiven(t, decZipped(t, apk, "res/xml/net.xml"), axmlTexts, "domain = insecure.example.com")
		})
	}
}

func wantManifestAttrs(t *testing.T, data []byte, attrs func([]byte, func(element, attribute, value string)) error) {
	t.Helper()
	var got []string
	if err := attrs(data, func(element, attribute, value string) {
		if strings.HasPrefix(value, "@0x7f") {
			value = "@0x7f…"
		}
		got = append(got, element+"@"+attribute+" = "+value)
	}); err != nil {
		t.Error(err)
	}
	for _, w := range decLines(`
		manifest@package = com.example.app
		manifest@versionCode = 7
		manifest@versionName = 1.2.3
		uses-sdk@minSdkVersion = 21
		application@debuggable = true
		application@allowBackup = false
		application@usesCleartextTraffic = true
		application@networkSecurityConfig = @0x7f…
		meta-data@value = meta-value-é😀
		meta-data@value = 12345
		activity@exported = true`) {
		if !slices.Contains(got, w) {
			t.Errorf("%q is not among\n%s", w, strings.Join(got, "\n"))
		}
	}
	if !slices.Contains(got, "application@ = ") {
		t.Error("the beginning of an element is not told")
	}
}

// Every attribute of the framework's manifest that aapt2 shows as a string is given.
func TestAXMLOfTheFramework(t *testing.T) {
	t.Parallel()
	dump := decTool(t, "aapt2", "dump", "xmltree", androidFramework, "--file", "AndroidManifest.xml")
	var got, want []string
	if err := axmlAttrs(decZipped(t, androidFramework, "AndroidManifest.xml"), func(element, attribute, value string) {
		switch {
		case attribute == "":
			got = append(got, "E: "+element)
		case attribute == "name" || attribute == "permission" || attribute == "process":
			got = append(got, "A: "+attribute+" = "+value)
		}
	}); err != nil {
		t.Error(err)
	}
	line := regexp.MustCompile(`^ +(?:E: (\S+) \(|A: (?:\S+:)?(name|permission|process)\(0x[0-9a-f]{8}\)="([^"]*)")`)
	for l := range bytes.Lines(dump) {
		switch m := line.FindSubmatch(l); {
		case m == nil:
		case len(m[1]) > 0:
			want = append(want, "E: "+string(m[1]))
		default:
			want = append(want, "A: "+string(m[2])+" = "+string(m[3]))
		}
	}
	if len(want) < 1000 {
		t.Errorf("only %d lines compared", len(want))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Obfuscators strip the names of Android's attributes, and change what Android doesn't look at.
func TestAXMLWithoutNames(t *testing.T) {
	t.Parallel()
	data := bytes.Clone(decSample(t, "aapt2.axml"))
	for _, name := range []string{"debuggable", "allowBackup", "usesCleartextTraffic"} {
		i := bytes.Index(data, utf16Of(name))
		if i < 0 {
			t.Fatalf("the sample lost %s", name)
		}
		clear(data[i-2 : i+2*len(name)]) // and its length
	}
	data[0] = 0 // the type
	if !isAXML(data) {
		t.Error("not recognized")
	}
	wantManifestAttrs(t, data, axmlAttrs)
}

func utf16Of(s string) (b []byte) {
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return b
}

func TestAndroidDamaged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		decode decodeFunc
	}{
		{"aapt2.arsc", arscTexts}, {"aapt-utf16.arsc", arscTexts}, {"aapt2.axml", axmlTexts}, {"aapt.axml", axmlTexts},
		{"sample.dex", dexTexts}, {"sample.class", classTexts}, {"sample.bplist", binaryPlistTexts}, {"resources.pb", protobufTexts},
	} {
		whole := decSample(t, c.name)
		all, err := decGather(t, whole, c.decode)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for n := range whole {
			cut, err := decGather(t, whole[:n], c.decode)
			// A message of protobuf has no end: some beginnings are messages too.
			if !errors.Is(err, errDamaged) && c.name != "resources.pb" {
				t.Errorf("%s, cut to %d of %d bytes: %v", c.name, n, len(whole), err)
			}
			if len(cut) > len(all)+8 {
				t.Errorf("%s, cut to %d of %d bytes: more texts than there are", c.name, n, len(whole))
			}
		}
	}
}

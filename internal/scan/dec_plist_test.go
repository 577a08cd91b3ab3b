package scan

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

const wantPlist = `
	Api.Secret = api & secret
	Api.Unicode é = é😀 value
	Api.Keys[0] = first-key
	Api.Keys[2].Inner = inner-value
	Api.Blob = \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09
	Shared = first-key
	= Secret`

func TestPlist(t *testing.T) {
	t.Parallel()
	binary, xml := decSample(t, "sample.bplist"), decSample(t, filepath.Join("src", "sample.plist"))
	if !isBinaryPlist(binary) || isBinaryPlist(xml) || !isPlist(xml) || isPlist([]byte("<a/>")) {
		t.Error("not recognized")
	}
	wantGiven(t, binary, binaryPlistTexts, wantPlist)
	wantGiven(t, xml, plistTexts, wantPlist+`
		comment = \x20a comment\x20`)
	wide := decWide(string(xml))
	if !isPlist(wide) {
		t.Error("UTF-16 is not recognized")
	}
	wantGiven(t, wide, plistTexts, wantPlist)

	nested := `<plist><dict><key>Outer</key><array><true/><data>` + base64.StdEncoding.EncodeToString(binary) + `</data></array></dict></plist>`
	wantGiven(t, []byte(nested), plistTexts, "Outer[1].Api.Secret = api & secret")
}

// plistutil writes it in both forms; Python, which has a reader of its own, finds the same values under the same keys.
func TestPlistOfOthers(t *testing.T) {
	t.Parallel()
	src, dir := filepath.Join("testdata", "dec", "src", "sample.plist"), t.TempDir()
	made := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	decTool(t, "plistutil", "-i", src, "-f", "bin", "-o", filepath.Join(dir, "util.bplist"))
	wantGiven(t, made("util.bplist"), binaryPlistTexts, wantPlist)
	decTool(t, "plistutil", "-i", filepath.Join(dir, "util.bplist"), "-f", "xml", "-o", filepath.Join(dir, "util.plist"))
	wantGiven(t, made("util.plist"), plistTexts, wantPlist)

	out := decTool(t, "python3", "-c", `
import json, plistlib, random, sys
random.seed(7)
def value(depth):
    kind = random.randrange(6 if depth < 5 else 4)
    if kind == 0: return random.randrange(1 << 40)
    if kind < 3: return "".join(random.choice("abc&<é中😀") for _ in range(random.randrange(1, 300)))
    if kind == 3: return bytes(random.randrange(256) for _ in range(random.randrange(6, 300)))
    if kind == 4: return [value(depth + 1) for _ in range(random.randrange(5))]
    return {"k%d" % random.randrange(9): value(depth + 1) for _ in range(random.randrange(20))}
top = {"key%d" % i: value(0) for i in range(60)}
top["nested"] = plistlib.dumps({"inner": "inner-of-nested"}, fmt=plistlib.FMT_BINARY)
for name, fmt in ("b", plistlib.FMT_BINARY), ("x", plistlib.FMT_XML):
    with open(sys.argv[1] + "/" + name, "wb") as f: plistlib.dump(top, f, fmt=fmt)
out = []
def flat(v, path):
    if isinstance(v, str): out.append(path + " = " + v)
    elif isinstance(v, bytes) and path == "nested": flat(plistlib.loads(v), path)
    elif isinstance(v, bytes): out.append(path + " = " + v.hex())
    elif isinstance(v, dict):
        for k, w in v.items(): flat(w, (path + "." if path else "") + k)
    elif isinstance(v, list):
        for i, w in enumerate(v): flat(w, "%s[%d]" % (path, i))
flat(top, "")
json.dump(sorted(out), sys.stdout)
`, dir)
	var want []string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) < 100 {
		t.Errorf("only %d values", len(want))
	}
	for name, decode := range map[string]decodeFunc{"b": binaryPlistTexts, "x": plistTexts} {
		all, err := decGather(t, made(name), decode) // which also looks whether nested ones are where they are said to be
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		given := map[string]bool{}
		for _, s := range all {
			given[s] = true
			key, value, _ := strings.Cut(s, " = ")
			given[key+" = "+hexOf([]byte(value))] = true
		}
		for _, w := range want {
			if !given[w] {
				t.Errorf("%s: %.80q is missing", name, w)
			}
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

// decWide returns s in UTF-16 with its mark.
func decWide(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune("\uFEFF" + s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// Forty arrays that each hold the next one twice, and a string at the end, are 2⁴⁰ strings to who follows all ways.
func TestBinaryPlistShares(t *testing.T) {
	t.Parallel()
	data := []byte("bplist00")
	var offsets []byte
	for i := range 40 {
		offsets = append(offsets, byte(len(data)))
		data = append(data, 0xA2, byte(i+1), byte(i+1))
	}
	offsets = append(offsets, byte(len(data)))
	data = append(data, "\x56secret"...)
	table := len(data)
	data = append(append(data, offsets...), 0, 0, 0, 0, 0, 0, 1, 1)
	for _, n := range []int{len(offsets), 0, table} {
		data = binary.BigEndian.AppendUint64(data, uint64(n))
	}
	all, err := decGather(t, data, binaryPlistTexts)
	if err != nil || len(all) == 0 || len(all) > 2 {
		t.Errorf("%d texts: %v", len(all), err)
	}
	data[6] = '1'
	if _, err := decGather(t, data, binaryPlistTexts); !errors.Is(err, errVersion) {
		t.Errorf("another version: %v", err)
	}
}

func TestXML(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, xml, want string }{
		{"resources", `<?xml version="1.0"?><resources><string name="api_key" translatable="false"> a &amp; b&#x41;&#66;&nbsp; </string></resources>`,
			"string/api_key = a & bAB&nbsp;|string@name = api_key|string@translatable = false"},
		{"prefixes", `<x:a y:b="c"><x:d>e</x:d></x:a>`, "a@b = c|d = e"},
		{"properties", `<properties><entry key="k">v</entry><add key="ApiKey" value="v2"/></properties>`,
			"entry@key = k|entry/k = v|add@key = ApiKey|add/ApiKey = v2"},
		{"CDATA and comments", `<a>one<![CDATA[<&amp;>]]>two<!-- c -->three</a>`, "a = one<&amp;>twothree|comment =  c "},
		{"entities that are declared", `<!DOCTYPE a [<!-- it's --><!ENTITY e "value">]><a/>`, "comment =  it's |comment = value"},
		{"no quotes", `<a b=c d='e' f>`, "a@b = c|a@d = e"},
		{"wrong order", `<a><b>x</a>y</b>`, "b = x| = y"},
		{"no tag", `<a>1 < 2 & 3</a>`, "a = 1 < 2 & 3"},
		{"instruction", `<a/><?key value?>`, "comment = key value"},
	} {
		all, err := decGather(t, []byte(c.xml), xmlTexts)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		want := strings.Split(c.want, "|")
		slices.Sort(want)
		slices.Sort(all)
		if d := cmp.Diff(want, all); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	for _, broken := range []string{`<a b="c d`, `<a>text<!-- no end`, `<a`, `<a b='c'`, `<![CDATA[ no end`, `</a`} {
		if _, err := decGather(t, []byte(broken), xmlTexts); !errors.Is(err, errDamaged) {
			t.Errorf("%q: %v", broken, err)
		}
	}
	for s, want := range map[string]bool{
		"<?xml?><a/>": true, "\xEF\xBB\xBF <a/>": true, string(decWide("<a>é</a>")): true, "<!-- -->": true,
		"<html><a>": false, "<!DOCTYPE HTML>": false, "< a>": false, "a<b>": false, "<a\x00b>": false, "<": false,
	} {
		if isXML([]byte(s)) != want {
			t.Errorf("isXML(%q) is %t", s, !want)
		}
	}
}

// Text in UTF-16 is converted in parts, and a character may lie on the border of two.
func TestXMLInUTF16IsCutNowhere(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "x"} {
		long := before + strings.Repeat("😀", 500)
		if all, err := decGather(t, decWide("<r>"+long+"</r>"), xmlTexts); err != nil || !slices.Equal(all, []string{"r = " + long}) {
			t.Errorf("got %q, %v", all, err)
		}
	}
}

// A place in UTF-16 is that of the character it was told of, also after many that have other lengths in UTF-8.
func TestXMLInUTF16(t *testing.T) {
	t.Parallel()
	var s strings.Builder
	s.WriteString("<r>")
	for i := range 200 {
		s.WriteString(strings.Repeat("é中😀x"[:[]int{2, 5, 9, 10}[i%4]], i%7) + "<k>value-" + string(rune('a'+i%26)) + "</k>")
	}
	s.WriteString("</r>")
	data := decWide(s.String())
	n := 0
	if err := xmlTexts(data, func(x text) {
		if x.key != "k" {
			return
		}
		n++
		if string(appendUTF16(nil, data[x.off:x.off+2*len(x.b)], binary.LittleEndian)) != string(x.b) {
			t.Errorf("%q is not at %d", x.b, x.off)
		}
	}); err != nil || n != 200 {
		t.Errorf("%d texts: %v", n, err)
	}
}

package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const wantDex = `
	com.example.Config.CLIENT_SECRET = static-é\x00x😀
	com.example.Config.SECOND = second-value
	com.example.Config.DYNAMIC = dynamic-value
	com.example.Config.token = instance-value
	com.example.Config.KEY = \x10 \x80\xffABCD
	com.example.Config.CHARS = secrét€
	= ints123
	= Lcom/example/Config;
	= static-é\x00x😀`

func TestDex(t *testing.T) {
	t.Parallel()
	if data := decSample(t, "sample.dex"); !isDex(data) {
		t.Error("not recognized")
	}
	wantGiven(t, decSample(t, "sample.dex"), dexTexts, wantDex)
}

// smali writes it, and dexdump, which is Android's own, finds the same constants in it.
func TestDexOfSmali(t *testing.T) {
	t.Parallel()
	for level, version := range map[string]string{"15": "035", "28": "039"} {
		path := filepath.Join(t.TempDir(), "classes.dex")
		decTool(t, "smali", "assemble", "-a", level, "-o", path, filepath.Join("testdata", "dec", "src", "Config.smali"))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(data[4:7]) != version {
			t.Errorf("API %s has version %q", level, data[4:7])
		}
		wantGiven(t, data, dexTexts, wantDex)
		all, _ := decGather(t, data, dexTexts)
		found := regexp.MustCompile(`(?:const-string\S*|value) .*"([ -~]+)"`).FindAllSubmatch(decTool(t, "dexdump", "-d", path), -1)
		if len(found) < 3 {
			t.Errorf("dexdump has %d strings", len(found))
		}
		for _, m := range found {
			if !slices.Contains(all, " = "+string(m[1])) {
				t.Errorf("%q is missing", m[1])
			}
		}
	}
}

func TestDexVersions(t *testing.T) {
	t.Parallel()
	array := []byte("array-bytes")
	want := `
		= odd
		com.example.C.f = field-value
		= array-bytes`
	for _, version := range []string{"035", "037", "038", "039", "040", "041"} {
		wantGiven(t, decDex(version, 0, "odd", array), dexTexts, want)
		if all, _ := decGather(t, decDex(version, 0, "odd", array), dexTexts); slices.Contains(all, "com.example.C.f = odd") {
			t.Error("a field without a value has one")
		}
	}
	for _, version := range []string{"035", "041"} {
		data := decDex(version, 0, "odd", array)
		for _, odd := range []string{"second", "third"} {
			data = append(data, decDex(version, len(data), odd, []byte(odd+"-array"))...)
		}
		wantGiven(t, data, dexTexts, want+"\n= second\n= second-array\n= third\n= third-array")
	}
	data := decDex("047", 0, "odd", array)
	if all, err := decGather(t, data, dexTexts); !errors.Is(err, errVersion) || !slices.Contains(all, "com.example.C.f = field-value") {
		t.Errorf("an unknown version: %v, %q", err, all)
	}
	if _, err := decGather(t, []byte("cdex001\x00"), dexTexts); !errors.Is(err, errVersion) {
		t.Errorf("compact dex: %v", err)
	}
}

func TestDexDamaged(t *testing.T) {
	t.Parallel()
	sample := decSample(t, "sample.dex")
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // for a test
	encrypted := bytes.Clone(sample)
	strings := int(binary.LittleEndian.Uint32(sample[binary.LittleEndian.Uint32(sample[60:]):]))
	for i := strings; i < len(encrypted); i++ {
		encrypted[i] = byte(random.Uint32())
	}
	if _, err := decGather(t, encrypted, dexTexts); !errors.Is(err, errEncrypted) {
		t.Errorf("strings of random bytes: %v", err)
	}
	nowhere := bytes.Clone(sample)
	binary.LittleEndian.PutUint32(nowhere[60:], 0x7FFFFFFF)
	if _, err := decGather(t, nowhere, dexTexts); !errors.Is(err, errDamaged) {
		t.Errorf("string_ids outside of the file: %v", err)
	}
	wrongSum := bytes.Clone(sample)
	clear(wrongSum[8:32])
	wantGiven(t, wrongSum, dexTexts, wantDex)
}

// A file whose strings all are its longest one would spell out to its square.
func TestDexRepeatsItself(t *testing.T) {
	t.Parallel()
	const n = 1 << 16
	data := make([]byte, dexHeader+4*n, dexHeader+4*n+n)
	copy(data, "dex\n035\x00")
	for at, v := range map[int]uint32{32: uint32(cap(data)), 56: n, 60: dexHeader} {
		binary.LittleEndian.PutUint32(data[at:], v)
	}
	for i := range n {
		binary.LittleEndian.PutUint32(data[dexHeader+4*i:], dexHeader+4*n)
	}
	data = append(data, strings.Repeat("a", n-1)+"\x00"...)
	given := 0
	if err := dexTexts(data, func(x text) { given += len(x.b) }); !errors.Is(err, errTooMuch) || given > 8*len(data)+64<<10 {
		t.Errorf("%d bytes given of %d: %v", given, len(data), err)
	}
}

// The lengths as the table of the instruction formats has them, from the documentation of Dalvik bytecode.
func TestDexLengths(t *testing.T) {
	t.Parallel()
	if len(dexLengths) != 256 {
		t.Fatalf("%d opcodes", len(dexLengths))
	}
	one := func(op int) bool {
		return op <= 0x01 || op == 0x04 || op == 0x07 || 0x0a <= op && op <= 0x12 || op == 0x1d || op == 0x1e || op == 0x21 ||
			op == 0x27 || op == 0x28 || 0x3e <= op && op <= 0x43 || op == 0x73 || 0x79 <= op && op <= 0x8f ||
			0xb0 <= op && op <= 0xcf || 0xe3 <= op && op <= 0xf9
	}
	three := []int{0x03, 0x06, 0x09, 0x14, 0x17, 0x1b, 0x24, 0x25, 0x26, 0x2a, 0x2b, 0x2c, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0x74, 0x75, 0x76, 0x77, 0x78, 0xfc, 0xfd}
	for op := range 256 {
		want := 2
		switch {
		case one(op):
			want = 1
		case slices.Contains(three, op):
			want = 3
		case op == 0xfa || op == 0xfb:
			want = 4
		case op == 0x18:
			want = 5
		}
		if got := int(dexLengths[op] - '0'); got != want {
			t.Errorf("opcode %#02x has %d units, not %d", op, got, want)
		}
	}
}

func TestDexArrays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		width    int
		elements []uint64
		want     string
	}{
		{2, []uint64{'s', 'e', 'c', 0xE9, 0x4E2D, 0x9FA0}, "secé中龠"},
		{2, []uint64{0xD83D, 0xDE00, 'a', 'b'}, "😀ab"},
		{2, []uint64{1, 2, 0xFFFF, 0x80}, "\x01\x02\xff\x80"},
		{2, []uint64{1, 2, 0x300}, ""},
		{4, []uint64{1, 0xFFFFFFFF, 0x41}, "\x01\xffA"},
		{4, []uint64{0x7F010001, 1, 2}, ""},
		{8, []uint64{'a', 'b', 'c'}, "abc"},
	} {
		var b []byte
		for _, v := range c.elements {
			b = append(b, binary.LittleEndian.AppendUint64(nil, v)[:c.width]...)
		}
		if got := string(appendElements(nil, b, c.width)); got != c.want {
			t.Errorf("%d bytes each, %x: %q", c.width, c.elements, got)
		}
	}
}

func TestDexPayload(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		"\x00\x01\x03\x00\x00\x00\x00\x00": 8 + 4*3,
		"\x00\x02\x03\x00\x00\x00\x00\x00": 4 + 8*3,
		"\x00\x03\x01\x00\x03\x00\x00\x00": 8 + 4,
		"\x00\x03\x08\x00\x03\x00\x00\x00": 8 + 24,
		"\x00\x04\x08\x00\x03\x00\x00\x00": 2,
	} {
		if got := dexPayload([]byte(in)); got != want {
			t.Errorf("%x has %d bytes, not %d", in, got, want)
		}
	}
}

func TestMUTF8(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                        "plain",
		"é中":                           "é中",
		"a\xC0\x80b":                   "a\x00b",
		"\xED\xA0\xBD\xED\xB8\x80":     "😀",
		"x\xED\xA0\xBDy":               "x\xED\xA0\xBDy",
		"\xED\xA0\xBD\xED\xA0\xBD\xED": "\xED\xA0\xBD\xED\xA0\xBD\xED",
		"\xFF\xFE":                     "\xFF\xFE",
		"😀":                            "😀",
	} {
		got, _, made, _ := fromMUTF8([]byte(in), new([]byte))
		if string(got) != want || made != (in != want) {
			t.Errorf("%q: %q, made %t", in, got, made)
		}
	}
}

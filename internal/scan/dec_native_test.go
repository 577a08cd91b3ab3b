package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nativeSource is compiled for each target. What is in it is in other sections with each compiler.
const nativeSource = `
typedef unsigned short u16;
__attribute__((used)) const char plain[] = "AKIAIOSFODNN7EXAMPLE";
__attribute__((used)) char writable[] = "writable-secret-value";
__attribute__((used)) const char *const pointers[] = {"first-pointed-to", "second-pointed-to"};
__attribute__((used)) const char letters[] = {'s','e','c','r','e','t','-','l','e','t','t','e','r','s'};
__attribute__((used)) const char utf8[] = "segredo-\303\247\303\243o";
WIDE
int f(int x) { return x * 3; }
const char *g(void) { return "returned-by-a-function"; }
`

var nativeTexts = []string{"AKIAIOSFODNN7EXAMPLE", "writable-secret-value", "first-pointed-to", "second-pointed-to",
	"secret-letters", "segredo-ção", "wide-secret-ção", "returned-by-a-function"}

// nativeWide are units of UTF-16 where the compiler knows no section for them, and a string where it does.
const nativeWide = `__attribute__((used)) const u16 wide[] = u"wide-secret-\u00e7\u00e3o";`

func compile(t *testing.T, dir, target string, more ...string) string {
	t.Helper()
	object := filepath.Join(dir, "x.o")
	source := filepath.Join(dir, "x.c")
	if err := os.WriteFile(source, []byte(strings.Replace(nativeSource, "WIDE", nativeWide, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	runCode(t, dir, codeTool(t, "clang"), append(more, "--target="+target, "-ffreestanding", "-fPIC", "-fno-builtin", "-c", source, "-o", object)...)
	return object
}

func wantNative(t *testing.T, what, file string, decode func([]byte, func(text)) error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := codeTexts(t, data, decode)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, want := range nativeTexts {
		if !slices.ContainsFunc(got, func(x text) bool { return bytes.Contains(x.b, []byte(want)) }) {
			t.Errorf("%s: no %q", what, want)
		}
	}
	// An independent listing: all that strings finds of a file, but in its code, is in a text.
	var all []byte
	for _, x := range got {
		all = append(append(all, x.b...), 0)
	}
	for _, line := range strings.Split(string(runCode(t, "", codeTool(t, "llvm-strings"), "-a", "-n", "16", file)), "\n") {
		found := false
		for n := 0; n < 8 && n <= len(line); n++ { // the first may be of the code before
			found = found || bytes.Contains(all, []byte(line[n:]))
		}
		if !found {
			t.Errorf("%s: llvm-strings finds %q", what, line)
		}
	}
}

func TestELF(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"aarch64-linux-gnu", "x86_64-linux-gnu", "armv7-linux-gnueabi", "powerpc64-linux-gnu", "mips-linux-gnu"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			object := compile(t, dir, target)
			wantNative(t, "object", object, elfTexts)
			library := filepath.Join(dir, "libx.so")
			runCode(t, dir, codeTool(t, "ld.lld"), "-shared", object, "-o", library)
			wantNative(t, "library", library, elfTexts)
			runCode(t, dir, codeTool(t, "llvm-strip"), "--strip-all", library)
			wantNative(t, "stripped", library, elfTexts)
			runCode(t, dir, codeTool(t, "llvm-objcopy"), "--strip-sections", library)
			wantNative(t, "without section headers", library, elfTexts)

			data, err := os.ReadFile(library)
			if err != nil {
				t.Fatal(err)
			}
			if !isELF(data) || isMachO(data) || isHermes(data) {
				t.Error("not recognised")
			}
			got, err := codeTexts(t, data[:len(data)-16], elfTexts)
			if !errors.Is(err, errDamaged) || len(got) == 0 {
				t.Errorf("cut: %v, %d texts", err, len(got))
			}
		})
	}
}

func TestMachO(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"arm64-apple-ios14", "x86_64-apple-macos11", "armv7-apple-ios9"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			object := compile(t, dir, target)
			wantNative(t, "object", object, machOTexts)
			if strings.HasPrefix(target, "armv7") {
				return // lld links no Mach-O of 32 bits
			}
			arch, _, _ := strings.Cut(target, "-")
			platform := []string{"-platform_version", "ios", "14.0", "14.0"}
			if arch == "x86_64" {
				platform = []string{"-platform_version", "macos", "11.0", "11.0"}
			}
			library := filepath.Join(dir, "libx.dylib")
			runCode(t, dir, codeTool(t, "ld64.lld"), append(platform, "-arch", arch, "-dylib", object, "-o", library)...)
			wantNative(t, "library", library, machOTexts)
			runCode(t, dir, codeTool(t, "llvm-strip"), library)
			wantNative(t, "stripped", library, machOTexts)
			data, err := os.ReadFile(library)
			if err != nil {
				t.Fatal(err)
			}
			if !isMachO(data) || isELF(data) {
				t.Error("not recognised")
			}
			if _, err := codeTexts(t, data[:len(data)/2], machOTexts); !errors.Is(err, errDamaged) {
				t.Errorf("cut: %v", err)
			}
		})
	}
}

func TestMachOFat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	arm := compile(t, dir, "arm64-apple-ios14")
	data, err := os.ReadFile(arm)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "y.o")
	if err := os.WriteFile(other, data, 0o600); err != nil {
		t.Fatal(err)
	}
	intel := compile(t, dir, "x86_64-apple-ios14-simulator")
	fat := filepath.Join(dir, "fat")
	runCode(t, dir, codeTool(t, "llvm-lipo"), "-create", other, intel, "-output", fat)
	wantNative(t, "fat", fat, machOTexts)
	if data, err = os.ReadFile(fat); err != nil {
		t.Fatal(err)
	}
	got, _ := codeTexts(t, data, machOTexts)
	for _, want := range nativeTexts[:1] {
		n := 0
		for _, x := range got {
			n += bytes.Count(x.b, []byte(want))
		}
		if n != 2 {
			t.Errorf("%q: %d times", want, n)
		}
	}
	if class := []byte("\xca\xfe\xba\xbe\x00\x00\x00\x34 a class file of Java, which is no Mach-O"); isMachO(class) {
		t.Error("a class file is taken for Mach-O")
	}
}

// machByHand is a file of one segment with a section of each kind, at places that are easy to count.
func machByHand(order binary.ByteOrder, cryptid uint32) []byte {
	b := make([]byte, 0x1000)
	u32 := func(at int, v uint32) { order.PutUint32(b[at:], v) }
	u32(0, machMagic64)
	u32(16, 2)
	u32(32, 0x19)
	u32(36, 72+2*80)
	order.PutUint64(b[32+48:], 0x1000)
	u32(32+64, 2)
	for i, s := range []struct {
		name       string
		at, size   int
		attributes uint32
	}{{"__text", 0x200, 0x100, 0x80000400}, {"__ustring", 0x400, 0x100, 0}} {
		at := 32 + 72 + 80*i
		copy(b[at:], s.name)
		order.PutUint64(b[at+40:], uint64(s.size))
		u32(at+48, uint32(s.at))
		u32(at+64, s.attributes)
	}
	at := 32 + 72 + 2*80
	u32(at, 0x2C)
	u32(at+4, 24)
	u32(at+8, 0x200)
	u32(at+12, 0x400)
	u32(at+16, cryptid)
	copy(b[0x200:], "inside") // of code: too short
	copy(b[0x220:], "a constant within the code")
	for i, r := range []rune("日本\x00ab\x00") {
		order.PutUint16(b[0x400+2*i:], uint16(r))
	}
	copy(b[0x700:], "outside of the range")
	return b
}

func TestMachOEncrypted(t *testing.T) {
	t.Parallel()
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		got, err := codeTexts(t, machByHand(order, 0), machOTexts)
		if err != nil {
			t.Error(err)
		}
		for _, want := range []string{"a constant within the code", "日本", "ab", "outside of the range"} {
			if !hasText(got, "", want) {
				t.Errorf("no %q", want)
			}
		}
		if hasText(got, "", "inside") {
			t.Error("code is taken for text")
		}

		got, err = codeTexts(t, machByHand(order, 1), machOTexts)
		if !errors.Is(err, errEncrypted) {
			t.Errorf("encrypted: %v", err)
		}
		if !hasText(got, "", "outside of the range") {
			t.Error("what is not encrypted is lost")
		}
		if hasText(got, "", "a constant within the code") || hasText(got, "", "日本") {
			t.Error("what is encrypted is taken for text")
		}
	}
}

// dartLength is an unsigned number as Dart writes it.
func dartLength(n int) []byte {
	var b []byte
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n&127))
	}
	return append(b, byte(n|128))
}

func dartSnapshotHeader() []byte {
	b := bytes.Clone(dartMagic)
	b = binary.LittleEndian.AppendUint64(b, 1000)
	b = binary.LittleEndian.AppendUint64(b, 3)
	return append(b, "0123456789abcdef0123456789abcdefproduct no-code_comments compressed-pointers\x00"...)
}

// The layout is only inferred: see dartTexts.
func TestDartClusters(t *testing.T) {
	t.Parallel()
	data := append([]byte("before"), dartSnapshotHeader()...)
	words := []string{"clientSecret", "s3cr3t-Value", "x", "https://example.org/", strings.Repeat("long-", 40), "last"}
	for _, word := range words {
		data = append(append(data, dartLength(2*len(word))...), word...)
	}
	data = append(append(data, dartLength(2*4)...), "caf\xe9"...)
	data = append(append(data, dartLength(2*2+1)...), "\xe5\x65\x2c\x67"...)
	data = append(data, 0, 1, 2, 3)
	var got []text
	e := newEmission(func(x text) {
		x.b = bytes.Clone(x.b)
		got = append(got, x)
	}, len(data), 2)
	dartTexts(data, 0, e)
	for _, want := range append(words, "café", "日本") {
		if !hasText(got, "", want) {
			t.Errorf("no %q in %v", want, got)
		}
	}
}

func TestDartObjects(t *testing.T) {
	t.Parallel()
	for _, wide := range []bool{true, false} {
		data := dartSnapshotHeader()
		for len(data)%16 != 0 {
			data = append(data, 0)
		}
		words := []string{"clientSecret", "s3cr3t-Value-01", "sixteen-bytes-ab"}
		for _, word := range words {
			data = binary.LittleEndian.AppendUint32(data, 0x5e0104)
			if wide {
				data = binary.LittleEndian.AppendUint32(data, 0xdecafbad) // the hash
				data = binary.LittleEndian.AppendUint64(data, uint64(2*len(word)))
			} else {
				data = binary.LittleEndian.AppendUint32(data, uint32(2*len(word)))
				data = binary.LittleEndian.AppendUint32(data, 0xdecafbac)
			}
			data = append(data, word...)
			for len(data)%8 != 0 || wide && len(data)%16 != 0 {
				data = append(data, 0)
			}
		}
		data = append(data, make([]byte, 32)...)
		var got []text
		e := newEmission(func(x text) {
			x.b = bytes.Clone(x.b)
			got = append(got, x)
		}, len(data), 2)
		dartTexts(data, 0, e)
		for _, want := range words {
			if !hasText(got, "", want) {
				t.Errorf("wide %v: no %q in %v", wide, want, got)
			}
		}
	}
}

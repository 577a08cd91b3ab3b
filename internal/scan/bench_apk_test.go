package scan

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// benchAPK returns the file name of an app of some 18 MB, 43 MB inflated, that is made the first time it is asked for: dex
// files with strings, classes and code; native code, which the Go toolchain's own programs are; a bundle of source text, which
// the Go sources are; pictures that cannot be compressed; a table of resources and many small binary XML files.
func benchAPK(tb testing.TB) string {
	tb.Helper()
	apk, err := makeBenchAPK()
	if err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(tb.TempDir(), "app.apk")
	if err := os.WriteFile(name, apk, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

var makeBenchAPK = sync.OnceValues(func() ([]byte, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("the benchmark's app is made of Go's own sources: %w", err)
	}
	root := strings.TrimSpace(string(out))
	source, err := goSources(filepath.Join(root, "src"), 16<<20)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	add := func(name string, data []byte, method uint16) {
		if err == nil {
			var e io.Writer
			e, err = w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
			if err == nil {
				_, err = e.Write(data)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	words := wordsOf(source)
	add("AndroidManifest.xml", benchXML(r, words), zip.Deflate)
	for i := range 3 {
		part := len(words) / 3
		add(fmt.Sprintf("classes%d.dex", i+1), benchDex(r, words[i*part:][:part]), zip.Deflate)
	}
	for _, tool := range []string{"asm", "link"} {
		var data []byte
		if data, err = os.ReadFile(filepath.Join(root, "pkg", "tool", runtime.GOOS+"_"+runtime.GOARCH, tool)); err != nil {
			return nil, err
		}
		add("lib/x86_64/lib"+tool+".so", data, zip.Deflate)
	}
	add("assets/index.android.bundle", source[:8<<20], zip.Deflate)
	add("resources.arsc", benchTable(words[:min(len(words), 40_000)]), zip.Store)
	for i := range 150 {
		picture := make([]byte, 4<<10+r.IntN(24<<10))
		for j := range picture {
			picture[j] = byte(r.Uint32())
		}
		add(fmt.Sprintf("res/drawable/p%d.png", i), append([]byte("\x89PNG\r\n\x1a\n"), picture...), zip.Store)
	}
	for i := range 600 {
		add(fmt.Sprintf("res/layout/l%d.xml", i), benchXML(r, words), zip.Deflate)
	}
	if err == nil {
		err = w.Close()
	}
	return file.Bytes(), err
})

// goSources returns the first size bytes of the Go sources and somewhat more, file after file.
func goSources(dir string, size int) ([]byte, error) {
	out := make([]byte, 0, size)
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case len(out) >= size:
			return fs.SkipAll
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor" || d.Name() == "tables"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		data, err := fs.ReadFile(files, path)
		out = append(out, data...)
		return err
	})
	return out, err
}

// wordsOf returns what is between blanks in a text, each once, put together to strings such as a program has.
func wordsOf(source []byte) []string {
	seen := make(map[string]bool)
	var out []string
	for line := range bytes.Lines(source) {
		line = bytes.TrimSpace(line)
		for _, s := range []string{string(line), firstName(line)} {
			if len(s) >= 3 && len(s) < 120 && utf8.ValidString(s) && !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// firstName returns the first identifier of a line.
func firstName(line []byte) string {
	end := 0
	for end < len(line) && identifierByte[line[end]] {
		end++
	}
	return string(line[:end])
}

type benchBuffer struct{ bytes.Buffer }

func (c *benchBuffer) u16(values ...int) {
	for _, v := range values {
		c.Write(binary.LittleEndian.AppendUint16(nil, uint16(v)))
	}
}

func (c *benchBuffer) u32(values ...int) {
	for _, v := range values {
		c.Write(binary.LittleEndian.AppendUint32(nil, uint32(v)))
	}
}

func (c *benchBuffer) uleb(v int) { c.Write(binary.AppendUvarint(nil, uint64(v))) }

// benchChunk returns a chunk of Android's resource formats.
func benchChunk(kind, header int, body []byte) []byte {
	var c benchBuffer
	c.u16(kind, header)
	c.u32(8 + len(body))
	return append(c.Bytes(), body...)
}

// pool returns a pool of strings in UTF-8.
func benchPool(list []string) []byte {
	var body, offsets, data benchBuffer
	for _, s := range list {
		offsets.u32(data.Len())
		for range 2 {
			if len(s) > 0x7f {
				data.WriteByte(byte(0x80 | len(s)>>8))
			}
			data.WriteByte(byte(len(s)))
		}
		data.WriteString(s)
		data.WriteByte(0)
	}
	for data.Len()%4 != 0 {
		data.WriteByte(0)
	}
	body.u32(len(list), 0, 0x100, 28+offsets.Len(), 0)
	body.Write(offsets.Bytes())
	body.Write(data.Bytes())
	return benchChunk(resStringPool, 28, body.Bytes())
}

// benchTable returns a table of resources, half of whose strings are the names of the others.
func benchTable(list []string) []byte {
	names, values := list[:len(list)/2], list[len(list)/2:]
	var entries, offsets benchBuffer
	for i := range names {
		offsets.u32(entries.Len())
		entries.u16(8, 0)
		entries.u32(i)
		entries.u16(8, resValueString<<8)
		entries.u32(i % len(values))
	}
	var config, p, table benchBuffer
	config.u32(1, len(names), 20+64+offsets.Len())
	config.Write(make([]byte, 64))
	config.Write(offsets.Bytes())
	config.Write(entries.Bytes())
	types, keys := benchPool([]string{"string"}), benchPool(names)
	p.u32(0x7f)
	p.Write(make([]byte, 256))
	p.u32(288, 1, 288+len(types), len(names), 0)
	p.Write(types)
	p.Write(keys)
	p.Write(benchChunk(resType, 20+64, config.Bytes()))
	table.u32(1)
	table.Write(benchPool(values))
	table.Write(benchChunk(resPackage, 288, p.Bytes()))
	return benchChunk(resTable, 12, table.Bytes())
}

// benchXML returns a binary XML file of some elements with some attributes, as layouts are.
func benchXML(r *rand.Rand, words []string) []byte {
	list := make([]string, 30)
	for i := range list {
		list[i] = words[r.IntN(len(words))]
	}
	var body benchBuffer
	body.Write(benchPool(list))
	const none = 1<<32 - 1
	for range 20 {
		var e benchBuffer
		e.u32(1, none, none, r.IntN(len(list)))
		e.u16(20, 20, 4, 0, 0, 0)
		for range 4 {
			value := r.IntN(len(list))
			e.u32(none, r.IntN(len(list)), value)
			e.u16(8, resValueString<<8)
			e.u32(value)
		}
		body.Write(benchChunk(resXMLStart, 16, e.Bytes()))
		e.Reset()
		e.u32(1, none, none, r.IntN(len(list)))
		body.Write(benchChunk(resXMLEnd, 16, e.Bytes()))
	}
	return benchChunk(resXML, 8, body.Bytes())
}

// benchDex returns a dex file with the strings, a class for each 20 of them with fields and methods, and code in the
// proportions of ordinary code.
func benchDex(r *rand.Rand, list []string) []byte {
	const classStrings, methods, fields = 20, 6, 2
	classes := min(len(list)/classStrings, 1<<13)
	var d benchBuffer
	d.Write(make([]byte, dexHeader))
	tables := d.Len()
	// string_ids, type_ids, field_ids, class_defs
	size := 4*len(list) + 4*classes + 8*fields*classes + 32*classes
	d.Write(make([]byte, size))
	b := func() []byte { return d.Bytes() }
	put32 := func(at, v int) { binary.LittleEndian.PutUint32(b()[at:], uint32(v)) }
	for i, s := range list {
		put32(tables+4*i, d.Len())
		d.uleb(utf16Len(s))
		d.WriteString(s)
		d.WriteByte(0)
	}
	types := tables + 4*len(list)
	fieldIDs := types + 4*classes
	defs := fieldIDs + 8*fields*classes
	zipf := rand.NewZipf(r, 1.2, 8, uint64(min(len(list), 1<<16)-1))
	for i := range classes {
		put32(types+4*i, i*classStrings)
		for f := range fields {
			at := fieldIDs + 8*(fields*i+f)
			binary.LittleEndian.PutUint16(b()[at:], uint16(i))
			put32(at+4, i*classStrings+1+f)
		}
		var code [methods]int
		for m := range code {
			for d.Len()%4 != 0 {
				d.WriteByte(0)
			}
			code[m] = d.Len()
			instructions := benchCode(r, zipf)
			d.u16(8, 2, 3, 0)
			d.u32(0, len(instructions)/2)
			d.Write(instructions)
		}
		put32(defs+32*i, i)
		put32(defs+32*i+24, d.Len())
		d.uleb(fields)
		d.uleb(0)
		d.uleb(methods / 2)
		d.uleb(methods / 2)
		for f := range fields {
			d.uleb(max(fields*i*(1-f), min(f, 1)))
			d.uleb(0x1a)
		}
		for m, at := range code {
			d.uleb(min(m%(methods/2), 1))
			d.uleb(1)
			d.uleb(at)
		}
		put32(defs+32*i+28, d.Len())
		d.uleb(1)
		d.Write([]byte{0x17 | 3<<5})
		d.u32(i*classStrings + 3)
	}
	copy(b(), "dex\n035\x00")
	put32(32, d.Len())
	put32(36, dexHeader)
	put32(40, 0x12345678)
	for i, t := range [][2]int{{len(list), tables}, {classes, types}, {0, 0}, {fields * classes, fieldIDs}, {0, 0}, {classes, defs}} {
		put32(56+8*i, t[0])
		put32(60+8*i, t[1])
	}
	return b()
}

func utf16Len(s string) (n int) {
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// benchCode returns instructions: calls, and what goes with them.
func benchCode(r *rand.Rand, index *rand.Zipf) []byte {
	var c benchBuffer
	for range 4 + r.IntN(40) {
		reg := r.IntN(8)
		switch r.IntN(8) {
		case 0, 1:
			c.Write([]byte{0x6e + byte(r.IntN(5)), byte(1+r.IntN(3)) << 4}) // invoke
			c.u16(int(index.Uint64()), reg|r.IntN(8)<<4)
		case 2:
			c.Write([]byte{0x0c, byte(reg)}) // move-result-object
		case 3:
			c.Write([]byte{0x1a, byte(reg)}) // const-string
			c.u16(int(index.Uint64()))
			if r.IntN(4) == 0 {
				c.Write([]byte{0x69, byte(reg)}) // sput-object
				c.u16(int(index.Uint64()) & 0x1fff)
			}
		case 4:
			c.Write([]byte{0x54, byte(reg | r.IntN(8)<<4)}) // iget-object
			c.u16(int(index.Uint64()))
		case 5:
			c.Write([]byte{0x38, byte(reg)}) // if-eqz
			c.u16(2 + r.IntN(20))
		case 6:
			c.Write([]byte{0x12, byte(reg | r.IntN(4)<<4)}) // const/4
		default:
			c.Write([]byte{0x22, byte(reg)}) // new-instance
			c.u16(int(index.Uint64()))
		}
	}
	c.Write([]byte{0x0e, 0}) // return-void
	return c.Bytes()
}

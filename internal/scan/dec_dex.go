package scan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

const dexHeader = 0x70

// isDex reports that data is Dalvik bytecode, of whatever version, or compact dex.
func isDex(data []byte) bool {
	return len(data) >= 8 && (string(data[:4]) == "dex\n" || string(data[:4]) == "cdex") && data[7] == 0
}

// dexTexts gives the strings of a dex file, or of each in a container (version 41): those of the table; again those that
// are the value of a field, with the key "com.example.Config.CLIENT_SECRET"; and arrays that code is filled with, since
// keys are hidden in them. Checksum and signature may be wrong: Android does not look at them either.
func dexTexts(data []byte, emit func(text)) error {
	if !isDex(data) {
		return fmt.Errorf("dex: no header: %w", errDamaged)
	}
	if data[0] == 'c' {
		return fmt.Errorf("compact dex: %w", errVersion)
	}
	e := newEmission(emit, len(data), 8)
	scratch := make([]byte, 0, 1<<10)
	for at := 0; ; {
		size, ok := dexFileTexts(data, at, e, &scratch)
		if !ok {
			break
		}
		// What follows may be another one, in a container or, of older versions, simply appended.
		at += size
		if at > len(data)-dexHeader || !isDex(data[at:]) || data[at] == 'c' {
			break
		}
	}
	return e.result("dex")
}

// dexFile is one dex file. Its offsets count from the beginning of data, of which in a container only a part is its own.
type dexFile struct {
	data    []byte
	at      int // in the whole, for what is given on
	e       *emission
	scratch *[]byte
	array   []byte

	strings, types, fields, classes dexTable

	lastClass int // of the latest key, with its name
	className []byte

	// What was loaded into registers since the last instruction of another kind: loaded[r], if of[r] is run.
	of     [256]int
	loaded [256]dexLoaded
	run    int
}

// dexTable is one of the tables of entries of a fixed size.
type dexTable struct{ at, count int }

// dexFileTexts reads the dex file whose header is at a place, and returns its size.
func dexFileTexts(data []byte, at int, e *emission, scratch *[]byte) (size int, ok bool) {
	if len(data)-at < dexHeader {
		e.fail(fmt.Errorf("dex at %#x: no header: %w", at, errDamaged))
		return 0, false
	}
	h := data[at:]
	switch version := string(h[4:7]); {
	case version < "035" || version > "041":
		e.fail(fmt.Errorf("dex at %#x: %w", at, errVersion)) // and yet it is tried
	case version == "041":
		at = 0 // all offsets are those of the container
	}
	if binary.LittleEndian.Uint32(h[40:]) == 0x78563412 {
		e.fail(fmt.Errorf("dex at %#x: big-endian: %w", at, errVersion))
		return 0, false
	}
	size = le32(h[32:])
	if size > len(h) {
		e.fail(fmt.Errorf("dex at %#x: %d bytes of %d: %w", at, len(h), size, errDamaged))
	}
	d := &dexFile{data: data[at:], at: at, e: e, scratch: scratch, lastClass: -1}
	d.strings = d.table("string_ids", h[56:], 4)
	d.types = d.table("type_ids", h[64:], 4)
	d.fields = d.table("field_ids", h[80:], 8)
	d.classes = d.table("class_defs", h[96:], 32)
	d.giveStrings()
	d.giveClasses()
	return size, size >= dexHeader && !e.over
}

// table reads count and offset of a table of entries of width bytes, and cuts off those that the file doesn't have.
func (d *dexFile) table(name string, b []byte, width int) dexTable {
	t := dexTable{at: le32(b[4:]), count: le32(b)}
	if t.count > 0 && (t.at > len(d.data) || t.count > (len(d.data)-t.at)/width) {
		d.e.fail(fmt.Errorf("dex at %#x: %s lies outside of the file: %w", d.at, name, errDamaged))
		t.count = max(0, len(d.data)-t.at) / width
	}
	return t
}

// giveStrings gives all strings. If most are not such as the format has, the file has been made unreadable.
func (d *dexFile) giveStrings() {
	outside, wrong := 0, 0
	for i := range d.strings.count {
		raw, off, units, ok := d.str(i)
		if !ok {
			outside++
			if !d.e.step(1) {
				return
			}
			continue
		}
		b, n, made, ok := fromMUTF8(raw, d.scratch)
		if !ok || n != units {
			wrong++
		}
		if !d.e.give(text{b: b, off: off, made: made}) {
			return
		}
	}
	switch n := d.strings.count; {
	case wrong > n/2:
		d.e.fail(fmt.Errorf("dex at %#x: %d of %d strings are none: %w", d.at, wrong, n, errEncrypted))
	case wrong > 0 || outside > 0:
		d.e.fail(fmt.Errorf("dex at %#x: %d of %d strings: %w", d.at, wrong+outside, n, errDamaged))
	}
}

// str returns string i as it lies at off in the whole, and its length in UTF-16 units as the file says it. It is not ok
// if it lies outside of the file; one without an end is.
func (d *dexFile) str(i int) (raw []byte, off, units int, ok bool) {
	if i < 0 || i >= d.strings.count {
		return nil, 0, 0, false
	}
	r := dexReader{b: d.data, at: le32(d.data[d.strings.at+4*i:])}
	units = r.uleb()
	if r.bad {
		return nil, 0, 0, false
	}
	raw, ended := cString(d.data[r.at:])
	if !ended {
		units = -1
	}
	return raw, d.at + r.at, units, true
}

// name returns the beginning of string i, for use in a key. It may be a part of the data, which nobody may change.
func (d *dexFile) name(i int) []byte {
	if i < 0 || i >= d.strings.count {
		return nil
	}
	r := dexReader{b: d.data, at: le32(d.data[d.strings.at+4*i:])}
	r.uleb()
	if r.bad {
		return nil
	}
	raw, _ := cString(r.b[r.at:min(len(r.b), r.at+keyLimit)])
	b, _, _, _ := fromMUTF8(raw, new([]byte))
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, nil)
}

// fieldKey names field i: "com.example.Config.CLIENT_SECRET".
func (d *dexFile) fieldKey(i int) string {
	if i < 0 || i >= d.fields.count {
		return ""
	}
	f := d.data[d.fields.at+8*i:]
	if class := int(binary.LittleEndian.Uint16(f)); class != d.lastClass {
		d.lastClass, d.className = class, nil
		if class < d.types.count {
			d.className = javaName(bytes.Clone(d.name(le32(d.data[d.types.at+4*class:]))))
		}
	}
	return d.e.joined(d.className, []byte{'.'}, d.name(le32(f[4:])))
}

// javaName makes a.b.C of La/b/C; or a/b/C, in place.
func javaName(b []byte) []byte {
	if len(b) > 1 && b[0] == 'L' && b[len(b)-1] == ';' {
		b = b[1 : len(b)-1]
	}
	for i, c := range b {
		if c == '/' {
			b[i] = '.'
		}
	}
	return b
}

func (d *dexFile) giveClasses() {
	bad := 0
	for i := 0; i < d.classes.count && d.e.step(1); i++ {
		c := d.data[d.classes.at+32*i:]
		if content := le32(c[24:]); content != 0 && !d.giveClass(content, le32(c[28:])) {
			bad++
		}
	}
	if bad > 0 {
		d.e.fail(fmt.Errorf("dex at %#x: %d of %d classes: %w", d.at, bad, d.classes.count, errDamaged))
	}
}

// giveClass reads the fields and methods of the class whose class_data_item is at content, and the initial values of its
// static fields, if values isn't 0.
func (d *dexFile) giveClass(content, values int) bool {
	r := dexReader{b: d.data, at: content}
	static, instance, direct, virtual := r.uleb(), r.uleb(), r.uleb(), r.uleb()
	v := dexReader{b: d.data, at: values, bad: values == 0}
	initial := v.uleb()
	for field, i := 0, 0; i < static && !r.bad && d.e.step(1); i++ {
		field = min(field+r.uleb(), 1<<31-1)
		r.uleb()
		if i >= initial || v.bad {
			continue
		}
		if s, ok := v.value(d.e, 0); ok {
			d.giveField(field, s)
		}
	}
	for i := 0; i < instance && !r.bad && d.e.step(1); i++ {
		r.uleb()
		r.uleb()
	}
	good := values == 0 || !v.bad
	for _, n := range [2]int{direct, virtual} {
		for i := 0; i < n && !r.bad && d.e.step(1); i++ {
			r.uleb()
			r.uleb()
			if code := r.uleb(); code != 0 && !r.bad && !d.giveCode(code) {
				good = false
			}
		}
	}
	return good && !r.bad
}

// giveField gives string s as the value of a field.
func (d *dexFile) giveField(field, s int) {
	key := d.fieldKey(field)
	if key == "" {
		return
	}
	raw, off, _, ok := d.str(s)
	if !ok {
		return
	}
	b, _, made, _ := fromMUTF8(raw, d.scratch)
	d.e.give(text{b: b, off: off, key: key, made: made, named: true})
}

// dexReader reads what has no fixed size. After a read beyond the end it is bad, and reads zeros.
type dexReader struct {
	b   []byte
	at  int
	bad bool
}

func (r *dexReader) byte() byte {
	if r.bad || r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// uleb reads a LEB128 of up to five bytes, as a number that fits an int.
func (r *dexReader) uleb() int {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7F) << shift
		if c < 0x80 {
			return int(min(v, 1<<31-1))
		}
	}
	r.bad = true
	return 0
}

// value reads an encoded_value, and returns its index if it is a string.
func (r *dexReader) value(e *emission, depth int) (s int, ok bool) {
	const array, annotation, null, boolean, str = 0x1c, 0x1d, 0x1e, 0x1f, 0x17
	head := r.byte()
	size := int(head>>5) + 1
	switch head & 0x1F {
	case null, boolean:
		return 0, false
	case array, annotation:
		if depth == 8 {
			r.bad = true
			return 0, false
		}
		isAnnotation := head&0x1F == annotation
		if isAnnotation {
			r.uleb()
		}
		for n := r.uleb(); n > 0 && !r.bad && e.step(1); n-- {
			if isAnnotation {
				r.uleb()
			}
			r.value(e, depth+1)
		}
		return 0, false
	case str:
		if size > 4 {
			r.bad = true
		}
		for i := range size {
			s |= int(r.byte()) << (8 * i)
		}
		return s, !r.bad && s >= 0
	}
	if size > len(r.b)-r.at {
		r.bad = true
		return 0, false
	}
	r.at += size
	return 0, false
}

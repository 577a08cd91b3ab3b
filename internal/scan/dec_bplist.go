package scan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

const (
	bplistTrailer   = 32
	bplistLeastData = 6 // shorter data is no key
	bplistMaxDepth  = 64
)

// isBinaryPlist reports that data is a property list in Apple's binary form.
func isBinaryPlist(data []byte) bool {
	return len(data) >= 8+bplistTrailer && string(data[:6]) == "bplist"
}

// binaryPlistTexts gives each string of a binary property list, and its data, with the path of keys that leads to it
// from the top ("A.B[2]"). Data may be such a property list itself, and is read then.
func binaryPlistTexts(data []byte, emit func(text)) error {
	r := &bplistReader{data: data, e: newEmission(emit, len(data), 16), place: func(off int) int { return off }, direct: true}
	r.run()
	return r.e.result("binary property list")
}

type bplistReader struct {
	data   []byte
	e      *emission
	place  func(off int) int // in what was given to the decoder
	direct bool              // texts lie there as they are here
	path   plistPath
	nested int

	offsets    []byte // the table: one place for each object
	width, ref int
	count      int
	seen       []bool // objects that were visited
	bad        int
	scratch    []byte
}

// run reads the list. Each array and dictionary is visited once: objects may be shared, so that a tree made of them can
// be endless.
func (r *bplistReader) run() {
	if !r.trailer() {
		return
	}
	r.seen = make([]bool, r.count)
	r.visit(r.top(), 0)
	for i := 0; i < r.count && r.e.step(1); i++ {
		if !r.seen[i] {
			r.path.levels = r.path.levels[:0]
			r.leaf(i, "")
		}
	}
	if r.bad > 0 {
		r.e.fail(fmt.Errorf("binary property list: %d faults in %d objects: %w", r.bad, r.count, errDamaged))
	}
}

func (r *bplistReader) top() int {
	t := r.data[len(r.data)-bplistTrailer:]
	return bplistNumber(t[16:24])
}

func (r *bplistReader) trailer() bool {
	if !isBinaryPlist(r.data) {
		r.e.fail(fmt.Errorf("binary property list: no header: %w", errDamaged))
		return false
	}
	if r.data[6] != '0' {
		r.e.fail(fmt.Errorf("binary property list: %w", errVersion))
		return false
	}
	end := len(r.data) - bplistTrailer
	t := r.data[end:]
	r.width, r.ref = int(t[6]), int(t[7])
	count, table := bplistNumber(t[8:16]), bplistNumber(t[24:])
	if r.width < 1 || r.width > 8 || r.ref < 1 || r.ref > 8 || table > end {
		r.e.fail(fmt.Errorf("binary property list: its trailer: %w", errDamaged))
		return false
	}
	r.offsets = r.data[table:end]
	fit := len(r.offsets) / r.width
	if count > fit {
		r.e.fail(fmt.Errorf("binary property list: more objects than fit in: %w", errDamaged))
	}
	r.count = min(count, fit)
	return true
}

// bplistNumber reads a number of any width, as one that fits an int.
func bplistNumber(b []byte) int {
	var v uint64
	for _, c := range b {
		if v > 1<<31 {
			break
		}
		v = v<<8 | uint64(c)
	}
	return int(min(v, 1<<31-1))
}

// bplistObject is an object: kind is its marker without the size; n counts bytes, characters or items.
type bplistObject struct {
	kind byte
	n    int
	at   int // of the content
}

func (r *bplistReader) object(i int) (o bplistObject, ok bool) {
	if i < 0 || i >= r.count {
		return o, false
	}
	at := bplistNumber(r.offsets[i*r.width : (i+1)*r.width])
	end := len(r.data) - bplistTrailer
	if at < 8 || at >= end {
		return o, false
	}
	o.kind, o.n, o.at = r.data[at]&0xF0, int(r.data[at]&0xF), at+1
	if o.kind < 0x40 || o.kind == 0x80 || o.n != 0xF {
		return o, true
	}
	if o.at >= end || r.data[o.at]&0xF0 != 0x10 {
		return o, false
	}
	width := 1 << (r.data[o.at] & 0xF)
	if o.at++; width > 8 || o.at+width > end {
		return o, false
	}
	o.n = bplistNumber(r.data[o.at : o.at+width])
	o.at += width
	return o, true
}

// content returns size bytes for each of an object's items.
func (r *bplistReader) content(o bplistObject, size int) ([]byte, bool) {
	end := len(r.data) - bplistTrailer
	if o.n > (end-o.at)/size {
		return r.data[o.at : o.at+(end-o.at)/size*size], false
	}
	return r.data[o.at : o.at+o.n*size], true
}

// visit gives what is in object i, under the path at which it is.
func (r *bplistReader) visit(i, depth int) {
	if !r.e.step(1) {
		return
	}
	o, ok := r.object(i)
	if !ok {
		r.bad++
		return
	}
	switch o.kind {
	case 0xA0, 0xB0, 0xC0, 0xD0:
	default:
		r.leaf(i, r.path.String())
		return
	}
	if r.seen[i] || depth == bplistMaxDepth {
		return // deeper ones are given without a path
	}
	r.seen[i] = true
	if o.kind != 0xD0 {
		refs, ok := r.content(o, r.ref)
		if !ok {
			r.bad++
		}
		r.path.push(true)
		for ; len(refs) > 0 && !r.e.over; refs = refs[r.ref:] {
			r.path.nextItem()
			r.visit(bplistNumber(refs[:r.ref]), depth+1)
		}
		r.path.pop()
		return
	}
	refs, ok := r.content(o, 2*r.ref)
	if !ok {
		r.bad++
	}
	keys, values := refs[:len(refs)/2], refs[len(refs)/2:]
	r.path.push(false)
	for ; len(keys) > 0 && !r.e.over; keys, values = keys[r.ref:], values[r.ref:] {
		key := bplistNumber(keys[:r.ref])
		r.path.setKey(r.keyText(key))
		r.visit(bplistNumber(values[:r.ref]), depth+1)
	}
	r.path.pop()
}

// keyText returns the beginning of a string that is a key.
func (r *bplistReader) keyText(i int) []byte {
	o, ok := r.object(i)
	if !ok {
		return nil
	}
	o.n = min(o.n, keyLimit)
	switch o.kind {
	case 0x50, 0x70:
		b, _ := r.content(o, 1)
		if !utf8.Valid(b) {
			return bytes.ToValidUTF8(b, nil)
		}
		return b
	case 0x60:
		b, _ := r.content(o, 2)
		return appendUTF16(nil, b, binary.BigEndian)
	}
	return nil
}

// leaf gives object i if it is a string or data.
func (r *bplistReader) leaf(i int, key string) {
	o, ok := r.object(i)
	if !ok {
		r.bad++
		return
	}
	r.seen[i] = true
	t := text{key: key, named: key != "", made: !r.direct, off: r.place(o.at)}
	switch o.kind {
	case 0x40:
		t.b, ok = r.content(o, 1)
		if isBinaryPlist(t.b) && r.nested < 1 {
			at := o.at
			n := &bplistReader{data: t.b, e: r.e, direct: r.direct, path: r.path, nested: r.nested + 1}
			n.place = func(off int) int { return r.place(at + off) }
			n.run()
			return
		}
		if len(t.b) < bplistLeastData {
			return
		}
	case 0x50, 0x70: // ASCII; UTF-8, which is rare
		t.b, ok = r.content(o, 1)
	case 0x60:
		var b []byte
		b, ok = r.content(o, 2)
		r.scratch = appendUTF16(r.scratch[:0], b, binary.BigEndian)
		t.b, t.made = r.scratch, true
	default:
		return
	}
	if !ok {
		r.bad++
	}
	r.e.give(t)
}

package scan

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// protoReader goes through the fields of the protobuf message in data[at:end].
type protoReader struct {
	data    []byte
	at, end int
	bad     bool
}

// protoField is a field: its content is at data[start:end] if it is length-delimited, else it's in value.
type protoField struct {
	number     int
	kind       byte
	value      uint64
	start, end int
}

// Wire types. Groups, the others, are long gone, and would let nearly anything pass for a message.
const (
	protoVarint  = 0
	protoFixed64 = 1
	protoBytes   = 2
	protoFixed32 = 5
)

// protoMaxNumber is far above what fields are numbered with in practice, and far below what random bytes come to.
const protoMaxNumber = 100_000

func (r *protoReader) varint() uint64 {
	var v uint64
	for shift := 0; shift < 70 && r.at < r.end; shift += 7 {
		c := r.data[r.at]
		r.at++
		v |= uint64(c&0x7F) << shift
		if c < 0x80 {
			return v
		}
	}
	r.bad = true
	return 0
}

// next reads the next field. At the end of the message it returns false, and if what is there is no field it is also
// bad.
func (r *protoReader) next() (f protoField, ok bool) {
	if r.bad || r.at >= r.end {
		return f, false
	}
	tag := r.varint()
	f.number, f.kind = int(min(tag>>3, protoMaxNumber+1)), byte(tag&7)
	if f.number == 0 || f.number > protoMaxNumber {
		r.bad = true
		return f, false
	}
	size := 0
	switch f.kind {
	case protoVarint:
		f.value = r.varint()
		return f, !r.bad
	case protoFixed64:
		size = 8
	case protoFixed32:
		size = 4
	case protoBytes:
		n := r.varint()
		if n > uint64(r.end-r.at) { //nolint:gosec // end is never before at
			r.bad = true
		}
		size = int(min(n, 1<<31-1))
	default:
		r.bad = true
	}
	if r.bad || size > r.end-r.at {
		r.bad = true
		return f, false
	}
	f.start, f.end = r.at, r.at+size
	r.at += size
	return f, true
}

// protoMessage counts the fields of the message in a part of data; -1 if it is none.
func protoMessage(data []byte, start, end int) (fields int) {
	r := protoReader{data: data, at: start, end: end}
	for {
		if _, ok := r.next(); !ok {
			break
		}
		fields++
	}
	if r.bad {
		return -1
	}
	return fields
}

// isProtobuf reports that data may well be a protobuf message: it consists of fields, one at least of which is
// length-delimited, and it is no text.
func isProtobuf(data []byte) bool {
	delimited := false
	r := protoReader{data: data, end: len(data)}
	for {
		f, ok := r.next()
		if !ok {
			break
		}
		delimited = delimited || f.kind == protoBytes && f.end > f.start
	}
	return !r.bad && delimited && !isPlain(data)
}

const protoMaxDepth = 32

// protobufTexts gives each length-delimited field of a message, and of those in it, that is text; which ones are
// messages nobody knows, so that some are read as both. What is an entry of a map has its name as key. The resources
// and the XML of app bundles are known, and their texts are given again with the keys that arscTexts and axmlTexts would
// give them.
func protobufTexts(data []byte, emit func(text)) error {
	e := newEmission(emit, len(data), 8)
	if protoMessage(data, 0, len(data)) < 0 {
		e.fail(fmt.Errorf("protobuf: %w", errDamaged))
	}
	w := protoWalk{data: data, e: e}
	table, xml := isResourceTable(data), isProtoXML(data)
	w.plain = table || xml
	w.message(0, len(data), 0, "", 0)
	switch {
	case table:
		resourceTableTexts(data, e)
	case xml:
		x := protoXML{data: data, e: e, start: e.giveAttrs, chars: func(element, name []byte, b []byte, off int) {
			if len(bytes.TrimSpace(b)) > 0 {
				e.give(text{b: b, off: off, key: e.elementKey(element, name), named: true})
			}
		}}
		x.node(0, len(data), 0)
	}
	return e.result("protobuf")
}

type protoWalk struct {
	data  []byte
	e     *emission
	plain bool // of a schema that is known: what looks like entries of maps isn't
}

// message gives the texts in a message. They have the key of the entry that the message is in, for some levels more.
func (w *protoWalk) message(start, end, depth int, key string, levels int) {
	entry := ""
	if !w.plain {
		entry = w.entryKey(start, end)
	}
	r := protoReader{data: w.data, at: start, end: end}
	for {
		f, ok := r.next()
		if !ok || w.e.over {
			return
		}
		if f.kind != protoBytes {
			continue
		}
		k, l := "", 0
		switch {
		case entry != "" && f.number == 2:
			k, l = entry, 3
		case entry == "" && levels > 0:
			k, l = key, levels-1
		}
		b := w.data[f.start:f.end]
		if len(b) >= 4 && isPlain(b) {
			w.e.give(text{b: b, off: f.start, key: k, named: k != ""})
		}
		if protoMessage(w.data, f.start, f.end) <= 0 {
			continue
		}
		if depth == protoMaxDepth {
			w.e.fail(fmt.Errorf("protobuf at %#x: nested too deeply: %w", f.start, errTooMuch))
			continue
		}
		w.message(f.start, f.end, depth+1, k, l)
	}
}

// entryKey returns the key of a message that is shaped like the entry of a map: a text, and something length-delimited.
func (w *protoWalk) entryKey(start, end int) string {
	r := protoReader{data: w.data, at: start, end: end}
	k, ok1 := r.next()
	v, ok2 := r.next()
	if !ok1 || !ok2 || r.at != end || k.kind != protoBytes || v.kind != protoBytes || k.number != 1 || v.number != 2 {
		return ""
	}
	if n := k.end - k.start; n == 0 || n > keyLimit || !isPlain(w.data[k.start:k.end]) {
		return ""
	}
	return string(w.data[k.start:k.end])
}

// protoFind returns the first length-delimited field of a number.
func protoFind(data []byte, start, end, number int) (f protoField, ok bool) {
	r := protoReader{data: data, at: start, end: end}
	for {
		f, ok := r.next()
		if !ok {
			return protoField{}, false
		}
		if f.number == number && f.kind == protoBytes {
			return f, true
		}
	}
}

// protoName returns the field of a number as a name: valid UTF-8 of a bounded length.
func protoName(data []byte, start, end, number int) []byte {
	f, ok := protoFind(data, start, end, number)
	if !ok {
		return nil
	}
	b := data[f.start:min(f.end, f.start+keyLimit)]
	if !utf8.Valid(b) {
		return nil
	}
	return b
}

package scan

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"unicode/utf8"
)

// appendReference appends the character that the reference &name; stands for, or nothing if it's unknown.
func appendReference(dst, name []byte) []byte {
	switch string(name) {
	case "amp":
		return append(dst, '&')
	case "lt":
		return append(dst, '<')
	case "gt":
		return append(dst, '>')
	case "quot":
		return append(dst, '"')
	case "apos":
		return append(dst, '\'')
	}
	if len(name) < 2 || name[0] != '#' {
		return dst
	}
	digits, base := name[1:], 10
	if digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(string(digits), base, 21)
	if err != nil || !utf8.ValidRune(rune(n)) {
		return dst
	}
	return utf8.AppendRune(dst, rune(n))
}

// isXML reports that data is XML, in UTF-8 or something like it, or in UTF-16. HTML is not: what is in its scripts has
// other rules.
func isXML(data []byte) bool {
	b := xmlHead(data)
	if len(b) < 4 || b[0] != '<' || b[1] != '?' && b[1] != '!' && !isXMLName(b[1]) {
		return false
	}
	for _, html := range []string{"<!doctype html", "<html"} {
		if len(b) >= len(html) && bytes.EqualFold(b[:len(html)], []byte(html)) {
			return false
		}
	}
	return bytes.IndexByte(b, 0) < 0
}

// xmlHead returns the beginning of data in UTF-8, without what may stand before XML.
func xmlHead(data []byte) []byte {
	b := data[:min(len(data), 2048)]
	if order, skip := utf16Order(b); order != nil {
		b = appendUTF16(nil, b[skip:], order)
	}
	b = bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF"))
	return bytes.TrimLeft(b, " \t\r\n")
}

// utf16Order returns the order of XML in UTF-16, and the length of its mark; nil if it isn't in UTF-16.
func utf16Order(b []byte) (order binary.ByteOrder, skip int) {
	switch {
	case len(b) < 4:
	case b[0] == 0xFF && b[1] == 0xFE:
		return binary.LittleEndian, 2
	case b[0] == 0xFE && b[1] == 0xFF:
		return binary.BigEndian, 2
	case b[0] == '<' && b[1] == 0 && b[3] == 0:
		return binary.LittleEndian, 0
	case b[0] == 0 && b[1] == '<' && b[2] == 0:
		return binary.BigEndian, 0
	}
	return nil, 0
}

// utf16Text is a text in UTF-16, and the same in UTF-8, with which place is which.
type utf16Text struct {
	out   []byte
	marks []utf16Mark
}

// utf16Mark is where a character is in both. There is one for some dozens of characters, not for each.
type utf16Mark struct{ out, data int }

func newUTF16Text(data []byte, order binary.ByteOrder, skip int) *utf16Text {
	const every = 1 << 7
	t := &utf16Text{out: make([]byte, 0, len(data)/2)}
	for at := skip; at+2 <= len(data); {
		t.marks = append(t.marks, utf16Mark{len(t.out), at})
		end := min(at+every, at+(len(data)-at)&^1)
		if end+2 <= len(data) && order.Uint16(data[end-2:])>>10 == 0xD8>>2 {
			end += 2 // so that no character is cut in two
		}
		t.out = appendUTF16(t.out, data[at:end], order)
		at = end
	}
	return t
}

// place returns where in the original the character at off is.
func (t *utf16Text) place(off int) int {
	i, found := slices.BinarySearchFunc(t.marks, off, func(m utf16Mark, off int) int { return cmp.Compare(m.out, off) })
	if !found {
		i--
	}
	at, data := t.marks[i].out, t.marks[i].data
	for at < off {
		r, n := utf8.DecodeRune(t.out[at:])
		at, data = at+n, data+2
		if r > 0xFFFF {
			data += 2
		}
	}
	return data
}

// newXMLReader makes a reader of XML in UTF-8 or UTF-16 that emits what it finds with its place in data.
func newXMLReader(data []byte, emit func(text)) *xmlReader {
	if order, skip := utf16Order(data); order != nil {
		original := newUTF16Text(data, order, skip)
		data = original.out
		given := emit
		emit = func(t text) {
			t.off, t.made = original.place(t.off), true
			given(t)
		}
	}
	e := newEmission(emit, len(data), 16)
	r := &xmlReader{data: data, e: e}
	r.comment = func(b []byte, off int) { e.give(text{b: b, off: off, key: "comment"}) }
	return r
}

// xmlTexts gives the texts and attributes of XML. The key of an attribute is "element@attribute", that of a text is the
// element with what it calls itself ("string/api_key"), or the element alone. Comments are given as well.
func xmlTexts(data []byte, emit func(text)) error {
	r := newXMLReader(data, emit)
	var path tagStack
	r.start = func(element []byte, attrs []xmlAttr) {
		r.e.giveAttrs(element, attrs)
		path.push(element, bytes.Clone(namedBy(attrs)))
	}
	r.end = path.closeTag
	r.chars = func(b []byte, off int, made bool) {
		element, name := path.top()
		r.e.give(text{b: b, off: off, key: r.e.elementKey(element, name), made: made, named: element != nil})
	}
	r.run()
	return r.e.result("XML")
}

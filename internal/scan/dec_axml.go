package scan

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// isAXML reports that data is Android's binary XML. Android itself looks neither at the type nor at the size of the
// header, which obfuscators change to mislead others; so the string pool that follows is as good a sign.
func isAXML(data []byte) bool {
	if len(data) < 16 {
		return false
	}
	kind, header := binary.LittleEndian.Uint16(data), int(binary.LittleEndian.Uint16(data[2:]))
	if header < resChunkHeader || header > len(data)-resChunkHeader || kind == resTable {
		return false
	}
	pool, _, ok := resChunkAt(data, header, len(data))
	return ok && pool.kind == resStringPool && pool.body-pool.at >= 28 && (kind == resXML || kind < 16)
}

// axmlTexts gives all strings of a binary XML, and again with the key "element@attribute" or, where an element has a
// name and a value, "element/name" ("meta-data/com.example.KEY").
func axmlTexts(data []byte, emit func(text)) error {
	e := newEmission(emit, len(data), 16)
	r := newAXMLReader(data, e)
	if r.pool != nil {
		r.pool.giveAll(e, &r.scratch)
	}
	r.walk(e.giveAttrs, func(element, name []byte, i int) {
		b, off, made, _ := r.pool.at(i, 0, &r.scratch)
		e.give(text{b: b, off: off, key: e.elementKey(element, name), made: made, named: true})
	})
	return e.result("binary XML")
}

// axmlAttrs visits each element of a binary XML, as an attribute without name, and then its attributes in their order.
// Booleans are "true" and "false", numbers decimal, references "@0x7f010001". Names are without prefix, and those of
// Android's own attributes are what their resource ID says, as it is for Android: the written name may be anything.
func axmlAttrs(data []byte, visit func(element, attribute, value string)) error {
	e := newEmission(nil, len(data), 16)
	newAXMLReader(data, e).walk(visitAttrs(visit), nil)
	return e.result("binary XML")
}

type axmlReader struct {
	data    []byte
	e       *emission
	pool    *resPool
	ids     []byte // resource IDs of the first strings of the pool
	attrs   []xmlAttr
	scratch []byte
}

// newAXMLReader finds the string pool and the resource IDs, which Android too takes from anywhere in the file.
func newAXMLReader(data []byte, e *emission) *axmlReader {
	r := &axmlReader{data: data, e: e}
	r.chunks(func(c resChunk) {
		switch {
		case c.kind == resStringPool && r.pool == nil:
			p, err := resPoolAt(data, c)
			r.pool = p
			if err != nil {
				e.fail(err)
			}
		case c.kind == resXMLMap && r.ids == nil:
			r.ids = data[c.body:c.end]
		}
	})
	if r.pool == nil {
		e.fail(fmt.Errorf("binary XML: no string pool: %w", errDamaged))
	}
	return r
}

// chunks visits the chunks of the file.
func (r *axmlReader) chunks(visit func(resChunk)) {
	if len(r.data) < resChunkHeader {
		r.e.fail(fmt.Errorf("binary XML: no header: %w", errDamaged))
		return
	}
	at := int(binary.LittleEndian.Uint16(r.data[2:]))
	end := le32(r.data[4:])
	if end > len(r.data) {
		r.e.fail(fmt.Errorf("binary XML: %d bytes of %d: %w", len(r.data), end, errDamaged))
		end = len(r.data)
	}
	for at <= end-resChunkHeader && r.e.step(1) {
		c, cut, ok := resChunkAt(r.data, at, end)
		if !ok || cut {
			r.e.fail(fmt.Errorf("binary XML: chunk at %#x: %w", at, errDamaged))
		}
		if !ok {
			return
		}
		visit(c)
		at = c.end
	}
}

// walk calls start for each element, and chars, unless it is nil, for each text between tags. All but the strings of
// the pool is valid during the call only.
func (r *axmlReader) walk(start func(element []byte, attrs []xmlAttr), chars func(element, name []byte, i int)) {
	if r.pool == nil {
		return
	}
	var path tagStack
	r.chunks(func(c resChunk) {
		if c.kind < resXMLStart || c.kind > resXMLText {
			return
		}
		ext := r.data[c.body:c.end]
		switch c.kind {
		case resXMLStart:
			if len(ext) < 20 {
				r.e.fail(fmt.Errorf("binary XML: element at %#x: %w", c.at, errDamaged))
				return
			}
			element := r.pool.plain(le32(ext[4:]))
			attrs := r.attributes(c, ext)
			start(element, attrs)
			path.push(element, namedBy(attrs))
		case resXMLEnd:
			path.pop()
		case resXMLText:
			if len(ext) < 4 || chars == nil {
				return
			}
			element, name := path.top()
			chars(element, name, le32(ext))
		}
	})
}

// attributes reads those of the element whose chunk is c.
func (r *axmlReader) attributes(c resChunk, ext []byte) []xmlAttr {
	r.attrs = r.attrs[:0]
	at := int(binary.LittleEndian.Uint16(ext[8:]))
	size := int(binary.LittleEndian.Uint16(ext[10:]))
	count := int(binary.LittleEndian.Uint16(ext[12:]))
	if count > 0 && (size < 20 || at+size*count > len(ext)) {
		r.e.fail(fmt.Errorf("binary XML: attributes of the element at %#x: %w", c.at, errDamaged))
		if size < 20 {
			return nil
		}
	}
	for ; count > 0 && at+20 <= len(ext) && r.e.step(1); at, count = at+size, count-1 {
		a := ext[at:]
		name := le32(a[4:])
		attr := xmlAttr{off: -1}
		if 4*name+4 <= len(r.ids) {
			attr.name = []byte(androidAttribute(binary.LittleEndian.Uint32(r.ids[4*name:])))
		}
		if len(attr.name) == 0 {
			attr.name = r.pool.plain(name)
		}
		raw, kind, value := le32(a[8:]), a[15], a[16:]
		i := -1
		switch {
		case kind == resValueString:
			i = le32(value)
		case raw < r.pool.count && kind < resValueFirstInt && kind != resValueReference:
			i = raw // a float, say, as it was written
		}
		if b, off, made, _ := r.pool.at(i, 0, new([]byte)); b != nil {
			attr.value, attr.off, attr.made = b, off, made
		} else if kind != resValueString {
			attr.value = []byte(resLiteral(kind, binary.LittleEndian.Uint32(value)))
		}
		if !r.e.charge(len(attr.value)) {
			break
		}
		r.attrs = append(r.attrs, attr)
	}
	return r.attrs
}

// Types of values (Res_value).
const (
	resValueReference = 0x01
	resValueAttribute = 0x02
	resValueString    = 0x03
	resValueFloat     = 0x04
	resValueDynamic   = 0x07 // a reference into a shared library
	resValueFirstInt  = 0x10
	resValueHex       = 0x11
	resValueBoolean   = 0x12
	resValueColor     = 0x1c
	resValueLastColor = 0x1f
)

// resLiteral spells a value that is no string.
func resLiteral(kind byte, v uint32) string {
	hex := func(prefix string) string { return prefix + strconv.FormatUint(uint64(v), 16) }
	switch {
	case kind == resValueReference || kind == resValueDynamic:
		return fmt.Sprintf("@0x%08x", v)
	case kind == resValueAttribute:
		return fmt.Sprintf("?0x%08x", v)
	case kind == resValueBoolean:
		return strconv.FormatBool(v != 0)
	case kind == resValueHex:
		return hex("0x")
	case kind >= resValueColor && kind <= resValueLastColor:
		return fmt.Sprintf("#%08x", v)
	case kind >= resValueFirstInt:
		return strconv.Itoa(int(int32(v))) //nolint:gosec // it is a signed number that was read as one without sign
	}
	return hex("0x")
}

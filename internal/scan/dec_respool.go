package scan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The chunks of Android's resource formats, of which arsc and binary XML are made (ResourceTypes.h).
const (
	resStringPool  = 0x0001
	resTable       = 0x0002
	resXML         = 0x0003
	resXMLStart    = 0x0102
	resXMLEnd      = 0x0103
	resXMLText     = 0x0104
	resXMLMap      = 0x0180
	resPackage     = 0x0200
	resType        = 0x0201
	resChunkHeader = 8
)

// resChunk is a chunk: data[at:end], with its body at body.
type resChunk struct {
	kind          uint16
	at, body, end int
}

// resChunkAt reads the header of the chunk at a place. Android refuses a chunk that is larger than what holds it; here
// it is cut, and cut says so.
func resChunkAt(data []byte, at, end int) (c resChunk, cut, ok bool) {
	if at < 0 || end > len(data) || end-at < resChunkHeader {
		return c, false, false
	}
	header := int(binary.LittleEndian.Uint16(data[at+2:]))
	size := le32(data[at+4:])
	if header < resChunkHeader || size < header || header > end-at {
		return c, false, false
	}
	if size > end-at {
		size, cut = end-at, true
	}
	return resChunk{binary.LittleEndian.Uint16(data[at:]), at, at + header, at + size}, cut, true
}

// resPool is a pool of strings. Styles are not read: they hold the names of markup, which are in the pool as well.
type resPool struct {
	data    []byte
	offsets int // where the places of the strings are
	count   int
	strings int
	end     int
	utf8    bool
}

// resPoolAt reads the head of the pool in c. What does not fit in is cut off; err says so, and the pool is good for
// the rest.
func resPoolAt(data []byte, c resChunk) (p *resPool, err error) {
	const header = 28
	if c.kind != resStringPool || c.end-c.at < header {
		return &resPool{data: data}, fmt.Errorf("string pool at %#x: no header: %w", c.at, errDamaged)
	}
	b := data[c.at:c.end]
	p = &resPool{
		data:    data,
		offsets: c.body,
		count:   le32(b[8:]),
		utf8:    binary.LittleEndian.Uint32(b[16:])&0x100 != 0,
		end:     c.end,
	}
	start := le32(b[20:])
	if start > len(b) {
		p.count, start = 0, len(b)
		err = fmt.Errorf("string pool at %#x: its strings lie outside of it: %w", c.at, errDamaged)
	}
	p.strings = c.at + start
	if fit := (c.end - c.body) / 4; p.count > fit {
		p.count = fit
		err = fmt.Errorf("string pool at %#x: more strings than fit in: %w", c.at, errDamaged)
	}
	return p, err
}

// at returns string i, or its beginning if it's longer than limit; limit 0 is none. If made, it is in scratch.
func (p *resPool) at(i int, limit int, scratch *[]byte) (b []byte, off int, made, ok bool) {
	if p == nil || i < 0 || i >= p.count {
		return nil, 0, false, false
	}
	rel := le32(p.data[p.offsets+4*i:])
	if rel >= p.end-p.strings {
		return nil, 0, false, false
	}
	if !p.utf8 {
		return p.at16(p.strings+rel, limit, scratch)
	}
	s := p.data[p.strings+rel : p.end]
	head := 1 + int(s[0]>>7) // the length in UTF-16 units, which nobody needs
	if len(s) < head+1 {
		return nil, 0, false, false
	}
	n := int(s[head])
	head++
	if n&0x80 != 0 {
		if len(s) < head+1 {
			return nil, 0, false, false
		}
		n = n&0x7F<<8 | int(s[head])
		head++
	}
	s = s[head:]
	// The length has 15 bits. aapt wrote longer strings all the same, and Android looks for their NUL.
	for n < len(s) && s[n] != 0 {
		n += 0x8000
	}
	ok = n < len(s)
	if !ok {
		s, _ = cString(s)
		n = len(s)
	}
	if limit > 0 {
		n = min(n, limit)
	}
	off = p.strings + rel + head
	b, _, made, _ = fromMUTF8(s[:n], scratch) // aapt2 writes the modified form, aapt the other; no string is in both
	return b, off, made, ok
}

func (p *resPool) at16(at, limit int, scratch *[]byte) (b []byte, off int, made, ok bool) {
	s := p.data[at:p.end]
	if len(s) < 2 {
		return nil, 0, false, false
	}
	n, head := int(binary.LittleEndian.Uint16(s)), 2
	if n&0x8000 != 0 {
		if len(s) < 4 {
			return nil, 0, false, false
		}
		n, head = n&0x7FFF<<16|int(binary.LittleEndian.Uint16(s[2:])), 4
	}
	s = s[head:]
	ok = n <= len(s)/2
	n = min(n, len(s)/2)
	if limit > 0 {
		n = min(n, limit)
	}
	*scratch = appendUTF16((*scratch)[:0], s[:2*n], binary.LittleEndian)
	return *scratch, at + head, true, ok
}

// giveAll emits every string of the pool.
func (p *resPool) giveAll(e *emission, scratch *[]byte) {
	bad := 0
	for i := range p.count {
		b, off, made, ok := p.at(i, 0, scratch)
		if !ok {
			bad++
		}
		if !e.give(text{b: b, off: off, made: made}) {
			return
		}
	}
	if bad > 0 {
		e.fail(fmt.Errorf("string pool at %#x: %d of %d strings: %w", p.offsets, bad, p.count, errDamaged))
	}
}

// plain returns the beginning of string i for use in a key or as a name; nil if there is none.
func (p *resPool) plain(i int) []byte {
	b, _, _, _ := p.at(i, keyLimit, new([]byte))
	if !utf8.Valid(b) { // cut within a character, or none
		return bytes.ToValidUTF8(b, nil)
	}
	return b
}

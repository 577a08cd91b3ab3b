package scan

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// isARSC reports that data is a compiled table of resources (resources.arsc).
func isARSC(data []byte) bool {
	if len(data) < 12+resChunkHeader {
		return false
	}
	kind, header := binary.LittleEndian.Uint16(data), int(binary.LittleEndian.Uint16(data[2:]))
	return kind == resTable && header >= 12 && header < 64 && le32(data[8:]) < 1<<16
}

// arscTexts gives all strings of a table of resources, and those that are values again with the names of their
// resources: "string/api_key", and "array/keys[2]" for what is part of one.
func arscTexts(data []byte, emit func(text)) error {
	if !isARSC(data) {
		return fmt.Errorf("resource table: no header: %w", errDamaged)
	}
	e := newEmission(emit, len(data), 16)
	r := &arscReader{data: data, e: e, scratch: make([]byte, 0, 1<<10)}
	end := min(le32(data[4:]), len(data))
	if len(data) < le32(data[4:]) {
		e.fail(fmt.Errorf("resource table: %d bytes of %d: %w", len(data), le32(data[4:]), errDamaged))
	}
	r.chunks(int(binary.LittleEndian.Uint16(data[2:])), end, func(c resChunk) {
		switch c.kind {
		case resStringPool:
			p := r.readPool(c)
			if r.values == nil {
				r.values = p
			}
		case resPackage:
			r.readPackage(c)
		}
	})
	return e.result("resource table")
}

type arscReader struct {
	data    []byte
	e       *emission
	values  *resPool
	scratch []byte
	key     []byte
}

func (r *arscReader) chunks(at, end int, visit func(resChunk)) {
	for at <= end-resChunkHeader && r.e.step(1) {
		c, cut, ok := resChunkAt(r.data, at, end)
		if !ok || cut {
			r.e.fail(fmt.Errorf("resource table: chunk at %#x: %w", at, errDamaged))
		}
		if !ok {
			return
		}
		visit(c)
		at = c.end
	}
}

// readPool gives the strings of a pool on, since each may hide something, even those that are names.
func (r *arscReader) readPool(c resChunk) *resPool {
	p, err := resPoolAt(r.data, c)
	if err != nil {
		r.e.fail(err)
	}
	p.giveAll(r.e, &r.scratch)
	return p
}

// arscPackage is what is needed to name the resources of a package.
type arscPackage struct {
	types, keys *resPool
	typeOffset  int // of a feature split, whose types begin later than its names of types
}

func (r *arscReader) readPackage(c resChunk) {
	const header = 8 + 4 + 256 + 5*4 // its fifth number, the offset of the types, is missing in old ones
	var p arscPackage
	var typesAt, keysAt int
	b := r.data[c.at:c.body]
	if len(b) < header-4 {
		r.e.fail(fmt.Errorf("resource table: package at %#x: %w", c.at, errDamaged))
	} else {
		typesAt, keysAt = c.at+le32(b[268:]), c.at+le32(b[276:])
		if len(b) >= header {
			p.typeOffset = le32(b[284:])
		}
	}
	r.chunks(c.body, c.end, func(c resChunk) {
		switch c.kind {
		case resStringPool:
			pool := r.readPool(c)
			switch {
			case c.at == typesAt:
				p.types = pool
			case c.at == keysAt:
				p.keys = pool
			}
		case resType:
			r.readType(c, &p)
		}
	})
}

// readType reads the entries of one type under one configuration.
func (r *arscReader) readType(c resChunk, p *arscPackage) {
	const sparse, offset16 = 1, 2
	b := r.data[c.at:c.end]
	if c.body-c.at < 20 {
		r.e.fail(fmt.Errorf("resource table: type at %#x: %w", c.at, errDamaged))
		return
	}
	id, flags, count, start := int(b[8]), b[9], le32(b[12:]), le32(b[16:])
	typeName := p.types.plain(id - 1 - p.typeOffset)
	if start > len(b) {
		r.e.fail(fmt.Errorf("resource table: type at %#x: its entries lie outside of it: %w", c.at, errDamaged))
		return
	}
	width := 4
	if flags&offset16 != 0 && flags&sparse == 0 {
		width = 2
	}
	table := r.data[c.body:c.end]
	if fit := len(table) / width; count > fit {
		r.e.fail(fmt.Errorf("resource table: type at %#x: more entries than fit in: %w", c.at, errDamaged))
		count = fit
	}
	bad := 0
	for i := 0; i < count && r.e.step(1); i++ {
		var at int
		switch {
		case flags&sparse != 0:
			at = 4 * int(binary.LittleEndian.Uint16(table[4*i+2:]))
		case width == 2:
			v := binary.LittleEndian.Uint16(table[2*i:])
			if v == 0xFFFF {
				continue
			}
			at = 4 * int(v)
		default:
			if binary.LittleEndian.Uint32(table[4*i:]) == 0xFFFFFFFF {
				continue
			}
			at = le32(table[4*i:])
		}
		if at > len(b)-start-8 || !r.readEntry(b[start+at:], typeName, p) {
			bad++
		}
	}
	if bad > 0 {
		r.e.fail(fmt.Errorf("resource table: type at %#x: %d of %d entries: %w", c.at, bad, count, errDamaged))
	}
}

// readEntry gives the strings of the entry at the beginning of b, which has 8 bytes at least.
func (r *arscReader) readEntry(b []byte, typeName []byte, p *arscPackage) bool {
	const isComplex, isCompact = 1, 8
	flags := binary.LittleEndian.Uint16(b[2:])
	if flags&isCompact != 0 {
		if byte(flags>>8) == resValueString {
			r.give(typeName, p.keys, int(binary.LittleEndian.Uint16(b)), -1, le32(b[4:]))
		}
		return true
	}
	size, name := int(binary.LittleEndian.Uint16(b)), le32(b[4:])
	if size < 8 || size > len(b) {
		return false
	}
	values := b[size:]
	if flags&isComplex == 0 {
		if len(values) < 8 {
			return false
		}
		if values[3] == resValueString {
			r.give(typeName, p.keys, name, -1, le32(values[4:]))
		}
		return true
	}
	if size < 16 {
		return false
	}
	count := le32(b[12:])
	fits := count <= len(values)/12
	for i := 0; i < min(count, len(values)/12) && r.e.step(1); i++ {
		if v := values[12*i+4:]; v[3] == resValueString {
			r.give(typeName, p.keys, name, i, le32(v[4:]))
		}
	}
	return fits
}

// give gives the value with the name of its resource, of which it is part index unless that is negative.
func (r *arscReader) give(typeName []byte, keys *resPool, name, index, value int) {
	b, off, made, _ := r.values.at(value, 0, &r.scratch)
	if b == nil {
		return
	}
	r.key = append(r.key[:0], typeName...)
	r.key = append(r.key, '/')
	r.key = append(r.key, keys.plain(name)...)
	if index >= 0 {
		r.key = append(r.key, '[')
		r.key = strconv.AppendInt(r.key, int64(index), 10)
		r.key = append(r.key, ']')
	}
	r.e.give(text{b: b, off: off, key: keyTail(r.key), made: made, named: true})
}

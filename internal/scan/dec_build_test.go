package scan

import (
	"bytes"
	"encoding/binary"
)

// decTable builds a table of resources with the entries k1 and k3 of string, in a form of its tables.
func decTable(form string) []byte {
	le := binary.LittleEndian
	u16, u32 := le.AppendUint16, le.AppendUint32
	chunk := func(kind uint16, header, body []byte) []byte {
		b := u16(u16(nil, kind), uint16(8+len(header)))
		return append(append(u32(b, uint32(8+len(header)+len(body))), header...), body...)
	}
	pool := func(s ...string) []byte {
		var offsets, content []byte
		for _, s := range s {
			offsets = u32(offsets, uint32(len(content)))
			content = append(append(append(content, byte(len(s)), byte(len(s))), s...), 0)
		}
		header := u32(u32(u32(nil, uint32(len(s))), 0), 0x100)
		header = u32(u32(header, uint32(28+len(offsets))), 0)
		for len(content)%4 != 0 {
			content = append(content, 0)
		}
		return chunk(resStringPool, header, append(offsets, content...))
	}
	entry := func(key, value int) []byte {
		if form == "compact" {
			return u32(u16(u16(nil, uint16(key)), 8|resValueString<<8), uint32(value))
		}
		b := u32(u16(u16(nil, 8), 0), uint32(key))
		return u32(append(u16(b, 8), 0, resValueString), uint32(value))
	}
	first, second := entry(0, 0), entry(1, 1)
	entries := append(bytes.Clone(first), second...)
	var table []byte
	flags, count := byte(0), uint32(4)
	switch next := len(first); form {
	case "sparse":
		flags, count = 1, 2
		table = u16(u16(u16(u16(nil, 1), 0), 3), uint16(next/4))
	case "offset16":
		flags = 2
		table = u16(u16(u16(u16(nil, 0xFFFF), 0), 0xFFFF), uint16(next/4))
	default:
		table = u32(u32(u32(u32(nil, 0xFFFFFFFF), 0), 0xFFFFFFFF), uint32(next))
	}
	id, offset := byte(1), uint32(0)
	if form == "split" { // of a feature: its first type is not the app's first
		id, offset = 3, 2
	}
	header := u32([]byte{id, flags, 0, 0}, count)
	config := append(u32(nil, 28), make([]byte, 24)...)
	header = u32(header, uint32(8+12+len(config)+len(table)))
	types := chunk(resType, append(header, config...), append(table, entries...))

	typeNames, keys := pool("string"), pool("k1", "k3")
	head := append(u32(nil, 0x7F), make([]byte, 256)...)
	head = u32(u32(u32(u32(u32(head, 288), 1), uint32(288+len(typeNames))), 2), offset)
	body := append(append(typeNames, keys...), types...)
	values := pool("value-one", "value-three")
	return chunk(resTable, u32(nil, 1), append(values, chunk(resPackage, head, body)...))
}

// decDex builds a dex file of one class, com.example.C, with a field f of which "field-value" is the value, an unused
// string of the bytes odd, and a static method in which an array is filled with bytes. at is where in its container it
// will be, if version is "041".
func decDex(version string, at int, odd string, array []byte) []byte {
	le := binary.LittleEndian
	headerSize, base := 0x70, 0
	if version == "041" {
		headerSize, base = 0x78, at
	}
	strings := []string{"Lcom/example/C;", "Ljava/lang/String;", "f", "field-value", odd}
	ids := headerSize
	types := ids + 4*len(strings)
	fields := types + 4*2
	classes := fields + 8
	b := make([]byte, classes+32)
	copy(b, "dex\n"+version+"\x00")
	put := func(at int, v ...int) {
		for i, v := range v {
			le.PutUint32(b[at+4*i:], uint32(v))
		}
	}
	put(36, headerSize, 0x12345678)
	put(56, len(strings), base+ids, 2, base+types, 0, 0, 1, base+fields, 0, 0, 1, base+classes)
	for i, s := range strings {
		put(ids+4*i, base+len(b))
		_, units, _, _ := fromMUTF8([]byte(s), new([]byte))
		b = append(append(append(b, byte(units)), s...), 0)
	}
	put(types, 0, 1)
	le.PutUint16(b[fields+2:], 1)
	put(fields+4, 2)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	code := len(b)
	b = append(b, make([]byte, 12)...)
	b = le.AppendUint32(b, uint32(4+4+(len(array)+1)/2))
	b = append(b, 0x26, 0, 4, 0, 0, 0, 0x0e, 0)
	b = le.AppendUint32(append(b, 0, 3, 1, 0), uint32(len(array)))
	b = append(append(b, array...), make([]byte, len(array)%2)...)
	values := len(b)
	b = append(b, 1, 0x17, 3, 0x17, 4) // one value, and what looks like another
	content := len(b)
	b = append(b, 2, 0, 1, 0, 0, 8, 0, 8, 0, 8)
	b = binary.AppendUvarint(b, uint64(base+code))
	put(classes, 0, 0, 1, 0, 0, 0, base+content, base+values)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	put(32, len(b))
	if version == "041" {
		put(112, at+len(b), at)
	}
	return b
}

package scan

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// dexLengths holds, for each opcode, how many units of 16 bits its instruction has.
const dexLengths = "" +
	"11231231231111111112322352232112" +
	"21223331123332222222222222222211" +
	"11112222222222222222222222222222" +
	"22222222222222333331333331111111" +
	"11111111111111112222222222222222" +
	"22222222222222221111111111111111" +
	"11111111111111112222222222222222" +
	"22211111111111111111111111443322"

// giveCode goes through the instructions of the code_item at a place in the order in which they lie, and gives arrays
// that are filled from the code, and strings that are put into a field right after they are loaded. Where an obfuscator
// has put something else between the instructions, what follows may be misread, which is no damage: the strings are in the
// table anyhow.
func (d *dexFile) giveCode(at int) bool {
	const (
		constString, constStringJumbo = 0x1a, 0x1b
		fillArrayData                 = 0x26
		iputObject, sputObject        = 0x5b, 0x69
	)
	if at > len(d.data)-16 {
		return false
	}
	size := le32(d.data[at+12:])
	code := d.data[at+16:]
	good := size <= len(code)/2
	code = code[:2*min(size, len(code)/2)]

	d.run++
	for pc := 0; pc < len(code); {
		op, reg := code[pc], code[pc+1]
		n := 2 * int(dexLengths[op]-'0')
		if op == 0 && reg != 0 {
			n = dexPayload(code[pc:])
		}
		if n > len(code)-pc || !d.e.step(1) {
			return good
		}
		in := code[pc:]
		switch op {
		case constString:
			d.of[reg], d.loaded[reg] = d.run, dexLoaded{str: int(binary.LittleEndian.Uint16(in[2:]))}
		case constStringJumbo:
			d.of[reg], d.loaded[reg] = d.run, dexLoaded{str: le32(in[2:])}
		case fillArrayData:
			d.of[reg], d.loaded[reg] = d.run, dexLoaded{str: -1, array: pc + 2*dexOffset(in[2:])}
			d.giveArray(at+16, code, d.loaded[reg].array, "")
		case iputObject, sputObject:
			from := reg
			if op == iputObject {
				from &= 0xF
			}
			if d.of[from] == d.run {
				field := int(binary.LittleEndian.Uint16(in[2:]))
				if l := d.loaded[from]; l.str >= 0 {
					d.giveField(field, l.str)
				} else {
					d.giveArray(at+16, code, l.array, d.fieldKey(field))
				}
			}
		default:
			d.run++
		}
		pc += n
	}
	return good
}

// dexLoaded is what a register holds: a string, or if that is negative the array at a place in the code.
type dexLoaded struct{ str, array int }

func dexOffset(b []byte) int {
	return int(int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // it is a signed number that was read as one without sign
}

// dexPayload returns the size of the pseudo-instruction that b begins with: the tables that belong to others.
func dexPayload(b []byte) int {
	const packedSwitch, sparseSwitch, array = 1, 2, 3
	kind := b[1]
	if kind > array || len(b) < 8 {
		return 2
	}
	count := int(binary.LittleEndian.Uint16(b[2:]))
	switch kind {
	case packedSwitch:
		return 8 + 4*count
	case sparseSwitch:
		return 4 + 8*count
	}
	size := uint64(binary.LittleEndian.Uint16(b[2:])) * uint64(binary.LittleEndian.Uint32(b[4:]))
	return 8 + int(min(size+1, 1<<30))&^1
}

// giveArray gives the elements of the array at a place in the code, put together, if they may be text or bytes: a byte
// each, or characters.
func (d *dexFile) giveArray(base int, code []byte, at int, key string) {
	const least, most = 6, 4096
	if at < 0 || at > len(code)-8 || code[at] != 0 || code[at+1] != 3 {
		return
	}
	width, n := int(binary.LittleEndian.Uint16(code[at+2:])), le32(code[at+4:])
	b := code[at+8:]
	if n < least || n > most || width > 8 || n*width > len(b) {
		return
	}
	b = b[:n*width]
	t := text{b: b, off: d.at + base + at + 8, key: key, named: key != ""}
	switch width {
	case 1:
	case 2, 4, 8:
		if !d.e.step(n) {
			return
		}
		d.array = appendElements(d.array[:0], b, width)
		if len(d.array) == 0 {
			return
		}
		t.b, t.made = d.array, true
	default:
		return
	}
	d.e.give(t)
}

// appendElements appends what elements of 2, 4 or 8 bytes stand for: as UTF-8 if each is a character that can be seen,
// as bytes if each fits a byte, with sign or without; else nothing.
func appendElements(dst, b []byte, width int) []byte {
	characters, octets := true, true
	for i := 0; i < len(b); i += width {
		v := element(b[i:], width)
		characters = characters && v >= 0 && v <= unicode.MaxRune && (unicode.IsPrint(rune(v)) || v == '\t' || v == '\n' || v == '\r')
		octets = octets && v >= -128 && v <= 255
	}
	if width == 2 && !characters && !octets { // surrogates, perhaps
		u := appendUTF16(dst, b, binary.LittleEndian)
		for _, r := range string(u[len(dst):]) {
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				return dst
			}
		}
		return u
	}
	for i := 0; i < len(b) && (characters || octets); i += width {
		v := element(b[i:], width)
		if characters {
			dst = utf8.AppendRune(dst, rune(v)) //nolint:gosec // it is bounded
		} else {
			dst = append(dst, byte(v)) //nolint:gosec // the byte is what is wanted
		}
	}
	return dst
}

func element(b []byte, width int) int64 {
	switch width {
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(b))) //nolint:gosec // with its sign
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // with its sign
	}
	return int64(binary.LittleEndian.Uint64(b)) //nolint:gosec // with its sign
}

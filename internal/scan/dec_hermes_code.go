package scan

import "encoding/binary"

// What Hermes makes of literals in the source: {clientSecret: "…"} becomes an instruction that refers to two sequences
// in buffers, of keys and of values, and o.clientSecret = "…" becomes two instructions. To find them the instructions
// must be walked, and their lengths change with the versions. The tables are what the disassemblers of the compilers
// say of each opcode. A function is believed only if its instructions end where the function does.
type hermesCode struct {
	version uint32 // the first that has it
	lengths string // of each opcode's instruction, as a digit in base 36
	classes string
}

// Classes of instructions. Byte 1 of all of them is the register that they write, or that holds the object.
const (
	hermesObject     = 'o' // then u16 hint, u16 count, u16 keys, u16 values; from 97 on u16 shape, u16 values
	hermesObjectLong = 'O' // the same with the last two as u32; from 97 on both
	hermesString     = 's' // then the string, u16
	hermesStringLong = 'S' // u32
	hermesMove       = 'm' // then a register
	hermesPut1       = 'p' // then a register with the value; the key is the last byte
	hermesPut2       = 'q'
	hermesPut4       = 'r'
)

// hermesCodes is in the order of the versions.
var hermesCodes = [...]hermesCode{
	{76,
		"ae238a439333344444444444444444444444443454545222556868686845757475574446564445567777422322113157" +
			"57443636a462222232333432ei1315734325363636254747474747474747474747474747474747474747",
		"oO.....m..............................................qrqrpqrqr................................." +
			".........sS"},
	{84,
		"1ae238a43933334444444444444444444444444345454522255686868684575747557444656444556777747322323113" +
			"575757443636a4622222232333432ei1315734325363636254747474747474747474747474747474747474747",
		".oO.....m..............................................qrqrpqrqr................................" +
			".............sS"},
	{89,
		"1ae238a43933334444444444444444444444433443454545222556868686845757475574446564445567777473223231" +
			"13575757443636a4646222222323333432ei1315734325363636254747474747474747474747474747474747474747",
		".oO.....m................................................qrqrpqrqr.............................." +
			".................sS"},
	{94,
		"1ae238a43933334444444444444444444444433443454545222755568686868457574755744465644455677774732232" +
			"3113575757443636a4646222222323333432ei1315734325363636254747474747474747474747474747474747474747",
		".oO.....m..................................................qrqrpqrqr............................" +
			"...................sS"},
	{96,
		"1ae238a43933334444444444444444444444433443454545222755568686868457574755744465644455677774732242" +
			"3113575757443636a4646222222323333432ei1315734325363636254747474747474747474747474747474747474747",
		".oO.....m..................................................qrqrpqrqr............................" +
			"...................sS"},
	{98,
		"16ab238a4434433839333344444444444444444444444433445534345454522336755689686688668847476847455445" +
			"446545565644455675747322423321136879574543636a46462222223233336443223eii573433253636368474747474" +
			"747474747474747474747474747",
		".oO.............m.........................................................qqrrqqrr....qr........" +
			"................................................sS"},
	{99,
		"16abc238a443443339333344444444444444444444444433445534345454522336755689686688668847476847455445" +
			"446545565644455675747322423321136879574543636a464622222232333336443223eii57343325363636847474747" +
			"4747474747474747474747474747",
		".oO.............m.........................................................qqrrqqrr....qr........" +
			"................................................sS"},
}

// pairTexts gives the strings of objects with the names they have there.
func (h *hermesFile) pairTexts(e *emission) {
	code := h.code()
	if code == nil {
		return
	}
	w := hermesWalk{hermesFile: h, code: code, e: e}
	for i := range h.functions {
		if body := h.body(i); code.fits(body) && !w.function(body) {
			return
		}
	}
}

// code returns the table by which the most of the first functions can be walked, those of the version and of its
// neighbours being tried; nil when by none half of them can.
func (h *hermesFile) code() *hermesCode {
	const sample = 200
	var best *hermesCode
	most := 0
	for i := range hermesCodes {
		c := &hermesCodes[i]
		if h.version+8 < c.version || h.version > c.version+8 || (h.version >= 97) != (c.version >= 97) {
			continue
		}
		n, tried := 0, 0
		for f := range min(h.functions, sample) {
			if body := h.body(f); body != nil && len(body) < 64<<10 {
				tried++
				if c.fits(body) {
					n++
				}
			}
		}
		// Of two as good, the one of the version itself, or the last before it.
		if 2*n > tried && (n > most || n == most && c.version <= h.version) {
			best, most = c, n
		}
	}
	return best
}

// body returns the instructions of function i, without the tables behind them; nil when they are not in the file.
func (h *hermesFile) body(i int) []byte {
	header := h.data[hermesHeaderSize+i*h.functionSize:][:h.functionSize]
	var at, size int
	switch w0, w1 := binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint32(header[4:]); {
	case h.functionSize != 16 && h.functionSize != 12:
		return nil
	case header[h.functionSize-1]&0x20 == 0 && h.functionSize == 16:
		at, size = int(w0&(1<<25-1)), int(w1&(1<<15-1))
	case header[h.functionSize-1]&0x20 == 0:
		at, size = int(w0&(1<<25-1)), int(w1&(1<<14-1))
	default: // what does not fit in there is elsewhere
		var large, sizeAt int
		if h.functionSize == 16 {
			large, sizeAt = int(binary.LittleEndian.Uint32(header[8:])&(1<<25-1))<<16|int(w0&0xFFFF), 8
		} else {
			large, sizeAt = int(w1>>14&0xFF)<<24|int(w0&(1<<24-1)), 12
		}
		if large < 0 || large+sizeAt+4 > len(h.data) {
			return nil
		}
		at, size = le32(h.data[large:]), le32(h.data[large+sizeAt:])
	}
	if at < h.storage || at > len(h.data) || size > len(h.data)-at {
		return nil
	}
	return h.data[at : at+size]
}

// length returns how long the first instruction of body is, or 0.
func (c *hermesCode) length(body []byte) int {
	if int(body[0]) >= len(c.lengths) {
		return 0
	}
	n := int(c.lengths[body[0]] - '0')
	if n > 9 {
		n -= 'a' - '0' - 10
	}
	if n > len(body) {
		return 0
	}
	return n
}

func (c *hermesCode) fits(body []byte) bool {
	if len(body) == 0 {
		return false
	}
	for len(body) > 0 {
		n := c.length(body)
		if n == 0 {
			return false
		}
		body = body[n:]
	}
	return true
}

type hermesWalk struct {
	*hermesFile
	code    *hermesCode
	e       *emission
	key     []byte
	value   []byte
	strings [256]int // those in the registers, plus 1
}

// function gives what the instructions of body give names to, and reports false when there has been too much. Of
// jumps nothing is known: a register holds what was put there last on the way from the beginning.
func (w *hermesWalk) function(body []byte) bool {
	if !w.e.step(len(body)) { // functions may overlap
		return false
	}
	w.strings = [256]int{}
	for len(body) > 0 {
		n := w.code.length(body)
		in := body[:n]
		body = body[n:]
		class := byte('.')
		if int(in[0]) < len(w.code.classes) {
			class = w.code.classes[in[0]]
		}
		last := func(size int) int {
			var b [4]byte
			copy(b[:], in[n-size:])
			return le32(b[:])
		}
		ok, holds := true, 0
		switch class {
		case hermesObject, hermesObjectLong:
			ok = w.object(in[2:])
		case hermesString:
			holds = last(2) + 1
		case hermesStringLong:
			holds = last(4) + 1
		case hermesMove:
			holds = w.strings[in[2]]
		case hermesPut1:
			ok = w.pair(last(1), w.strings[in[2]]-1)
		case hermesPut2:
			ok = w.pair(last(2), w.strings[in[2]]-1)
		case hermesPut4:
			ok = w.pair(last(4), w.strings[in[2]]-1)
		}
		if !ok {
			return false
		}
		if n > 1 {
			w.strings[in[1]] = holds
		}
	}
	return true
}

func (w *hermesWalk) pair(key, value int) bool {
	b, off, wide := w.bytes(value)
	if len(b) == 0 {
		return true
	}
	t := text{b: b, off: off, named: true}
	if wide {
		w.value = appendUTF16(w.value[:0], b, binary.LittleEndian)
		t.b, t.made = w.value, true
	}
	if k, _, _ := w.bytes(key); len(k) == 0 || len(k) > 4*keyLimit {
		return true
	}
	w.key = w.appendString(w.key[:0], key)
	t.key = keyTail(w.key)
	return w.e.give(t)
}

// object gives the strings among the values of an object that is made of literals. What cannot be read is left out.
func (w *hermesWalk) object(operands []byte) bool {
	short := len(operands) == 4 || len(operands) == 8
	var keys, values, count int
	switch {
	case len(operands) < 4:
		return true
	case w.version < 97 && short:
		count = int(binary.LittleEndian.Uint16(operands[2:]))
		keys, values = int(binary.LittleEndian.Uint16(operands[4:])), int(binary.LittleEndian.Uint16(operands[6:]))
	case w.version < 97:
		count, keys, values = int(binary.LittleEndian.Uint16(operands[2:])), le32(operands[4:]), le32(operands[8:])
	default:
		shape := int(binary.LittleEndian.Uint16(operands))
		values = int(binary.LittleEndian.Uint16(operands[2:]))
		if !short {
			shape, values = le32(operands), le32(operands[4:])
		}
		if shape >= len(w.shapes)/8 {
			return true
		}
		keys, count = le32(w.shapes[8*shape:]), le32(w.shapes[8*shape+4:])
	}
	if keys >= len(w.keys) || values >= len(w.values) {
		return true
	}
	k, v := hermesLiterals{b: w.keys[keys:]}, hermesLiterals{b: w.values[values:]}
	for range count {
		if !w.e.step(1) {
			return false
		}
		if !k.next() || !v.next() {
			break
		}
		if k.isString && v.isString && !w.pair(k.value, v.value) {
			return false
		}
	}
	return true
}

// hermesLiterals reads a buffer of literals: sequences of one type, each after a tag with the type and the length. A
// sequence that is longer than a tag can say is several. See hermes/BCGen/SerializedLiteralGenerator.h.
type hermesLiterals struct {
	b        []byte
	tag      byte
	left     int  // of the sequence
	long     bool // the sequence is as long as can be
	value    int
	isString bool
	isInt    bool
	starts   bool // the literal is the first of a sequence
}

// Tags. One of them has changed its meaning, from a string to undefined, and is told apart by who reads it: an index
// of one byte is of a key nobody asks for.
const (
	hermesLongString  = 4
	hermesShortString = 5
	hermesByteString  = 6
	hermesInteger     = 7
	hermesNumber      = 3
)

func (l *hermesLiterals) next() bool {
	l.starts = false
	for l.left == 0 {
		if len(l.b) == 0 {
			return false
		}
		l.tag, l.left = l.b[0]>>4&7, int(l.b[0]&15)
		l.starts = !l.long
		long := l.b[0]&0x80 != 0
		l.b = l.b[1:]
		if long {
			if len(l.b) == 0 {
				return false
			}
			l.left, l.b = l.left<<8|int(l.b[0]), l.b[1:]
		}
		l.long = l.left == 1<<12-1
	}
	l.left--
	l.isString, l.isInt = false, false
	size := [8]int{hermesNumber: 8, hermesLongString: 4, hermesShortString: 2, hermesByteString: 1, hermesInteger: 4}[l.tag]
	if size > len(l.b) {
		l.b, l.left = nil, 0
		return false
	}
	var b [4]byte
	copy(b[:], l.b[:min(size, 4)])
	switch l.tag {
	case hermesLongString, hermesShortString, hermesByteString:
		l.isString, l.value = true, le32(b[:])
	case hermesInteger:
		l.isInt, l.value = true, int(int32(binary.LittleEndian.Uint32(b[:]))) //nolint:gosec // two's complement
	}
	l.b = l.b[size:]
	return true
}

// literalTexts gives the arrays of numbers that can be characters.
func (h *hermesFile) literalTexts(e *emission) {
	const shortest = 6
	var numbers numberText
	off := 0
	flush := func() bool {
		ok := numbers.count < shortest || e.give(text{b: numbers.bytes(), off: off, made: true})
		numbers.reset()
		return ok
	}
	l := hermesLiterals{b: h.arrays}
	for {
		at := h.arraysAt + len(h.arrays) - len(l.b)
		more := l.next()
		if !more || l.starts || !l.isInt || !numbers.fits(l.value) {
			if !flush() || !more {
				return
			}
		}
		if l.isInt && numbers.fits(l.value) {
			if numbers.count == 0 {
				off = at
			}
			numbers.add(l.value)
		}
	}
}

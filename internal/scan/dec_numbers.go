package scan

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// numberText is the text that numbers stand for: bytes, signed or not, as long as all of them can be, else characters.
type numberText struct {
	b     []byte
	wide  bool
	count int
}

func (t *numberText) fits(v int) bool {
	return v >= math.MinInt8 && v <= utf8.MaxRune
}

func (t *numberText) add(v int) {
	t.count++
	if v > math.MaxUint8 && !t.wide {
		t.wide = true
		bytes := t.b
		t.b = make([]byte, 0, 2*len(bytes)+64)
		for _, c := range bytes {
			t.b = utf8.AppendRune(t.b, rune(c))
		}
	}
	if !t.wide {
		t.b = append(t.b, byte(v)) //nolint:gosec // of −1 the byte is 0xFF
		return
	}
	t.b = utf8.AppendRune(t.b, rune(v&utf8.MaxRune))
}

func (t *numberText) bytes() []byte { return t.b }

func (t *numberText) reset() {
	t.b, t.wide, t.count = t.b[:0], false, 0
}

// minNumbers is how many numbers in a row are taken for a text.
const minNumbers = 8

// numberTexts gives what rows of numbers in a text spell: [67, 0x61, 0146, 'x', -12, (byte) 3, 4.toByte()]. The key is
// the name that the row is assigned to, or the function that it is given to.
func numberTexts(data []byte, emit func(text)) {
	var row numberText
	for i := 0; i < len(data); {
		if !numberFirst[data[i]] {
			i++
			continue
		}
		if i > 0 && (identifierByte[data[i-1]] || data[i-1] == '.') && data[i] != '(' {
			if isDigit(data[i]) {
				i = skipWord(data, i)
			} else {
				i++
			}
			continue
		}
		first := i
		end := i // of the last number
		for i < len(data) {
			v, next, ok := number(data, i)
			if !ok || !row.fits(v) {
				i = max(next, i+1) // no row goes on here, and none begins before
				break
			}
			row.add(v)
			end = next
			if i = separator(data, next); i == next {
				break
			}
		}
		if row.count >= minNumbers {
			key := rowKey(data, first)
			emit(text{b: row.bytes(), off: first, key: key, named: key != "", made: true})
		}
		row.reset()
		i = max(i, end)
	}
}

// numberFirst says of each byte whether a number can begin with it.
var numberFirst = func() (table [256]bool) {
	for c := '0'; c <= '9'; c++ {
		table[c] = true
	}
	table['-'], table['\''], table['('] = true, true, true
	return table
}()

// identifierByte says of each byte whether it can be part of a name, or of a number.
var identifierByte = func() (table [256]bool) {
	for c := range table {
		table[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
	}
	return table
}()

func skipWord(data []byte, i int) int {
	for i++; i < len(data) && identifierByte[data[i]]; i++ {
	}
	return i
}

// number reads the number at i. Where there is none, next is where to go on looking for one.
func number(data []byte, i int) (v, next int, ok bool) {
	if data[i] == '(' {
		if !bytes.HasPrefix(data[i:], []byte("(byte)")) && !bytes.HasPrefix(data[i:], []byte("(char)")) {
			return 0, i + 1, false
		}
		for i += len("(byte)"); i < len(data) && data[i] == ' '; i++ {
		}
	}
	negative := false
	if i < len(data) && data[i] == '-' {
		negative = true
		i++
	}
	switch {
	case i == len(data):
		return 0, i, false
	case data[i] == '\'' && !negative:
		v, next, ok = charLiteral(data, i)
	case data[i] >= '0' && data[i] <= '9':
		v, next, ok = integer(data, i)
	default:
		return 0, i, false
	}
	if negative {
		v = -v
	}
	return v, next, ok
}

// integer reads a number without a sign, and the suffixes of Java, C, Go, Rust and Kotlin.
func integer(data []byte, i int) (v, next int, ok bool) {
	base, digits := 10, 0
	if data[i] == '0' && i+1 < len(data) {
		switch c := data[i+1]; {
		case c == 'x' || c == 'X':
			base, i = 16, i+2
		case c == 'b' || c == 'B':
			base, i = 2, i+2
		case c == 'o':
			base, i = 8, i+2
		case c >= '0' && c <= '9':
			base = 8
		}
	}
	for ; i < len(data); i++ {
		d := digitOf(data[i])
		if data[i] == '_' && digits > 0 {
			continue
		}
		if d >= base {
			break
		}
		if v = v*base + d; v > utf8.MaxRune {
			return 0, skipWord(data, i), false
		}
		digits++
	}
	if i < len(data) && identifierByte[data[i]] {
		end := skipWord(data, i)
		switch string(data[i:end]) {
		case "u", "U", "l", "L", "n", "u8", "i8", "UL", "uL":
			i = end
		default:
			return 0, end, false
		}
	}
	if i+1 < len(data) && data[i] == '.' {
		switch rest := data[i:]; {
		case bytes.HasPrefix(rest, []byte(".toByte()")):
			i += len(".toByte()")
		case bytes.HasPrefix(rest, []byte(".toUByte()")):
			i += len(".toUByte()")
		case rest[1] >= '0' && rest[1] <= '9':
			return 0, skipWord(data, i+1), false
		}
	}
	return v, i, digits > 0
}

func digitOf(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return 99
}

// charLiteral reads 'a' and '\n'.
func charLiteral(data []byte, i int) (v, next int, ok bool) {
	r, n := utf8.DecodeRune(data[i+1:])
	next = i + 1 + n
	if r == '\\' {
		var buf [4]byte
		out, size := unescapeOne(buf[:0], data[i+1:])
		if size < 2 {
			return 0, i + 1, false
		}
		r, _ = utf8.DecodeRune(out)
		if len(out) == 1 {
			r = rune(out[0])
		}
		next = i + 1 + size
	}
	if next >= len(data) || data[next] != '\'' || next == i+1 {
		return 0, i + 1, false
	}
	return int(r), next + 1, true
}

// separator skips what stands between two numbers of a row: one comma or semicolon, and white space.
func separator(data []byte, i int) int {
	seen := false
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		case (c == ',' || c == ';') && !seen:
			seen = true
		default:
			return i
		}
	}
	return i
}

// rowKey looks before the row that begins at i, within what one declaration takes, for the name that it is assigned to
// or the function that it is given to.
func rowKey(data []byte, i int) string {
	const far = 96
	from := max(0, i-far)
	called := ""
	for i > from {
		switch c := data[i-1]; {
		case c == '=' || c == ':':
			if name := nameBefore(data, from, i-1); name != "" {
				return name
			}
			return called
		case c == '(' && called == "":
			called = nameBefore(data, from, i-1)
		case c == ';' || c == ',' || c == '"' || c == '\'' || c == '}' || c == ')':
			return called
		}
		i--
	}
	return called
}

// nameBefore returns the name that ends at i, but for white space, empty brackets and the quotes of a key.
func nameBefore(data []byte, from, i int) string {
	for i > from && bytes.IndexByte([]byte(" \t\r\n[]\"':"), data[i-1]) >= 0 {
		i--
	}
	end := i
	for i > from && (identifierByte[data[i-1]] || data[i-1] == '.') {
		i--
	}
	return string(data[i:end])
}

package scan

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// A run longer than runPiece is given in pieces, each of which begins with the last runOverlap bytes of the one
// before: what is looked for is shorter than that, and so whole in one of them.
const (
	runPiece   = 64 << 10
	runOverlap = 4 << 10
)

// runPrintable says of each byte below 0x80 whether it belongs to text. Line ends do, so that a PEM block in a
// format that nobody knows stays in one piece.
var runPrintable = func() (table [256]bool) {
	for c := ' '; c <= '~'; c++ {
		table[c] = true
	}
	table['\t'], table['\n'], table['\r'] = true, true, true
	return table
}()

// runs gives what can be read in bytes of which nobody knows the format: the longest runs of printable ASCII and of
// characters in UTF-8, of minLen bytes or more, and runs of as many characters in UTF-16LE. Six characters in a row must
// be of ASCII, or of Latin 1 in UTF-16: any two bytes are a letter of some script. What it gives in all is at most 3
// times the data.
func runs(data []byte, minLen int, emit func(text)) {
	runsAt(data, 0, minLen, emit)
}

// runsAt is runs of data that lies at base in what the caller was given.
func runsAt(data []byte, base, minLen int, emit func(text)) {
	plainRuns(data, base, minLen, emit)
	wideRuns(data, base, minLen, emit)
}

// plainRuns looks at every third place, whether four characters of ASCII lie there: of six in a row four do.
func plainRuns(data []byte, base, minLen int, emit func(text)) {
	const ones, tops, spaces = 0x01010101, 0x80808080, 0x20202020
	step := max(1, min(3, minLen-3))
	told := 0 // what is before was looked at
	for i := 0; i+4 <= len(data); i += step {
		w := binary.LittleEndian.Uint32(data[i:])
		if (w|(w+ones))&tops != 0 || ((w|tops)-spaces)&tops != tops {
			continue
		}
		start := plainStart(data, i, told)
		end := plainEnd(data, i+4)
		if end-start >= minLen {
			runPieces(data[start:end], base+start, emit)
		}
		told = end
		i = end + 1 - step // what has ended the run belongs to none
	}
}

// plainStart goes back from i, as far as told, over printable characters.
func plainStart(data []byte, i, told int) int {
	for i > told {
		if runPrintable[data[i-1]] {
			i--
			continue
		}
		r, n := utf8.DecodeLastRune(data[told:i])
		if n < 2 || !unicode.IsPrint(r) {
			break
		}
		i -= n
	}
	return i
}

// plainEnd goes on from i over printable characters.
func plainEnd(data []byte, i int) int {
	for i < len(data) {
		if runPrintable[data[i]] {
			i++
			for i+8 <= len(data) && allASCII(binary.LittleEndian.Uint64(data[i:])) {
				i += 8
			}
			continue
		}
		n := printableRune(data[i:])
		if n == 0 {
			break
		}
		i += n
	}
	return i
}

// allASCII reports eight printable characters of ASCII.
func allASCII(w uint64) bool {
	const ones, tops, spaces = 0x0101010101010101, 0x8080808080808080, 0x2020202020202020
	return (w|(w+ones))&tops == 0 && ((w|tops)-spaces)&tops == tops
}

// wideRuns looks at every fourth place, whether four characters of Latin 1 lie there, in step or not: of six in a row
// four do.
func wideRuns(data []byte, base, minLen int, emit func(text)) {
	const second = 0xFF00FF00FF00FF00 // the bytes that are zero in characters of Latin 1
	var scratch []byte
	told := 0 // what is before was given
	for i := 0; i+8 <= len(data); i += 4 {
		at := i
		switch w := binary.LittleEndian.Uint64(data[i:]); {
		case w == 0:
			continue
		case w&second == 0:
		case w&^second == 0:
			at++
		default:
			continue
		}
		at = max(at, told)
		end := wideRun(data, at)
		if end == at {
			continue
		}
		first := wideStart(data, at, told)
		if (end-first)/2 >= minLen {
			scratch = widePieces(data[first:end], base+first, scratch, emit)
		}
		told = end - 1 // its second half may be the first of another
		i = max(i, (end-8)&^3)
	}
}

// printableRune returns the size of the character that is not ASCII at the beginning of b, or 0.
func printableRune(b []byte) int {
	if len(b) < 2 || b[0] < 0xC2 || b[0] > 0xF4 || b[1]&0xC0 != 0x80 {
		return 0
	}
	r, n := utf8.DecodeRune(b)
	if n < 2 || !unicode.IsPrint(r) {
		return 0
	}
	return n
}

func runPieces(b []byte, off int, emit func(text)) {
	for len(b) > runPiece {
		cut := runPiece
		for cut > runPiece-utf8.UTFMax && !utf8.RuneStart(b[cut]) {
			cut--
		}
		emit(text{b: b[:cut], off: off})
		next := cut - runOverlap
		for next < cut && !utf8.RuneStart(b[next]) {
			next++
		}
		b, off = b[next:], off+next
	}
	emit(text{b: b, off: off})
}

// wideRun returns where the characters in UTF-16LE that begin at i end.
func wideRun(data []byte, i int) int {
	for i+1 < len(data) {
		u := binary.LittleEndian.Uint16(data[i:])
		switch {
		case u < 0x80 && runPrintable[u]:
		case u < 0xA0:
			return i
		case u&0xFF == 0 && i+3 < len(data) && data[i+2] == 0 && runPrintable[data[i+1]] && runPrintable[data[i+3]]:
			return i // ASCII, but not in step
		case u&0xFC00 == 0xD800:
			if i+3 >= len(data) || data[i+3]&0xFC != 0xDC {
				return i
			}
			i += 2
		case u&0xFC00 == 0xDC00 || !unicode.IsPrint(rune(u)):
			return i
		}
		i += 2
	}
	return i
}

// wideStart goes back from i, as far as told, over Latin letters and ASCII.
func wideStart(data []byte, i, told int) int {
	for i-2 >= told {
		u := binary.LittleEndian.Uint16(data[i-2:])
		if u >= 0x80 && u < 0xC0 || u > 0x24F || u < 0x80 && !runPrintable[u] {
			break
		}
		i -= 2
	}
	return i
}

func widePieces(b []byte, off int, scratch []byte, emit func(text)) []byte {
	for {
		piece := b
		if len(b) > runPiece {
			piece = b[:runPiece]
			if b[runPiece-1]&0xFC == 0xD8 {
				piece = b[:runPiece-2] // not between surrogates
			}
		}
		scratch = appendUTF16(scratch[:0], piece, binary.LittleEndian)
		emit(text{b: scratch, off: off, made: true})
		if len(piece) == len(b) {
			return scratch
		}
		next := len(piece) - runOverlap
		b, off = b[next:], off+next
	}
}

package scan

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// emission hands on what a decoder finds and keeps account of it. A file can refer to the same bytes again and again,
// so that a few megabytes spell out to terabytes; what an honest file costs is proportional to its size.
type emission struct {
	emit  func(text)
	bytes int // of texts and keys that may still be given
	steps int // elements that may still be looked at
	over  bool
	err   error  // the first that was found wrong
	key   []byte // scratch
}

// newEmission allows texts and keys of times the size of the data, and the same number of steps.
func newEmission(emit func(text), size, times int) *emission {
	return &emission{emit: emit, bytes: size*times + 64<<10, steps: size*times + 64<<10}
}

// keyLimit is how much of a key is kept: its end, since that names the value best. A key is repeated for every value
// under it, so it must not be as long as the file.
const keyLimit = 256

// give emits t, and reports false when there has been too much.
func (e *emission) give(t text) bool {
	if len(t.b) == 0 {
		return e.step(1)
	}
	if !e.charge(len(t.b) + len(t.key) + 1) {
		return false
	}
	e.emit(t)
	return true
}

// charge accounts for bytes that are handled without being emitted.
func (e *emission) charge(n int) bool {
	if e.bytes -= n; e.bytes < 0 {
		e.over = true
	}
	return !e.over
}

func (e *emission) step(n int) bool {
	if e.steps -= n; e.steps < 0 {
		e.over = true
	}
	return !e.over
}

// fail keeps the first error; reading goes on with what can still be read.
func (e *emission) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// result is what the decoder returns: that something was left out for its size outweighs what else was wrong.
func (e *emission) result(what string) error {
	if e.over {
		return tooMuch{what}
	}
	return e.err
}

// tooMuch is errTooMuch with the format in which it happened.
type tooMuch struct{ what string }

func (t tooMuch) Error() string {
	return t.what + ": strings referred to too often: " + errTooMuch.Error()
}
func (t tooMuch) Unwrap() error { return errTooMuch }

// joined makes a key of parts, of which the last keyLimit bytes are kept.
func (e *emission) joined(parts ...[]byte) string {
	e.key = e.key[:0]
	for _, p := range parts {
		e.key = append(e.key, p[max(0, len(p)-keyLimit):]...)
	}
	return keyTail(e.key)
}

func keyTail(key []byte) string {
	if len(key) > keyLimit {
		key = key[len(key)-keyLimit:]
		for i := 0; i < utf8.UTFMax && i < len(key); i++ {
			if utf8.RuneStart(key[i]) {
				return string(key[i:])
			}
		}
	}
	return string(key)
}

func asciiOnly(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isPlain reports that b is text in UTF-8 without control characters but tabs and line ends.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// fromMUTF8 returns b, which is in the modified UTF-8 of Java (NUL as C0 80, what is beyond U+FFFF as two surrogates of
// three bytes each), as UTF-8. If b is the same in both, it is returned itself, and made is false; else the result is
// in scratch. Bytes that are in neither stay as they are and ok is false. units is how many UTF-16 units b stands for.
func fromMUTF8(b []byte, scratch *[]byte) (out []byte, units int, made, ok bool) {
	if asciiOnly(b) {
		return b, len(b), false, true
	}
	ok = true
	out = (*scratch)[:0]
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			out = append(out, b[i])
			i, units = i+1, units+1
			continue
		}
		if b[i] == 0xC0 && i+1 < len(b) && b[i+1] == 0x80 {
			out = append(out, 0)
			i, units, made = i+2, units+1, true
			continue
		}
		if r, n := utf8.DecodeRune(b[i:]); n > 1 {
			out = append(out, b[i:i+n]...)
			i, units = i+n, units+1
			if r > 0xFFFF {
				units++
			}
			continue
		}
		if hi := surrogate(b[i:]); hi != 0 {
			lo := surrogate(b[i+3:])
			if hi < 0xDC00 && lo >= 0xDC00 {
				out = utf8.AppendRune(out, (hi-0xD800)<<10+(lo-0xDC00)+0x10000)
				i, units, made = i+6, units+2, true
				continue
			}
			out = append(out, b[i:i+3]...) // alone: there is no character that it is
			i, units = i+3, units+1
			continue
		}
		out = append(out, b[i])
		i, units, ok = i+1, units+1, false
	}
	*scratch = out
	if !made {
		return b, units, false, ok
	}
	return out, units, true, ok
}

// surrogate returns the surrogate that b begins with, in three bytes, or 0.
func surrogate(b []byte) rune {
	if len(b) < 3 || b[0] != 0xED || b[1] < 0xA0 || b[1] > 0xBF || b[2]&0xC0 != 0x80 {
		return 0
	}
	return 0xD000 | rune(b[1]&0x3F)<<6 | rune(b[2]&0x3F)
}

// appendUTF16 appends the UTF-16 in b as UTF-8; an odd byte at the end is left out.
func appendUTF16(dst, b []byte, order binary.ByteOrder) []byte {
	for len(b) >= 2 {
		u := rune(order.Uint16(b))
		b = b[2:]
		if u>>10 == 0xD8>>2 && len(b) >= 2 {
			if lo := rune(order.Uint16(b)); lo>>10 == 0xDC>>2 {
				u = (u-0xD800)<<10 + (lo - 0xDC00) + 0x10000
				b = b[2:]
			}
		}
		dst = utf8.AppendRune(dst, u)
	}
	return dst
}

// le32 reads a number that is a size, a place or an index. What no file can have is cut, so that it fits an int
// everywhere and is found to be too large.
func le32(b []byte) int {
	return int(min(binary.LittleEndian.Uint32(b), math.MaxInt32))
}

// cString returns b up to its first NUL, and whether there is one.
func cString(b []byte) ([]byte, bool) {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return b[:n], true
	}
	return b, false
}

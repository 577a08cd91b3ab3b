package scan

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// The strings in a snapshot of Dart, as Flutter puts into libapp.so and App.framework. Runs find what is in them; here
// each comes alone, and in UTF-8. The layout is inferred from the source of the SDK, without a snapshot at hand:
//
//   - runtime/vm/snapshot.h: the magic number, int64 length, int64 kind, and 32 hex digits of the version.
//   - runtime/vm/app_snapshot.cc, StringSerializationCluster::WriteFill, used with compressed pointers (Android):
//     strings one after another, each an unsigned number and the bytes. The number is the length times 2, plus 1 when
//     they are units of UTF-16.
//   - runtime/vm/datastream.h: such a number is in groups of 7 bits, the lowest first; the last has the high bit.
//   - runtime/vm/raw_object.h, with Snapshot::IncludesStringsInROData, without compressed pointers (iOS): objects at
//     multiples of 8 (32 bits) or 16 from the beginning, of a word of tags, a word with the length times 2, on 32 bits one with the
//     hash, and the bytes.
//
// Nothing is taken from the clusters' own headers, which change with each version: a string is what says its length
// and is printable for just that long.
var dartMagic = []byte{0xF5, 0xF5, 0xDC, 0xDC}

const (
	dartHeader     = 4 + 8 + 8 // the digits are behind
	dartRow        = 6         // strings one after another in a cluster: less is chance
	dartRowBytes   = 24
	dartLongest    = 1 << 20
	dartShortest   = 4 // characters of an object in read-only data
	dartOneByteTop = 0xFF
)

// dartSnapshot returns where the first snapshot in data begins, or −1.
func dartSnapshot(data []byte) int {
	for from := 0; ; {
		n := bytes.Index(data[from:], dartMagic)
		if n < 0 {
			return -1
		}
		at := from + n
		from = at + 1
		if len(data)-at < dartHeader+32 {
			return -1
		}
		digits := 0
		for _, c := range data[at+dartHeader:][:32] {
			if digitOf(c) < 16 {
				digits++
			}
		}
		if digits == 32 {
			return at
		}
	}
}

// dartTexts gives the strings of the snapshots in data, which lies at base.
func dartTexts(data []byte, base int, e *emission) {
	start := dartSnapshot(data)
	if start < 0 {
		return
	}
	d := dart{data: data, base: base, e: e, steps: 32 * len(data)}
	d.clusters(start)
	d.objects(start, 8, 16, 16) // object: length at, bytes at, alignment
	d.objects(start, 4, 12, 8)
}

type dart struct {
	data    []byte
	base    int
	e       *emission
	scratch []byte
	steps   int // bytes that may still be looked at

	textStart, textEnd int // what is known to be printable
}

// clusters gives rows of strings of which each says how long it is.
func (d *dart) clusters(i int) {
	for i < len(d.data) && !d.e.over {
		n, size, last := 0, 0, i
		for {
			next, bytes := d.string(last)
			if next < 0 {
				break
			}
			n, size, last = n+1, size+bytes, next
		}
		if n < dartRow || size < dartRowBytes {
			i++
			continue
		}
		for i < last {
			i = d.give(i)
			if i < 0 {
				return
			}
		}
	}
}

// string returns where the string that begins at i with its length ends, or −1 if there is none, and its bytes.
func (d *dart) string(i int) (end, size int) {
	at, n, wide := d.length(i)
	if n == 0 {
		return -1, 0
	}
	if wide {
		if 2*n > len(d.data)-at || !d.isWide(at, n) {
			return -1, 0
		}
		return at + 2*n, 2 * n
	}
	if n > len(d.data)-at || !d.isText(at, at+n) {
		return -1, 0
	}
	return at + n, n
}

func (d *dart) length(i int) (at, n int, wide bool) {
	v := 0
	for shift := 0; shift < 28 && i < len(d.data); shift += 7 {
		c := d.data[i]
		i++
		v |= int(c&0x7F) << shift
		if c >= 0x80 {
			if v>>1 > dartLongest {
				return i, 0, false
			}
			return i, v >> 1, v&1 != 0
		}
	}
	return i, 0, false
}

// isText reports whether all of what is between is printable as Latin 1. What was looked at once is not again.
func (d *dart) isText(start, end int) bool {
	if start < d.textStart || start >= d.textEnd {
		d.textStart, d.textEnd = start, start
	}
	for d.textEnd < end {
		if d.steps--; d.steps < 0 {
			d.e.over = true
			return false
		}
		c := d.data[d.textEnd]
		if !runPrintable[c] && c < 0xA0 {
			return false
		}
		d.textEnd++
	}
	return true
}

func (d *dart) isWide(at, n int) bool {
	if n > 4096 {
		return false
	}
	if d.steps -= n; d.steps < 0 {
		d.e.over = true
		return false
	}
	wide := false
	for i := range n {
		u := binary.LittleEndian.Uint16(d.data[at+2*i:])
		if u < 0x80 && !runPrintable[u] || u == 0xFFFF {
			return false
		}
		wide = wide || u > dartOneByteTop
	}
	return wide // else it were of one byte
}

// give emits the string at i and returns where it ends, or −1 when there has been too much.
func (d *dart) give(i int) int {
	at, n, wide := d.length(i)
	end := at + n
	if wide {
		end += n
	}
	if !d.emit(at, end, wide) {
		return -1
	}
	return end
}

func (d *dart) emit(at, end int, wide bool) bool {
	t := text{b: d.data[at:end], off: d.base + at}
	switch {
	case wide:
		d.scratch = d.scratch[:0]
		for i := at; i+1 < end; i += 2 {
			r := rune(binary.LittleEndian.Uint16(d.data[i:]))
			if utf16.IsSurrogate(r) && i+3 < end {
				if both := utf16.DecodeRune(r, rune(binary.LittleEndian.Uint16(d.data[i+2:]))); both != utf8.RuneError {
					r = both
					i += 2
				}
			}
			d.scratch = utf8.AppendRune(d.scratch, r)
		}
		t.b, t.made = d.scratch, true
	case !asciiOnly(t.b):
		d.scratch = d.scratch[:0]
		for _, c := range t.b {
			d.scratch = utf8.AppendRune(d.scratch, rune(c))
		}
		t.b, t.made = d.scratch, true
	}
	return d.e.give(t)
}

// objects gives the strings that lie in memory as they will be used. A string is padded with zeros up to the next.
func (d *dart) objects(start, lengthAt, bytesAt, alignment int) {
	for i := start; i+bytesAt < len(d.data) && !d.e.over; i += alignment {
		n := binary.LittleEndian.Uint32(d.data[i+lengthAt:])
		if n&1 != 0 || n>>1 < dartShortest || n>>1 > dartLongest || d.data[i] == 0 {
			continue
		}
		if lengthAt == 8 && binary.LittleEndian.Uint32(d.data[i+12:]) != 0 {
			continue
		}
		at := i + bytesAt
		end := at + int(n>>1)
		if end >= len(d.data) || d.data[end] != 0 && (end-start)%alignment != 0 || !d.isText(at, end) {
			continue
		}
		if !d.emit(at, end, false) {
			return
		}
		i += (end - i - 1) / alignment * alignment // the next behind it
	}
}

package scan

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The bytecode of Hermes, which runs React Native apps. Its format is that of hermes/BCGen/HBC/BytecodeFileFormat.h,
// which changes with each version and has changed under one version number, too. What leads to the strings has not
// since version 76: the first words of the header, and the order of the tables after it. Only the size of a function
// header, of which there is a table before, has to be found out. Everything else here (literals, names) is
// read only where it can be checked, and left out otherwise: the strings are complete without it.
const (
	hermesMagic      = 0x1F1903C103BC1FC6
	hermesHeaderSize = 128
	hermesOldest     = 76 // these versions were tried with the compilers that make them; see hermesVersions
	hermesNewest     = 99
	hermesFooterSize = 20 // a hash of the file
)

func isHermes(data []byte) bool {
	return len(data) >= 12 && binary.LittleEndian.Uint64(data) == hermesMagic
}

// hermesFile is what the header says, and where the tables are.
type hermesFile struct {
	data    []byte
	version uint32
	words   [22]int // of the header, after the hash of the source

	functionSize                  int // bytes of a function header
	kinds, small, large, storage  int // where these tables begin; all but the storage are within data
	strings, overflows, functions int // entries

	arrays, keys, values, shapes []byte // buffers of literals; values are the arrays in the versions with shapes
	arraysAt, debug              int    // where they begin
}

// The words of the header whose place did not change.
const (
	hermesLength = iota
	_
	hermesFunctions
	hermesKinds
	hermesIdentifiers
	hermesStrings
	hermesOverflows
	hermesStorage
)

func hermesTexts(data []byte, emit func(text)) error {
	e := newEmission(emit, len(data), 6)
	if len(data) < hermesHeaderSize {
		runs(data, minRun, emit)
		return fmt.Errorf("hermes: header of %d bytes: %w", len(data), errDamaged)
	}
	h := hermesFile{data: data, version: binary.LittleEndian.Uint32(data[8:])}
	for i := range h.words {
		h.words[i] = le32(data[32+4*i:])
	}
	if !h.locate() {
		runs(data, minRun, emit)
		if h.version < hermesOldest || h.version > hermesNewest {
			return fmt.Errorf("hermes: version %d: %w", h.version, errVersion)
		}
		return fmt.Errorf("hermes: version %d: tables do not fit: %w", h.version, errDamaged)
	}
	if h.words[hermesLength] > len(data) {
		e.fail(fmt.Errorf("hermes: %d bytes of %d: %w", len(data), h.words[hermesLength], errDamaged))
	}
	h.tableTexts(e)
	h.literalTexts(e)
	h.pairTexts(e)
	h.restTexts(e)
	return e.result("hermes")
}

// locate finds the tables, and reports whether they are what they must be. The kinds of the strings are run-length
// encoded before the strings, and must come to the numbers in the header; no wrong size passes by chance.
func (h *hermesFile) locate() bool {
	sizes := []int{16, 12, 20, 24, 28, 32, 8}
	if h.version > 97 {
		sizes[0], sizes[1] = 12, 16
	}
	h.functions, h.strings, h.overflows = h.words[hermesFunctions], h.words[hermesStrings], h.words[hermesOverflows]
	for _, size := range sizes {
		h.functionSize = size
		h.kinds = hermesHeaderSize + h.functions*size
		hashes := h.kinds + 4*h.words[hermesKinds]
		h.small = hashes + 4*h.words[hermesIdentifiers]
		h.large = h.small + 4*h.strings
		h.storage = h.large + 8*h.overflows
		if h.storage > len(h.data) || h.kinds < 0 || hashes < h.kinds || h.small < hashes || h.large < h.small {
			continue // the second half: 32 bits
		}
		if h.kindsFit(h.data[h.kinds:hashes]) && h.stringsFit() {
			h.locateRest()
			return true
		}
	}
	return false
}

func (h *hermesFile) kindsFit(table []byte) bool {
	strings, identifiers := 0, 0
	for ; len(table) >= 4; table = table[4:] {
		entry := binary.LittleEndian.Uint32(table)
		n := int(entry &^ (1 << 31))
		if strings += n; strings > h.strings {
			return false
		}
		if entry>>31 != 0 {
			identifiers += n
		}
	}
	return strings == h.strings && identifiers == h.words[hermesIdentifiers]
}

func (h *hermesFile) stringsFit() bool {
	for i := range h.strings {
		at, n, wide := h.place(i)
		if wide {
			n *= 2
		}
		if at < 0 || at+n > h.words[hermesStorage] {
			return false
		}
	}
	return true
}

// place returns where in the storage string i is, and its length in units. Where the table of long strings has no
// such entry, at is −1.
func (h *hermesFile) place(i int) (at, n int, wide bool) {
	entry := binary.LittleEndian.Uint32(h.data[h.small+4*i:])
	wide = entry&1 != 0
	at, n = int(entry>>1&(1<<23-1)), int(entry>>24)
	if n == 0xFF {
		if at >= h.overflows {
			return -1, 0, false
		}
		long := h.data[h.large+8*at:]
		at, n = le32(long), le32(long[4:])
	}
	return at, n, wide
}

// bytes returns string i as it is stored, and where; nil when it is not there.
func (h *hermesFile) bytes(i int) (b []byte, off int, wide bool) {
	if i < 0 || i >= h.strings {
		return nil, 0, false
	}
	at, n, wide := h.place(i)
	if wide {
		n *= 2
	}
	at += h.storage
	if n < 0 || at > len(h.data) || n > len(h.data)-at {
		return nil, 0, false
	}
	return h.data[at : at+n], at, wide
}

// appendString appends string i in UTF-8.
func (h *hermesFile) appendString(dst []byte, i int) []byte {
	b, _, wide := h.bytes(i)
	if wide {
		return appendUTF16(dst, b, binary.LittleEndian)
	}
	return append(dst, b...)
}

// locateRest finds the buffers of literals, which lie behind the strings; those that are not where they should be
// stay empty.
func (h *hermesFile) locateRest() {
	first := 10 // word
	if h.version >= 87 {
		first = 12 // two words of bigints before it
	}
	sizes := h.words[first : first+3]
	h.debug = hermesDebug(h)
	at := h.storage + h.words[hermesStorage]
	buffers := [3]*[]byte{&h.arrays, &h.keys, &h.values}
	for i, size := range sizes {
		if i == 2 && h.version >= 97 {
			size, buffers[2] = 8*size, &h.shapes
		}
		at = (at + 3) &^ 3
		if at < 0 || at > len(h.data) || size < 0 || size > len(h.data)-at {
			h.arrays, h.keys, h.values, h.shapes = nil, nil, nil, nil
			return
		}
		*buffers[i] = h.data[at : at+size]
		if i == 0 {
			h.arraysAt = at
		}
		at += size
	}
	if h.version >= 97 {
		h.values = h.arrays
	}
}

// hermesDebug finds where the debugging information begins. The word has moved often: it is the last of the header that
// is not zero, but for the flags, and points behind the strings.
func hermesDebug(h *hermesFile) int {
	end := min(h.words[hermesLength], len(h.data)) - hermesFooterSize
	for i := len(h.words) - 1; i > 12; i-- {
		if at := h.words[i]; at >= h.storage+h.words[hermesStorage] && at < end {
			return at
		}
	}
	return max(0, end)
}

func (h *hermesFile) tableTexts(e *emission) {
	var scratch []byte
	for i := range h.strings {
		b, off, wide := h.bytes(i)
		if b == nil {
			e.fail(fmt.Errorf("hermes: string %d is beyond the end: %w", i, errDamaged))
			continue
		}
		t := text{b: b, off: off}
		if wide {
			scratch = appendUTF16(scratch[:0], b, binary.LittleEndian)
			t.b, t.made = scratch, true
		}
		if !e.give(t) {
			return
		}
	}
}

// restTexts gives what is readable in the debugging information (names of files and variables) and behind the end.
func (h *hermesFile) restTexts(e *emission) {
	rest := h.data[h.debug:]
	if bytes.IndexByte(rest, 0) < 0 && len(rest) <= hermesFooterSize {
		return
	}
	runsAt(rest, h.debug, minRun, func(t text) { e.give(t) })
}

package scan

import (
	"encoding/binary"
	"fmt"
)

// The magic numbers of Mach-O, as they are in a file of big-endian order.
const (
	machMagic32 = 0xFEEDFACE
	machMagic64 = 0xFEEDFACF
	machFat     = 0xCAFEBABE // that of a class file of Java, too
	machFat64   = 0xCAFEBABF

	// maxArchitectures tells fat files from class files, of which no version is that small, and keeps slices few.
	maxArchitectures = 32
)

func isMachO(data []byte) bool {
	if len(data) < 28 {
		return false
	}
	switch binary.BigEndian.Uint32(data) {
	case machFat, machFat64:
		n := binary.BigEndian.Uint32(data[4:])
		return n > 0 && n < maxArchitectures
	}
	_, _, ok := machOrder(data)
	return ok
}

func machOrder(data []byte) (order binary.ByteOrder, wide, ok bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(data) {
		case machMagic32:
			return order, false, true
		case machMagic64:
			return order, true, true
		}
	}
	return nil, false, false
}

// machOTexts gives what is readable in a Mach-O file, or in each of those of a fat one. It looks at all of the file,
// like elfTexts, but at what is encrypted.
func machOTexts(data []byte, emit func(text)) error {
	e := newEmission(emit, len(data), 8)
	magic := binary.BigEndian.Uint32(data)
	if magic != machFat && magic != machFat64 {
		machSlice(data, 0, e)
		return e.result("mach-o")
	}
	size, wide := 20, magic == machFat64
	if wide {
		size = 32
	}
	var read []span // slices, which may overlap; what is in none of them is looked at, too
	left := 2 * len(data)
	for i := range int(binary.BigEndian.Uint32(data[4:])) {
		at := 8 + i*size
		if at+size > len(data) {
			e.fail(fmt.Errorf("mach-o: architecture %d: %w", i, errDamaged))
			break
		}
		start, length := uint64(binary.BigEndian.Uint32(data[at+8:])), uint64(binary.BigEndian.Uint32(data[at+12:]))
		if wide {
			start, length = binary.BigEndian.Uint64(data[at+8:]), binary.BigEndian.Uint64(data[at+16:])
		}
		if start > uint64(len(data)) {
			e.fail(fmt.Errorf("mach-o: architecture %d is beyond the end: %w", i, errDamaged))
			continue
		}
		if length > uint64(len(data))-start {
			length = uint64(len(data)) - start
			e.fail(fmt.Errorf("mach-o: architecture %d ends beyond the end: %w", i, errDamaged))
		}
		s := span{int(start), int(start + length)} //nolint:gosec // within data
		if left -= s.end - s.start; left < 0 {
			e.over = true
			break
		}
		read = append(read, s)
		machSlice(data[s.start:s.end], s.start, e)
	}
	spanRuns(data, 0, nil, read, func(t text) { e.give(t) })
	return e.result("mach-o")
}

// machSlice gives what is readable in a file of one architecture, which lies at base in another.
func machSlice(data []byte, base int, e *emission) {
	give := func(t text) { e.give(t) }
	if len(data) < 28 {
		runsAt(data, base, minRun, give)
		return
	}
	order, wide, ok := machOrder(data)
	if !ok { // an archive of objects
		runsAt(data, base, minRun, give)
		return
	}
	f := machFile{data: data, base: base, order: order, wide: wide, e: e}
	f.commands()
	spanRuns(data, base, f.code, f.skipped, give)
	f.wideTexts()
	dartTexts(data, base, e)
}

type machFile struct {
	data  []byte
	base  int
	order binary.ByteOrder
	wide  bool
	e     *emission

	code, skipped, wides []span // wides are sections of UTF-16
}

func (f *machFile) u32(at int) int {
	return int(min(f.order.Uint32(f.data[at:]), 1<<31-1))
}

// part returns a part of the file, cut to where the file ends.
func (f *machFile) part(start, size int) (span, bool) {
	if start >= len(f.data) {
		return span{}, false
	}
	return span{start, start + min(size, len(f.data)-start)}, true
}

func (f *machFile) commands() {
	const (
		segment32    = 0x1
		segment64    = 0x19
		encryption32 = 0x21
		encryption64 = 0x2C
	)
	at := 28
	if f.wide {
		at = 32
	}
	for i := range f.u32(16) {
		if at+8 > len(f.data) {
			f.e.fail(fmt.Errorf("mach-o: load command %d: %w", i, errDamaged))
			return
		}
		kind, size := f.u32(at), f.u32(at+4)
		if size < 8 || size > len(f.data)-at {
			f.e.fail(fmt.Errorf("mach-o: load command %d of %d bytes: %w", i, size, errDamaged))
			return
		}
		switch {
		case kind == segment32 && size >= 56:
			f.sections(at+56, at+size, 68, f.u32(at+48), i)
			f.segment(f.u32(at+32), f.u32(at+36), i)
		case kind == segment64 && size >= 72:
			f.sections(at+72, at+size, 80, f.u32(at+64), i)
			f.segment(f.long(at+40), f.long(at+48), i)
		case (kind == encryption32 || kind == encryption64) && size >= 20 && f.u32(at+16) != 0:
			if part, ok := f.part(f.u32(at+8), f.u32(at+12)); ok {
				f.skipped = append(f.skipped, part)
				f.e.fail(fmt.Errorf("mach-o: %d bytes: %w", part.end-part.start, errEncrypted))
			}
		}
		at += size
	}
}

func (f *machFile) long(at int) int {
	return int(min(f.order.Uint64(f.data[at:]), 1<<62)) //nolint:gosec // cut
}

func (f *machFile) segment(start, size, i int) {
	if size > 0 && (start > len(f.data) || size > len(f.data)-start) {
		f.e.fail(fmt.Errorf("mach-o: segment %d ends beyond the end: %w", i, errDamaged))
	}
}

func (f *machFile) sections(at, end, size, n, command int) {
	const (
		instructions = 0x80000000 | 0x00000400 // only, some
		typeMask     = 0xFF
		zeroFill     = 0x1
		zeroFillBig  = 0xC
		zeroFillTLS  = 0x12
	)
	if n > (end-at)/size {
		f.e.fail(fmt.Errorf("mach-o: %d sections in load command %d: %w", n, command, errDamaged))
		n = (end - at) / size
	}
	for range n {
		var start, length int
		var flags uint32
		if size == 80 {
			length, start, flags = f.long(at+40), f.u32(at+48), f.order.Uint32(f.data[at+64:])
		} else {
			length, start, flags = f.u32(at+36), f.u32(at+40), f.order.Uint32(f.data[at+56:])
		}
		name, _ := cString(f.data[at:][:16])
		part, ok := f.part(start, length)
		switch kind := flags & typeMask; {
		case !ok, start == 0, kind == zeroFill, kind == zeroFillBig, kind == zeroFillTLS:
		case flags&instructions != 0:
			f.code = append(f.code, part)
		case string(name) == "__ustring":
			f.wides = append(f.wides, part)
		}
		at += size
	}
}

// wideTexts gives the strings of the sections of UTF-16, which end with a zero, and may be too short or too foreign to
// be found as runs.
func (f *machFile) wideTexts() {
	var scratch []byte
	for _, s := range f.wides {
		if f.isSkipped(s) || !f.e.step(s.end-s.start) { // the sections may be one and the same
			continue
		}
		for at := s.start; at+1 < s.end; {
			end := at
			for end+1 < s.end && (f.data[end] != 0 || f.data[end+1] != 0) {
				end += 2
			}
			if end > at {
				scratch = appendUTF16(scratch[:0], f.data[at:end], f.order)
				if !f.e.give(text{b: scratch, off: f.base + at, made: true}) {
					return
				}
			}
			at = end + 2
		}
	}
}

func (f *machFile) isSkipped(s span) bool {
	if len(f.skipped) > 64 {
		return true // no compiler makes that
	}
	for _, other := range f.skipped {
		if s.start < other.end && other.start < s.end {
			return true
		}
	}
	return false
}

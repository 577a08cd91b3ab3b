package scan

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Code is looked through as well, since compilers put constants between functions, but only for long runs: the shorter
// ones are instructions that happen to be letters.
const minRunInCode = 16

// span is a part of a file.
type span struct{ start, end int }

// spanRuns gives the runs of the data that lies at base, in the order of the file: those in code from minRunInCode on,
// those elsewhere from minRun on. What is in skipped is left out. Spans may overlap, and reach beyond the data.
func spanRuns(data []byte, base int, code, skipped []span, emit func(text)) {
	type edge struct {
		at, code, skipped int
	}
	var edges []edge
	for _, s := range code {
		edges = append(edges, edge{s.start, 1, 0}, edge{s.end, -1, 0})
	}
	for _, s := range skipped {
		edges = append(edges, edge{s.start, 0, 1}, edge{s.end, 0, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	edges = append(edges, edge{at: len(data)})
	from, inCode, inSkipped := 0, 0, 0
	for _, edge := range edges {
		if to := min(edge.at, len(data)); to > from {
			switch {
			case inSkipped > 0:
			case inCode > 0:
				runsAt(data[from:to], base+from, minRunInCode, emit)
			default:
				runsAt(data[from:to], base+from, minRun, emit)
			}
			from = to
		}
		inCode += edge.code
		inSkipped += edge.skipped
	}
}

func isELF(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\x7fELF"))
}

// elfTexts gives what is readable in an ELF file. The section headers tell the code; without them (llvm-strip
// --strip-sections, packers) all of the file is looked through alike, for constants and code share a segment. So
// headers that lie hide nothing.
func elfTexts(data []byte, emit func(text)) error {
	f, ok := elfHeader(data)
	if !ok {
		runs(data, minRun, emit)
		return fmt.Errorf("elf: header: %w", errDamaged)
	}
	spanRuns(data, 0, f.code(), nil, emit)
	e := newEmission(emit, len(data), 2)
	dartTexts(data, 0, e)
	if end := f.fileEnd(); end > len(data) {
		e.fail(fmt.Errorf("elf: segments of %d bytes in %d: %w", end, len(data), errDamaged))
	}
	return e.result("elf")
}

// elfFile reads the headers of an ELF file of either size and order.
type elfFile struct {
	data  []byte
	order binary.ByteOrder
	wide  bool

	segments, sections         int // where the headers are
	segmentSize, sectionSize   int
	segmentCount, sectionCount int
}

func elfHeader(data []byte) (elfFile, bool) {
	f := elfFile{data: data}
	if len(data) < 52 {
		return f, false
	}
	switch data[4] {
	case 1:
	case 2:
		f.wide = true
	default:
		return f, false
	}
	switch data[5] {
	case 1:
		f.order = binary.LittleEndian
	case 2:
		f.order = binary.BigEndian
	default:
		return f, false
	}
	counts := data[42:]
	if f.wide {
		if len(data) < 64 {
			return f, false
		}
		counts = data[54:]
	}
	f.segments, f.sections = f.word(28, 32), f.word(32, 40)
	half := func(i int) int { return int(f.order.Uint16(counts[i:])) }
	f.segmentSize, f.segmentCount = half(0), half(2)
	f.sectionSize, f.sectionCount = half(4), half(6)
	if f.sectionCount == 0 && f.fits(f.sections, f.sectionSize, 1) { // too many for the field
		f.sectionCount = f.word(f.sections+20, f.sections+32)
	}
	return f, true
}

// word reads an address or a size at narrow or wide, by the size of the file. What no file can have becomes 1<<62 or
// math.MaxInt32.
func (f *elfFile) word(narrow, wide int) int {
	if f.wide {
		return int(min(f.order.Uint64(f.data[wide:]), 1<<62)) //nolint:gosec // cut
	}
	return int(min(f.order.Uint32(f.data[narrow:]), 1<<31-1))
}

// fits reports whether n headers of the size are in the file, and are as long as they must be.
func (f *elfFile) fits(at, size, n int) bool {
	least := 40
	if f.wide {
		least = 64
	}
	return at > 0 && size >= least && at <= len(f.data) && n <= (len(f.data)-at)/size
}

// code returns the sections with instructions.
func (f *elfFile) code() (code []span) {
	const (
		nobits = 8
		exec   = 4
	)
	if !f.fits(f.sections, f.sectionSize, f.sectionCount) {
		return nil
	}
	for i := range f.sectionCount {
		at := f.sections + i*f.sectionSize
		if f.order.Uint32(f.data[at+4:]) == nobits || f.word(at+8, at+8)&exec == 0 {
			continue
		}
		start, size := f.word(at+16, at+24), f.word(at+20, at+32)
		if start < len(f.data) {
			code = append(code, span{start, start + min(size, len(f.data)-start)})
		}
	}
	return code
}

// fileEnd returns where the segments that are loaded end in the file.
func (f *elfFile) fileEnd() (end int) {
	const load = 1
	size := 32
	if f.wide {
		size = 56
	}
	if f.segments <= 0 || f.segmentSize < size || f.segments > len(f.data) ||
		f.segmentCount > (len(f.data)-f.segments)/f.segmentSize {
		return 0
	}
	for i := range f.segmentCount {
		at := f.segments + i*f.segmentSize
		if f.order.Uint32(f.data[at:]) != load {
			continue
		}
		start, length := f.word(at+4, at+8), f.word(at+16, at+32)
		if start < 1<<61 && length < 1<<61 {
			end = max(end, start+length)
		}
	}
	return end
}

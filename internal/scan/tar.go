package scan

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// tarBlock is what a tar is made of.
const tarBlock = 512

// tarReader reads a tar: POSIX's with its records, GNU's with its long names, both with sparse files, and that of Unix V7. After what is
// no header it goes on at the next that is one, as tar does with -i. Headers are visited raw.
type tarReader struct {
	w    *walk
	in   nest
	p    *part
	pos  int64
	meta loose // headers

	name    []byte // of the next entry, if not in its header
	size    int64  // likewise, or -1
	sparse  tarSparse
	scratch []byte
	skipped bool // something is no header, and that was told
}

// maxTarMeta is how much of a long name or of records is read. More than a name of 1 MiB, or a map of 30,000 pieces, is
// visited raw and means nothing.
const maxTarMeta = 1 << 20

func (w *walk) tar(in nest, p *part) {
	t := tarReader{w: w, in: in, p: p, size: -1, meta: loose{w: w, path: in.between()}}
	var block [tarBlock]byte
	for !w.over() {
		n, err := fill(p, block[:])
		if n > 0 && skipZeros(block[:n]) == n { // the end, or what pads it
			t.pos += int64(n)
			if err != nil {
				break
			}
			continue
		}
		t.note(block[:n])
		if err != nil {
			if n > 0 && w.atEnd(p) {
				w.report(in.path, fmt.Errorf("tar: %w: it is cut off in a header", errDamaged))
			}
			break
		}
		if !tarChecksum(block[:]) {
			if !t.skipped {
				w.report(in.path, fmt.Errorf("tar: %w: no header at %d", errDamaged, t.pos-tarBlock))
			}
			t.skipped = true
			continue
		}
		t.skipped = false
		if !t.header(block[:]) {
			break
		}
	}
	t.meta.flush(0)
}

// note keeps bytes that are of no entry, to be visited.
func (t *tarReader) note(b []byte) {
	t.meta.note(t.pos, b)
	t.pos += int64(len(b))
}

// header reads the entry of a header. It returns false if there is nothing behind it.
func (t *tarReader) header(h []byte) bool {
	size, ok := tarNumber(h[124:136])
	if !ok || size < 0 {
		t.w.report(t.in.path, fmt.Errorf("tar: %w: no size at %d", errDamaged, t.pos-tarBlock+124))
		return true
	}
	kind := h[156]
	switch kind {
	case 'x', 'g', 'X', 'L', 'K':
		data, ok := t.records(size)
		if !ok {
			return false
		}
		switch kind {
		case 'x', 'X':
			t.name, t.size, t.sparse = nil, -1, tarSparse{} // of several, the last is meant
			t.pax(data)
		case 'L':
			t.name = append([]byte(nil), untilZero(data)...)
		}
		return true
	}
	if t.size >= 0 {
		size = t.size
	}
	name := t.name
	if name == nil {
		name = tarName(h)
	}
	switch kind {
	case '1', '2', '3', '4', '5', '6': // these have no data, whatever they say
		size = 0
	case 'S':
		if !t.oldSparse(h) {
			return false
		}
	}
	sparse := t.sparse
	t.name, t.size, t.sparse = nil, -1, tarSparse{}
	path := t.in.join(name)
	if !t.w.count(path) {
		return false
	}
	t.meta.flush(0)
	e := &part{t.p.br, min(size, t.p.left)}
	t.entry(path, e, sparse)
	missing := e.skip()
	t.took(min(size, t.p.left) - missing)
	if missing == 0 {
		missing = t.pad(size)
	} else if t.w.atEnd(t.p) {
		t.w.report(path, fmt.Errorf("tar: %w: it is cut off", errDamaged))
	}
	return missing == 0
}

// took says that n bytes were read past t.p.
func (t *tarReader) took(n int64) {
	t.pos += n
	if t.p.sized() {
		t.p.left -= n
	}
}

// pad reads what fills the last block of size bytes, and returns how much of it is missing.
func (t *tarReader) pad(size int64) int64 {
	var block [tarBlock]byte
	n, _ := fill(t.p, block[:-size&(tarBlock-1)])
	if pad := block[:n]; skipZeros(pad) < n {
		t.note(pad)
	} else {
		t.pos += int64(n)
	}
	return 0 // an archive may end there
}

func (t *tarReader) entry(path string, e *part, sparse tarSparse) {
	if sparse.inData {
		sparse.readMap(e)
	}
	if len(sparse.pieces) == 0 {
		t.w.stream(t.in, path, "", e)
		return
	}
	f := &flow{w: t.w, path: path, src: &sparseReader{r: e, pieces: sparse.pieces, most: mostZeros, left: sparse.size}}
	f.used = func() int64 { return f.out } // zeros are counted, but no sign of a bomb
	br := t.w.buffer(&t.w.small, f)
	defer t.w.unbuffer(&t.w.small, br)
	t.w.stream(t.in, path, "", wholeOf(br))
	if errors.Is(f.err, errTooMuch) {
		t.w.report(path, f.err)
	}
}

// records reads what describes an entry to come. It returns false if it is cut off.
func (t *tarReader) records(size int64) ([]byte, bool) {
	t.scratch = t.scratch[:0]
	var buf [tarBlock]byte
	for left := size; left > 0 && !t.w.over(); {
		n, err := fill(t.p, buf[:min(left, tarBlock)])
		t.note(buf[:n])
		if len(t.scratch) < maxTarMeta {
			t.scratch = append(t.scratch, buf[:n]...)
		}
		if left -= int64(n); err != nil {
			if t.w.atEnd(t.p) {
				t.w.report(t.in.path, fmt.Errorf("tar: %w: it is cut off in a header", errDamaged))
			}
			return nil, false
		}
	}
	t.pad(size)
	if size > maxTarMeta {
		t.w.report(t.in.path, fmt.Errorf("tar: %w: a name or records of %d bytes", errTooMuch, size))
		return nil, true
	}
	return t.scratch, true
}

// pax reads records "length key=value\n".
func (t *tarReader) pax(b []byte) {
	for len(b) > 0 {
		n, rest := decimal(b)
		digits := int64(len(b) - len(rest))
		if n <= digits+2 || n > int64(len(b)) || rest[0] != ' ' {
			return
		}
		key, value, ok := bytes.Cut(b[digits+1:n-1], []byte("="))
		b = b[n:]
		if !ok {
			continue
		}
		switch string(key) {
		case "path":
			if t.sparse.name == nil {
				t.name = append([]byte(nil), value...)
			}
		case "GNU.sparse.name":
			t.sparse.name = append([]byte(nil), value...)
			t.name = t.sparse.name
		case "size":
			if n, rest := decimal(value); len(rest) == 0 && len(value) > 0 {
				t.size = n
			}
		default:
			t.sparse.record(string(key), value)
		}
	}
}

// tarChecksum says whether the checksum of a header is that of its bytes, signed or not.
func tarChecksum(h []byte) bool {
	want, ok := tarNumber(h[148:156])
	if !ok {
		return false
	}
	unsigned, signed := int64(0), int64(0)
	for i, c := range h[:tarBlock] {
		if 148 <= i && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c)) //nolint:gosec // old programs did so
	}
	return want > 8*' ' && (want == unsigned || want == signed)
}

// tarNumber reads a number in octal, or in binary if it begins with a byte above 0x7f.
func tarNumber(b []byte) (n int64, ok bool) {
	if b[0]&0x80 != 0 {
		if b[0]&0x40 != 0 {
			return 0, false // less than 0
		}
		n = int64(b[0] & 0x3f)
		for _, c := range b[1:] {
			if n > math.MaxInt64>>8 {
				return 0, false
			}
			n = n<<8 | int64(c)
		}
		return n, true
	}
	b = bytes.Trim(b, " \x00")
	for _, c := range b {
		if c < '0' || c > '7' || n > math.MaxInt64>>3 {
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

// decimal reads the digits b begins with. Numbers too large for it are the largest there is.
func decimal(b []byte) (n int64, rest []byte) {
	for i, c := range b {
		if c < '0' || c > '9' {
			return n, b[i:]
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64 / 10
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

func untilZero(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// tarName is the name of an entry as its header has it.
func tarName(h []byte) []byte {
	name := append([]byte(nil), untilZero(h[:100])...)
	if string(h[257:263]) != "ustar\x00" { // GNU has times where POSIX has the beginning of a name
		return name
	}
	if prefix := untilZero(h[345:500]); len(prefix) > 0 {
		return append(append(append([]byte(nil), prefix...), '/'), name...)
	}
	return name
}

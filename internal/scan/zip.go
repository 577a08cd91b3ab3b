package scan

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync/atomic"
)

const (
	localSig = "PK\x03\x04"
	dirSig   = "PK\x01\x02"
	endSig   = "PK\x05\x06"
	end64Sig = "PK\x06\x06"
	loc64Sig = "PK\x06\x07"

	localLen = 30
	dirLen   = 46
	endLen   = 22

	// endReach is how far from the end of a file its end record begins at most: it is followed by a comment, and preceded by
	// the locator of a 64-bit one.
	endReach = 20 + endLen + math.MaxUint16

	// zipBuffer holds the longest header, of either kind.
	zipBuffer = dirLen + 3*math.MaxUint16
)

// Methods of compression that are read.
const (
	zipStored   = 0
	zipDeflated = 8
	zipBzip2    = 12
	zipZstd     = 93
)

// zipFile is a zip that can be read at any place. It is read as what Android and others make of it, all at once: by its central
// directory, by every other directory that an end record points to, and by the local headers that no directory knows. Whatever
// bytes are then left over are visited raw. Sizes and counts are believed as far as the bytes bear them out. A wrong
// checksum is no problem, as the bytes were read.
type zipFile struct {
	w    *walk
	in   nest
	at   io.ReaderAt
	mem  []byte // all of it, if it is in memory
	size int64

	zipTables
	read atomic.Int64 // how many bytes of the file were read as entries
	told atomic.Bool  // that they overlap
}

// zip reads the zip at. mem is all of it if that is in memory.
func (w *walk) zip(in nest, at io.ReaderAt, mem []byte, size int64) {
	z := &zipFile{w: w, in: in, at: at, mem: mem, size: size}
	h := w.hands.Get().(*hand)
	dirs := zipDirectories(at, size, h.scratch)
	w.hands.Put(h)
	var n int64
	for i := range dirs {
		dirs[i].n = w.countDirectory(at, &dirs[i], size, w.limits.entries-w.entries.Load()-n)
		n += dirs[i].n
	}
	if room := w.limits.live - in.held - w.limits.reserve(); tableSize(n) > room {
		// They are still found by their local headers.
		w.report(in.path, fmt.Errorf("zip: %w: %d entries in its directory", errTooMuch, n))
		n = 0
		for i := range dirs {
			dirs[i].n = min(dirs[i].n, max(room-pageSize, 0)/(48*int64(len(dirs)))) // see zipTables
			n += dirs[i].n
		}
	}
	l := w.arena.hold(tableSize(n))
	defer w.arena.drop(l)
	z.in.held += l.to - l.from
	z.zipTables = newTables(l.b, n)
	if len(dirs) == 0 {
		w.report(in.path, fmt.Errorf("zip: %w: it has no central directory", errDamaged))
	}
	for i := range dirs {
		if i > 0 && (z.within(dirs[i].end) || !dirs[i].hasEntry(at)) {
			continue // it is that of a zip in this one, or none
		}
		z.directory(&dirs[i], i > 0)
		z.sort()
	}
	z.rest()
}

// directory reads the entries of one directory, but those which another has had.
func (z *zipFile) directory(d *zipDirectory, again bool) {
	br := z.w.buffer(&z.w.large, &rangeReader{z.at, d.at, z.size})
	defer z.w.unbuffer(&z.w.large, br)
	left, known := d.n, z.used
	next := func() (*zipMember, bool) {
		for left > 0 {
			left--
			m, ok := readDirEntry(br)
			if !ok {
				return nil, false
			}
			m.offset += d.shift
			if again && z.has(known, m.offset, m.method) {
				continue
			}
			if m.path = z.path(m.name); !z.w.count(m.path) {
				return nil, false
			}
			m.name = nil // it is in br's memory
			m.record = z.add()
			return m, true
		}
		return nil, false
	}
	each(z.w, next, func(h *hand, m *zipMember) bool { return z.member(h, m, false) }, func(m *zipMember) {
		h := z.w.hands.Get().(*hand)
		defer z.w.hands.Put(h)
		z.member(h, m, true)
	})
}

// zipMember is an entry as a header describes it.
type zipMember struct {
	path   string
	name   []byte
	record int64 // in zipTables
	offset int64 // of its local header

	deflated, inflated int64 // sizes
	crc                uint32
	method, flags      uint16
	aes                bool
}

// readDirEntry reads the next entry of a central directory. The name is valid until the next call.
func readDirEntry(br *bufio.Reader) (*zipMember, bool) {
	h, err := br.Peek(dirLen)
	if err != nil || string(h[:4]) != dirSig {
		return nil, false
	}
	le := binary.LittleEndian
	n, x, c := int(le.Uint16(h[28:])), int(le.Uint16(h[30:])), int(le.Uint16(h[32:]))
	all, _ := br.Peek(dirLen + n + x + c) // as far as there is
	if h = all; len(h) < dirLen {         // what was seen before may have moved
		return nil, false
	}
	m := &zipMember{
		flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]),
		deflated: int64(le.Uint32(h[20:])), inflated: int64(le.Uint32(h[24:])), offset: int64(le.Uint32(h[42:])),
	}
	m.name = all[dirLen:min(dirLen+n, len(all))]
	if dirLen+n < len(all) {
		m.extra(all[dirLen+n : min(dirLen+n+x, len(all))])
	}
	_, _ = br.Discard(len(all)) // they are there
	return m, true
}

// extra reads the extra fields that matter: 64-bit numbers, and that WinZip encrypted the entry.
func (m *zipMember) extra(b []byte) {
	le := binary.LittleEndian
	for len(b) >= 4 {
		id, n := le.Uint16(b), int(le.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			return
		}
		field := b[:n]
		b = b[n:]
		switch id {
		case 1:
			for _, v := range [...]*int64{&m.inflated, &m.deflated, &m.offset} {
				if *v != math.MaxUint32 || len(field) < 8 {
					continue
				}
				*v = number64(field)
				field = field[8:]
			}
		case 0x9901:
			m.aes = true
		}
	}
}

// zipDirectory is a central directory that an end record points to.
type zipDirectory struct {
	at    int64 // where it begins
	shift int64 // by how much offsets in it are too small: what was put before the zip
	end   int64 // where its end record is
	n     int64 // how many entries there are
}

// maxDirectories is how many directories of one zip are read. An honest one has one.
const maxDirectories = 8

// zipDirectories finds the directories of a zip, that of the last end record first, which is the one that Android uses.
// There are more when comments or appended bytes contain end records, which other programs may use.
// scratch has endReach bytes.
func zipDirectories(at io.ReaderAt, size int64, scratch []byte) []zipDirectory {
	tail := scratch[:min(size, endReach)]
	base := size - int64(len(tail))
	if !readFull(at, tail, base) {
		return nil
	}
	var dirs []zipDirectory
	for end := len(tail); len(dirs) < maxDirectories; {
		i := bytes.LastIndex(tail[:end], []byte(endSig))
		if i < 0 {
			break
		}
		end = i + len(endSig) - 1
		if len(tail)-i < endLen {
			continue
		}
		for _, d := range directoriesOf(at, tail[:i], tail[i:], base+int64(i)) {
			d.end = base + int64(i)
			known := false
			for _, have := range dirs {
				known = known || have.at == d.at && have.shift == d.shift
			}
			if !known {
				dirs = append(dirs, d)
			}
		}
	}
	return dirs
}

// directoriesOf returns where the directory of an end record at pos may be: where it says, and right before it. An empty one is
// only where both is the same.
func directoriesOf(at io.ReaderAt, before, rec []byte, pos int64) []zipDirectory {
	le := binary.LittleEndian
	n, size, off := int64(le.Uint16(rec[10:])), int64(le.Uint32(rec[12:])), int64(le.Uint32(rec[16:]))
	if len(before) >= 20 && string(before[len(before)-20:][:4]) == loc64Sig {
		var rec64 [56]byte
		for _, where := range [...]int64{number64(before[len(before)-20+8:]), pos - 20 - int64(len(rec64))} {
			if hasSig(at, where, end64Sig) && readFull(at, rec64[:], where) {
				n, size, off, pos = number64(rec64[32:]), number64(rec64[40:]), number64(rec64[48:]), where
				break
			}
		}
	}
	if n == 0 && size == 0 && off == pos {
		return []zipDirectory{{at: pos}}
	}
	var dirs []zipDirectory
	if off <= pos && hasSig(at, off, dirSig) {
		dirs = append(dirs, zipDirectory{at: off})
	}
	if start := pos - size; size > 0 && start != off && hasSig(at, start, dirSig) {
		dirs = append(dirs, zipDirectory{at: start, shift: start - off})
	}
	return dirs
}

// number64 is the number that b begins with, or one that is far too large but can be added to others.
func number64(b []byte) int64 {
	return int64(min(binary.LittleEndian.Uint64(b), 1<<60)) //nolint:gosec // it was compared
}

func readFull(at io.ReaderAt, b []byte, pos int64) bool {
	n, _ := at.ReadAt(b, pos)
	return n == len(b)
}

func hasSig(at io.ReaderAt, pos int64, sig string) bool {
	var b [4]byte
	return pos >= 0 && readFull(at, b[:], pos) && string(b[:]) == sig
}

// hasDirectory says whether there is a zip at the end of what at has.
func hasDirectory(at io.ReaderAt, size int64, scratch []byte) bool {
	if size < endLen {
		return false
	}
	for _, d := range zipDirectories(at, size, scratch) {
		if hasSig(at, d.at, dirSig) {
			return true
		}
	}
	return false
}

// endsAsZip says whether data, whatever it begins with, ends in a zip of which some entry is where the directory says. That can be
// asked of every file at next to no cost: few have an end record.
func endsAsZip(data, scratch []byte) bool {
	n := len(data)
	return bytes.Contains(data[max(n-endReach, 0):], []byte(endSig)) && hasEntries(bytes.NewReader(data), int64(n), scratch)
}

// hasEntries is endsAsZip for what is not in memory.
func hasEntries(at io.ReaderAt, size int64, scratch []byte) bool {
	if size < endLen {
		return false
	}
	for _, d := range zipDirectories(at, size, scratch) {
		if d.hasEntry(at) {
			return true
		}
	}
	return false
}

// hasEntry says whether an entry is where the directory says: one of the first, as some of them may be there to mislead.
func (d *zipDirectory) hasEntry(at io.ReaderAt) bool {
	le := binary.LittleEndian
	pos := d.at
	for range 64 {
		var h [dirLen]byte
		if !readFull(at, h[:], pos) || string(h[:4]) != dirSig {
			break
		}
		if offset := int64(le.Uint32(h[42:])); offset == math.MaxUint32 || hasSig(at, offset+d.shift, localSig) {
			return true
		}
		pos += dirLen + int64(le.Uint16(h[28:])) + int64(le.Uint16(h[30:])) + int64(le.Uint16(h[32:]))
	}
	return false
}

// countDirectory counts the entries that are there, up to one more than are allowed, as what the end record says need not be so.
func (w *walk) countDirectory(at io.ReaderAt, d *zipDirectory, size, allowed int64) (n int64) {
	br := w.buffer(&w.large, &rangeReader{at, d.at, size})
	defer w.unbuffer(&w.large, br)
	for n <= allowed && !w.over() {
		h, err := br.Peek(dirLen)
		if err != nil || string(h[:4]) != dirSig {
			break
		}
		le := binary.LittleEndian
		_, _ = br.Discard(dirLen + int(le.Uint16(h[28:])) + int(le.Uint16(h[30:])) + int(le.Uint16(h[32:]))) // the next look tells
		n++
	}
	return n
}

// overlaps says whether the entries have together used more than an honest zip has. Nothing more is inflated then.
func (z *zipFile) overlaps(path string) bool {
	if z.read.Load() <= z.w.limits.overlapping*z.size+smallBuffer {
		return false
	}
	if z.told.CompareAndSwap(false, true) {
		z.w.report(path, fmt.Errorf("zip: %w: its entries overlap", errTooMuch))
	}
	return true
}

// local reads the local header of an entry.
func (z *zipFile) local(at int64) (m zipMember, length int64, ok bool) {
	var h [localLen]byte
	if at < 0 || at > z.size-localLen {
		return m, 0, false
	}
	if !readFull(z.at, h[:], at) || string(h[:4]) != localSig {
		return m, 0, false
	}
	length = m.readLocal(h[:])
	m.offset = at
	return m, length, at+length <= z.size
}

// readLocal reads a local header but for what follows it, and returns how long it is with that.
func (m *zipMember) readLocal(h []byte) int64 {
	le := binary.LittleEndian
	m.flags, m.method, m.crc = le.Uint16(h[6:]), le.Uint16(h[8:]), le.Uint32(h[14:])
	m.deflated, m.inflated = int64(le.Uint32(h[18:])), int64(le.Uint32(h[22:]))
	return localLen + int64(le.Uint16(h[26:])) + int64(le.Uint16(h[28:]))
}

var errNoLocal = fmt.Errorf("zip: %w: no local header where the directory says", errDamaged)

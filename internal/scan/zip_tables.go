package scan

import (
	"encoding/binary"
	"hash/maphash"
	"sort"
)

// zipTables is what must be remembered of each entry of a zip while it is read. It lies in an arena, for there may be a million
// of them: 16 bytes for a record, and at most 32 for the name.
type zipTables struct {
	records []byte
	names   []byte // a hash table of uint64: 40 bits of a hash, 24 of a count
	used    int64  // how many records were added
	seed    maphash.Seed
}

const recordSize = 16

// A record has two numbers: where the local header is, 44 bits, how long it is, 18 bits, and 2 flags; and where its data
// ends. A record of zeros is of an entry that was not read.
const (
	lengthBits = 18
	flagBits   = 2
	offsetAt   = lengthBits + flagBits
	maxOffset  = 1 << (64 - offsetAt)

	wasInflated = 1
	wasOpened   = 2 // as a zip
)

func nameSlots(n int64) int64 {
	slots := int64(16)
	for slots < 2*n {
		slots *= 2
	}
	return slots
}

// tableSize is how many bytes newTables needs for n entries.
func tableSize(n int64) int64 { return n*recordSize + nameSlots(n)*8 }

func newTables(b []byte, n int64) zipTables {
	clear(b)
	return zipTables{records: b[:n*recordSize], names: b[n*recordSize:][:nameSlots(n)*8], seed: maphash.MakeSeed()}
}

// repeated counts the entries of this name, with this one. It may take two names for one, once in 2⁴⁰.
func (t *zipTables) repeated(name []byte) uint64 {
	h := maphash.Bytes(t.seed, name)
	tag := h>>24 | 1
	slots := uint64(len(t.names) / 8)
	for i := h % slots; ; i = (i + 1) % slots {
		slot := t.names[i*8:]
		switch v := binary.LittleEndian.Uint64(slot); {
		case v == 0:
			binary.LittleEndian.PutUint64(slot, tag<<24|1)
			return 1
		case v>>24 == tag:
			binary.LittleEndian.PutUint64(slot, v+1)
			return v&(1<<24-1) + 1
		}
	}
}

// add makes room for a record. There is room for as many as newTables was told.
func (t *zipTables) add() int64 {
	t.used++
	return t.used - 1
}

// cover says that the bytes from offset to end have been read as an entry whose header has length bytes. Goroutines may
// call it for different records.
func (t *zipTables) cover(i, offset, length, end int64, flags uint64) {
	if offset >= maxOffset {
		return // so they will be visited once more
	}
	v := uint64(offset)<<offsetAt | uint64(length)<<flagBits | flags //nolint:gosec // both were compared with the size of the file
	binary.LittleEndian.PutUint64(t.records[i*recordSize:], v)
	binary.LittleEndian.PutUint64(t.records[i*recordSize+8:], uint64(end)) //nolint:gosec // a place in the file
}

func (t *zipTables) covered(i int64) (offset, length, end int64) {
	v := binary.LittleEndian.Uint64(t.records[i*recordSize:])
	return int64(v >> offsetAt), int64(v >> flagBits & (1<<lengthBits - 1)), int64(binary.LittleEndian.Uint64(t.records[i*recordSize+8:])) //nolint:gosec // cover was given an int64
}

// has says whether one of the first n records, which are sorted, is of the entry at offset, read by the same method.
func (t *zipTables) has(n, offset int64, method uint16) bool {
	i := int64(sort.Search(int(n), func(i int) bool { o, _, _ := t.covered(int64(i)); return o >= offset }))
	for ; i < n; i++ {
		if o, _, end := t.covered(i); o != offset || end == 0 {
			return false
		}
		if inflated := t.records[i*recordSize]&wasInflated != 0; inflated == (method == zipDeflated) {
			return true
		}
	}
	return false
}

// within says whether the records, which are sorted, have a container around a place.
func (t *zipTables) within(pos int64) bool {
	for i := range t.used { // entries may overlap
		if o, _, end := t.covered(i); o > pos {
			break
		} else if pos < end && t.records[i*recordSize]&wasOpened != 0 {
			return true
		}
	}
	return false
}

// sort puts the records in the order of the file, in which they mostly are.
func (t *zipTables) sort() {
	if !sort.IsSorted(t) {
		sort.Sort(t)
	}
}

func (t *zipTables) Len() int { return int(t.used) }

func (t *zipTables) Less(i, j int) bool {
	return binary.LittleEndian.Uint64(t.records[i*recordSize:]) < binary.LittleEndian.Uint64(t.records[j*recordSize:])
}

func (t *zipTables) Swap(i, j int) {
	var r [recordSize]byte
	a, b := t.records[i*recordSize:][:recordSize], t.records[j*recordSize:][:recordSize]
	copy(r[:], a)
	copy(a, b)
	copy(b, r[:])
}

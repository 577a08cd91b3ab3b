package scan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/klauspost/compress/flate"
)

// zipEntry is what builder writes of an entry. Where a header is to say something else than what is true, the functions
// change its bytes.
type zipEntry struct {
	name    string
	data    []byte // before it is deflated
	packed  []byte // instead of what data deflates to
	method  uint16
	flags   uint16
	extra   []byte
	comment string
	desc    bool // sizes are behind the data, with a signature
	noSig   bool // without
	hidden  bool // not in the directory
	local   func(h []byte)
	dir     func(h []byte)
}

// zipBuilder writes zips as no honest program does.
type zipBuilder struct {
	buf     bytes.Buffer
	dirs    [][]byte
	comment []byte
	end     func(h []byte)
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func (z *zipBuilder) add(t testing.TB, e zipEntry) (offset int) {
	t.Helper()
	offset = z.buf.Len()
	packed := e.packed
	if packed == nil {
		if packed = e.data; e.method == zipDeflated {
			packed = deflated(t, e.data)
		}
	}
	le := binary.LittleEndian
	crc := crc32.ChecksumIEEE(e.data)
	if e.desc {
		e.flags |= 8
	}
	h := make([]byte, localLen)
	copy(h, localSig)
	le.PutUint16(h[4:], 20)
	le.PutUint16(h[6:], e.flags)
	le.PutUint16(h[8:], e.method)
	if !e.desc {
		le.PutUint32(h[14:], crc)
		le.PutUint32(h[18:], uint32(len(packed)))
		le.PutUint32(h[22:], uint32(len(e.data)))
	}
	le.PutUint16(h[26:], uint16(len(e.name)))
	le.PutUint16(h[28:], uint16(len(e.extra)))
	if e.local != nil {
		e.local(h)
	}
	z.buf.Write(h)
	z.buf.WriteString(e.name)
	z.buf.Write(e.extra)
	z.buf.Write(packed)
	if e.desc {
		if !e.noSig {
			z.buf.WriteString("PK\x07\x08")
		}
		var d [12]byte
		le.PutUint32(d[0:], crc)
		le.PutUint32(d[4:], uint32(len(packed)))
		le.PutUint32(d[8:], uint32(len(e.data)))
		z.buf.Write(d[:])
	}
	d := make([]byte, dirLen)
	copy(d, dirSig)
	le.PutUint16(d[6:], 20)
	le.PutUint16(d[8:], e.flags)
	le.PutUint16(d[10:], e.method)
	le.PutUint32(d[16:], crc)
	le.PutUint32(d[20:], uint32(len(packed)))
	le.PutUint32(d[24:], uint32(len(e.data)))
	le.PutUint16(d[28:], uint16(len(e.name)))
	le.PutUint16(d[30:], uint16(len(e.extra)))
	le.PutUint16(d[32:], uint16(len(e.comment)))
	le.PutUint32(d[42:], uint32(offset))
	if e.dir != nil {
		e.dir(d)
	}
	d = append(d, e.name...)
	d = append(d, e.extra...)
	d = append(d, e.comment...)
	if !e.hidden {
		z.dirs = append(z.dirs, d)
	}
	return offset
}

func (z *zipBuilder) bytes() []byte {
	le := binary.LittleEndian
	start := z.buf.Len()
	for _, d := range z.dirs {
		z.buf.Write(d)
	}
	h := make([]byte, endLen)
	copy(h, endSig)
	le.PutUint16(h[8:], uint16(len(z.dirs)))
	le.PutUint16(h[10:], uint16(len(z.dirs)))
	le.PutUint32(h[12:], uint32(z.buf.Len()-start))
	le.PutUint32(h[16:], uint32(start))
	le.PutUint16(h[20:], uint16(len(z.comment)))
	if z.end != nil {
		z.end(h)
	}
	z.buf.Write(h)
	z.buf.Write(z.comment)
	return z.buf.Bytes()
}

func makeZip(t testing.TB, entries ...zipEntry) []byte {
	t.Helper()
	var z zipBuilder
	for _, e := range entries {
		z.add(t, e)
	}
	return z.bytes()
}

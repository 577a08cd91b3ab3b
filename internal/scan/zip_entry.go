package scan

import (
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
)

// path is where the entry of a name is. That of a second entry of the same name ends in "#2".
func (z *zipFile) path(name []byte) string {
	p := z.in.join(name)
	if n := z.repeated(name); n > 1 {
		p += "#" + strconv.FormatUint(n, 10)
	}
	return p
}

// member reads an entry that a directory lists. It returns true if that is for the goroutine that opens containers, alone, which
// says that it is.
func (z *zipFile) member(h *hand, m *zipMember, alone bool) (later bool) {
	if z.overlaps(m.path) {
		return false
	}
	local, length, ok := z.local(m.offset)
	if !ok {
		z.w.report(m.path, errNoLocal)
		return false
	}
	if m.deflated == 0 && m.inflated == 0 && local.deflated > 0 {
		// An empty entry, says the directory; the local header does not. So it is left to be found as one that is not listed.
		z.w.visit(&entry{path: m.path})
		return false
	}
	b := z.body(m, m.offset+length)
	odd := m.flags&1 != 0 || m.aes || local.method != m.method
	if !odd && (m.method == zipStored || m.method == zipDeflated) {
		var o outcome
		if alone {
			o = z.w.one(z.in, b)
		} else if o = z.w.take(h, z.in, b); o.format != formatNone {
			return true
		}
		z.done(m, length, b, o)
		return false
	}
	if !alone {
		return true
	}
	z.done(m, length, b, z.unusual(h, m, local.method, b))
	return false
}

// done notes what has been read of an entry.
func (z *zipFile) done(m *zipMember, length int64, b *body, o outcome) {
	z.read.Add(o.read)
	z.w.report(m.path, o.err)
	if isCut := b.method == zipStored; o.err != nil && !isCut {
		o.read = 0 // it is visited as it is, too
	}
	flags := uint64(0)
	if b.method == zipDeflated {
		flags |= wasInflated
	}
	if o.format != formatNone {
		flags |= wasOpened
	}
	z.cover(m.record, m.offset, length, b.off+o.read, flags)
}

// body is the data of an entry that begins at start.
func (z *zipFile) body(m *zipMember, start int64) *body {
	rest := max(z.size-start, 0)
	b := &body{path: m.path, at: z.at, mem: z.mem, off: min(start, z.size), n: m.deflated, longer: rest, method: m.method, size: m.inflated}
	if m.method == zipStored && m.deflated != m.inflated {
		b.n = z.storedSize(start, m)
	}
	b.n = min(b.n, rest)
	return b
}

// storedSize chooses between two sizes of an entry that is stored, which must be one: that at which something else begins.
func (z *zipFile) storedSize(start int64, m *zipMember) int64 {
	for _, n := range [...]int64{m.deflated, m.inflated} {
		if start+n <= z.size && hasSig(z.at, start+n, localSig) || hasSig(z.at, start+n, dirSig) || hasSig(z.at, start+n, "PK\x07\x08") {
			return n
		}
	}
	return max(m.deflated, m.inflated)
}

// unusual reads an entry that is compressed by another method than DEFLATE, or says to be encrypted, or about which its headers
// disagree. Android ignores that an entry says to be encrypted, and takes every method but DEFLATE for stored. So obfuscators
// write such headers, and what they hide is as it always was.
func (z *zipFile) unusual(h *hand, m *zipMember, local uint16, b *body) outcome {
	stored := *b
	stored.method, stored.size = zipStored, b.n
	if m.method != zipDeflated {
		stored.n = min(max(m.deflated, 0), b.longer)
		if m.method == zipStored {
			stored.n = b.n
		}
	}
	inflated := *b
	inflated.method, inflated.size = zipDeflated, m.inflated
	size, read, crc, err := z.w.inflates(h, &inflated)
	works := err == nil && read > 0
	z.read.Add(read)

	if m.flags&1 != 0 || m.aes {
		switch {
		case m.method == zipDeflated && works && (crc == m.crc || read == m.deflated && size == m.inflated):
			return z.w.one(z.in, &inflated)
		case m.method == zipStored && z.w.checksum(h, &stored) == m.crc:
			return z.w.one(z.in, &stored)
		}
		stored.raw = true
		o := z.w.one(z.in, &stored)
		if m.method != zipStored && works {
			inflated.path += " (inflated)"
			z.w.report(inflated.path, z.w.one(z.in, &inflated).err)
		}
		if o.err == nil {
			o.err = fmt.Errorf("zip: %w", errEncrypted)
		}
		return o
	}
	switch m.method {
	case zipDeflated: // and the local header says something else
		return z.w.one(z.in, &inflated)
	case zipBzip2, zipZstd:
		format := formatBzip2
		if m.method == zipZstd {
			format = formatZstd
		}
		if z.in.depth < z.w.limits.depth {
			return z.w.openStream(z.in, &stored, func(in nest, p *part) { z.w.decompress(in.within(m.path, 0), m.path, format, p) })
		}
	}
	stored.raw = m.method != zipStored
	o := z.w.one(z.in, &stored)
	if works {
		inflated.path += " (inflated)"
		z.w.report(inflated.path, z.w.one(z.in, &inflated).err)
	}
	if o.err == nil && !works && m.method != zipStored && m.deflated != m.inflated {
		o.err = fmt.Errorf("zip: method %d: %w", m.method, errVersion)
	}
	return o
}

// inflates tries whether b inflates, and tells what came out.
func (w *walk) inflates(h *hand, b *body) (size, read int64, crc uint32, err error) {
	f, err := h.open(w, b)
	if err != nil {
		return 0, 0, 0, err
	}
	crc, err = sum(f, h.scratch)
	return f.out, h.used(b), crc, err
}

// checksum is that of b as it is.
func (w *walk) checksum(h *hand, b *body) uint32 {
	h.ranged = rangeReader{b.at, b.off, b.off + b.n}
	crc, err := sum(&interrupted{w: w, r: &h.ranged}, h.scratch)
	if err != nil {
		return ^crc
	}
	return crc
}

func sum(r io.Reader, buf []byte) (crc uint32, err error) {
	for {
		n, err := fill(r, buf)
		crc = crc32.Update(crc, crc32.IEEETable, buf[:n])
		if err != nil {
			return crc, notEOF(err)
		}
	}
}

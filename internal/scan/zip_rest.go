package scan

import (
	"bytes"
	"io"
)

// rest goes through what no entry of a directory covers. There may be entries that only local headers know. All else, and
// all headers, are visited as they are.
func (z *zipFile) rest() {
	pos := int64(0)
	for i := range z.used {
		offset, length, end := z.covered(i)
		if end == 0 {
			continue
		}
		if z.w.over() {
			return
		}
		z.between(pos, offset, offset+length)
		pos = max(pos, end)
	}
	z.between(pos, z.size, z.size)
}

// between goes through the bytes from pos to end, of which those from header are a header that is known.
func (z *zipFile) between(pos, header, end int64) {
	for pos < end && !z.w.over() {
		at := z.findLocal(pos, header)
		if at >= header {
			z.raw(pos, end)
			return
		}
		if m, length, ok := z.local(at); ok {
			if next, ok := z.unlisted(&m, at+length); ok {
				z.raw(pos, at+length)
				pos = next
				continue
			}
		}
		z.raw(pos, at+int64(len(localSig)))
		pos = at + int64(len(localSig))
	}
}

// findLocal returns where the next local header between two places begins, or to.
func (z *zipFile) findLocal(from, to int64) int64 {
	if to-from < localLen || z.overlaps(z.in.between()) {
		return to
	}
	if z.mem != nil {
		if i := bytes.Index(z.mem[from:to], []byte(localSig)); i >= 0 {
			return from + int64(i)
		}
		return to
	}
	h := z.w.hands.Get().(*hand)
	defer z.w.hands.Put(h)
	for from < to && !z.w.over() {
		n, _ := z.at.ReadAt(h.scratch[:min(int64(len(h.scratch)), to-from)], from)
		if i := bytes.Index(h.scratch[:n], []byte(localSig)); i >= 0 {
			return from + int64(i)
		}
		if n < len(localSig) {
			break
		}
		from += int64(n - len(localSig) + 1)
	}
	return to
}

// unlisted reads an entry that has a local header only, and data from start on. It returns up to where that was read, or false
// if it is none.
func (z *zipFile) unlisted(m *zipMember, start int64) (next int64, ok bool) {
	name := make([]byte, min(start-m.offset-localLen, maxName+1))
	var ends [4]byte
	_, _ = z.at.ReadAt(ends[:], m.offset+26) // local has read more
	nameLen := int64(ends[0]) + int64(ends[1])<<8
	name = name[:min(nameLen, int64(len(name)))]
	_, _ = z.at.ReadAt(name, m.offset+localLen) // as has local
	if extra := make([]byte, start-m.offset-localLen-nameLen); len(extra) > 0 {
		_, _ = z.at.ReadAt(extra, m.offset+localLen+nameLen)
		m.extra(extra)
	}
	m.path = z.in.join(name) + " (not in the directory)"
	b := z.body(m, start)
	if m.method == zipDeflated && m.deflated == 0 {
		b.n = b.longer // it is said behind it, or never
		b.size = -1
	}
	if !plausibleName(name) {
		// Four bytes that mean nothing, most likely. An inflater tells.
		h := z.w.hands.Get().(*hand)
		_, read, _, err := z.w.inflates(h, b)
		z.w.hands.Put(h)
		z.read.Add(read)
		if m.method != zipDeflated || err != nil {
			return 0, false
		}
	}
	if !z.w.count(m.path) {
		return 0, false
	}
	var o outcome
	if m.flags&1 != 0 || m.aes || m.method != zipStored && m.method != zipDeflated {
		h := z.w.hands.Get().(*hand)
		o = z.unusual(h, m, m.method, b)
		z.w.hands.Put(h)
	} else {
		o = z.w.one(z.in, b)
		if m.method == zipStored && b.n < m.deflated {
			o.err = b.readError(io.EOF, b.off+b.n)
		}
	}
	z.read.Add(o.read)
	z.w.report(m.path, o.err)
	if o.err != nil && b.method != zipStored {
		return start, true // it is visited as it is, too
	}
	return start + o.read, true
}

// plausibleName says whether something can be the name of a file that somebody wanted to give it.
func plausibleName(name []byte) bool {
	for _, c := range name {
		if c < ' ' {
			return false
		}
	}
	return len(name) > 0
}

// raw visits the bytes from one place to another as they are.
func (z *zipFile) raw(from, to int64) {
	if from >= to {
		return
	}
	e := entry{path: z.in.between(), offset: from, raw: true, part: true}
	if z.mem != nil {
		z.w.slide(e, z.mem[from:to])
		return
	}
	h := z.w.hands.Get().(*hand)
	defer z.w.hands.Put(h)
	if to-from <= int64(len(h.scratch)) {
		n, err := z.at.ReadAt(h.scratch[:to-from], from)
		e.data = h.scratch[:n]
		z.w.visit(&e)
		z.w.report(e.path, notEOF(err))
		return
	}
	l := z.w.arena.lend(min(to-from, z.w.limits.window+z.w.limits.overlap))
	defer z.w.arena.giveBack(l)
	_, err := z.w.windows(e, &interrupted{w: z.w, r: &rangeReader{z.at, from, to}}, l.b, 0)
	z.w.report(e.path, notEOF(err))
}

package scan

// loose gathers bytes of a container that are of no entry, as they come by, and visits them as windows.
type loose struct {
	w    *walk
	path string
	b    []byte // what is not visited yet, behind seen bytes which are
	from int64  // where b begins
	seen int
}

// note adds bytes that are at pos, right behind those before unless all was flushed.
func (l *loose) note(pos int64, b []byte) {
	if len(l.b) == 0 {
		l.from = pos
	}
	l.b = append(l.b, b...)
	if overlap := int(l.w.limits.overlap); len(l.b) >= 4*overlap {
		l.flush(overlap)
	}
}

// flush visits what is gathered, and keeps as many bytes of it for the beginning of the next window.
func (l *loose) flush(keep int) {
	if len(l.b) > l.seen {
		l.w.visit(&entry{path: l.path, data: l.b, offset: l.from, raw: true, part: true})
	}
	gone := max(len(l.b)-keep, 0)
	l.seen = copy(l.b, l.b[gone:])
	l.b, l.from = l.b[:l.seen], l.from+int64(gone)
}

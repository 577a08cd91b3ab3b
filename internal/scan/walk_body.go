package scan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/flate"
)

// body is something that can be read from its start more than once: a file on disk, an entry of a zip.
type body struct {
	path   string
	at     io.ReaderAt // where it lies, deflated or not,
	mem    []byte      // and all of that again if it is in memory
	off, n int64
	longer int64  // to where n may grow if what is deflated does not end there
	method uint16 // zipStored or zipDeflated
	size   int64  // of it inflated, as somebody says
	raw    bool
	plain  bool // it is not to be taken for a container
	deep   bool // it may be a zip whatever is before it
}

// outcome is what came of reading a body.
type outcome struct {
	format format // if it is a container: one that was not read yet, or that open has read
	read   int64  // how many of the n bytes
	err    error
	behind bool // the container is a zip behind something, which is a file as well
}

func (o outcome) report(w *walk, path string) { w.report(path, o.err) }

// hand is what one goroutine needs to read bodies.
type hand struct {
	inflate io.ReadCloser // also a flate.Resetter
	br      *bufio.Reader
	ranged  rangeReader
	mem     bytes.Reader
	scratch []byte
}

func newHand() *hand {
	return &hand{
		inflate: flate.NewReader(bytes.NewReader(nil)),
		br:      bufio.NewReaderSize(nil, smallBuffer),
		scratch: make([]byte, endReach),
	}
}

// rangeReader reads the bytes of at from off to end.
type rangeReader struct {
	at       io.ReaderAt
	off, end int64
}

func (r *rangeReader) Read(p []byte) (int, error) {
	if r.off >= r.end {
		return 0, io.EOF
	}
	n, err := r.at.ReadAt(p[:min(int64(len(p)), r.end-r.off)], r.off)
	r.off += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// flow is what comes out of a decoder, under the limits. It keeps its error.
type flow struct {
	w    *walk
	path string
	src  io.Reader
	used func() int64 // how many bytes went in, and perhaps a buffer more
	out  int64
	err  error
}

func (f *flow) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.w.over() {
		f.err = errHalted
		return 0, f.err
	}
	n, err := f.src.Read(p)
	f.out += int64(n)
	l := &f.w.limits
	switch {
	case f.w.inflated.Add(int64(n)) > l.total:
		f.w.halt(f.path, fmt.Errorf("inflating %d bytes in all: %w", l.total, errTooMuch))
		err = errHalted
	case f.out > l.entry:
		err = fmt.Errorf("inflating %d bytes: %w", l.entry, errTooMuch)
	case f.out > l.ratioFrom && f.out/l.ratio > f.used():
		err = fmt.Errorf("inflating to %d times as much: %w", l.ratio, errTooMuch)
	case err != nil && !errors.Is(err, io.EOF):
		err = damagedAt("inflating", f.out, err)
	}
	f.err = err
	return n, err
}

// damagedAt says where it was that a decoder failed. What it says itself may be about the content.
func damagedAt(doing string, at int64, err error) error {
	if errors.Is(err, errHalted) || errors.Is(err, errTooMuch) || errors.Is(err, errVersion) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w: it is cut off after %d bytes", doing, errDamaged, at)
	}
	return fmt.Errorf("%s: %w after %d bytes", doing, errDamaged, at)
}

// starved says that f ended for want of input of which there is more than b has.
func (f *flow) starved(h *hand, b *body) bool {
	return f.err != nil && errors.Is(f.err, errDamaged) && b.longer > b.n && h.used(b) >= b.n
}

// open begins to inflate b.
func (h *hand) open(w *walk, b *body) (*flow, error) {
	var src io.Reader
	if b.mem != nil {
		h.mem.Reset(b.mem[b.off : b.off+b.n])
		src = &h.mem
	} else {
		h.ranged = rangeReader{b.at, b.off, b.off + b.n}
		h.br.Reset(&h.ranged)
		src = h.br
	}
	f := &flow{w: w, path: b.path, used: func() int64 { return h.used(b) }}
	f.src = h.inflate
	return f, h.inflate.(flate.Resetter).Reset(src, nil)
}

// used says how much of b has been read: to the byte, for an inflater takes no more than it needs.
func (h *hand) used(b *body) int64 {
	if b.mem != nil {
		return b.n - int64(h.mem.Len())
	}
	return h.ranged.off - b.off - int64(h.br.Buffered())
}

// fill reads until buf is full, which is no error, or r has ended.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && idle < 100; idle++ {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
		if m > 0 {
			idle = 0
		}
	}
	if n < len(buf) {
		return n, io.ErrNoProgress
	}
	return n, nil
}

// one reads b, whatever it is. It is for the goroutine that opens containers.
func (w *walk) one(in nest, b *body) outcome {
	h := w.hands.Get().(*hand)
	o := w.take(h, in, b)
	if o.behind && in.depth < w.limits.depth {
		// Else a zip at its end would keep decoders off any file.
		self := *b
		self.plain = true
		_ = w.take(h, in, &self) // what can be wrong is seen again when it is opened
	}
	w.hands.Put(h)
	if o.format != formatNone {
		o = w.open(in, b, o.format)
	}
	return o
}

// take reads b and visits it, unless it turns out to be a container.
func (w *walk) take(h *hand, in nest, b *body) outcome {
	if b.method == zipStored {
		return w.takeStored(h, in, b)
	}
	limit := w.limits.wholeIn(in.held)
	room := limit
	if 0 <= b.size && b.size < limit {
		room = b.size
	}
	for {
		if b.size > limit {
			room = w.limits.window + w.limits.overlap - 1
		}
		l := w.arena.lend(room + 1)
		o, again := w.takeInflated(h, b, l, room < limit && b.size <= limit)
		w.arena.giveBack(l)
		if !again {
			return o
		}
		if o.err == nil {
			room = limit // it is larger than it said
		}
	}
}

// takeInflated inflates b into l and visits it. It returns true to be called again: with the same memory if it returns
// an error, and else with more.
func (w *walk) takeInflated(h *hand, b *body, l lease, grows bool) (o outcome, again bool) {
	f, err := h.open(w, b)
	if err != nil {
		return outcome{err: damagedAt("inflating", 0, err)}, false
	}
	n, err := fill(f, l.b[:min(headSize, len(l.b))])
	if !b.plain {
		if o.format = formatOf(b.path, l.b[:n]); o.format != formatNone {
			return o, false
		}
	}
	if err == nil {
		var m int
		m, err = fill(f, l.b[n:])
		n += m
	}
	switch {
	case err == nil && grows:
		return o, true
	case err == nil:
		var tail []byte
		tail, err = w.windows(entry{path: b.path, raw: b.raw}, f, l.b, n)
		w.checkTail(b, tail)
		o.read, o.err = h.used(b), notEOF(err)
		return o, f.starved(h, b) && b.lengthen()
	case f.starved(h, b):
		b.lengthen()
		return outcome{err: err}, true
	}
	data := l.b[:n]
	if !b.plain && namedZip(b.path) && hasDirectory(bytes.NewReader(data), int64(n), h.scratch) {
		return outcome{format: formatZip}, false
	}
	if !b.plain && endsAsZip(data, h.scratch) {
		return outcome{format: formatZip, behind: true}, false
	}
	w.checkTail(b, data)
	o.read, o.err = h.used(b), notEOF(err)
	if n > 0 || o.err == nil {
		w.visit(&entry{path: b.path, data: data, raw: b.raw})
	}
	return o, false
}

// checkTail tells of what is known by its end and not read.
func (w *walk) checkTail(b *body, tail []byte) {
	if !b.plain && endsAsDmg(tail) {
		w.report(b.path, formatDmg.unread())
	}
}

func (b *body) lengthen() bool {
	b.n = b.longer
	return true
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// takeStored is take for what is not deflated.
func (w *walk) takeStored(h *hand, in nest, b *body) outcome {
	var l lease
	head := h.scratch[:min(headSize, b.n)]
	if b.mem != nil {
		head = b.mem[b.off:][:len(head)]
	} else if n, err := b.at.ReadAt(head, b.off); n < len(head) {
		return w.unreadable(b, head[:n], int64(n), err)
	}
	limit := w.limits.wholeIn(in.held)
	if !b.plain {
		if o := w.formatStored(h, b, head, limit); o.format != formatNone {
			return o
		}
	}
	e := entry{path: b.path, raw: b.raw}
	switch {
	case b.mem != nil && b.n <= max(limit, w.limits.window): // it is in memory anyway, but decoders need some, too
		e.data = b.mem[b.off : b.off+b.n]
		w.visit(&e)
		return outcome{read: b.n}
	case b.mem != nil:
		w.slide(e, b.mem[b.off:b.off+b.n])
		return outcome{read: b.n}
	case b.n == 0:
		w.visit(&e)
		return outcome{}
	}
	h.ranged = rangeReader{b.at, b.off, b.off + b.n}
	src := &interrupted{w: w, r: &h.ranged}
	if b.n > limit {
		l = w.arena.lend(w.limits.window + w.limits.overlap)
		defer w.arena.giveBack(l)
		_, err := w.windows(e, src, l.b, 0)
		return outcome{read: h.ranged.off - b.off, err: b.readError(notEOF(err), h.ranged.off)}
	}
	l = w.arena.lend(b.n)
	defer w.arena.giveBack(l)
	n := 0
	for int64(n) < b.n {
		m, err := fill(src, l.b[n:min(b.n, int64(n)+1<<20)])
		n += m
		if err != nil {
			return w.unreadable(b, l.b[:n], int64(n), err)
		}
	}
	e.data = l.b[:n]
	if !b.plain && endsAsZip(e.data, h.scratch) {
		return outcome{format: formatZip, behind: true}
	}
	w.visit(&e)
	return outcome{read: b.n}
}

// formatStored tells the format of a body that is not deflated, but for a zip behind something in what is yet to be read into memory.
func (w *walk) formatStored(h *hand, b *body, head []byte, limit int64) outcome {
	f := formatOf(b.path, head)
	if f == formatNone && (b.deep || namedZip(b.path)) && hasDirectory(io.NewSectionReader(b.at, b.off, b.n), b.n, h.scratch) {
		return outcome{format: formatZip}
	}
	if (f == formatNone || f == formatZlib || f == formatBzip2) && b.n >= dmgTrailer && hasSig(b.at, b.off+b.n-dmgTrailer, dmgMagic) {
		return outcome{format: formatDmg}
	}
	if f == formatNone && (b.mem != nil && endsAsZip(b.mem[b.off:b.off+b.n], h.scratch) ||
		b.mem == nil && b.n > limit && hasEntries(io.NewSectionReader(b.at, b.off, b.n), b.n, h.scratch)) {
		return outcome{format: formatZip, behind: b.n <= limit}
	}
	return outcome{format: f}
}

func (w *walk) unreadable(b *body, data []byte, n int64, err error) outcome {
	if len(data) > 0 {
		w.visit(&entry{path: b.path, data: data, raw: b.raw})
	}
	return outcome{read: n, err: b.readError(err, b.off+n)}
}

// readError says why b could be read only up to at.
func (b *body) readError(err error, at int64) error {
	switch {
	case err == nil && at < b.off+b.n, errors.Is(err, io.EOF):
		return fmt.Errorf("reading: %w: it ended after %d bytes", errDamaged, at-b.off)
	case err == nil, errors.Is(err, errHalted):
		return err
	}
	return fmt.Errorf("reading: %w", err)
}

// windows visits what comes from r, of which the first n bytes are in buf already, in parts that are as large as buf. It returns the
// last of them, and the error of r.
func (w *walk) windows(e entry, r io.Reader, buf []byte, n int) (tail []byte, err error) {
	keep := int(min(w.limits.overlap, int64(len(buf)/2)))
	for first := true; ; first = false {
		had := n
		m, err := fill(r, buf[n:])
		n += m
		part := e
		part.data, part.part = buf[:n], !first || err == nil
		if first || n > had {
			w.visit(&part)
		}
		if err != nil {
			return buf[:n], err
		}
		copy(buf, buf[n-keep:n])
		e.offset += int64(n - keep)
		n = keep
	}
}

// slide is windows for what is in memory.
func (w *walk) slide(e entry, data []byte) {
	size, base := w.limits.window+w.limits.overlap, e.offset
	for at := int64(0); ; at += w.limits.window {
		part := e
		part.offset, part.part = base+at, true
		part.data = data[at:min(at+size, int64(len(data)))]
		w.visit(&part)
		if at+size >= int64(len(data)) || w.over() {
			return
		}
	}
}

// open reads the container that b is.
func (w *walk) open(in nest, b *body, f format) outcome {
	if in.depth >= w.limits.depth {
		w.report(b.path, fmt.Errorf("%s: %w: it lies in %d containers", f, errTooMuch, in.depth))
		b.plain = true
		o := w.one(in, b)
		o.format = f
		return o
	}
	if f == formatZip {
		if b.method != zipStored {
			return w.openHeld(in, b)
		}
		at := b.at
		var mem []byte
		if b.mem != nil {
			mem = b.mem[b.off : b.off+b.n]
			at = bytes.NewReader(mem)
		} else if b.off != 0 {
			at = io.NewSectionReader(b.at, b.off, b.n)
		}
		w.zip(in.within(b.path, 0), at, mem, b.n)
		return outcome{format: formatZip, read: b.n}
	}
	return w.openStream(in, b, func(in nest, p *part) { w.unpack(in, b.path, b.path, f, p) })
}

// openStream reads b from its start, once.
func (w *walk) openStream(in nest, b *body, read func(nest, *part)) outcome {
	h := w.hands.Get().(*hand)
	defer w.hands.Put(h)
	if b.method == zipStored {
		src := &interrupted{w: w, r: &rangeReader{b.at, b.off, b.off + b.n}}
		br := w.buffer(&w.small, src)
		defer w.unbuffer(&w.small, br)
		read(in, wholeOf(br))
		if src.err != nil {
			return outcome{read: b.n, err: fmt.Errorf("reading: %w", src.err)}
		}
		return outcome{read: b.n}
	}
	f, err := h.open(w, b)
	if err != nil {
		return outcome{err: damagedAt("inflating", 0, err)}
	}
	br := w.buffer(&w.small, f)
	defer w.unbuffer(&w.small, br)
	read(in, wholeOf(br))
	_, _ = io.Copy(io.Discard, br) // to learn where it ends; f keeps the error
	return outcome{read: h.used(b), err: notEOF(f.err)}
}

// openHeld reads the zip that b inflates to, in memory if there is enough.
func (w *walk) openHeld(in nest, b *body) outcome {
	limit := w.limits.heldIn(in.held)
	room := limit
	if 0 <= b.size && b.size < limit {
		room = b.size
	}
	h := w.hands.Get().(*hand)
	defer w.hands.Put(h)
	for b.size <= limit {
		f, err := h.open(w, b)
		if err != nil {
			return outcome{err: damagedAt("inflating", 0, err)}
		}
		l := w.arena.hold(room + 1)
		n, err := fill(f, l.b)
		switch {
		case err == nil && room < limit:
			w.arena.drop(l)
			room = limit
			continue
		case err == nil:
			w.arena.drop(l)
			b.size = math.MaxInt64 // larger than limit, that is
			continue
		case f.starved(h, b):
			w.arena.drop(l)
			b.lengthen()
			continue
		}
		o := outcome{format: formatZip, read: h.used(b), err: notEOF(err)}
		w.zip(in.within(b.path, l.to-l.from), bytes.NewReader(l.b[:n]), l.b[:n], int64(n))
		w.arena.drop(l)
		return o
	}
	o := w.openStream(in, b, func(in nest, p *part) { w.zipStream(in.within(b.path, 0), p) })
	o.format = formatZip
	return o
}

package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/flate"
)

// streamBuffer holds a stretch between entries, of which the later half is seen twice. It is not less than zipBuffer.
const streamBuffer = 512 << 10

// zipStream reads a zip from its start to its end, once, by its local headers: one that is too large to be held and
// cannot be read where it lies. What the directory says of the entries is not known, and visited raw.
func (w *walk) zipStream(in nest, p *part) {
	br := w.buffer(&w.wide, p)
	defer w.unbuffer(&w.wide, br)
	z := zipReader{w: w, in: in, p: &part{br, math.MaxInt64}}
	h := w.hands.Get().(*hand)
	defer w.hands.Put(h)
	for !w.over() {
		// Mostly an entry begins here, or close by.
		_, err := br.Peek(localLen)
		have, _ := br.Peek(br.Buffered())
		i := bytes.Index(have, []byte(localSig))
		if i < 0 {
			have, err = br.Peek(streamBuffer)
			i = bytes.Index(have, []byte(localSig))
		}
		if i != 0 {
			n := i
			if i < 0 {
				n = len(have)
			}
			z.ended = z.ended || hasEnd(have)
			z.raw(have, n)
			if i < 0 && err != nil {
				z.advance(n)
				break
			}
			if i < 0 {
				n -= int(min(w.limits.overlap, streamBuffer/2))
			}
			z.advance(n)
			continue
		}
		if z.entry(h) != nil {
			break
		}
	}
	if !z.ended && !w.over() && w.atEnd(z.p) {
		w.report(in.path, fmt.Errorf("zip: %w: it is cut off", errDamaged))
	}
}

// hasEnd says whether there is an end record in b.
func hasEnd(b []byte) bool {
	i := bytes.Index(b, []byte(endSig))
	return i >= 0 && len(b)-i >= endLen
}

// zipReader is a zip that is read once.
type zipReader struct {
	w     *walk
	in    nest
	p     *part
	pos   int64
	seen  int64 // up to where bytes were visited raw
	ended bool  // an end record was seen
}

func (z *zipReader) advance(n int) {
	n, _ = z.p.br.Discard(n) // it is there
	z.pos += int64(n)
}

// raw visits the first n bytes of what is next, if they are more than was visited.
func (z *zipReader) raw(next []byte, n int) {
	if z.pos+int64(n) <= z.seen {
		return
	}
	z.w.visit(&entry{path: z.in.between(), data: next[:n], offset: z.pos, raw: true, part: true})
	z.seen = z.pos + int64(n)
}

// entry reads the entry whose local header is next. It returns an error if there is nothing after it.
func (z *zipReader) entry(h *hand) error {
	br := z.p.br
	head, err := br.Peek(localLen)
	if err != nil {
		z.raw(head, len(head))
		z.advance(len(head))
		return err
	}
	var m zipMember
	length := int(m.readLocal(head))
	nameLen := int(head[26]) + int(head[27])<<8
	head, err = br.Peek(length)
	if err != nil {
		z.raw(head, len(head))
		z.advance(len(head))
		return err
	}
	name := head[localLen : localLen+nameLen]
	if !plausibleName(name) { // four bytes that mean nothing, most likely
		z.raw(head, len(localSig))
		z.advance(len(localSig))
		return nil
	}
	z.raw(head, length)
	m.extra(head[localLen+nameLen:])
	m.path = z.in.join(name)
	z.advance(length)
	if !z.w.count(m.path) {
		return errHalted
	}
	sized := m.deflated > 0 || m.flags&8 == 0
	switch {
	case m.flags&1 == 0 && !m.aes && m.method == zipDeflated:
		return z.inflate(h, &m)
	case sized && m.flags&1 == 0 && !m.aes && m.method == zipStored:
		e := &part{br, m.deflated}
		z.w.stream(z.in, m.path, "", e)
		return z.skip(&m, e)
	case !sized && m.method == zipStored && m.flags&1 == 0:
		// How long it is, is said behind it. It will be visited raw, and entries in it found as those of this zip.
		z.w.visit(&entry{path: m.path})
		next, _ := br.Peek(headSize)
		if f := formatOf(m.path, next); f != formatNone && f != formatZip {
			z.w.report(m.path, fmt.Errorf("zip: %w: it is too large to be held, and does not say where this entry ends", errTooMuch))
		}
		return nil
	case sized:
		return z.held(h, &m)
	}
	z.w.report(m.path, fmt.Errorf("zip: method %d: %w: and it does not say where this entry ends", m.method, errVersion))
	return nil
}

// skip passes over what is left of an entry.
func (z *zipReader) skip(m *zipMember, e *part) error {
	missing := e.skip()
	z.pos += m.deflated - missing
	if missing == 0 {
		return nil
	}
	if z.w.atEnd(z.p) {
		z.w.report(m.path, fmt.Errorf("zip: %w: it is cut off", errDamaged))
		z.ended = true // has been told
	}
	return io.ErrUnexpectedEOF
}

// inflate reads an entry, which tells by itself where it ends.
func (z *zipReader) inflate(h *hand, m *zipMember) error {
	counted := &countedReader{r: z.p.br}
	if err := h.inflate.(flate.Resetter).Reset(counted, nil); err != nil {
		return err
	}
	f := &flow{w: z.w, path: m.path, src: h.inflate, used: func() int64 { return counted.n }}
	out := z.w.buffer(&z.w.small, f)
	defer z.w.unbuffer(&z.w.small, out)
	z.w.stream(z.in, m.path, "", wholeOf(out))
	_, _ = io.Copy(io.Discard, out) // to learn where it ends; f keeps the error
	z.pos += counted.n
	z.w.report(m.path, notEOF(f.err))
	if errors.Is(f.err, errHalted) {
		return f.err
	}
	return nil
}

// held reads an unusual entry in memory.
func (z *zipReader) held(h *hand, m *zipMember) error {
	e := &part{z.p.br, m.deflated}
	if m.deflated > z.w.limits.heldIn(z.in.held) {
		z.w.report(m.path, fmt.Errorf("zip: method %d: %w: too large for it", m.method, errTooMuch))
		z.w.streamLeaf(z.in, entry{path: m.path, raw: true}, e, true)
		return z.skip(m, e)
	}
	l := z.w.arena.hold(m.deflated + 1)
	defer z.w.arena.drop(l)
	n, _ := fill(e, l.b[:m.deflated])
	mem := l.b[:n]
	in := z.in
	in.held += l.to - l.from
	zf := &zipFile{w: z.w, in: in, at: bytes.NewReader(mem), mem: mem, size: int64(n)}
	z.w.report(m.path, zf.unusual(h, m, m.method, zf.body(m, 0)).err)
	return z.skip(m, e)
}

// countedReader counts what an inflater takes, to the byte.
type countedReader struct {
	r interface {
		io.Reader
		io.ByteReader
	}
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countedReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

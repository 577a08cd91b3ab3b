package scan

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// part is what is next in something that is read once: left bytes of it.
type part struct {
	br   *bufio.Reader
	left int64
}

// wholeOf is all that is left of br.
func wholeOf(br *bufio.Reader) *part { return &part{br, math.MaxInt64} }

// sized says whether it is known how much there is to come.
func (p *part) sized() bool { return p.left != math.MaxInt64 }

func (p *part) peek(n int) ([]byte, error) {
	if int64(n) > p.left {
		n = int(p.left)
	}
	return p.br.Peek(n)
}

func (p *part) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, io.EOF
	}
	n, err := p.br.Read(b[:min(int64(len(b)), p.left)])
	if p.sized() {
		p.left -= int64(n)
	}
	return n, err
}

// skip reads what is left. It returns how much is missing.
func (p *part) skip() int64 {
	for p.left > 0 {
		n, err := p.br.Discard(int(min(p.left, 1<<30)))
		if p.sized() {
			p.left -= int64(n)
		}
		if err != nil {
			break
		}
	}
	return p.left
}

// stream reads what p has, whatever it is. Errors of what p comes from are told by who reads that. outer is set for the content
// of a compressed file, and is that file's path: the entries of a tar are in it, as it were.
func (w *walk) stream(in nest, path, outer string, p *part) {
	head, _ := p.peek(headSize)
	if f := formatOf(path, head); f != formatNone {
		w.unpack(in, path, outer, f, p)
		return
	}
	leaf := func(in nest, p *part) { w.streamLeaf(in, entry{path: path}, p, false) }
	if !namedZip(path) {
		leaf(in, p)
		return
	}
	// There may be something before the zip. That is seen from its end.
	w.hold(in, p, func(in nest, data []byte) { w.memory(in, path, data) }, leaf)
}

// memory reads what is in memory, whatever it is.
func (w *walk) memory(in nest, path string, data []byte) {
	n := int64(len(data))
	w.one(in, &body{path: path, mem: data, at: bytes.NewReader(data), n: n, size: n, deep: true}).report(w, path)
}

// streamLeaf visits what p has as one entry. Unless it is plain, that may end in a zip nevertheless.
func (w *walk) streamLeaf(in nest, e entry, p *part, plain bool) {
	limit := w.limits.wholeIn(in.held)
	inWindows := func(l lease, n int) {
		tail, _ := w.windows(e, p, l.b, n)
		if !plain && endsAsDmg(tail) {
			w.report(e.path, formatDmg.unread())
		}
		w.arena.giveBack(l)
	}
	if p.sized() && p.left > limit {
		inWindows(w.arena.lend(w.limits.window+w.limits.overlap), 0)
		return
	}
	if p.left == 0 {
		w.visit(&e)
		return
	}
	l := w.arena.lend(min(limit, p.left) + 1)
	n, err := fill(p, l.b)
	if err == nil {
		inWindows(l, n)
		return
	}
	e.data = l.b[:n]
	if !plain && endsAsDmg(e.data) {
		w.report(e.path, formatDmg.unread())
	}
	if !plain && w.zipIn(e.data) {
		w.zipBehind(in, e, l)
		return
	}
	w.arena.shrink(&l, int64(n))
	e.data = l.b[:n]
	w.give(&e, l)
}

func (w *walk) zipIn(data []byte) bool {
	h := w.hands.Get().(*hand)
	defer w.hands.Put(h)
	return endsAsZip(data, h.scratch)
}

// zipBehind visits e, which lies in l, and reads the zip at its end.
func (w *walk) zipBehind(in nest, e entry, l lease) {
	n := int64(len(e.data))
	w.visit(&e)
	var err error
	switch {
	case in.depth >= w.limits.depth:
		err = fmt.Errorf("%s: %w: it lies in %d containers", formatZip, errTooMuch, in.depth)
	case n > w.limits.heldIn(in.held):
		err = fmt.Errorf("%s: %w: no memory is left to read it", formatZip, errTooMuch)
	}
	if err != nil {
		w.arena.giveBack(l)
		w.report(e.path, err)
		return
	}
	l = w.arena.keep(l, n)
	defer w.arena.drop(l)
	w.zip(in.within(e.path, l.to-l.from), bytes.NewReader(l.b[:n]), l.b[:n], n)
}

// unpack reads the container that p has.
func (w *walk) unpack(in nest, path, outer string, f format, p *part) {
	if in.depth >= w.limits.depth {
		w.report(path, fmt.Errorf("%s: %w: it lies in %d containers", f, errTooMuch, in.depth))
		w.streamLeaf(in, entry{path: path}, p, true)
		return
	}
	switch f {
	case formatZip:
		w.streamZip(in.within(path, 0), p)
	case formatTar:
		if outer != "" {
			path = outer
		}
		w.tar(in.within(path, 0), p)
	case formatAr:
		w.ar(in.within(path, 0), p)
	case formatGzip, formatBzip2, formatZstd, formatBrotli, formatZlib:
		w.decompress(in.within(path, 0), path+"!"+contentOf(path), f, p)
	default:
		w.report(path, f.unread())
		w.streamLeaf(in, entry{path: path, raw: true}, p, true)
	}
}

// streamZip holds the zip that p has if there is enough memory, and reads it as it comes if not.
func (w *walk) streamZip(in nest, p *part) {
	w.hold(in, p, func(in nest, data []byte) {
		w.zip(in, bytes.NewReader(data), data, int64(len(data)))
	}, w.zipStream)
}

// hold reads p into memory and calls whole, or if that is not enough rest: with what is in memory first, if anything is, for
// it cannot be read again from anywhere else.
func (w *walk) hold(in nest, p *part, whole func(nest, []byte), rest func(nest, *part)) {
	limit := w.limits.heldIn(in.held)
	if limit == 0 || p.sized() && p.left > limit {
		rest(in, p)
		return
	}
	l := w.arena.hold(min(limit, p.left) + 1)
	n, err := fill(p, l.b)
	if err != nil {
		l = w.arena.settle(l, int64(n))
	}
	defer w.arena.drop(l)
	in.held += l.to - l.from
	if err != nil {
		whole(in, l.b[:n])
		return
	}
	br := w.buffer(&w.small, io.MultiReader(bytes.NewReader(l.b[:n]), p))
	defer w.unbuffer(&w.small, br)
	rest(in, wholeOf(br))
}

// setAsideFor is what a decoder has on the heap, with as much again where it grows by copying: the window that a stream may ask for
// is 8 MiB here for Zstandard (as RFC 8878 recommends), at most 16 MiB for Brotli; bzip2 has blocks of 900 kB.
func setAsideFor(f format) int64 {
	switch f {
	case formatZstd:
		return 12 << 20
	case formatBrotli:
		return 34 << 20
	case formatBzip2:
		return 8 << 20
	}
	return 0
}

const zstdWindow = 8 << 20

// decompress reads the one file in p as content. What begins like a compressed file and is none is visited as it is.
func (w *walk) decompress(in nest, content string, f format, p *part) {
	if w.decompressed(in, content, f, p) >= collectFrom && setAsideFor(f) > 0 {
		// The decoder is garbage now, and its memory was counted until now. Some milliseconds, after at least as many.
		debug.FreeOSMemory()
	}
}

// collectFrom is from how many bytes on a decoder may have had that much memory or more.
const collectFrom = 1 << 20

// decompressed returns how many bytes came out.
func (w *walk) decompressed(in nest, content string, f format, p *part) int64 {
	if need := setAsideFor(f); need > 0 {
		if need > w.limits.heldIn(in.held) {
			w.report(in.path, fmt.Errorf("%s: %w: no memory is left to read it", f, errTooMuch))
			w.streamLeaf(in, entry{path: in.path, raw: true}, p, true)
			return 0
		}
		l := w.arena.setAside(need)
		in.held += l.to - l.from
		defer w.arena.drop(l)
	}
	tape := &tape{r: p, on: true}
	if f == formatZstd || f == formatBrotli {
		// There may be frames in it that decoders skip.
		tape.lies = &loose{w: w, path: in.path + "!(as it lies)"}
	}
	br := w.buffer(&w.small, tape)
	defer w.unbuffer(&w.small, br)
	flow := &flow{w: w, path: content, used: func() int64 { return tape.n }}
	switch f {
	case formatGzip:
		g := &gunzip{br: br, meta: loose{w: w, path: in.between()}}
		defer g.meta.flush(0)
		flow.src = g
	case formatZlib:
		flow.src = &unzlib{br: br}
	case formatBzip2:
		flow.src = bzip2.NewReader(br)
	case formatBrotli:
		flow.src = brotli.NewReader(br)
	case formatZstd:
		d, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			w.report(in.path, damagedAt("inflating", 0, err))
			return 0
		}
		defer d.Close()
		flow.src = zstdReader{d}
	}
	out := w.buffer(&w.small, flow)
	defer w.unbuffer(&w.small, out)
	if _, err := out.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		w.report(in.path, flow.err)
		raw := w.buffer(&w.small, io.MultiReader(bytes.NewReader(tape.b), p))
		defer w.unbuffer(&w.small, raw)
		w.streamLeaf(in, entry{path: in.path, raw: true}, wholeOf(raw), false)
		return 0
	}
	tape.stop()
	if tape.lies != nil {
		defer func() { tape.lies.flush(0) }()
	}
	if !w.count(content) {
		return flow.out
	}
	w.stream(in, content, in.path, wholeOf(out))
	_, _ = io.Copy(io.Discard, out) // to learn how it ends; flow keeps the error
	w.report(in.path, notEOF(flow.err))
	if flow.err != nil && errors.Is(flow.err, io.EOF) {
		w.after(in, br, f)
	}
	return flow.out
}

// after visits what comes after the end of a container of a format. That may be another.
func (w *walk) after(in nest, br *bufio.Reader, f format) {
	head, _ := br.Peek(headSize)
	if len(head) == 0 {
		return
	}
	path := in.path + "!(after the end)"
	if next := formatOf("", head); next != formatNone {
		w.unpack(in, path, "", next, wholeOf(br))
		return
	}
	s := &sniffer{r: br}
	rest := w.buffer(&w.small, s)
	defer w.unbuffer(&w.small, rest)
	w.streamLeaf(in, entry{path: path, raw: true}, wholeOf(rest), false)
	if f == formatGzip && s.found {
		w.report(in.path, fmt.Errorf("gzip: %w: something follows its end, and there may be more of it behind that", errDamaged))
	}
}

// sniffer passes on what r has, and looks for gzip in the first sniffed bytes.
type sniffer struct {
	r     io.Reader
	n     int64
	last  [2]byte // before what is next
	found bool
}

const sniffed = 1 << 20

func (s *sniffer) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for _, c := range p[:min(int64(n), max(sniffed-s.n, 0))] {
		s.found = s.found || c == 8 && s.last == [2]byte{0x1f, 0x8b}
		s.last = [2]byte{s.last[1], c}
	}
	s.n += int64(n)
	return n, err
}

// zstdReader makes errors of what may be read by another program into what they are here.
type zstdReader struct{ d *zstd.Decoder }

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("inflating: %w: its window has more than %d bytes", errTooMuch, zstdWindow)
	} else if errors.Is(err, zstd.ErrUnknownDictionary) {
		err = fmt.Errorf("inflating: %w: it needs a dictionary", errVersion)
	}
	return n, err
}

// tape passes on what r has, and remembers it until it is stopped. No decoder needs maxTape bytes to say its first word, but after
// many words that mean nothing.
type tape struct {
	r  io.Reader
	n  int64
	b  []byte
	on bool

	lies *loose // gets all of it, if it is not nil
}

const maxTape = 1 << 20

func (t *tape) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.lies != nil {
		t.lies.note(t.n, p[:n])
	}
	t.n += int64(n)
	if t.on {
		if t.b = append(t.b, p[:n]...); len(t.b) > maxTape {
			t.stop()
		}
	}
	return n, err
}

func (t *tape) stop() { t.on, t.b = false, nil }

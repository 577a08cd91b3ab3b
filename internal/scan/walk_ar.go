package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// ar reads an archive of ar: a .deb, or a static library. GNU's table of long names is an entry, which is looked at like
// any other; entries are called as their headers spell them, "/17" being a place in that table.
func (w *walk) ar(in nest, p *part) {
	_, _ = io.CopyN(io.Discard, p, int64(len(arMagic))) // it was seen
	pos := int64(len(arMagic))
	for !w.over() {
		var head [arHeader]byte
		n, err := fill(p, head[:])
		if n == 0 && err != nil {
			return
		}
		w.visit(&entry{path: in.between(), data: head[:n], offset: pos, raw: true, part: true})
		pos += int64(n)
		size, bad := int64(-1), error(nil)
		if n == arHeader && head[58] == '`' && head[59] == '\n' {
			size, bad = strconv.ParseInt(strings.TrimRight(string(head[48:58]), " "), 10, 64)
		}
		if size < 0 || bad != nil {
			if err == nil || errors.Is(err, io.EOF) {
				w.report(in.path, fmt.Errorf("ar: %w: no header of an entry where one must be", errDamaged))
			}
			rest := w.buffer(&w.small, io.MultiReader(bytes.NewReader(head[:n]), p))
			w.after(in, rest, formatAr)
			w.unbuffer(&w.small, rest)
			return
		}
		left := min(size, p.left)
		e := &part{p.br, left}
		name := bytes.TrimRight(head[:16], " ")
		if len(name) > 1 && name[0] != '/' {
			name = bytes.TrimSuffix(name, []byte("/"))
		}
		if n, err := strconv.ParseInt(strings.TrimPrefix(string(name), "#1/"), 10, 64); err == nil && name[0] == '#' && 0 <= n && n <= 4096 && n <= e.left {
			long := make([]byte, n) // BSD's: in front of the data
			n, _ := fill(e, long)
			name = bytes.TrimRight(long[:n], "\x00")
		}
		path := in.join(name)
		if !w.count(path) {
			return
		}
		w.stream(in, path, "", e)
		missing := e.skip()
		pos += size + size%2 - missing
		if p.sized() {
			p.left -= left - missing
		}
		if missing > 0 && w.atEnd(p) {
			w.report(path, fmt.Errorf("ar: %w: it is cut off", errDamaged))
			return
		}
		if size%2 == 1 {
			_, _ = io.CopyN(io.Discard, p, 1) // padding
		}
	}
}

// atEnd says whether p ended as what it comes from did: if not, that has been told, or will be.
func (w *walk) atEnd(p *part) bool {
	_, err := p.br.Peek(1)
	return errors.Is(err, io.EOF) && !w.over()
}

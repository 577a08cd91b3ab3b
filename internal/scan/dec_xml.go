package scan

import (
	"bytes"
	"fmt"
)

// xmlReader goes through XML, of which it takes whatever it gets: what is not well-formed is read as well as it can be.
// Element and attribute names are without prefix.
type xmlReader struct {
	data []byte
	at   int
	e    *emission

	start   func(element []byte, attrs []xmlAttr)
	end     func(element []byte)
	chars   func(b []byte, off int, made bool) // all text between two tags, without the white space around it
	comment func(b []byte, off int)

	attrs []xmlAttr
	arena []byte // of attributes that were unescaped

	// Text since the last tag: data[off:to], unless there is more than one piece; then it is in joined.
	off, to int
	joined  []byte
	pieces  int
}

// cutAt returns where sep begins at or after at, and where it ends. If it does not come any more both are the end of
// data, so that no part of data is searched twice.
func (r *xmlReader) cutAt(at int, sep string) (begin, end int) {
	if n := bytes.Index(r.data[at:], []byte(sep)); n >= 0 {
		return at + n, at + n + len(sep)
	}
	if r.e.err == nil {
		r.e.fail(fmt.Errorf("XML at %#x: %s is missing: %w", at, sep, errDamaged))
	}
	return len(r.data), len(r.data)
}

func (r *xmlReader) run() {
	for r.at < len(r.data) && !r.e.over {
		rest := r.data[r.at:]
		switch {
		case rest[0] != '<':
			n := bytes.IndexByte(rest, '<')
			if n < 0 {
				n = len(rest)
			}
			r.piece(r.at, r.at+n, true)
			r.at += n
		case bytes.HasPrefix(rest, []byte("<!--")):
			begin := r.at + 4
			end, next := r.cutAt(begin, "-->")
			r.at = next
			r.comment(r.data[begin:end], begin)
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			begin := r.at + 9
			end, next := r.cutAt(begin, "]]>")
			r.piece(begin, end, false)
			r.at = next
		case bytes.HasPrefix(rest, []byte("<!")):
			r.doctype()
		case bytes.HasPrefix(rest, []byte("<?")):
			begin := r.at + 2
			end, next := r.cutAt(begin, "?>")
			r.at = next
			if b := r.data[begin:end]; !bytes.HasPrefix(b, []byte("xml ")) {
				r.comment(b, begin)
			}
		case bytes.HasPrefix(rest, []byte("</")):
			begin := r.at + 2
			end, next := r.cutAt(begin, ">")
			r.at = next
			r.flush()
			r.end(xmlLocal(bytes.TrimRight(r.data[begin:end], " \t\r\n")))
		case len(rest) > 1 && isXMLName(rest[1]):
			r.tag()
		default:
			r.piece(r.at, r.at+1, false)
			r.at++
		}
	}
	r.flush()
}

const xmlMaxAttrs = 1 << 12

// tag reads a start tag, and its end if it is empty.
func (r *xmlReader) tag() {
	r.flush()
	r.attrs, r.arena = r.attrs[:0], r.arena[:0]
	begin := r.at + 1
	r.at = begin
	for r.at < len(r.data) && !isXMLSpace(r.data[r.at]) && r.data[r.at] != '>' && r.data[r.at] != '/' && r.data[r.at] != '<' {
		r.at++
	}
	element := xmlLocal(r.data[begin:r.at])
	empty := false
	for {
		r.space()
		if r.at == len(r.data) || r.data[r.at] == '<' {
			if r.e.err == nil {
				r.e.fail(fmt.Errorf("XML at %#x: a tag without end: %w", begin, errDamaged))
			}
			break
		}
		c := r.data[r.at]
		if c == '>' {
			r.at++
			break
		}
		if c == '/' {
			empty = r.at+1 < len(r.data) && r.data[r.at+1] == '>'
			r.at++
			continue
		}
		if len(r.attrs) == xmlMaxAttrs { // which nobody writes: they would take a lot of memory
			r.e.giveAttrs(element, r.attrs)
			r.attrs = r.attrs[:0]
		}
		r.attribute()
	}
	r.start(element, r.attrs)
	if empty {
		r.end(element)
	}
}

// attribute reads an attribute, quoted or not, or only its name. It takes one byte at least.
func (r *xmlReader) attribute() {
	begin := r.at
	r.at++
	for r.at < len(r.data) && !isXMLSpace(r.data[r.at]) && r.data[r.at] != '=' && r.data[r.at] != '>' && r.data[r.at] != '/' && r.data[r.at] != '<' {
		r.at++
	}
	name := xmlLocal(r.data[begin:r.at])
	r.space()
	if r.at == len(r.data) || r.data[r.at] != '=' {
		return
	}
	r.at++
	r.space()
	if r.at == len(r.data) {
		return
	}
	var end, next int
	if q := r.data[r.at]; q == '"' || q == '\'' {
		r.at++
		end, next = r.cutAt(r.at, string(rune(q)))
	} else {
		for end = r.at; end < len(r.data) && !isXMLSpace(r.data[end]) && r.data[end] != '>'; end++ {
		}
		next = end
	}
	a := xmlAttr{name: name, value: r.data[r.at:end], off: r.at}
	if bytes.IndexByte(a.value, '&') >= 0 {
		n := len(r.arena)
		r.arena = appendUnescaped(r.arena, a.value)
		a.value, a.made = r.arena[n:], true
	}
	r.at = next
	r.attrs = append(r.attrs, a)
}

// doctype goes over a declaration. The values of entities that it declares are given like comments.
func (r *xmlReader) doctype() {
	depth := 0
	for r.at += 2; r.at < len(r.data); {
		switch c := r.data[r.at]; {
		case c == '>' && depth <= 0:
			r.at++
			return
		case c == '"' || c == '\'':
			begin := r.at + 1
			end, next := r.cutAt(begin, string(rune(c)))
			if depth > 0 {
				r.comment(r.data[begin:end], begin)
			}
			r.at = next
			continue
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == '<' && bytes.HasPrefix(r.data[r.at:], []byte("<!--")):
			begin := r.at + 4
			end, next := r.cutAt(begin, "-->")
			r.comment(r.data[begin:end], begin)
			r.at = next
			continue
		}
		r.at++
	}
}

func (r *xmlReader) space() {
	for r.at < len(r.data) && isXMLSpace(r.data[r.at]) {
		r.at++
	}
}

// piece adds data[from:to] to the text since the last tag; escaped says that it may have entities.
func (r *xmlReader) piece(from, to int, escaped bool) {
	if from == to {
		return
	}
	b := r.data[from:to]
	escaped = escaped && bytes.IndexByte(b, '&') >= 0
	if r.pieces == 0 {
		r.off, r.to, r.pieces = from, to, 1
		if !escaped {
			return
		}
		r.joined = r.joined[:0]
	} else if r.pieces == 1 {
		r.joined = append(r.joined[:0], r.data[r.off:r.to]...)
	}
	r.pieces = 2
	if escaped {
		r.joined = appendUnescaped(r.joined, b)
	} else {
		r.joined = append(r.joined, b...)
	}
}

// flush gives the text since the last tag.
func (r *xmlReader) flush() {
	b, off := r.joined, r.off
	if r.pieces == 1 {
		b = r.data[r.off:r.to]
		left := len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
		b, off = b[left:], off+left
	}
	if r.pieces > 0 {
		if b = bytes.Trim(b, " \t\r\n"); len(b) > 0 {
			r.chars(b, off, r.pieces > 1)
		}
	}
	r.pieces = 0
}

func isXMLSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isXMLName(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == ':' || c >= 0x80
}

// xmlLocal returns a name without its prefix.
func xmlLocal(b []byte) []byte { return b[bytes.LastIndexByte(b, ':')+1:] }

// appendUnescaped appends b with its references to characters and to the five entities that XML has replaced. Others
// stay as they are.
func appendUnescaped(dst, b []byte) []byte {
	for {
		n := bytes.IndexByte(b, '&')
		if n < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:n]...)
		b = b[n:]
		end := bytes.IndexByte(b[:min(len(b), 12)], ';')
		if end < 0 {
			dst, b = append(dst, '&'), b[1:]
			continue
		}
		known := len(dst)
		if dst = appendReference(dst, b[1:end]); len(dst) == known {
			dst = append(dst, b[:end+1]...)
		}
		b = b[end+1:]
	}
}

package scan

import (
	"bytes"
	"fmt"
	"strconv"
)

// maxJSONDepth is how deep arrays and objects may be nested; what is deeper is read, but not as what it is in.
const maxJSONDepth = 512

// jsonTexts gives the strings of JSON with the keys that lead to them, "a.b[2].c", and its longer numbers. It takes
// comments, single quotes, names without quotes and trailing commas, and several values one after another. Of a source
// map it also goes through the sources.
func jsonTexts(data []byte, emit func(text)) error {
	p := jsonParser{data: data, e: newEmission(emit, len(data), 40)} // keys may be ten times what they lead to
	p.i = len(data) - len(bytes.TrimPrefix(data, []byte("\ufeff")))
	for p.i < len(data) && !p.e.over {
		p.next()
	}
	if p.depth > 0 || p.deeper > 0 {
		p.fail("ends within a value")
	}
	return p.e.result("json")
}

// jsonLevel is an array or object that is open.
type jsonLevel struct {
	array      bool
	index      int
	key        span // of the value that is read
	sources    []span
	wantsValue bool // a colon has been read
}

type jsonParser struct {
	data []byte
	e    *emission
	i    int

	levels  [maxJSONDepth]jsonLevel
	depth   int
	deeper  int // levels that are open but not kept
	scratch []byte
	path    [keyLimit]byte
}

func (p *jsonParser) fail(what string) {
	if p.e.err == nil {
		p.e.fail(fmt.Errorf("json: byte %d: %s: %w", p.i, what, errDamaged))
	}
}

func (p *jsonParser) level() *jsonLevel {
	if p.depth == 0 {
		return nil
	}
	return &p.levels[p.depth-1]
}

func (p *jsonParser) next() {
	switch c := p.data[p.i]; {
	case c == ' ' || c == '\n' || c == '\r' || c == '\t':
		p.i++
	case c == '{' || c == '[':
		p.i++
		if p.depth == maxJSONDepth || p.deeper > 0 {
			p.deeper++
			return
		}
		sources := p.levels[p.depth].sources[:0]
		p.levels[p.depth] = jsonLevel{array: c == '[', sources: sources}
		p.depth++
	case c == '}' || c == ']':
		p.i++
		switch {
		case p.deeper > 0:
			p.deeper--
		case p.depth == 0:
			p.fail("closes nothing")
		default:
			if p.level().array != (c == ']') {
				p.fail("closes something else")
			}
			p.depth--
		}
	case c == ',':
		p.i++
		if l := p.level(); l != nil && p.deeper == 0 {
			l.index++
			l.wantsValue = false
		}
	case c == ':':
		p.i++
		if l := p.level(); l != nil && p.deeper == 0 {
			l.wantsValue = true
		}
	case c == '"' || c == '\'':
		p.quoted(c)
	case c == '/':
		p.comment()
	case identifierByte[c] || c == '-' || c == '+' || c == '.':
		p.word()
	default:
		p.fail("no value")
		p.i++
	}
}

func (p *jsonParser) comment() {
	rest := p.data[p.i:]
	switch {
	case bytes.HasPrefix(rest, []byte("//")):
		if n := bytes.IndexByte(rest, '\n'); n >= 0 {
			p.give(p.i+2, p.i+n, false, "comment", false)
			p.i += n
			return
		}
		p.give(p.i+2, len(p.data), false, "comment", false)
		p.i = len(p.data)
	case bytes.HasPrefix(rest, []byte("/*")):
		if n := bytes.Index(rest, []byte("*/")); n > 0 {
			p.give(p.i+2, p.i+max(n, 2), false, "comment", false)
			p.i += n + 2
			return
		}
		p.fail("a comment without an end")
		p.i = len(p.data)
	default:
		p.fail("no value")
		p.i++
	}
}

func (p *jsonParser) quoted(quote byte) {
	start := p.i + 1
	escaped := false
	for j := start; j < len(p.data); {
		n := bytes.IndexByte(p.data[j:], quote)
		if n < 0 {
			break
		}
		end := j + n
		// A backslash before it counts if it is not itself escaped.
		slashes := 0
		for end-slashes > start && p.data[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 1 {
			escaped = true
			j = end + 1
			continue
		}
		p.i = end + 1
		p.str(start, end, escaped || bytes.IndexByte(p.data[start:end], '\\') >= 0)
		return
	}
	p.fail("a string without an end")
	p.i = len(p.data)
	p.give(start, len(p.data), true, p.key(), true)
}

// str takes a string, which is a key or a value.
func (p *jsonParser) str(start, end int, escaped bool) {
	l := p.level()
	if l != nil && !l.array && !l.wantsValue && p.deeper == 0 {
		l.key = span{start, end}
		p.give(start, end, escaped, "", false)
		return
	}
	if p.source(start, end, escaped) {
		return
	}
	p.give(start, end, escaped, p.key(), true)
	if l != nil && l.array && p.depth > 1 && p.keyIs(p.depth-2, "sources") {
		above := &p.levels[p.depth-2]
		if l.index == 0 {
			above.sources = above.sources[:0]
		}
		for len(above.sources) < l.index && len(above.sources) < len(p.data)/2 { // null has no name
			above.sources = append(above.sources, span{})
		}
		above.sources = append(above.sources, span{start, end})
	}
}

func (p *jsonParser) keyIs(level int, name string) bool {
	l := &p.levels[level]
	return !l.array && string(p.data[l.key.start:l.key.end]) == name
}

func (p *jsonParser) give(start, end int, escaped bool, key string, named bool) {
	t := text{b: p.data[start:end], off: start, key: key, named: named && key != ""}
	if escaped {
		p.scratch = unescape(p.scratch[:0], t.b)
		t.made = !bytes.Equal(p.scratch, t.b)
		t.b = p.scratch
	}
	p.e.give(t)
}

// word takes a number, a name without quotes, or true, false and null.
func (p *jsonParser) word() {
	const shortest = 6 // digits that can be a secret
	start := p.i
	for p.i++; p.i < len(p.data); p.i++ {
		if c := p.data[p.i]; !identifierByte[c] && c != '-' && c != '+' && c != '.' {
			break
		}
	}
	l := p.level()
	switch {
	case l == nil && !isDigit(p.data[start]) && p.data[start] != '-' && !isJSONWord(p.data[start:p.i]):
		p.fail("no value")
	case l != nil && !l.array && !l.wantsValue && p.deeper == 0:
		l.key = span{start, p.i}
	case p.i-start >= shortest:
		p.give(start, p.i, false, p.key(), true)
	}
}

func isJSONWord(b []byte) bool {
	return string(b) == "true" || string(b) == "false" || string(b) == "null"
}

// key returns the keys that lead to the value at hand: its end, where that is too long.
func (p *jsonParser) key() string {
	if p.deeper > 0 {
		return "" // what leads to it is not known
	}
	at := len(p.path)
	put := func(s []byte) bool {
		s = s[max(0, len(s)-at):]
		at -= len(s)
		copy(p.path[at:], s)
		return at > 0
	}
	for n := p.depth - 1; n >= 0; n-- {
		l := &p.levels[n]
		if l.array {
			var digits [24]byte
			index := append(strconv.AppendInt(append(digits[:0], '['), int64(l.index), 10), ']')
			if !put(index) {
				break
			}
			continue
		}
		if !put(p.data[l.key.start:l.key.end]) || n > 0 && !put([]byte{'.'}) {
			break
		}
	}
	return keyTail(p.path[at:])
}

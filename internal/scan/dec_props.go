package scan

import (
	"bytes"
)

// propsTexts gives the values of a text of lines that each give one a name: .env, .properties, INI, YAML, TOML and
// exports of a shell. The key is the name, after those of the section or of the lines of YAML that it is below. A value
// that a comment switches off is a value. Quotes are taken off; where an escape may be meant or not, both readings are
// given.
func propsTexts(data []byte, emit func(text)) error {
	p := propsReader{data: data, e: newEmission(emit, len(data), 24)}
	for p.i < len(data) && !p.e.over {
		p.line()
	}
	return p.e.result("properties")
}

const (
	maxParents = 32
	maxValue   = 1 << 20 // of more than one line
)

// parent is a line of YAML that only has a name.
type parent struct {
	indent int
	name   span
}

type propsReader struct {
	data    []byte
	e       *emission
	i       int
	section span
	parents []parent
	scratch []byte
	failed  int // bytes that were looked through in vain for the end of a value
}

// lineEnd returns where the line of i ends.
func (p *propsReader) lineEnd(i int) int {
	if n := bytes.IndexByte(p.data[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(p.data)
}

func (p *propsReader) line() {
	start, end := p.i, p.lineEnd(p.i)
	p.i = end + 1
	at, end := p.trim(start, end)
	if at == end {
		return
	}
	indent := at - start
	commented := false
	for at < end && bytes.IndexByte([]byte("#;!/"), p.data[at]) >= 0 {
		commented = true
		at++
	}
	at, end = p.trim(at, end)
	if at < end && p.data[at] == '[' && !commented {
		if n := bytes.IndexByte(p.data[at:end], ']'); n > 0 {
			p.section = span{at + 1, at + n}
			p.section.start, p.section.end = p.trim(p.section.start, p.section.end)
			p.parents = p.parents[:0]
			return
		}
	}
	for at+1 < end && p.data[at] == '-' && p.data[at+1] == ' ' { // of a list in YAML
		at, _ = p.trim(at+1, end)
		indent = at - start
	}
	at = p.skipCommand(at, end)
	name, value, ok := p.split(at, end)
	if !ok {
		if commented {
			p.e.give(text{b: p.data[at:end], off: at, key: "comment"})
		}
		return
	}
	for !commented && len(p.parents) > 0 && p.parents[len(p.parents)-1].indent >= indent {
		p.parents = p.parents[:len(p.parents)-1]
	}
	switch first := p.first(value, end); {
	case value == end:
		if !commented && len(p.parents) < maxParents {
			p.parents = append(p.parents, parent{indent, name})
		}
	case (first == '|' || first == '>') && end-value <= 3 && !commented:
		p.block(name, indent)
	case first == '"' || first == '\'' || first == '`':
		p.quoted(name, value, end)
	default:
		p.plain(name, value, end)
	}
}

func (p *propsReader) first(i, end int) byte {
	if i < end {
		return p.data[i]
	}
	return 0
}

func (p *propsReader) trim(start, end int) (int, int) {
	for start < end && p.data[start] <= ' ' {
		start++
	}
	for end > start && p.data[end-1] <= ' ' {
		end--
	}
	return start, end
}

// skipCommand skips the words that a shell, a Dockerfile or a language has before a name.
func (p *propsReader) skipCommand(at, end int) int {
	for range 4 {
		word := at
		for word < end && (identifierByte[p.data[word]] || p.data[word] == '-') {
			word++
		}
		if word == end || p.data[word] != ' ' && p.data[word] != '\t' {
			return at
		}
		switch string(p.data[at:word]) {
		case "export", "set", "readonly", "local", "declare", "typeset", "ENV", "ARG", "env", "let", "const", "var", "val",
			"def", "public", "private", "static", "final", "ext", "-x", "-r", "-g", "setx":
			at, _ = p.trim(word, end)
		default:
			return at
		}
	}
	return at
}

// split finds the name before the first = or :, and where the value begins.
func (p *propsReader) split(at, end int) (name span, value int, ok bool) {
	for i := at; i < end && i-at <= maxKey; i++ {
		switch c := p.data[i]; {
		case c == '=' || c == ':' && (i+2 >= end || p.data[i+1] != '/' || p.data[i+2] != '/'):
			name.start, name.end = p.trim(at, i)
			if name.end > name.start && bytes.IndexByte([]byte("+:?"), p.data[name.end-1]) >= 0 { // A ?= b
				name.start, name.end = p.trim(name.start, name.end-1)
			}
			for name.end-name.start >= 2 && p.data[name.start] == p.data[name.end-1] && (p.data[name.start] == '"' || p.data[name.start] == '\'') {
				name.start, name.end = name.start+1, name.end-1
			}
			if name.end-name.start > 2 && p.data[name.start] == '-' && p.data[name.start+1] == 'D' {
				name.start += 2
			}
			value = i + 1
			for c == ':' && value < end && p.data[value] == '=' {
				value++
			}
			value, _ = p.trim(value, end)
			return name, value, name.start < name.end
		case identifierByte[c], bytes.IndexByte([]byte(".-/@\"' []\t+?*:"), c) >= 0:
		default:
			return span{}, 0, false
		}
	}
	return span{}, 0, false
}

func (p *propsReader) key(name span) string {
	var parts [2*maxParents + 4][]byte
	list := parts[:0]
	dot := []byte{'.'}
	if p.section.end > p.section.start {
		list = append(list, p.data[p.section.start:min(p.section.end, p.section.start+keyLimit)], dot)
	}
	for _, parent := range p.parents {
		list = append(list, p.data[parent.name.start:parent.name.end], dot)
	}
	return p.e.joined(append(list, p.data[name.start:name.end])...)
}

func (p *propsReader) give(b []byte, off int, key string, made bool) {
	p.e.give(text{b: b, off: off, key: key, named: true, made: made})
	if bytes.IndexByte(b, '\\') >= 0 {
		p.scratch = unescape(p.scratch[:0], b)
		if !bytes.Equal(b, p.scratch) {
			p.e.give(text{b: p.scratch, off: off, key: key, named: true, made: true})
		}
	}
}

// plain takes a value without quotes. What may be a comment behind it is given with it and without it.
func (p *propsReader) plain(name span, value, end int) {
	key := p.key(name)
	slashes := 0
	for end-slashes > value && p.data[end-1-slashes] == '\\' {
		slashes++
	}
	if slashes%2 == 1 && p.i <= len(p.data) {
		p.continued(key, value, end)
		return
	}
	p.give(p.data[value:end], value, key, false)
	if n := bytes.Index(p.data[value:end], []byte(" #")); n > 0 {
		_, cut := p.trim(value, value+n)
		p.give(p.data[value:cut], value, key, false)
	} else if last := p.data[end-1]; end-value > 1 && (last == ',' || last == ';') {
		p.give(p.data[value:end-1], value, key, false)
	}
}

// continued puts the lines of a value together that end with a backslash.
func (p *propsReader) continued(key string, value, end int) {
	whole := append([]byte(nil), p.data[value:end-1]...)
	for p.i < len(p.data) && len(whole) < maxValue {
		lineEnd := p.lineEnd(p.i)
		at, last := p.trim(p.i, lineEnd)
		p.i = lineEnd + 1
		more := last > at && p.data[last-1] == '\\' && (last-1 == at || p.data[last-2] != '\\')
		if more {
			last--
		}
		whole = append(whole, p.data[at:last]...)
		if !more {
			break
		}
	}
	p.give(whole, value, key, true)
}

// quoted takes a value in quotes, in three of them, or over several lines.
func (p *propsReader) quoted(name span, value, end int) {
	quote := p.data[value : value+1]
	if end-value >= 3 && p.data[value+1] == quote[0] && p.data[value+2] == quote[0] {
		quote = p.data[value : value+3]
	}
	start := value + len(quote)
	limit := min(len(p.data), start+maxValue)
	if p.failed > 4*len(p.data) {
		limit = max(end, start)
	}
	for from := start; from <= limit; {
		n := bytes.Index(p.data[from:limit], quote)
		if n < 0 {
			break
		}
		closing := from + n
		if closing > start && p.data[closing-1] == '\\' && quote[0] != '\'' && (closing-1 == start || p.data[closing-2] != '\\') {
			from = closing + 1
			continue
		}
		// Over several lines only what ends its line: else it is an apostrophe.
		if closing > end {
			lineEnd := p.lineEnd(closing)
			if at, _ := p.trim(closing+len(quote), lineEnd); at < lineEnd && bytes.IndexByte([]byte("#,;)"), p.data[at]) < 0 {
				p.failed += closing - end
				break
			}
			p.i = lineEnd + 1
		}
		p.give(p.data[start:closing], start, p.key(name), false)
		return
	}
	p.failed += limit - start
	p.plain(name, value, end)
}

// block takes a block of YAML: the lines that are further to the right.
func (p *propsReader) block(name span, indent int) {
	off := p.i
	var whole []byte
	for p.i < len(p.data) && len(whole) < maxValue {
		lineEnd := p.lineEnd(p.i)
		at, last := p.trim(p.i, lineEnd)
		if at < last {
			if at-p.i <= indent {
				break
			}
			if whole == nil {
				off = at
			}
			whole = append(append(whole, p.data[at:last]...), '\n')
		}
		p.i = lineEnd + 1
	}
	if whole = bytes.TrimSuffix(whole, []byte{'\n'}); len(whole) > 0 {
		p.e.give(text{b: whole, off: off, key: p.key(name), named: true, made: true})
	}
}

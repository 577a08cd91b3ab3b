package scan

import "strconv"

// source goes through a value that is the text of a source in a source map, and reports whether it is one. The texts
// in it come with the place of the source, since there is no other in the data.
func (p *jsonParser) source(start, end int, escaped bool) bool {
	l := p.level()
	if l == nil || !l.array || p.deeper > 0 || p.depth < 2 || !p.keyIs(p.depth-2, "sourcesContent") {
		return false
	}
	name := "sources[" + strconv.Itoa(l.index) + "]"
	// The names are known only if they came before; as good as every tool writes them there.
	if sources := p.levels[p.depth-2].sources; l.index < len(sources) {
		s := sources[l.index]
		name += " " + keyTail(unescape(nil, p.data[s.start:min(s.end, s.start+4*keyLimit)]))
	}
	source := p.data[start:end]
	if escaped {
		p.scratch = unescape(p.scratch[:0], source)
		source = p.scratch
	}
	p.e.give(text{b: source, off: start, key: name, made: escaped})
	emit := func(t text) {
		t.off, t.made = start, true
		if t.key != "" {
			t.key = name + ": " + t.key
		} else {
			t.key = name
		}
		p.e.give(t)
	}
	if err := sourceTexts(source, emit); err != nil {
		p.e.fail(err)
	}
	numberTexts(source, emit)
	return true
}

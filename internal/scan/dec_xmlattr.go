package scan

// xmlAttr is an attribute of an element, in whatever form of XML.
type xmlAttr struct {
	name, value []byte
	off         int // of the value; -1 if it is not written but a number, say, that value spells
	made        bool
}

// namedBy returns what an element calls itself: the value of its attribute name, key or id; nil if it has none.
func namedBy(attrs []xmlAttr) []byte {
	for i := range attrs {
		if a := &attrs[i]; a.off >= 0 {
			switch string(a.name) {
			case "name", "key", "id":
				return a.value[:min(len(a.value), keyLimit)]
			}
		}
	}
	return nil
}

// isValueName reports that an attribute holds what an element is there to say.
func isValueName(attribute []byte) bool {
	return string(attribute) == "value" || string(attribute) == "defaultValue"
}

// giveAttrs gives the texts of attributes with the key "element@attribute" or, for a value that has a name in the same
// element, "element/name".
func (e *emission) giveAttrs(element []byte, attrs []xmlAttr) {
	name := namedBy(attrs)
	for i := range attrs {
		a := &attrs[i]
		if a.off < 0 || len(a.value) == 0 {
			continue
		}
		var key string
		if name != nil && isValueName(a.name) {
			key = e.elementKey(element, name)
		} else {
			key = e.joined(element, []byte{'@'}, a.name)
		}
		if !e.give(text{b: a.value, off: a.off, key: key, made: a.made, named: true}) {
			return
		}
	}
}

// elementKey is the key of what an element holds: "string/api_key", or "string" for one that has no name.
func (e *emission) elementKey(element, name []byte) string {
	if name == nil {
		return e.joined(element)
	}
	return e.joined(element, []byte{'/'}, name)
}

// visitAttrs calls visit for an element, as an attribute without name, and then for its attributes.
func visitAttrs(visit func(element, attribute, value string)) func([]byte, []xmlAttr) {
	return func(element []byte, attrs []xmlAttr) {
		el := string(element)
		visit(el, "", "")
		for i := range attrs {
			visit(el, string(attrs[i].name), string(attrs[i].value))
		}
	}
}

// tagStack holds the open elements with what they call themselves. Those nested deeper than maxTags are counted only.
type tagStack struct {
	tags   []openTag
	deeper int
}

type openTag struct{ element, name []byte }

const maxTags = 256

func (s *tagStack) push(element, name []byte) {
	if len(s.tags) == maxTags {
		s.deeper++
		return
	}
	s.tags = append(s.tags, openTag{element, name})
}

func (s *tagStack) pop() {
	switch {
	case s.deeper > 0:
		s.deeper--
	case len(s.tags) > 0:
		s.tags = s.tags[:len(s.tags)-1]
	}
}

// closeTag pops the element that an end tag names, with those in it that were left open. One that names none of the
// innermost is ignored.
func (s *tagStack) closeTag(element []byte) {
	if s.deeper > 0 {
		s.deeper--
		return
	}
	for i := len(s.tags) - 1; i >= 0 && i >= len(s.tags)-8; i-- {
		if string(s.tags[i].element) == string(element) {
			s.tags = s.tags[:i]
			return
		}
	}
}

func (s *tagStack) top() (element, name []byte) {
	if len(s.tags) == 0 || s.deeper > 0 {
		return nil, nil
	}
	t := s.tags[len(s.tags)-1]
	return t.element, t.name
}

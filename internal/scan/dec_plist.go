package scan

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// isPlist reports that data is a property list in XML.
func isPlist(data []byte) bool {
	return isXML(data) && bytes.Contains(xmlHead(data), []byte("<plist"))
}

// plistTexts gives the texts and data of a property list in XML with the path of their keys: "A.B[2]". Data is decoded,
// and read if it is a binary property list itself.
func plistTexts(data []byte, emit func(text)) error {
	r := newXMLReader(data, emit)
	var (
		path    plistPath
		element []byte
		decoded []byte
	)
	r.start = func(el []byte, attrs []xmlAttr) {
		element = el
		r.e.giveAttrs(el, attrs)
		switch string(el) {
		case "key":
			path.setKey(nil)
		case "dict", "array":
			path.nextItem()
			path.push(string(el) == "array")
		case "plist":
		default:
			path.nextItem()
		}
	}
	r.end = func(el []byte) {
		element = nil
		if string(el) == "dict" || string(el) == "array" {
			path.pop()
		}
	}
	r.chars = func(b []byte, off int, made bool) {
		switch string(element) {
		case "key":
			path.setKey(b)
			r.e.give(text{b: b, off: off, made: made})
			return
		case "data":
			decoded = appendBase64(decoded[:0], b)
			if isBinaryPlist(decoded) {
				nested := &bplistReader{data: decoded, e: r.e, place: func(int) int { return off }, path: path, nested: 1}
				nested.run()
				return
			}
			if len(decoded) >= bplistLeastData {
				b, made = decoded, true
			}
		}
		key := ""
		if element != nil {
			key = path.String()
		}
		r.e.give(text{b: b, off: off, key: key, made: made, named: key != ""})
	}
	r.run()
	return r.e.result("property list")
}

// appendBase64 appends what b, which may have white space in it, stands for; nothing if it isn't base64.
func appendBase64(dst, b []byte) []byte {
	compact := make([]byte, 0, len(b))
	for _, c := range b {
		if !isXMLSpace(c) && c != '=' {
			compact = append(compact, c)
		}
	}
	out, err := base64.RawStdEncoding.AppendDecode(dst, compact)
	if err != nil {
		return dst
	}
	return out
}

// plistPath is where in a property list something is. Of what is nested very deeply only the depth is known.
type plistPath struct {
	levels []plistLevel
	deeper int
	buf    []byte
}

type plistLevel struct {
	array bool
	index int
	key   []byte
}

func (p *plistPath) push(array bool) {
	if len(p.levels) == maxTags {
		p.deeper++
		return
	}
	p.levels = append(p.levels, plistLevel{array: array, index: -1})
}

func (p *plistPath) pop() {
	switch {
	case p.deeper > 0:
		p.deeper--
	case len(p.levels) > 0:
		p.levels = p.levels[:len(p.levels)-1]
	}
}

// setKey sets the key of the dictionary that is open.
func (p *plistPath) setKey(key []byte) {
	if n := len(p.levels); n > 0 && p.deeper == 0 {
		p.levels[n-1].key = append(p.levels[n-1].key[:0], key[:min(len(key), keyLimit)]...)
	}
}

// nextItem counts an item of the array that is open.
func (p *plistPath) nextItem() {
	if n := len(p.levels); n > 0 && p.deeper == 0 {
		p.levels[n-1].index++
	}
}

// String spells the innermost levels, which name a value best. It's "" if there are no keys.
func (p *plistPath) String() string {
	p.buf = p.buf[:0]
	for _, l := range p.levels[max(0, len(p.levels)-16):] {
		if l.array {
			p.buf = append(strconv.AppendInt(append(p.buf, '['), int64(l.index), 10), ']')
			continue
		}
		if len(p.buf) > 0 {
			p.buf = append(p.buf, '.')
		}
		p.buf = append(p.buf, l.key...)
	}
	if p.deeper > 0 {
		return ""
	}
	return keyTail(p.buf)
}

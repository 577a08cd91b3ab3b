package scan

import (
	"fmt"
	"strconv"
)

// The messages of aapt2 (Resources.proto), as far as they are needed: ResourceTable{package=2}, Package{package_name=2,
// type=3}, Type{name=2, entry=3}, Entry{name=2, config_value=6}, ConfigValue{value=2}, Value{item=4, compound_value=5}.

// isResourceTable reports that data is the resources of an app bundle: each package has a name, and named types.
func isResourceTable(data []byte) bool {
	p, ok := protoFind(data, 0, len(data), 2)
	if !ok {
		return false
	}
	name := protoName(data, p.start, p.end, 2)
	for _, c := range name {
		if c <= ' ' || c >= 0x7F {
			return false
		}
	}
	t, ok := protoFind(data, p.start, p.end, 3)
	return ok && len(name) > 0 && len(protoName(data, t.start, t.end, 2)) > 0 && protoMessage(data, t.start, t.end) > 0
}

// resourceTableTexts gives the values of resources with their names as keys.
func resourceTableTexts(data []byte, e *emission) {
	each := func(start, end, number int, visit func(i int, f protoField)) {
		r := protoReader{data: data, at: start, end: end}
		for i := 0; !e.over; {
			f, ok := r.next()
			if !ok {
				return
			}
			if f.kind == protoBytes && f.number == number {
				visit(i, f)
				i++
			}
		}
	}
	var key []byte
	item := func(start, end int) {
		const str, raw, styled, file = 2, 3, 4, 5
		for n := str; n <= file; n++ {
			f, ok := protoFind(data, start, end, n)
			if !ok {
				continue
			}
			if v, ok := protoFind(data, f.start, f.end, 1); ok {
				e.give(text{b: data[v.start:v.end], off: v.start, key: keyTail(key), named: true})
			}
		}
	}
	parts := func(compound protoField) {
		// In Style, Array and Plural: which field is repeated, and where in it the item is.
		for _, of := range [3][3]int{{2, 3, 4}, {4, 1, 3}, {5, 1, 4}} {
			c, ok := protoFind(data, compound.start, compound.end, of[0])
			if !ok {
				continue
			}
			bare := len(key)
			each(c.start, c.end, of[1], func(i int, part protoField) {
				if f, ok := protoFind(data, part.start, part.end, of[2]); ok {
					key = append(strconv.AppendInt(append(key[:bare], '['), int64(i), 10), ']')
					item(f.start, f.end)
				}
			})
			key = key[:bare]
		}
	}
	each(0, len(data), 2, func(_ int, p protoField) {
		each(p.start, p.end, 3, func(_ int, t protoField) {
			typeName := protoName(data, t.start, t.end, 2)
			each(t.start, t.end, 3, func(_ int, entry protoField) {
				key = append(append(key[:0], typeName...), '/')
				key = append(key, protoName(data, entry.start, entry.end, 2)...)
				each(entry.start, entry.end, 6, func(_ int, c protoField) {
					v, ok := protoFind(data, c.start, c.end, 2)
					if !ok {
						return
					}
					if f, ok := protoFind(data, v.start, v.end, 4); ok {
						item(f.start, f.end)
					}
					if f, ok := protoFind(data, v.start, v.end, 5); ok {
						parts(f)
					}
				})
			})
		})
	})
}

// isProtoXML reports that data is XML as app bundles have it: XmlNode{element=1}, with XmlElement{name=3}.
func isProtoXML(data []byte) bool {
	r := protoReader{data: data, end: len(data)}
	element, ok := protoField{}, false
	for {
		f, more := r.next()
		if !more {
			break
		}
		if f.kind != protoBytes || f.number > 3 {
			return false
		}
		if f.number == 1 {
			element, ok = f, true
		}
	}
	if r.bad || !ok {
		return false
	}
	names := 0
	r = protoReader{data: data, at: element.start, end: element.end}
	for {
		f, more := r.next()
		if !more {
			break
		}
		if f.kind != protoBytes || f.number > 5 {
			return false
		}
		if f.number == 3 {
			names++
			ok = ok && f.end > f.start && isPlain(data[f.start:f.end])
		}
	}
	return !r.bad && names == 1 && ok
}

// protoXMLAttrs does what axmlAttrs does for the XML of app bundles.
func protoXMLAttrs(data []byte, visit func(element, attribute, value string)) error {
	e := newEmission(nil, len(data), 8)
	if !isProtoXML(data) {
		e.fail(fmt.Errorf("protobuf XML: %w", errDamaged))
	}
	x := protoXML{data: data, e: e, start: visitAttrs(visit)}
	x.node(0, len(data), 0)
	return e.result("protobuf XML")
}

// protoXML goes through XML in protobuf. start is called for each element, chars, unless it is nil, for each text
// between tags.
type protoXML struct {
	data  []byte
	e     *emission
	start func(element []byte, attrs []xmlAttr)
	chars func(element, name []byte, b []byte, off int)
	attrs []xmlAttr
	path  tagStack
}

const (
	protoXMLMaxDepth = 128
	protoXMLMaxAttrs = 1 << 12
)

func (x *protoXML) node(start, end, depth int) {
	if t, ok := protoFind(x.data, start, end, 2); ok && x.chars != nil {
		element, name := x.path.top()
		x.chars(element, name, x.data[t.start:t.end], t.start)
	}
	el, ok := protoFind(x.data, start, end, 1)
	if !ok {
		return
	}
	if depth == protoXMLMaxDepth {
		x.e.fail(fmt.Errorf("protobuf XML at %#x: nested too deeply: %w", start, errTooMuch))
		return
	}
	element := protoName(x.data, el.start, el.end, 3)
	x.attrs = x.attrs[:0]
	r := protoReader{data: x.data, at: el.start, end: el.end}
	for {
		f, ok := r.next()
		if !ok {
			break
		}
		if f.kind == protoBytes && f.number == 4 {
			if len(x.attrs) == protoXMLMaxAttrs {
				x.e.fail(fmt.Errorf("protobuf XML at %#x: too many attributes: %w", start, errTooMuch))
				break
			}
			a := x.attribute(f)
			if !x.e.charge(len(a.name) + len(element)) {
				return
			}
			x.attrs = append(x.attrs, a)
		}
	}
	x.start(element, x.attrs)
	x.path.push(element, namedBy(x.attrs))
	r = protoReader{data: x.data, at: el.start, end: el.end}
	for !x.e.over {
		f, ok := r.next()
		if !ok {
			break
		}
		if f.kind == protoBytes && f.number == 5 {
			x.node(f.start, f.end, depth+1)
		}
	}
	x.path.pop()
}

// attribute reads XmlAttribute{name=2, value=3, resource_id=5, compiled_item=6}.
func (x *protoXML) attribute(of protoField) xmlAttr {
	a := xmlAttr{off: -1}
	r := protoReader{data: x.data, at: of.start, end: of.end}
	var item protoField
	for {
		f, ok := r.next()
		if !ok {
			break
		}
		switch {
		case f.number == 5 && f.kind == protoVarint:
			if name := androidAttribute(uint32(f.value)); name != "" { //nolint:gosec // IDs are of 32 bits
				a.name = []byte(name)
			}
		case f.kind != protoBytes:
		case f.number == 2 && a.name == nil:
			a.name = x.data[f.start:min(f.end, f.start+keyLimit)]
		case f.number == 3:
			a.value, a.off = x.data[f.start:f.end], f.start
		case f.number == 6:
			item = f
		}
	}
	x.compiled(&a, item)
	return a
}

// compiled sets the value of an attribute to that of its Item{ref=1, str=2, raw_str=3, prim=7}, if it has one: it's
// what Android will see.
func (x *protoXML) compiled(a *xmlAttr, item protoField) {
	const ref, str, raw, prim = 1, 2, 3, 7
	r := protoReader{data: x.data, at: item.start, end: item.end}
	for {
		f, ok := r.next()
		if !ok {
			return
		}
		if f.kind != protoBytes {
			continue
		}
		switch f.number {
		case str, raw:
			if v, ok := protoFind(x.data, f.start, f.end, 1); ok {
				a.value, a.off = x.data[v.start:v.end], v.start
			}
		case ref, prim:
			if s := x.literal(f); s != "" {
				a.value, a.off = []byte(s), -1
			}
		}
	}
}

// literal spells a Reference{id=2} or a Primitive{int_decimal=6, int_hexadecimal=7, boolean=8}; "" if it is neither.
func (x *protoXML) literal(of protoField) string {
	isRef := of.number == 1
	r := protoReader{data: x.data, at: of.start, end: of.end}
	for {
		f, ok := r.next()
		if !ok {
			return ""
		}
		if f.kind != protoVarint {
			continue
		}
		v := uint32(f.value) //nolint:gosec // all are of 32 bits
		switch {
		case isRef && f.number == 2 && v != 0:
			return resLiteral(resValueReference, v)
		case isRef:
		case f.number == 6:
			return resLiteral(resValueFirstInt, v)
		case f.number == 7:
			return resLiteral(resValueHex, v)
		case f.number == 8:
			return resLiteral(resValueBoolean, v)
		}
	}
}

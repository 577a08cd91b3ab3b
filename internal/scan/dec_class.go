package scan

import (
	"encoding/binary"
	"fmt"
	"math"
)

// isClass reports that data is a compiled class of Java. A fat Mach-O begins with the same four bytes, and then has a
// small number where this has its version, 45 and up.
func isClass(data []byte) bool {
	return len(data) >= 10 && string(data[:4]) == "\xCA\xFE\xBA\xBE" &&
		binary.BigEndian.Uint16(data[6:]) >= 45 && binary.BigEndian.Uint16(data[6:]) < 200
}

// classTexts gives the texts of a class's constant pool, and those that are the value of a field again with the key
// "com.example.Config.SECRET".
func classTexts(data []byte, emit func(text)) error {
	if !isClass(data) {
		return fmt.Errorf("class: no header: %w", errDamaged)
	}
	e := newEmission(emit, len(data), 8)
	c := &classReader{data: data, e: e, at: 8}
	if c.pool() {
		c.members()
	}
	return e.result("class")
}

type classReader struct {
	data    []byte
	e       *emission
	at      int
	short   bool  // something was read beyond the end
	entries []int // where each constant is, at its tag; 0 where there is none
	scratch []byte
}

// Constants that are looked at.
const (
	classUTF8   = 1
	classClass  = 7
	classString = 8
)

// pool reads the constant pool and gives its texts.
func (c *classReader) pool() bool {
	sizes := [...]int{3: 4, 4: 4, 5: 8, 6: 8, classClass: 2, classString: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
	count := c.u2()
	c.entries = make([]int, 1, min(count, len(c.data)/3)+2)
	for len(c.entries) < count {
		if c.at >= len(c.data) {
			return c.fail("its constants end too early", errDamaged)
		}
		tag := int(c.data[c.at])
		c.entries = append(c.entries, c.at)
		size := 0
		switch {
		case tag == classUTF8:
			b, off, ok := c.utf8(len(c.entries) - 1)
			if !ok {
				return c.fail("its constants end too early", errDamaged)
			}
			size = 2 + len(b)
			s, _, made, _ := fromMUTF8(b, &c.scratch)
			if !c.e.give(text{b: s, off: off, made: made}) {
				return false
			}
		case tag < len(sizes) && sizes[tag] != 0:
			size = sizes[tag]
			if size == 8 {
				c.entries = append(c.entries, 0) // these take two places
			}
		default:
			return c.fail("a constant of an unknown kind", errVersion)
		}
		c.at += 1 + size
	}
	return true
}

func (c *classReader) fail(what string, err error) bool {
	c.e.fail(fmt.Errorf("class at %#x: %s: %w", c.at, what, err))
	return false
}

// u2 reads a number; beyond the end it is zero, and the class is short.
func (c *classReader) u2() int {
	if c.at < 0 || c.at > len(c.data)-2 {
		c.at, c.short = len(c.data), true
		return 0
	}
	c.at += 2
	return int(binary.BigEndian.Uint16(c.data[c.at-2:]))
}

// utf8 returns constant i, which is text, as it lies at off.
func (c *classReader) utf8(i int) (b []byte, off int, ok bool) {
	at := c.constant(i, classUTF8)
	if at == 0 || at > len(c.data)-3 {
		return nil, 0, false
	}
	n := int(binary.BigEndian.Uint16(c.data[at+1:]))
	if n > len(c.data)-at-3 {
		return nil, 0, false
	}
	return c.data[at+3 : at+3+n], at + 3, true
}

// constant returns where constant i is, if it is of a kind; else 0.
func (c *classReader) constant(i, kind int) int {
	if i <= 0 || i >= len(c.entries) || c.entries[i] == 0 || int(c.data[c.entries[i]]) != kind {
		return 0
	}
	return c.entries[i]
}

// refers returns the text that constant i of a kind refers to.
func (c *classReader) refers(i, kind int) (b []byte, off int, ok bool) {
	at := c.constant(i, kind)
	if at == 0 || at > len(c.data)-3 {
		return nil, 0, false
	}
	return c.utf8(int(binary.BigEndian.Uint16(c.data[at+1:])))
}

// members gives the values of the fields that have one, and goes over all the rest, so that an end that is missing is
// noticed.
func (c *classReader) members() {
	c.u2() // access flags
	class, _, _ := c.refers(c.u2(), classClass)
	name := javaName(append([]byte(nil), class[max(0, len(class)-keyLimit):]...))
	c.u2() // super class
	interfaces := c.u2()
	c.at += 2 * interfaces
	for range [2]string{"fields", "methods"} {
		for n := c.u2(); n > 0 && !c.short; n-- {
			c.u2()
			member, _, _ := c.utf8(c.u2())
			c.u2()
			c.attributes(name, member)
		}
	}
	c.attributes(nil, nil)
	if c.short {
		c.fail("it ends too early", errDamaged)
	}
}

// attributes goes over those of a member, and gives its value if it has one.
func (c *classReader) attributes(class, member []byte) {
	for n := c.u2(); n > 0 && !c.short; n-- {
		kind, _, _ := c.utf8(c.u2())
		high := c.u2()
		size := min(high<<16|c.u2(), math.MaxInt32)
		next := c.at + size
		if size > len(c.data)-c.at {
			c.short = true
			return
		}
		if string(kind) == "ConstantValue" && member != nil {
			if b, off, ok := c.refers(c.u2(), classString); ok {
				s, _, made, _ := fromMUTF8(b, &c.scratch)
				if !c.e.give(text{b: s, off: off, key: c.e.joined(class, []byte{'.'}, member), made: made, named: true}) {
					return
				}
			}
		}
		c.at = next
	}
}

package scan

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// chain is a row of literals that the code puts together: "ab" + "cd", "ab" "cd", "ab".concat("cd").
type chain struct {
	off   int
	key   string
	count int
	last  int // l.count behind the last literal
}

// array is a list of literals, which may come to be joined: ["ab", "cd"].join(""), "".join(["ab", "cd"]).
type array struct {
	off       int
	key       string
	ends      []int  // of the literals in l.list
	last      int    // l.count behind the last literal
	separator []byte // of the second form
	before    bool   // it is the second form
	joining   bool   // the next literal is the separator, if it comes at once
}

// literal gives the literal between start and end.
func (l *lexer) literal(start, end int, escaped bool) {
	key := ""
	if l.back(1).kind == ':' {
		key = l.keyBehind()
	}
	if key == "" {
		key = l.key()
	}
	l.named(start, end, escaped, key)
}

func (l *lexer) named(start, end int, escaped bool, key string) {
	t := text{b: l.data[start:end], off: start}
	if escaped {
		l.scratch = unescape(l.scratch[:0], t.b)
		t.b, t.made = l.scratch, !bytes.Equal(l.scratch, t.b)
	}
	inner := t.b
	if n := len(t.b); t.made && n > 2 && t.b[0] == t.b[n-1] && (t.b[0] == '"' || t.b[0] == '\'') {
		inner = t.b[1 : n-1] // a literal in a literal, for a source that will be generated
	}
	if l.continues() {
		l.chain.count++
		if key == "" || key == "concat" || key == "append" {
			key = l.chain.key
		}
	} else {
		l.endChain()
		l.chained = l.chained[:0]
		l.chain = chain{off: start, key: key, count: 1}
	}
	t.key, t.named = key, key != ""
	l.chained = append(l.chained, t.b...)
	l.inArray(t)
	l.e.give(t)
	if len(inner) < len(t.b) {
		t.b = inner
		l.e.give(t)
	}
	l.push(tokenString, start, end)
	l.i = max(l.i, end)
	l.chain.last = l.count
	if l.array.last < 0 {
		l.array.last = l.count
	}
}

// isLast reports that token n is the literal behind which l.count was last.
func (l *lexer) isLast(n, last int) bool {
	return last > 0 && l.count-n+1 == last
}

func (l *lexer) continues() bool {
	last := l.chain.last
	switch l.back(1).kind {
	case tokenString:
		return l.isLast(1, last)
	case '+', '.': // of PHP
		return l.isLast(2, last)
	case '(':
		if l.back(3).kind != '.' || !l.is(2, "concat") && !l.is(2, "append") && !l.is(2, "plus") {
			return false
		}
		return l.isLast(4, last) || l.back(4).kind == ')' && l.isLast(5, last)
	}
	return false
}

func (l *lexer) endChain() {
	if l.chain.count > 1 {
		l.e.give(text{b: l.chained, off: l.chain.off, key: l.chain.key, named: l.chain.key != "", made: true})
	}
	l.chain = chain{}
}

// inArray takes account of a literal that is one of a list.
func (l *lexer) inArray(t text) {
	a := &l.array
	switch {
	case a.joining && l.back(1).kind == '(':
		l.join(t.b)
	case l.back(1).kind == '[':
		*a = array{off: t.off, key: t.key, ends: a.ends[:0]}
		l.list = l.list[:0]
		if l.back(2).kind == '(' && l.is(3, "join") && l.back(4).kind == '.' && l.back(5).kind == tokenString {
			sep := l.back(5)
			a.before, a.separator = true, l.data[sep.start:sep.end]
		}
	case l.back(1).kind == ',' && l.isLast(2, a.last):
	default:
		return
	}
	if a.joining {
		a.joining = false
		return
	}
	l.list = append(l.list, t.b...)
	a.ends = append(a.ends, len(l.list))
	a.last = -1 // set when the token is there
}

// beginJoin notices .join( behind a list.
func (l *lexer) beginJoin() {
	l.array.joining = l.is(1, "join") && l.back(2).kind == '.' && l.back(3).kind == ']' && l.isLast(4, l.array.last)
}

func (l *lexer) endJoin(c byte) {
	a := &l.array
	switch {
	case c == ']' && a.before && l.isLast(1, a.last):
		l.join(a.separator)
	case c == ')' && a.joining && l.back(1).kind == '(':
		l.join([]byte{','})
	}
	a.joining = false
}

func (l *lexer) join(separator []byte) {
	a := &l.array
	if len(a.ends) < 2 {
		return
	}
	b := l.list
	if len(separator) > 0 {
		if !l.e.charge(len(separator) * len(a.ends)) {
			return
		}
		b = make([]byte, 0, len(l.list)+len(separator)*len(a.ends))
		from := 0
		for i, end := range a.ends {
			if i > 0 {
				b = append(b, separator...)
			}
			b = append(b, l.list[from:end]...)
			from = end
		}
	}
	l.e.give(text{b: b, off: a.off, key: a.key, named: a.key != "", made: true})
	a.before = false
}

// keyBehind returns the name that Objective-C puts behind a value: setObject:@"…" forKey:@"clientSecret".
func (l *lexer) keyBehind() string {
	rest := bytes.TrimLeft(l.data[l.i:min(len(l.data), l.i+2*maxKey)], " \t")
	for _, label := range []string{"forKey:@\"", "forHTTPHeaderField:@\""} {
		if bytes.HasPrefix(rest, []byte(label)) {
			rest = rest[len(label):]
			if end := bytes.IndexByte(rest, '"'); end >= 0 {
				return string(rest[:end])
			}
		}
	}
	return ""
}

// unescape appends b without its escapes.
func unescape(dst, b []byte) []byte {
	for {
		n := bytes.IndexByte(b, '\\')
		if n < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:n]...)
		var size int
		dst, size = unescapeOne(dst, b[n:])
		b = b[n+size:]
	}
}

// unescapeOne appends what the escape at the beginning of b stands for, and returns its size. It knows those of all
// languages at once, and takes what is none for the character itself.
func unescapeOne(dst, b []byte) ([]byte, int) {
	if len(b) < 2 {
		return append(dst, b...), len(b)
	}
	switch c := b[1]; c {
	case 'n':
		return append(dst, '\n'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'v':
		return append(dst, '\v'), 2
	case '\n':
		return dst, 2
	case '\r':
		if len(b) > 2 && b[2] == '\n' {
			return dst, 3
		}
		return dst, 2
	case '0', '1', '2', '3', '4', '5', '6', '7':
		v, n := rune(0), 1
		for n < 4 && n < len(b) && b[n] >= '0' && b[n] <= '7' && v*8+rune(b[n]-'0') < 256 {
			v = v*8 + rune(b[n]-'0')
			n++
		}
		return utf8.AppendRune(dst, v), n
	case 'x':
		if v, ok := hexDigits(b[2:], 2); ok {
			return utf8.AppendRune(dst, v), 4
		}
	case 'U':
		if v, ok := hexDigits(b[2:], 8); ok {
			return utf8.AppendRune(dst, v), 10
		}
	case 'u':
		if len(b) > 2 && b[2] == '{' {
			for n := 1; n <= 6 && 3+n < len(b); n++ {
				if b[3+n] == '}' {
					if v, ok := hexDigits(b[3:], n); ok {
						return utf8.AppendRune(dst, v), n + 4
					}
				}
			}
			break
		}
		if v, ok := hexDigits(b[2:], 4); ok {
			if utf16.IsSurrogate(v) && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
				if lo, ok := hexDigits(b[8:], 4); ok {
					if r := utf16.DecodeRune(v, lo); r != utf8.RuneError {
						return utf8.AppendRune(dst, r), 12
					}
				}
			}
			return utf8.AppendRune(dst, v), 6
		}
	}
	return append(dst, b[1]), 2
}

func hexDigits(b []byte, n int) (v rune, ok bool) {
	if len(b) < n {
		return 0, false
	}
	for _, c := range b[:n] {
		d := digitOf(c)
		if d > 15 {
			return 0, false
		}
		if v = v<<4 | rune(d); v > utf8.MaxRune { //nolint:gosec // a digit
			return 0, false
		}
	}
	return v, true
}

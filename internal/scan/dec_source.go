package scan

import "bytes"

// sourceTexts gives the string literals of a text in any language that looks like C, and the comments. It knows no
// grammar: it must go through a bundle of 20 MB on one line as through Kotlin, and through a file that is neither. Each
// literal comes with the name that the code beside it gives it (see lexer.key), and where literals are put together,
// the whole comes, too.
//
// What can derail a lexer is a quote that opens no literal, above all in a regular expression. Therefore a literal ends
// on its line, and a quote within a word neither opens nor closes one.
func sourceTexts(data []byte, emit func(text)) error {
	l := lexer{data: data, e: newEmission(emit, len(data), 8), patience: 4*len(data) + 1<<20}
	for l.i < len(data) && !l.e.over {
		l.lex()
	}
	l.endChain()
	return l.e.result("source")
}

const (
	maxLiteral  = 1 << 20  // bytes; a longer one is no literal, or no secret
	maxComment  = 64 << 10 // of one to the end of the line
	maxRegexp   = 32 << 10
	maxNesting  = 10_000
	tokenWindow = 32 // tokens that are remembered; a power of two
)

// token is what was read last. Its kind is the character itself, or one of these.
type token struct {
	kind       byte
	start, end int  // of a literal: what is between the quotes
	line       bool // it is the first on its line
}

const (
	tokenWord    = 'i'
	tokenNumber  = 'n'
	tokenString  = 's'
	tokenRegexp  = 'r'
	tokenCompare = 'E' // == != <= >=, and === !==
	tokenArrow   = 'A' // =>
	tokenOr      = 'O' // || ?? ?:
	tokenNest    = '$' // ${ in a template
	// '=' is each assignment, := and += too, and '.' is ?. :: and ->, too.
)

// bracket is one that is open.
type bracket struct {
	kind byte   // ( [ { or tokenNest; of a ( after if, while and for: tokenCondition
	key  string // of an array, and of a template: its name
}

const tokenCondition = 'c'

type lexer struct {
	data []byte
	e    *emission
	i    int

	tokens    [tokenWindow]token
	count     int  // tokens so far
	line      bool // a line has begun since the last token
	brackets  []bracket
	deeper    int  // brackets that are open but not in brackets
	condition bool // the last ) closed a condition

	patience               int // bytes that may be looked through for an end that is not there
	noTriple               [256]bool
	noBlockEnd             bool
	scratch, chained, list []byte

	chain chain
	array array
}

func (l *lexer) lex() {
	c := l.data[l.i]
	switch {
	case c == '\n':
		l.line = true
		l.i++
	case c <= ' ', c == '@': // of @"…"
		l.i++
	case identifierByte[c]:
		end := skipWord(l.data, l.i)
		kind := byte(tokenWord)
		if c >= '0' && c <= '9' {
			kind = tokenNumber
		}
		l.push(kind, l.i, end)
	case c == '"' || c == '\'':
		l.quoted(c)
	case c == '`':
		l.template(l.i+1, l.key())
	case c == '\\':
		l.i += 2
	case c == '/':
		l.slash()
	case c == '#' && (l.line || l.count == 0) && l.at(1) <= ' ' || c == '#' && l.i == 0 && l.at(1) == '!':
		l.lineComment(1)
	default:
		l.operator(c)
	}
}

// at returns the byte n after the one that is looked at.
func (l *lexer) at(n int) byte {
	if l.i+n < len(l.data) {
		return l.data[l.i+n]
	}
	return 0
}

func (l *lexer) push(kind byte, start, end int) {
	l.tokens[l.count%tokenWindow] = token{kind: kind, start: start, end: end, line: l.line}
	l.count++
	l.line = false
	l.i = max(l.i, end)
}

// back returns the nth token before: the last with 1.
func (l *lexer) back(n int) token {
	if n > l.count || n > tokenWindow {
		return token{}
	}
	return l.tokens[(l.count-n)%tokenWindow]
}

func (l *lexer) is(n int, word string) bool {
	t := l.back(n)
	return t.kind == tokenWord && string(l.data[t.start:t.end]) == word
}

func (l *lexer) operator(c byte) {
	next, n := l.at(1), 1
	kind := c
	switch {
	case c == '(' || c == '[' || c == '{':
		l.open(c)
	case c == ')' || c == ']' || c == '}':
		if l.close(c) {
			return
		}
	case (c == '+' || c == '-') && next == c:
		l.i += 2 // a++ ends an operand as a does
		return
	case c == '=' && next == '>':
		kind, n = tokenArrow, 2
	case (c == '=' || c == '!' || c == '<' || c == '>') && next == '=':
		kind, n = tokenCompare, 2
		if l.at(2) == '=' {
			n = 3
		}
	case (c == '|' || c == '?') && next == c:
		kind, n = tokenOr, 2
		if l.at(2) == '=' {
			kind, n = '=', 3
		}
	case c == '?' && next == ':':
		kind, n = tokenOr, 2
	case c == '?' && next == '.' && !isDigit(l.at(2)), c == ':' && next == ':', c == '-' && next == '>':
		kind, n = '.', 2
	case next == '=' && bytes.IndexByte([]byte("+-*%&|^:?"), c) >= 0:
		kind, n = '=', 2
	}
	l.push(kind, l.i, l.i+n)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) open(c byte) {
	b := bracket{kind: c}
	switch c {
	case '(':
		if l.is(1, "if") || l.is(1, "while") || l.is(1, "for") || l.is(1, "with") {
			b.kind = tokenCondition
		}
		l.beginJoin()
	case '[':
		if k := l.back(1).kind; k == '=' || k == ':' {
			b.key = l.key()
		}
	}
	l.openBracket(b)
}

func (l *lexer) openBracket(b bracket) {
	if len(l.brackets) == maxNesting || l.deeper > 0 {
		l.deeper++
		return
	}
	l.brackets = append(l.brackets, b)
}

// close reports that it has gone on with the template to which c leads back.
func (l *lexer) close(c byte) bool {
	if c == ']' || c == ')' {
		l.endJoin(c)
	}
	if l.deeper > 0 {
		l.deeper--
		return false
	}
	l.condition = false
	// One that does not match is forgiven, if what it matches is near.
	for n := 1; n <= 4 && n <= len(l.brackets); n++ {
		b := l.brackets[len(l.brackets)-n]
		switch {
		case b.kind == tokenNest && c == '}':
			l.brackets = l.brackets[:len(l.brackets)-n]
			l.push('}', l.i, l.i+1)
			l.template(l.i, b.key)
			return true
		case b.kind == '(' && c == ')', b.kind == tokenCondition && c == ')', b.kind == '[' && c == ']', b.kind == '{' && c == '}':
			l.brackets = l.brackets[:len(l.brackets)-n]
			l.condition = b.kind == tokenCondition
			return false
		case b.kind == tokenNest:
			return false
		}
	}
	return false
}

func (l *lexer) top() bracket {
	if len(l.brackets) == 0 || l.deeper > 0 {
		return bracket{}
	}
	return l.brackets[len(l.brackets)-1]
}

// quoted reads the literal that the quote at l.i opens, if it opens one.
func (l *lexer) quoted(quote byte) {
	start := l.i
	raw := false
	if start > 0 && identifierByte[l.data[start-1]] && l.count > 0 {
		if t := l.back(1); t.end == start {
			switch word := l.data[t.start:t.end]; {
			case isStringPrefix(word):
				raw = bytes.ContainsAny(word, "rR")
				l.count-- // it is part of the literal
			case t.kind != tokenWord || !isKeyword(word):
				l.i++
				return
			}
		}
	}
	if l.at(1) == quote && l.at(2) == quote && l.triple(quote) {
		return
	}
	escaped := false
	limit := min(len(l.data), start+l.limit(maxLiteral))
	for j := start + 1; j < limit; j++ {
		switch l.data[j] {
		case quote:
			if l.endsInWord(j + 1) {
				l.i++
				return
			}
			l.i = j + 1
			l.literal(start+1, j, escaped && !raw)
			return
		case '\\':
			escaped = true
			if j++; j+1 < limit && l.data[j] == '\r' && l.data[j+1] == '\n' {
				j++
			}
		case '\n':
			l.i = j // it was no literal
			return
		}
	}
	l.patience -= limit - start
	l.i++
}

// limit is how far to look for an end: not far any more when it was often not there.
func (l *lexer) limit(n int) int {
	if l.patience < 0 {
		return 1 << 8
	}
	return n
}

// endsInWord reports that what a quote has closed is followed by a word that cannot be there: then the quote was one
// that opens.
func (l *lexer) endsInWord(i int) bool {
	if i >= len(l.data) || !identifierByte[l.data[i]] {
		return false
	}
	end := min(skipWord(l.data, i), i+16)
	switch word := l.data[i:end]; string(word) {
	case "in", "instanceof", "of", "if", "else", "for", "and", "or", "is", "not", "as", "to", "at", "then", "do":
		return false
	case "s", "sv": // C++
		return end < len(l.data) && bytes.IndexByte([]byte(";), "), l.data[end]) < 0
	default: // a macro of C between literals
		return len(word) < 3 || !bytes.Equal(word, bytes.ToUpper(word)) || isDigit(word[0])
	}
}

// triple reads a literal in three quotes. That of Kotlin has no escapes, those of Python, Swift, Dart and Java have:
// where it makes a difference both are given.
func (l *lexer) triple(quote byte) bool {
	if l.noTriple[quote] {
		return false
	}
	start, quotes := l.i+3, bytes.Repeat([]byte{quote}, 3)
	for from := start; ; {
		n := bytes.Index(l.data[from:min(len(l.data), start+maxLiteral)], quotes)
		if n < 0 {
			l.noTriple[quote] = true // nor behind
			return false
		}
		end := from + n
		if l.data[end-1] == '\\' && end > start {
			from = end + 1
			continue
		}
		l.i = end + 3
		if bytes.IndexByte(l.data[start:end], '\\') >= 0 {
			key := l.key()
			l.e.give(text{b: l.data[start:end], off: start, key: key, named: key != ""})
		}
		l.literal(start, end, true)
		return true
	}
}

// template reads on in a template from i, which is behind its first quote or behind what is put into it. Its parts are
// given one by one.
func (l *lexer) template(i int, key string) {
	limit := min(len(l.data), i+l.limit(maxLiteral))
	escaped := false
	for j := i; j < limit; j++ {
		switch l.data[j] {
		case '\\':
			escaped = true
			j++
		case '`':
			l.i = j + 1
			l.named(i, j, escaped, key)
			return
		case '$':
			if j+1 < len(l.data) && l.data[j+1] == '{' {
				l.i = j + 2
				if j > i {
					l.named(i, j, escaped, key)
				}
				l.openBracket(bracket{kind: tokenNest, key: key})
				l.push(tokenNest, j, j+2)
				return
			}
		}
	}
	l.patience -= limit - i
	l.i = max(l.i+1, i)
}

func (l *lexer) slash() {
	switch next := l.at(1); {
	case next == '/' && l.i > 0 && l.data[l.i-1] == ':':
		l.i += 2 // of a URL
	case next == '/':
		l.lineComment(2)
	case next == '*' && !l.noBlockEnd:
		n := bytes.Index(l.data[l.i+2:], []byte("*/"))
		if n < 0 {
			l.noBlockEnd = true
			l.push('/', l.i, l.i+1)
			return
		}
		l.comment(l.i+2, l.i+2+n)
		l.i += n + 4
	case l.regexpPossible() && l.regexp():
	default:
		l.push('/', l.i, l.i+1)
	}
}

// lineComment reads a comment that begins with n bytes. In a long line it is cut off: it may be that it is none.
func (l *lexer) lineComment(n int) {
	start := l.i + n
	rest := l.data[start:min(len(l.data), start+maxComment)]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	l.comment(start, start+len(rest))
	l.i = start + len(rest)
}

func (l *lexer) comment(start, end int) {
	b := bytes.TrimLeft(l.data[start:end], " \t\r\n*/!#")
	start = end - len(b)
	b = bytes.TrimRight(b, " \t\r\n*")
	l.e.give(text{b: b, off: start, key: "comment"})
}

// regexpPossible reports that a / here does not divide.
func (l *lexer) regexpPossible() bool {
	switch t := l.back(1); t.kind {
	case tokenWord:
		return isKeyword(l.data[t.start:t.end])
	case tokenNumber, tokenString, tokenRegexp, ']', '<': // the last: </a> of JSX
		return false
	case ')':
		return l.condition
	case '}':
		return l.at(1) != '>' // />
	}
	return true
}

func (l *lexer) regexp() bool {
	class := false
	limit := min(len(l.data), l.i+l.limit(maxRegexp))
	for j := l.i + 1; j < limit; j++ {
		switch l.data[j] {
		case '\\':
			j++
		case '[':
			class = true
		case ']':
			class = false
		case '\n':
			l.patience -= j - l.i
			return false
		case '/':
			if !class {
				l.push(tokenRegexp, l.i, skipWord(l.data, j))
				return true
			}
		}
	}
	l.patience -= limit - l.i
	return false
}

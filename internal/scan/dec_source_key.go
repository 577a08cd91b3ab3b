package scan

import "bytes"

// maxKey is how long a name may be that is taken for one, in bytes.
const maxKey = 200

// key returns the name that the code before the literal at hand gives it, or "":
//
//	CLIENT_SECRET = "…"             obj.clientSecret: "…"          obj["clientSecret"] = "…"
//	let clientSecret: String = "…"  "clientSecret" to "…"          #define CLIENT_SECRET "…"
//	setClientSecret("…")            put("clientSecret", "…")       const k = process.env.K || "…"
func (l *lexer) key() string {
	switch l.back(1).kind {
	case '=':
		return l.assigned(1)
	case ':':
		return l.labelled(1)
	case '(':
		return l.called(1)
	case ',':
		return l.argument()
	case '[':
		return l.top().key
	case '{':
		if l.back(2).kind == '=' {
			return l.assigned(2)
		}
	case '?':
		return l.chosen(1)
	case '+':
		if l.back(2).kind == tokenWord {
			_, n := l.path(2)
			return l.given(n)
		}
	case tokenOr:
		if l.back(2).kind == tokenWord {
			key, n := l.path(2)
			if to := l.given(n); to != "" {
				return to
			}
			return key
		}
	case tokenArrow:
		if l.back(2).kind == tokenString {
			return l.content(2)
		}
	case tokenWord:
		return l.command()
	}
	return ""
}

// given returns what the value that begins after token n is assigned to.
func (l *lexer) given(n int) string {
	switch l.back(n).kind {
	case '=':
		return l.assigned(n)
	case ':':
		return l.labelled(n)
	}
	return ""
}

// path returns the names with dots between them that end with token n, and which token is before.
func (l *lexer) path(n int) (string, int) {
	const longest = 6
	last := l.back(n)
	first := n
	for first < n+2*longest && l.back(first+1).kind == '.' && l.back(first+2).kind == tokenWord {
		first += 2
	}
	if first > n && (l.is(first, "this") || l.is(first, "self")) {
		first -= 2
		return l.joinPath(first, last), first + 3
	}
	return l.joinPath(first, last), first + 1
}

func (l *lexer) joinPath(first int, last token) string {
	b := l.data[l.back(first).start:last.end]
	if len(b) > maxKey || bytes.ContainsAny(b, " \t\r\n/") { // there is space or a comment within
		b = l.data[last.start:last.end]
	}
	return keyTail(b)
}

// content returns the literal that token n is, if it looks like a name.
func (l *lexer) content(n int) string {
	t := l.back(n)
	if t.kind != tokenString || t.end-t.start > maxKey {
		return ""
	}
	b := l.data[t.start:t.end]
	for _, c := range b {
		if !identifierByte[c] && c != '.' && c != '-' && c != ' ' && c != '/' && c != ':' {
			return ""
		}
	}
	return string(b)
}

// assigned returns the name that is before the assignment that token n is.
func (l *lexer) assigned(n int) string {
	n++
	for l.back(n).kind == '?' || l.back(n).kind == '!' { // String? =
		n++
	}
	switch l.back(n).kind {
	case tokenString: // "key" = "value"; in .strings
		return l.content(n)
	case tokenWord:
		key, before := l.path(n)
		switch l.back(before).kind {
		case ':': // name: Type =
			if l.back(before+1).kind == tokenWord {
				key, _ = l.path(before + 1)
			}
		case '|', '&': // name: string | null =
			if typed := l.typed(before); typed != "" {
				return typed
			}
		}
		if before := l.back(before); before.kind == '-' && before.end == l.back(n).start && len(key) > 1 && key[0] == 'D' {
			return key[1:] // -DNAME="…"
		}
		return key
	case ']':
		switch index := l.back(n + 1); {
		case index.kind == '[' && l.back(n+2).kind == tokenWord: // char name[] =
			key, before := l.path(n + 2)
			if l.back(before).kind == ':' && l.back(before+1).kind == tokenWord { // name: string[] =
				key, _ = l.path(before + 1)
			}
			return key
		case l.back(n+2).kind != '[':
		case index.kind == tokenNumber && l.back(n+3).kind == tokenWord: // char name[32] =
			key, _ := l.path(n + 3)
			return key
		case index.kind == tokenString || index.kind == tokenWord: // obj["name"] =, obj[NAME] =
			key := l.content(n + 1)
			if index.kind == tokenWord {
				key = keyTail(l.data[index.start:index.end])
			}
			if l.back(n+3).kind == tokenWord && key != "" {
				of, _ := l.path(n + 3)
				return of + "." + key
			}
			return key
		}
	case '>': // name: Map<K, V> =
		return l.typed(n)
	}
	return ""
}

// typed returns the name whose type, of more than one word, ends with token n.
func (l *lexer) typed(n int) string {
	for far := n + 12; n < far; n++ {
		switch l.back(n).kind {
		case ':':
			if l.back(n+1).kind != tokenWord {
				return ""
			}
			key, _ := l.path(n + 1)
			return key
		case tokenWord, tokenString, '.', ',', '<', '>', '?', '[', ']', '|', '&':
		default:
			return ""
		}
	}
	return ""
}

// labelled returns the name before the colon that token n is, unless the colon is one of a choice.
func (l *lexer) labelled(n int) string {
	switch l.back(n + 1).kind {
	case tokenString:
		if l.back(n+2).kind == '?' {
			return l.chosen(n + 2)
		}
		if isOperator(l.back(n + 2).kind) {
			return ""
		}
		return l.content(n + 1)
	case tokenWord:
		key, before := l.path(n + 1)
		if b := l.back(before); b.kind == '?' {
			return l.chosen(before)
		} else if isOperator(b.kind) && !l.back(before-1).line {
			return ""
		}
		if isKeyword([]byte(key)) {
			return ""
		}
		return key
	case ']':
		if l.back(n+2).kind == tokenWord { // [NAME]: "…"
			key, before := l.path(n + 2)
			if l.back(before).kind == '[' {
				return key
			}
		}
	case '?': // name?: "…"
		if l.back(n+2).kind == tokenWord {
			key, _ := l.path(n + 2)
			return key
		}
	}
	return ""
}

// chosen returns what a choice, the ? of which is token n, is assigned to.
func (l *lexer) chosen(n int) string {
	if l.back(n+1).kind != tokenWord {
		return ""
	}
	_, before := l.path(n + 1)
	if l.back(before).kind == '!' {
		before++
	}
	return l.given(before)
}

// called returns what the result of the call, the ( of which is token n, is assigned to, or else the function.
func (l *lexer) called(n int) string {
	for l.back(n).kind == '(' && l.back(n+1).kind == '(' && n < 4 {
		n++
	}
	if l.back(n+1).kind != tokenWord {
		return l.given(n + 1)
	}
	key, before := l.path(n + 1)
	if isKeyword([]byte(key)) {
		return ""
	}
	if l.is(before, "new") || l.is(before, "await") {
		before++
	}
	if to := l.given(before); to != "" {
		return to
	}
	return key
}

// argument returns the name of a literal after a comma: the argument before, or the array.
func (l *lexer) argument() string {
	switch l.top().kind {
	case '[':
		return l.top().key
	case '(', tokenCondition:
	default: // a command without brackets: buildConfigField "String", "NAME", "…"
		if l.back(3).kind != tokenWord && (l.back(3).kind != ',' || l.back(4).kind != tokenString || l.back(5).kind != tokenWord) {
			return ""
		}
	}
	if l.back(2).kind == tokenWord {
		if key, before := l.path(2); l.back(before).kind == '(' || l.back(before).kind == ',' {
			return key
		}
		return ""
	}
	return l.content(2)
}

// command returns the name of a literal after a word.
func (l *lexer) command() string {
	t := l.back(1)
	if l.is(1, "to") && l.back(2).kind == tokenString { // of Kotlin
		return l.content(2)
	}
	if l.line || isKeyword(l.data[t.start:t.end]) {
		return ""
	}
	key, _ := l.path(1)
	return key
}

func isOperator(kind byte) bool {
	switch kind {
	case '+', '-', '*', '/', '%', '&', '|', '^', '!', '~', '<', '>', tokenCompare, tokenOr:
		return true
	}
	return false
}

// isKeyword reports a word after which an operand follows: a / after it begins a regular expression, a string after it
// is not its value.
func isKeyword(word []byte) bool {
	switch string(word) {
	case "return", "typeof", "case", "in", "of", "instanceof", "new", "delete", "void", "throw", "else", "do", "yield",
		"await", "and", "or", "not", "if", "while", "for", "switch", "when", "default", "import", "from", "export",
		"print", "puts", "echo", "raise", "assert", "is", "as", "let", "const", "var", "val", "function", "func", "def",
		"catch", "with", "elif", "require", "include":
		return true
	}
	return false
}

// isStringPrefix reports r, b, f, u and L before the quote, in the combinations of Python, Dart, C and Rust.
func isStringPrefix(word []byte) bool {
	if len(word) > 2 {
		return false
	}
	for _, c := range word {
		if bytes.IndexByte([]byte("rRbBfFuUL8$"), c) < 0 {
			return false
		}
	}
	return true
}

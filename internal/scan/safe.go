package scan

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// maxShown is the length in bytes of the longest name in a report.
const maxShown = 300

// maxTold is how many bytes of a secret in a row a report may have in it: a name may have been made of a part of one.
const maxTold = 9

var (
	tokenLike = regexp.MustCompile(`e[yw][A-Za-z0-9_-]{5,}\.e[yw][A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)
	hiddenRun = regexp.MustCompile("\x00+")
)

// safe takes a name, of a file or a key, or any other text that somebody else wrote, and returns it as it may stand in a
// report: without secrets, parts of them, tokens and CPFs.
func (l *look) safe(name string) string {
	b := []byte(strings.ReplaceAll(name, "\x00", "�"))
	l.hide(b)
	s := strings.ToValidUTF8(hiddenRun.ReplaceAllString(string(b), "[secret]"), "�")
	s = hideCPFs(tokenLike.ReplaceAllString(s, "[token]"))
	if len(s) > maxShown {
		head, tail := maxShown/2, len(s)-maxShown/2
		for !utf8.RuneStart(s[head]) {
			head--
		}
		for !utf8.RuneStart(s[tail]) {
			tail++
		}
		s = s[:head] + "…" + s[tail:]
	}
	return s
}

// hide overwrites with zeros what is a secret in b, or ten bytes or more of one; also where a path has its separators
// within it.
func (l *look) hide(b []byte) {
	var plain []byte // without separators
	var at []int     // where each byte of it is in b
	for i, c := range b {
		if c != '/' && c != '!' && c != '.' {
			plain, at = append(plain, c), append(at, i)
		}
	}
	hidden := make([]bool, len(b))
	l.hidden(b, func(from, to int) {
		for i := from; i < to; i++ {
			hidden[i] = true
		}
	})
	l.hidden(plain, func(from, to int) {
		for i := at[from]; i <= at[to-1]; i++ {
			hidden[i] = true
		}
	})
	for i, h := range hidden {
		if h {
			b[i] = 0
		}
	}
}

func (l *look) hidden(b []byte, found func(from, to int)) {
	l.finder.find(b, func(h hit) {
		if n := &l.finder.needle[h.needle]; n.secret >= 0 {
			found(h.offset, h.offset+len(n.b))
		}
	})
	for i := 0; i+minPiece <= len(b); i++ {
		for _, p := range l.pieces.starts[sixBytes(b[i:])] {
			n, rest := 0, l.secrets[p.secret].value[p.from:]
			for n < len(rest) && i+n < len(b) && b[i+n] == rest[n] {
				n++
			}
			if n > maxTold {
				found(i, i+n)
			}
		}
	}
	if len(l.prints.salts) == 0 {
		return
	}
	candidates(b, minSecret, func(c []byte) {
		if _, ok := l.prints.name(c); ok {
			from := cap(b) - cap(c) // c is a part of b
			found(from, from+len(c))
		}
	})
}

// hideCPFs leaves out CPFs, with what separators anybody may put into them, also within longer numbers.
func hideCPFs(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		if n := cpfAt(s[i:]); n > 0 {
			out.WriteString("[CPF]")
			i += n
			continue
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String()
}

// cpfAt returns the length of the CPF with which s begins, or 0.
func cpfAt(s string) int {
	digits := make([]byte, 0, 11)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			if digits = append(digits, c); len(digits) == cap(digits) {
				if _, err := selo.ParseCPF(string(digits)); err != nil {
					return 0
				}
				return i + 1
			}
		case strings.IndexByte(". _-", c) < 0 || len(digits) != 3 && len(digits) != 6 && len(digits) != 9 || i > 0 && s[i-1] == c:
			return 0
		}
	}
	return 0
}

// randomLike is a word in a key that may be a secret itself, as in a map from tokens to users.
var randomLike = regexp.MustCompile(`[A-Za-z0-9_+=-]{20,}`)

// safeKey is safe for keys, which need not be found again by name: any long word with digits in it is left out too.
func (l *look) safeKey(key string) string {
	return randomLike.ReplaceAllStringFunc(l.safe(key), func(word string) string {
		if strings.ContainsAny(word, "0123456789") && entropy([]byte(word)) > 3.5 {
			return "…"
		}
		return word
	})
}

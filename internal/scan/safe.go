package scan

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// maxShown is the length in bytes of the longest name in a report.
const maxShown = 300

var (
	tokenLike = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)
	cpfLike   = regexp.MustCompile(`\d{3}\.?\d{3}\.?\d{3}-?\d{2}`)
)

// safe takes a name, of a file or a key, and returns it as it may stand in a report: names are somebody else's text, and
// may have been made of a secret, a token or a CPF.
func (l *look) safe(name string) string {
	b := []byte(strings.ReplaceAll(name, "\x00", "�"))
	l.finder.find(b, func(h hit) {
		n := &l.finder.needle[h.needle]
		if n.secret >= 0 {
			blank(b[h.offset : h.offset+len(n.b)])
		}
	})
	if len(l.prints.salts) > 0 {
		candidates(slices.Clone(b), minSecret, func(c []byte) {
			if _, ok := l.prints.name(c); ok {
				b = []byte(strings.ReplaceAll(string(b), string(c), strings.Repeat("\x00", len(c))))
			}
		})
	}
	s := strings.ToValidUTF8(string(b), "�")
	for _, run := range blanks.FindAllString(s, -1) {
		s = strings.Replace(s, run, "[secret]", 1)
	}
	s = tokenLike.ReplaceAllString(s, "[token]")
	s = cpfLike.ReplaceAllStringFunc(s, func(digits string) string {
		if _, err := selo.ParseCPF(digits); err != nil {
			return digits
		}
		return "[CPF]"
	})
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

var blanks = regexp.MustCompile("\x00+")

func blank(b []byte) {
	for i := range b {
		b[i] = 0
	}
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

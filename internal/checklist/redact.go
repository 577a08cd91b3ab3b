package checklist

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// redactor takes out of a text what nobody may read in a report: secrets in every encoding in which they leak,
// credentials, CPFs, and whatever looks like a token.
type redactor struct {
	hidden []hidden // the longest first
	odd    []string // secrets in their encodings, as normalised leaves them
}

type hidden struct{ value, name string }

// hide has a value replaced by its name in angle brackets, as it is and as it stands in URLs, JSON and HTTP Basic.
// Values that are too short to be told from other text are left alone.
func (r *redactor) hide(value, name string) {
	if len(value) < 4 {
		return
	}
	forms := []string{value}
	if strings.ContainsFunc(value, isEscaped) {
		forms = append(forms, url.QueryEscape(value), url.PathEscape(value), quoted(value))
	}
	for _, v := range forms {
		if h := (hidden{v, "⟨" + name + "⟩"}); !slices.Contains(r.hidden, h) {
			r.hidden = append(r.hidden, h)
		}
	}
	slices.SortStableFunc(r.hidden, func(a, b hidden) int { return len(b.value) - len(a.value) })
}

// isEscaped reports whether a character is written otherwise in a URL or in JSON.
func isEscaped(c rune) bool {
	return !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~')
}

// hideSecret hides a secret in all of its encodings, and remembers it for other spellings of them.
func (r *redactor) hideSecret(secret []byte, name string) {
	if len(secret) < 8 { // other forms of it are found everywhere
		r.hide(string(secret), name)
		return
	}
	for _, e := range encodings(secret) {
		r.hide(e.text, name)
		if n := normalised(e.text); len(n) >= 12 && !slices.Contains(r.odd, n) {
			r.odd = append(r.odd, n)
		}
	}
}

// hideCPF hides the CPF of a test user, bare and masked.
func (r *redactor) hideCPF(cpf selo.CPF, name string) {
	d := cpf.Digits()
	for _, text := range []string{d, masked(cpf), strings.TrimLeft(d, "0")} {
		if len(text) >= 8 {
			r.hide(text, "CPF of "+name)
		}
	}
	for _, e := range encodings([]byte(d)) {
		if strings.HasPrefix(e.name, "base64") || e.name == "hex" {
			r.hide(e.text, "CPF of "+name)
		}
	}
}

// normalised is a text without case, and without all that writers of JSON, URLs, HTML, hex and e-mail put between characters.
func normalised(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'A' && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteByte(c)
		}
	}
	return b.String()
}

// holds reports whether a text has a secret in it in a spelling that replacing does not find.
func (r *redactor) holds(s string) bool {
	if len(r.odd) == 0 {
		return false
	}
	for _, spelling := range []string{s, unescaped(s)} {
		n := normalised(spelling)
		if slices.ContainsFunc(r.odd, func(secret string) bool { return strings.Contains(n, secret) }) {
			return true
		}
	}
	return false
}

var escape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|%([0-9A-Fa-f]{2})|=([0-9A-F]{2})|\\([/"\\])`)

// unescaped takes the escapes of JSON, JavaScript, URLs, e-mail and HTML out of a text, and makes plain digits of others.
func unescaped(s string) string {
	s = escape.ReplaceAllStringFunc(s, func(e string) string {
		m := escape.FindStringSubmatch(e)
		if m[5] != "" {
			return m[5]
		}
		var n rune
		for _, c := range strings.ToLower(m[1] + m[2] + m[3] + m[4]) {
			if c >= 'a' {
				c -= 'a' - '9' - 1
			}
			n = n<<4 | (c - '0')
		}
		return string(n)
	})
	return strings.Map(func(c rune) rune {
		if c >= '０' && c <= '９' { // full width
			return '0' + c - '０'
		}
		return c
	}, html.UnescapeString(s))
}

// masked is a CPF as people write it.
func masked(cpf selo.CPF) string {
	d := cpf.Digits()
	return d[:3] + "." + d[3:6] + "." + d[6:9] + "-" + d[9:]
}

var (
	anyJWT = regexp.MustCompile(`[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_=+/-]*)?`)
	anyCPF = regexp.MustCompile(`\d(?:[^\d\pL]{0,3}\d){10}`)
	// telling is a value under a name that says that it is secret.
	telling = regexp.MustCompile(`(?i)("[a-z0-9_-]*(?:token|secret|password|senha|session|credential|api_?key|private_?key)[a-z0-9_-]*"\s*:\s*")([^"\\⟨]{16,})"`)
)

// known returns s without the values that were named.
func (r *redactor) known(s string) string {
	for _, h := range r.hidden {
		s = strings.ReplaceAll(s, h.value, h.name)
	}
	return s
}

// text returns s without them, and without what looks like a token or is a CPF. Of a text that has a secret in it in spite of
// that nothing is left.
func (r *redactor) text(s string) string {
	s = r.replaced(s)
	if r.holds(s) || anyCPF.MatchString(s) && anyValidCPF(s) {
		return "⟨withheld: it has a secret or a CPF in it in a spelling of its own⟩"
	}
	return s
}

// anyValidCPF reports whether a CPF is in a text, also where its digits stand apart.
func anyValidCPF(s string) bool {
	for _, t := range anyCPF.FindAllString(s, -1) {
		if _, err := selo.ParseCPF(digits(t)); err == nil {
			return true
		}
	}
	return false
}

func digits(s string) string {
	return strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, s)
}

func (r *redactor) replaced(s string) string {
	s = anyJWT.ReplaceAllStringFunc(r.known(s), func(t string) string {
		header, _, _ := strings.Cut(t, ".")
		if b, err := base64.RawURLEncoding.DecodeString(header); err == nil && strings.HasPrefix(strings.TrimSpace(string(b)), "{") {
			return "⟨a token⟩"
		}
		return t
	})
	s = telling.ReplaceAllString(s, `$1⟨value⟩"`)
	return anyCPF.ReplaceAllStringFunc(s, func(t string) string {
		if _, err := selo.ParseCPF(digits(t)); err == nil {
			return "⟨a CPF⟩"
		}
		return t
	})
}

func quoted(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return s
	}
	return string(b[1 : len(b)-1])
}

// encoding is a secret as it may stand in an answer.
type encoding struct{ name, text string }

// encodings returns a secret in the forms in which servers let it slip. base64 depends on what stands before it, so of
// each alignment there is the part that does not.
func encodings(secret []byte) []encoding {
	s := string(secret)
	list := []encoding{
		{"as it is", s},
		{"reversed", reversed(s)},
		{"UTF-16LE", utf16Bytes(s, binary.LittleEndian)},
		{"UTF-16BE", utf16Bytes(s, binary.BigEndian)},
		{"hex", hex.EncodeToString(secret)},
		{"upper-case hex", strings.ToUpper(hex.EncodeToString(secret))},
		{"base64 of base64", base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(secret)))},
		{"rot13", strings.Map(rot13, s)},
		{"base32", strings.TrimRight(base32.StdEncoding.EncodeToString(secret), "=")},
		{`\u escapes`, eachByte(secret, `\u%04x`, "")},
		{`\x escapes`, eachByte(secret, `\x%02x`, "")},
		{"decimal array", eachByte(secret, "%d", ",")},
		{"decimal array with spaces", eachByte(secret, "%d", ", ")},
		{"percent-encoded", eachByte(secret, "%%%02X", "")},
		{"HTML character references", eachByte(secret, "&#%d;", "")},
	}
	for shift := range 3 {
		for _, enc := range []struct {
			name string
			*base64.Encoding
		}{{"base64", base64.RawStdEncoding}, {"base64url", base64.RawURLEncoding}} {
			text := enc.EncodeToString(append(make([]byte, shift), secret...))
			from := []int{0, 2, 3}[shift]
			to := len(text)
			if (len(secret)+shift)%3 != 0 {
				to-- // its last character depends on what follows
			}
			list = append(list, encoding{fmt.Sprintf("%s, %d bytes in", enc.name, shift), text[from:to]})
		}
	}
	return list
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

func utf16Bytes(s string, order binary.AppendByteOrder) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func rot13(r rune) rune {
	switch {
	case r > unicode.MaxASCII:
	case r >= 'a' && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case r >= 'A' && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

func eachByte(b []byte, format, separator string) string {
	parts := make([]string, len(b))
	for i, c := range b {
		parts[i] = fmt.Sprintf(format, c)
	}
	return strings.Join(parts, separator)
}

package scan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// needle is a secret in one of the spellings in which it may stand in an app.
type needle struct {
	b        []byte
	secret   int    // index in the list of secrets
	spelling string // "base64 of it"; for the report
}

// needles returns a secret in every spelling but XOR, each once, and none shorter than the secret less a few bytes. A
// spelling that is equal to an earlier one is left out, so what an app shows plainly is called plain.
func needles(secret []byte, index int) []needle {
	var all []needle
	seen := make(map[string]bool)
	add := func(spelling string, b []byte) {
		if len(b) >= minSecret && !seen[string(b)] {
			seen[string(b)] = true
			all = append(all, needle{b, index, spelling})
		}
	}
	reversed := slices.Clone(secret)
	slices.Reverse(reversed)

	add("plain", secret)
	add("reversed", reversed)
	add("UTF-16LE", wide(secret, 2, false))
	add("UTF-16BE", wide(secret, 2, true))
	add("32-bit numbers", wide(secret, 4, false)) // an array of int, and UTF-32
	add("32-bit numbers", wide(secret, 4, true))
	add("64-bit numbers", wide(secret, 8, false)) // an array of long, and the doubles of some bundles are not like this
	add("rot13", rot13(secret))
	for _, s := range []struct {
		of string
		b  []byte
	}{{"", secret}, {", reversed", reversed}} {
		add("hex"+s.of, []byte(hex.EncodeToString(s.b)))
		add("hex"+s.of, []byte(strings.ToUpper(hex.EncodeToString(s.b))))
		for _, once := range base64Of(s.b) {
			add("base64"+s.of, once)
		}
	}
	for _, once := range base64Of(secret) {
		for _, twice := range base64Of(once) {
			add("base64 twice", twice)
		}
	}
	for _, b := range base64Of(wide(secret, 2, false)) {
		add("base64 of UTF-16", b)
	}
	for _, f := range []struct{ spelling, format string }{
		{`\u escapes`, `\u%04x`}, {`\u escapes`, `\u%04X`}, {`\u{} escapes`, `\u{%x}`}, {`\u{} escapes`, `\u{%X}`},
		{`\x escapes`, `\x%02x`}, {`\x escapes`, `\x%02X`}, {`octal escapes`, `\%03o`},
		{"percent encoding", "%%%02x"}, {"percent encoding", "%%%02X"},
		{"character references", "&#%d;"}, {"character references", "&#x%x;"}, {"character references", "&#x%X;"},
	} {
		add(f.spelling, spell(secret, f.format, ""))
	}
	// As people spell what has characters in it that a format does not take.
	text := string(secret)
	for _, escaped := range []string{
		url.QueryEscape(text), url.PathEscape(text), lowerEscapes(url.QueryEscape(text)), lowerEscapes(url.PathEscape(text)),
	} {
		add("percent encoding", []byte(escaped))
	}
	add("character references", []byte(html.EscapeString(text)))
	add("character references", []byte(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(text)))
	add("backslashes", []byte(strings.NewReplacer(`\`, `\\`, `"`, `\"`, "'", `\'`).Replace(text)))
	add("backslashes", []byte(strings.ReplaceAll(text, "/", `\/`)))
	if otherAlphabet := strings.NewReplacer("+", "-", "/", "_").Replace(text); strings.ContainsAny(text, "+/=") {
		add("base64url instead of base64", []byte(strings.TrimRight(otherAlphabet, "=")))
	} else if strings.ContainsAny(text, "-_") {
		add("base64 instead of base64url", []byte(strings.NewReplacer("-", "+", "_", "/").Replace(text)))
	}
	for _, separator := range []string{",", ", ", ",\n", " ", ":", "-"} {
		add("an array of numbers", spell(secret, "%d", separator))
		add("an array of numbers", spell(secret, "0x%02x", separator))
		add("an array of numbers", spell(secret, "0x%02X", separator))
		add("hex with separators", spell(secret, "%02x", separator))
		add("hex with separators", spell(secret, "%02X", separator))
	}
	return all
}

var percentEscape = regexp.MustCompile("%[0-9A-F]{2}")

func lowerEscapes(s string) string { return percentEscape.ReplaceAllStringFunc(s, strings.ToLower) }

// base64Of returns what every base64 text that encodes secret somewhere within it must contain: in both alphabets, at
// each of the three places where its first byte can fall. The characters that also hold bits of neighbours are left out.
func base64Of(secret []byte) [][]byte {
	if len(secret) == 0 {
		return nil
	}
	var out [][]byte
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for lead := range 3 {
			b := append(make([]byte, lead), secret...)
			text := enc.AppendEncode(nil, b)
			text = text[(lead*8+5)/6 : len(b)*8/6]
			out = append(out, text)
		}
	}
	return out
}

// wide returns each byte as a number of size bytes, which is UTF-16 and UTF-32 of a secret in ASCII.
func wide(b []byte, size int, bigEndian bool) []byte {
	if !isASCII(b) && size < 8 {
		return wideRunes(b, size, bigEndian) // nil for what is no text
	}
	out := make([]byte, len(b)*size)
	for i, c := range b {
		at := i * size
		if bigEndian {
			at += size - 1
		}
		out[at] = c
	}
	return out
}

func wideRunes(b []byte, size int, bigEndian bool) []byte {
	if !utf8.Valid(b) {
		return nil
	}
	var out []byte
	for _, r := range string(b) {
		if size == 2 && r > 0xffff {
			return nil // a secret with an emoji is not worth the code
		}
		unit := make([]byte, size)
		for i := range unit {
			unit[i] = byte(r >> (8 * i) & 0xff)
		}
		if bigEndian {
			slices.Reverse(unit)
		}
		out = append(out, unit...)
	}
	return out
}

func rot13(b []byte) []byte {
	return bytes.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case 'A' <= r && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, b)
}

func spell(b []byte, format, separator string) []byte {
	var out []byte
	for i, c := range b {
		if i > 0 {
			out = append(out, separator...)
		}
		out = fmt.Appendf(out, format, c)
	}
	return out
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

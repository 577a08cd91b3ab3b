package selo

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// appendFolded appends the form under which lenient JSON decoders take two names for one: Unicode simple
// folding (encoding/json sets isAlive from iſAlive) and without _ and - (as case-insensitive
// encoding/json/v2 does). Dotted and dotless i fold as well, since some languages' lower-casing does it.
func appendFolded(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			i++
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != '_' && c != '-' {
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		i += n
		if j := slices.Index(foldsToMany, r); j >= 0 {
			dst = append(dst, foldedToMany[j]...)
			continue
		}
		dst = utf8.AppendRune(dst, foldRune(r))
	}
	return dst
}

// The letters that full case folding makes several ASCII letters of.
var (
	foldsToMany  = []rune{'ß', 'ẞ', 'ﬀ', 'ﬁ', 'ﬂ', 'ﬃ', 'ﬄ', 'ﬅ', 'ﬆ'}
	foldedToMany = []string{"ss", "ss", "ff", "fi", "fl", "ffi", "ffl", "st", "st"}
)

// foldRune returns one representative of r's folding orbit: the lower-case ASCII letter if there is one,
// else the smallest rune.
func foldRune(r rune) rune {
	if r == 'İ' || r == 'ı' {
		return 'i'
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f < least {
			least = f
		}
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

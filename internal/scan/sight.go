package scan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// sight is what one goroutine sees in one entry.
type sight struct {
	*look
	e      *entry
	found  map[subject]*group
	tokens map[string]*jwt
	cut    []cutPiece
	peeled [maxLayers][]byte // scratch
}

func (s *sight) add(subj subject, sp spot) *group {
	g := s.found[subj]
	if g == nil {
		g = new(group)
		s.found[subj] = g
	}
	g.add(sp)
	return g
}

func (s *sight) token(t *jwt, sp spot) {
	raw := t.signed + "." + t.mac
	if s.tokens == nil {
		s.tokens = make(map[string]*jwt)
	}
	s.tokens[raw] = t
	s.add(subject{kind: signedToken, text: raw}, sp)
}

// bytes looks through bytes as they are, which begin at offset in the entry.
func (s *sight) bytes(data []byte, offset int64) {
	s.finder.find(data, func(h hit) {
		n := &s.finder.needle[h.needle]
		if !otherOrder(h.spelling, data, h.offset, len(n.b)) {
			s.add(s.subject(n), spot{offset: offset + int64(h.offset), size: int64(len(n.b)), spelling: h.spelling})
		}
	})
	jwts(data, func(at int, t *jwt) {
		s.token(t, spot{offset: offset + int64(at), size: int64(len(t.signed)), spelling: "plain"})
	})
	wideJWTs(data, func(at int, t *jwt) {
		s.token(t, spot{offset: offset + int64(at), size: int64(2 * len(t.signed)), spelling: "UTF-16"})
	})
}

// otherOrder reports that a hit in UTF-16 is one in the other byte order too, a byte before or after, and is more likely
// that: in UTF-16LE what follows a character below U+0100 looks like UTF-16BE, and characters stand at even offsets.
func otherOrder(spelling string, data []byte, at, size int) bool {
	if at%2 == 0 {
		return false
	}
	switch spelling {
	case "UTF-16LE":
		return data[at-1] == 0
	case "UTF-16BE":
		return at+size < len(data) && data[at+size] == 0
	}
	return false
}

// name looks at what the entry is called, which a program can read as it can read what is in it.
func (s *sight) name() {
	name := []byte(s.e.path[strings.LastIndexByte(s.e.path, '!')+1:])
	if s.e.offset > 0 || len(name) < minSecret {
		return
	}
	s.derived(name, text{off: 0, key: "its name"}, "", -1)
}

// derived looks through bytes that do not lie in the entry as they are: all that is found is put where t lies. how says
// what was done to make them.
func (s *sight) derived(b []byte, t text, how string, offset int64) {
	s.finder.find(b, func(h hit) {
		n := &s.finder.needle[h.needle]
		s.add(s.subject(n), spot{offset, int64(len(t.b)), t.key, how + h.spelling})
	})
	jwts(b, func(_ int, tok *jwt) {
		s.token(tok, spot{offset, int64(len(t.b)), t.key, how + "plain"})
	})
}

// text looks at a string that a decoder found.
func (s *sight) text(t text) {
	offset := s.e.offset + int64(t.off)
	size := int64(len(t.b))
	if t.made {
		s.derived(t.b, t, "", offset)
	} else if t.key != "" && len(s.found) > 0 {
		for _, g := range s.found {
			g.name(offset, offset+size, t.key)
		}
	}
	if len(s.prints.salts) > 0 {
		candidates(t.b, minSecret, func(c []byte) {
			if name, ok := s.prints.name(c); ok {
				s.add(subject{kind: fingerprinted, text: name}, spot{offset, size, t.key, "a whole string"})
			}
		})
	}
	s.pieces.pieces(t.b, func(p piece) {
		if len(s.cut) < maxPieces {
			s.cut = append(s.cut, cutPiece{p, s.e.path, offset, t.key})
		}
	})
	s.peel(t.b, t, "", offset, maxLayers)
	if t.named && tells(t.key, t.b) {
		g := s.add(subject{kind: tellingName, text: t.key}, spot{offset: offset, size: size, key: t.key})
		g.value = string(t.b)
	}
}

// name gives places between two offsets their key.
func (g *group) name(from, to int64, key string) {
	for i := range g.spots {
		if sp := &g.spots[i]; sp.key == "" && from <= sp.offset && sp.offset < to {
			sp.key = key
		}
	}
}

// minPeel is the length in bytes of the shortest text that is decoded to look at what it is the encoding of.
const minPeel = 16

// maxLayers is how many encodings around each other are taken off.
const maxLayers = 2

// peel decodes what looks like base64 or hexadecimal digits within b, and looks through what comes out, layers times.
func (s *sight) peel(b []byte, t text, how string, offset int64, layers int) {
	for i := 0; i+minPeel <= len(b); {
		// Before i no run begins. If what would be the last byte of the shortest one is in none, none begins up to there.
		last := i + minPeel - 1
		if !isBase64[b[last]] {
			i = last + 1
			continue
		}
		start, end := last, last+1
		for start > i && isBase64[b[start-1]] {
			start--
		}
		for end < len(b) && isBase64[b[end]] {
			end++
		}
		if end-start >= minPeel {
			s.layer(b[start:end], t, how, offset, layers)
		}
		i = end + 1
	}
}

func (s *sight) layer(run []byte, t text, how string, offset int64, layers int) {
	out := s.peeled[layers-1][:0] // a deeper layer has another
	if len(run)%2 == 0 && isHex(run) {
		out, _ = hex.AppendDecode(out, run)
		s.peeled[layers-1] = out
		s.within(out, t, "hex of "+how, offset, layers)
		return
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(run, "-_") {
		enc = base64.RawURLEncoding
	}
	out, _ = enc.AppendDecode(out, run) // as far as it goes
	s.peeled[layers-1] = out
	if len(out) >= minSecret {
		s.within(out, t, "base64 of "+how, offset, layers)
	}
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

func (s *sight) within(b []byte, t text, how string, offset int64, layers int) {
	s.derived(b, t, how, offset)
	if len(s.prints.salts) > 0 {
		candidates(b, minSecret, func(c []byte) {
			if name, ok := s.prints.name(c); ok {
				s.add(subject{kind: fingerprinted, text: name}, spot{offset, int64(len(t.b)), t.key, strings.TrimSuffix(how, " of ")})
			}
		})
	}
	if layers > 1 {
		s.peel(b, t, how, offset, layers-1)
	}
}

var isBase64 = func() (is [256]bool) {
	is = isBase64URL
	is['+'], is['/'] = true, true
	return is
}()

// candidates calls found for what in a text may be a value by itself: the whole, and what stands between blanks, quotes
// and punctuation, of at least size bytes.
func candidates(b []byte, size int, found func([]byte)) {
	if len(b) >= size {
		found(b)
	}
	rest := b
	for len(rest) >= size {
		n := bytes.IndexAny(rest, " \t\r\n\"'`,;(){}[]<>")
		if n < 0 {
			n = len(rest)
		}
		word := rest[:n]
		if n >= size && n < len(b) {
			found(word)
		}
		if i := bytes.IndexAny(word, "=:"); i >= 0 && len(word)-i-1 >= size {
			found(word[i+1:])
		}
		rest = rest[min(n+1, len(rest)):]
	}
}

package scan

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"html"
	"slices"
	"strings"
)

// sight is what one goroutine sees in one entry.
type sight struct {
	*look
	e       *entry
	found   map[subject]*group
	tokens  *tokenSet
	cut     map[piece]cutPiece
	dropped map[kind]int
	lying   []lying
	texts   int
	over    bool

	peeled [maxLayers][]byte // scratch
}

// lying is a place of which nobody knows yet what it is called.
type lying struct {
	offset int64
	group  *group
	spot   int
}

func newSight(l *look, e *entry) *sight {
	return &sight{look: l, e: e, found: make(map[subject]*group), tokens: newTokenSet(), cut: make(map[piece]cutPiece), dropped: make(map[kind]int)}
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
	found := s.tokens.all[raw]
	if found == nil {
		found = s.newToken(t)
	}
	s.tokens.add(raw, found, s.e.path, sp)
}

// lie notes what was found in the bytes as they lie, so that texts can say what it is called.
func (s *sight) lie() {
	note := func(g *group) {
		for i, sp := range g.spots {
			s.lying = append(s.lying, lying{sp.offset, g, i})
		}
	}
	for _, g := range s.found {
		note(g)
	}
	for _, t := range s.tokens.all {
		note(t.places[s.e.path])
	}
	slices.SortFunc(s.lying, func(a, b lying) int { return cmp.Compare(a.offset, b.offset) })
}

// called says what lies between two offsets is called.
func (s *sight) called(from, to int64, key string) {
	i, _ := slices.BinarySearchFunc(s.lying, from, func(l lying, at int64) int { return cmp.Compare(l.offset, at) })
	for ; i < len(s.lying) && s.lying[i].offset < to; i++ {
		if sp := &s.lying[i].group.spots[s.lying[i].spot]; sp.key == "" {
			sp.key = key
		}
	}
}

// bytes looks through bytes as they are, which begin at offset in the entry.
func (s *sight) bytes(data []byte, offset int64) {
	s.finder.find(data, func(h hit) {
		n := &s.finder.needle[h.needle]
		if n.secret < 0 || !isASCII(s.secrets[n.secret].value) || !otherOrder(h.spelling, data, h.offset, len(n.b)) {
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
	s.derived(name, text{}, "", -1)
	s.whole(name, spot{offset: -1, spelling: "a whole string"}, false)
}

// whole looks for the secrets of which only fingerprints are known. With lies b is what lies at the place.
func (s *sight) whole(b []byte, sp spot, lies bool) {
	if len(s.prints.salts) == 0 {
		return
	}
	candidates(b, minSecret, func(c []byte) {
		if name, ok := s.prints.name(c); ok {
			at := sp
			if lies {
				at.offset, at.size = sp.offset+int64(cap(b)-cap(c)), int64(len(c)) // c is a part of b
			}
			s.add(subject{kind: fingerprinted, text: name}, at)
		}
	})
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
	// A decoder cannot be stopped; what comes of it when the time is over is not looked at, and is told as unread.
	if s.texts++; s.texts%64 == 0 && !s.over {
		s.over = s.stopped()
	}
	if s.over {
		return
	}
	offset := s.e.offset + int64(t.off)
	size := int64(len(t.b))
	if t.made {
		s.derived(t.b, t, "", offset)
	} else if t.key != "" && len(s.lying) > 0 {
		s.called(offset, offset+size, t.key)
	}
	s.whole(t.b, spot{offset, size, t.key, "a whole string"}, !t.made)
	s.pieces.pieces(t.b, func(p piece) {
		if _, ok := s.cut[p]; !ok {
			s.cut[p] = cutPiece{s.e.path, offset, t.key}
		}
	})
	s.unescape(t, offset)
	s.peel(t.b, t, "", offset, maxLayers)
	if t.named && tells(t.key, t.b) {
		subj := subject{kind: tellingName, text: t.key}
		if s.found[subj] == nil && len(s.found) >= maxGroups {
			s.dropped[tellingName]++
			return
		}
		s.add(subj, spot{offset: offset, size: size, key: t.key}).value = string(t.b)
	}
}

// unescape looks through a string as it is without the escapes of URLs, of HTML and of strings in strings, of which a secret
// may have some: people escape what they must.
func (s *sight) unescape(t text, offset int64) {
	if len(t.b) < minSecret {
		return
	}
	if bytes.IndexByte(t.b, '%') >= 0 {
		if b := unescapePercent(t.b); len(b) < len(t.b) {
			s.derived(b, t, "percent encoding of ", offset)
		}
	}
	if bytes.IndexByte(t.b, '&') >= 0 {
		if plain := html.UnescapeString(string(t.b)); len(plain) < len(t.b) {
			s.derived([]byte(plain), t, "character references of ", offset)
		}
	}
	if bytes.IndexByte(t.b, '\\') >= 0 {
		s.derived(bytes.ReplaceAll(t.b, []byte(`\`), nil), t, "backslashes in ", offset)
	}
}

func unescapePercent(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) && isHex(b[i+1:i+3]) {
			var c [1]byte
			_, _ = hex.Decode(c[:], b[i+1:i+3]) // they are digits
			out = append(out, c[0])
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return out
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
			at := offset
			if layers == maxLayers && !t.made && at >= 0 {
				at += int64(start)
			}
			s.layer(b[start:end], t, how, at, layers)
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
	// Of a long text decoders give pieces, which may begin anywhere in a group of four.
	phases := 1
	if len(run) >= minPhases {
		phases = 4
	}
	for phase := range phases {
		out, _ = enc.AppendDecode(out[:0], run[phase:]) // as far as it goes
		s.peeled[layers-1] = out
		if len(out) >= minSecret {
			s.within(out, t, "base64 of "+how, offset, layers)
		}
	}
}

// minPhases is the length in bytes of the shortest base64 text that may be a piece of a longer one.
const minPhases = 16 << 10

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
	s.whole(b, spot{offset, int64(len(t.b)), t.key, strings.TrimSuffix(how, " of ")}, false)
	if layers > 1 {
		s.peel(b, t, how, offset, layers-1)
	}
}

var isBase64 = func() (is [256]bool) {
	is = isBase64URL
	is['+'], is['/'] = true, true
	return is
}()

// candidates calls found for what in a text may be a value by itself, of at least size bytes: the whole, what stands between
// blanks, quotes and brackets, what follows the first "=" or ":" in such a word, and what stands between characters that
// are none of base64, and none of a name.
func candidates(b []byte, size int, found func([]byte)) {
	if len(b) < size {
		return
	}
	found(b)
	for class := range uint8(3) {
		for i := 0; i < len(b); {
			if wordClass[b[i]] <= class {
				i++
				continue
			}
			start := i
			for i < len(b) && wordClass[b[i]] > class {
				i++
			}
			word := b[start:i]
			if class == 0 {
				if cut := bytes.IndexAny(word, "=:"); cut >= 0 && len(word)-cut-1 >= size {
					found(word[cut+1:])
				}
			} else if (start == 0 || wordClass[b[start-1]] < class) && (i == len(b) || wordClass[b[i]] < class) {
				continue // was a word before
			}
			if len(word) >= size && len(word) < len(b) {
				found(word)
			}
		}
	}
}

// wordClass says of each byte how far it goes with its neighbours: 0 not at all, 1 in words, 2 in base64 too, 3 in names too.
var wordClass = func() (class [256]uint8) {
	for c := range class {
		class[c] = 1
		if isBase64[c] {
			class[c] = 2
		}
		if isBase64URL[c] && c != '-' {
			class[c] = 3
		}
	}
	for _, c := range " \t\r\n\v\f\x00\"'`,;(){}[]<>" {
		class[c] = 0
	}
	return class
}()

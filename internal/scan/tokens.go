package scan

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// foundToken is a JWT that was found, wherever that was.
type foundToken struct {
	*jwt
	secret    int  // the own secret that signs it; -1 for none
	providers bool // it is shaped like the provider's
	places    map[string]*group

	with  string // where the string is that signs it
	key   string // what it is called there
	value string // and what it is
}

// foreign reports that nothing is known against a token, unless a string of the package signs it.
func (t *foundToken) foreign() bool { return t.secret < 0 && !t.providers }

// tokenSet is tokens by all that they are. Of those that count as findings it keeps a thousand, and of the others 32, each
// of which costs a MAC for every string of the package: those that come first by name, so that a report does not depend on
// who came first.
type tokenSet struct {
	all     map[string]*foundToken
	count   map[bool]int
	last    map[bool]string // the greatest that is kept
	dropped map[bool]int
}

func newTokenSet() *tokenSet {
	return &tokenSet{make(map[string]*foundToken), make(map[bool]int), make(map[bool]string), make(map[bool]int)}
}

// room reports whether a token that is not in the set is to be added, and makes room for it.
func (s *tokenSet) room(raw string, foreign bool) bool {
	limit := maxGroups
	if foreign {
		limit = maxTokens
	}
	if s.count[foreign] < limit {
		s.count[foreign]++
		s.last[foreign] = max(s.last[foreign], raw)
		return true
	}
	s.dropped[foreign]++
	if raw > s.last[foreign] {
		return false
	}
	delete(s.all, s.last[foreign])
	s.last[foreign] = raw
	for other, t := range s.all {
		if t.foreign() == foreign {
			s.last[foreign] = max(s.last[foreign], other)
		}
	}
	return true
}

// add notes that a token stands at a place.
func (s *tokenSet) add(raw string, t *foundToken, path string, sp spot) {
	known := s.all[raw]
	if known == nil {
		if !s.room(raw, t.foreign()) {
			return
		}
		t.places = make(map[string]*group)
		s.all[raw], known = t, t
	}
	g := known.places[path]
	if g == nil {
		g = new(group)
		known.places[path] = g
	}
	g.add(sp)
}

// merge adds what another set has.
func (s *tokenSet) merge(other *tokenSet) {
	for raw, t := range other.all {
		known := s.all[raw]
		if known == nil {
			if s.room(raw, t.foreign()) {
				s.all[raw] = t
			}
			continue
		}
		for path, g := range t.places {
			if known.places[path] == nil {
				known.places[path] = g
				continue
			}
			known.places[path].merge(g)
		}
	}
	for foreign, n := range other.dropped {
		s.dropped[foreign] += n
	}
}

// newToken says what is known of a token by itself.
func (l *look) newToken(t *jwt) *foundToken {
	return &foundToken{
		jwt:       t,
		secret:    slices.IndexFunc(l.secrets, func(s Secret) bool { return slices.ContainsFunc(keysOf(s.value), t.signedWith) }),
		providers: t.isProviders(l.clientIDs),
	}
}

// keysOf returns what a program may take for the key when it is given a secret: its bytes, as Caf does, or what they are the
// base64 or the hexadecimal digits of.
func keysOf(secret []byte) [][]byte {
	keys := [][]byte{secret}
	text := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(string(secret)), "=")
	if b, err := base64.RawURLEncoding.DecodeString(text); err == nil {
		keys = append(keys, b)
	}
	if b, err := hex.DecodeString(string(secret)); err == nil {
		keys = append(keys, b)
	}
	return keys
}

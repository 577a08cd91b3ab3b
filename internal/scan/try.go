package scan

import (
	"hash/maphash"
)

// unsigned returns the tokens of which nobody knows yet what they are signed with.
func (l *look) unsigned() []*foundToken {
	var open []*foundToken
	for _, t := range l.tokens.all {
		if t.secret < 0 && t.with == "" {
			open = append(open, t)
		}
	}
	return open
}

// open reports that there are tokens whose key may stand in the package.
func (l *look) open() bool { return len(l.unsigned()) > 0 }

// triedSize is how many candidates an entry remembers, so that what stands there often is not tried each time.
const triedSize = 1 << 12

// try tries every string of an entry as the key of the tokens that were found. Many goroutines may, at once.
func (l *look) try(e *entry) {
	l.mu.Lock()
	open := l.unsigned()
	l.mu.Unlock()
	if len(open) == 0 {
		return
	}
	seed := maphash.MakeSeed()
	var tried [triedSize]uint64
	n, over, keys := 0, false, newKeyed()
	// What could not be read was told when the entry was visited.
	_ = texts(e, true, func(t text) {
		if n++; n%64 == 0 && !over {
			over = l.stopped()
		}
		if over {
			return
		}
		candidates(t.b, 1, func(c []byte) {
			if len(c) > maxSecret {
				return
			}
			sum := maphash.Bytes(seed, c) | 1
			if t.key != "" { // the same again, but now it is known what it is called
				sum++
			}
			slot := &tried[sum>>(64-12)]
			if *slot == sum {
				return
			}
			*slot = sum
			keys.next()
			for i, tok := range open {
				if tok != nil && keys.signed(tok.jwt, c) {
					l.signs(tok, e.path, t.key, string(c))
					if t.key != "" {
						open[i] = nil
					}
				}
			}
		})
	})
}

// signs notes that a string at a place is the key of a token; of several the place that comes first by name, and there
// what it is called, if anything says so.
func (l *look) signs(t *foundToken, path, key, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.with == "" || path < t.with || path == t.with && key != "" && (t.key == "" || key < t.key) {
		t.with, t.key, t.value = path, key, value
	}
}

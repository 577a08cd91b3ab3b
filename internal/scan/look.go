package scan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// look is one look at one package, and what has come of it so far.
type look struct {
	secrets   []Secret
	clientIDs []string

	finder *finder
	prints *fingerprints
	pieces *fragments

	mu        sync.Mutex
	groups    map[groupKey]*group
	cut       []map[piece]cutPiece // by secret
	covered   [][]bool             // of each secret: the bytes that stand in a piece
	tokens    *tokenSet
	problems  []problem
	manifests []manifest
	dropped   map[kind]int // what was found and is not kept
	kept      map[kind]int
	entries   int
	bytes     int64

	stopped func() bool // there is no more time
}

// What is kept of what is found more often than anybody reads.
const (
	maxSpots    = 8    // places of one thing in one entry
	maxGroups   = 1000 // entries in which something of one kind was found
	maxPieces   = 4096 // of one secret, that are told; all of them count
	maxProblems = 200
	maxTokens   = 32 // each is tried with every string of the package
)

type kind int

const (
	ownSecret kind = iota
	fingerprinted
	tellingName
	providerWord
	knownClient
	kinds
)

// subject is what was found.
type subject struct {
	kind  kind
	index int    // of a secret, a word or a client ID
	text  string // the name of a fingerprint, or a key; never printed as it is
}

type groupKey struct {
	subject
	path string
}

// group is all places of one subject in one entry.
type group struct {
	spots []spot
	more  int // places that are not kept
	value string
}

// spot is one place in an entry.
type spot struct {
	offset   int64 // in the entry; -1 for its name
	size     int64
	key      string
	spelling string
}

// cutPiece is where a piece of a secret stands.
type cutPiece struct {
	path   string
	offset int64
	key    string
}

type problem struct {
	path string
	err  error
}

func newLook(o *Options) *look {
	values := make([][]byte, 0, len(o.Secrets))
	for _, s := range o.Secrets {
		values = append(values, s.value)
	}
	list := make([]string, 0, len(words)+len(o.ClientIDs))
	for _, w := range words {
		list = append(list, w.text)
	}
	l := &look{
		secrets:   o.Secrets,
		clientIDs: o.ClientIDs,
		finder:    newFinder(values, append(list, o.ClientIDs...), !o.noXOR),
		prints:    newFingerprints(o.Fingerprints),
		pieces:    newFragments(values),
		groups:    make(map[groupKey]*group),
		tokens:    newTokenSet(),
		dropped:   make(map[kind]int),
		kept:      make(map[kind]int),
		stopped:   func() bool { return false },
	}
	for _, v := range values {
		l.cut = append(l.cut, make(map[piece]cutPiece))
		l.covered = append(l.covered, make([]bool, len(v)))
	}
	return l
}

// subject returns whom a needle is of.
func (l *look) subject(n *needle) subject {
	switch i := -1 - n.secret; {
	case i < 0:
		return subject{kind: ownSecret, index: n.secret}
	case i < len(words):
		return subject{kind: providerWord, index: i}
	default:
		return subject{kind: knownClient, index: i - len(words)}
	}
}

// visit looks at one entry. Many goroutines may, at once.
func (l *look) visit(e *entry) {
	s := newSight(l, e)
	s.bytes(e.data, e.offset)
	s.name()
	s.lie()
	err := texts(e, len(l.prints.salts) > 0, s.text)
	l.merge(s, manifestOf(e))
	if err == nil && !e.raw && e.offset == 0 && !strings.Contains(e.path, "!") {
		// A download that was cut short, or a page that says that there is none, must not pass for a clean app.
		if _, ext := lowerName(e.path); packageExtensions[ext] || binaries[ext] != nil && !binaries[ext](e.data) {
			err = fmt.Errorf("not what its name says that it is, %s: %w", ext, errDamaged)
		}
	}
	if err != nil {
		l.problem(e.path, err)
	}
}

var packageExtensions = set(".apk .aab .xapk .apks .apkm .ipa .aar .jar .war .zip .tar .tgz .gz .bz2 .tbz2 .zst .tzst .xz .txz .7z .rar .dmg")

var binaries = map[string]func([]byte) bool{".dex": isDex, ".hbc": isHermes, ".so": isELF}

func (l *look) merge(s *sight, m *manifest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.e.offset == 0 {
		l.entries++
	}
	l.bytes += int64(len(s.e.data))
	if m != nil && len(l.manifests) < maxProblems {
		l.manifests = append(l.manifests, *m)
	}
	for subj, g := range s.found {
		k := groupKey{subj, s.e.path}
		if old := l.groups[k]; old != nil {
			old.merge(g)
			continue
		}
		l.groups[k] = g
		if l.kept[subj.kind]++; subj.kind > fingerprinted && l.kept[subj.kind] > 2*maxGroups {
			l.trim(subj.kind)
		}
	}
	for k, n := range s.dropped {
		l.dropped[k] += n
	}
	for p, c := range s.cut {
		for i := p.from; i < p.to; i++ {
			l.covered[p.secret][i] = true
		}
		old, ok := l.cut[p.secret][p]
		if !ok && len(l.cut[p.secret]) < maxPieces || ok && (c.path < old.path || c.path == old.path && c.offset < old.offset) {
			l.cut[p.secret][p] = c
		}
	}
	l.tokens.merge(s.tokens)
}

// trim leaves of the groups of one kind those that come first by name.
func (l *look) trim(k kind) {
	keys := l.groupsOf(k)
	for _, key := range keys[min(len(keys), maxGroups):] {
		delete(l.groups, key)
		l.kept[k]--
		l.dropped[k]++
	}
}

func (l *look) problem(path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, problem{path, err})
	if len(l.problems) >= 2*maxProblems { // the first by name are kept, so that a report does not depend on who came first
		l.sortProblems()
	}
}

func (l *look) sortProblems() {
	slices.SortFunc(l.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.err.Error(), b.err.Error()))
	})
	if n := len(l.problems) - maxProblems; n > 0 {
		l.dropped[kinds] += n
		l.problems = l.problems[:maxProblems]
	}
}

// add adds a place, unless it is one that is there already, perhaps in another decoder's reading.
func (g *group) add(s spot) {
	for i := range g.spots {
		old := &g.spots[i]
		if s.offset < old.offset+old.size && old.offset < s.offset+s.size || s.offset == old.offset {
			if old.key == "" {
				old.key = s.key
			}
			return
		}
	}
	if len(g.spots) == maxSpots {
		g.more++
		return
	}
	g.spots = append(g.spots, s)
}

// merge adds the places that another group has, of the same in the same entry.
func (g *group) merge(other *group) {
	for _, s := range other.spots {
		g.add(s)
	}
	g.more += other.more
}

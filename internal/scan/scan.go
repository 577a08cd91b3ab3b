package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// Target is what is to be looked at: a file or a folder at Path; or what Open gives, called Path. Open may be called twice.
type Target struct {
	Path string
	Open func(context.Context) (io.ReadCloser, error)
}

// Options say what to look for. The zero value looks for tokens and for names that tell.
type Options struct {
	Secrets      []Secret
	Fingerprints []Fingerprint
	ClientIDs    []string // of the operator's access keys: a token of theirs needs no other sign
	Allowed      []Allowed

	Version  string
	Now      time.Time // by which tokens and allowances are expired; zero: the clock's
	Progress func(Progress)

	noXOR bool // for measurements: how much of the time is for XOR
}

// Progress is how far a look has come. It is told from one goroutine at a time.
type Progress struct {
	Read, Size int64 // bytes of the files that are looked at; what is read twice counts twice
	Entries    int   // files within them, this far
	Trying     bool  // the second pass: every string, as the key of the tokens that were found
}

// Scan looks at the targets as one package and returns what came of it. An error is a target that cannot be opened at
// all; whatever else cannot be read is in the report, which is then inconclusive. So is one of a look that ctx ended.
func Scan(ctx context.Context, targets []Target, o Options) (*finding.Report, error) {
	started := time.Now()
	if o.Now.IsZero() {
		o.Now = started
	}
	l := newLook(&o)
	l.stopped = func() bool { return ctx.Err() != nil }
	p := newPass(targets, o.Progress)
	if err := p.walk(ctx, targets, l.visit, l.problem); err != nil {
		return nil, l.cannotOpen(err)
	}
	if l.open() {
		p.again()
		// What cannot be read was told by the first pass.
		err := p.walk(ctx, targets, l.try, func(path string, err error) {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				l.problem(path, err)
			}
		})
		if err != nil {
			return nil, l.cannotOpen(err)
		}
	}
	if err := ctx.Err(); err != nil && !slices.ContainsFunc(l.problems, func(p problem) bool { return errors.Is(p.err, err) }) {
		l.problem(targets[0].Path, err) // it ended in the last file, of which nobody knows how far it was looked at
	}
	if l.bytes == 0 && len(l.problems) == 0 && slices.ContainsFunc(targets, func(t Target) bool { return t.Open == nil }) {
		l.problem(targets[0].Path, errNothing)
	}
	r := l.report(&o)
	r.Started, r.Took = started, time.Since(started)
	for i, t := range targets {
		if i > 0 {
			r.Target += ", "
		}
		r.Target += l.safe(t.Path)
	}
	return r, nil
}

// errNothing is a package without a single byte: a build that went wrong must not pass for a clean app.
var errNothing = errors.New("there is nothing in it")

// cannotOpen says what cannot be opened; somebody may have put a secret where its file belongs.
func (l *look) cannotOpen(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%q: %w", l.safeKey(pe.Path), pe.Err)
	}
	return err
}

// pass is one way through all targets.
type pass struct {
	tell func(Progress) // may be nil

	mu  sync.Mutex
	now Progress
}

func newPass(targets []Target, tell func(Progress)) *pass {
	p := &pass{tell: tell}
	if tell == nil {
		return p
	}
	for _, t := range targets {
		if t.Open != nil {
			continue
		}
		// What cannot be looked at counts nothing, and is told when it is walked through.
		_ = filepath.WalkDir(t.Path, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					p.now.Size += info.Size()
				}
			}
			return nil
		})
	}
	return p
}

// again begins the second way.
func (p *pass) again() {
	p.now.Read, p.now.Trying = 0, true
}

func (p *pass) walk(ctx context.Context, targets []Target, visit func(*entry), problem func(string, error)) error {
	w := &walker{limits: defaultLimits(), workers: max(1, runtime.GOMAXPROCS(0)), visit: visit, problem: problem}
	if p.tell != nil {
		w.read = func(n int) { p.count(n, 0) }
		w.visit = func(e *entry) {
			visit(e)
			p.count(0, 1)
		}
	}
	for _, t := range targets {
		if t.Open == nil {
			if err := w.file(ctx, t.Path); err != nil {
				return err
			}
			continue
		}
		r, err := t.Open(ctx)
		if err == nil {
			err = errors.Join(w.reader(ctx, t.Path, r), r.Close())
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (p *pass) count(read, entries int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Read += int64(read)
	if !p.now.Trying {
		p.now.Entries += entries
	}
	p.tell(p.now)
}

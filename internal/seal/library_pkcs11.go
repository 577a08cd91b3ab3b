//go:build pkcs11 && cgo

package seal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// maxInside is how many calls one library takes at once; more than a few KEKs make.
const maxInside = 64

// library is a PKCS#11 library that is loaded into this process.
//
// It is never closed or unloaded: a call that hangs may still be in it.
type library struct {
	*pkcs11.Ctx

	// inside has an item for every goroutine that is calling the library. Finalizing needs all of its room, because
	// nothing else may be in a library meanwhile.
	inside  chan struct{}
	restart chan struct{} // whoever finalizes

	// opening is held from the initialization of the library to the end of a login: so that a wrong PIN is tried
	// once, not by all sessions at the same time.
	opening sync.Mutex
	// generation changes when the library is finalized or initialized. That ends all sessions before it, and their
	// handles are given out again: to use or close an old one would hit a new one.
	generation atomic.Uint64
}

// libraries is the one global of the package, since a PKCS#11 library has one state for the whole process: two KEKs
// of one library must know of each other, or finalizing for the one would pull it from under the other.
var libraries struct {
	sync.Mutex
	byPath map[string]*library
}

func loadLibrary(path string) (*library, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("the module must be an absolute path, so that only that library is loaded")
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", withoutPath(err))
	}
	libraries.Lock()
	defer libraries.Unlock()
	if l := libraries.byPath[path]; l != nil {
		return l, nil
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, errors.New("the module does not load as a PKCS#11 library of this platform: check its path, and that what it needs is installed")
	}
	l := &library{Ctx: ctx, inside: make(chan struct{}, maxInside), restart: make(chan struct{}, 1)}
	if libraries.byPath == nil {
		libraries.byPath = make(map[string]*library)
	}
	libraries.byPath[path] = l
	return l, nil
}

// enter must come before calls to the library, and leave after them.
func (l *library) enter(ctx context.Context) error {
	select {
	case l.inside <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the PKCS#11 library: %w", ctx.Err())
	}
}

func (l *library) leave() { <-l.inside }

// start initializes the library unless it is. The caller is inside and holds opening.
func (l *library) start() error {
	switch err := l.Initialize(); {
	case err == nil:
		l.generation.Add(1)
	case !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)):
		return fmt.Errorf("initializing the PKCS#11 library: %w", err)
	}
	return nil
}

// reset finalizes the library, so that the next start initializes it, unless that was done since the caller saw it.
// Some libraries, SoftHSM among them, look for tokens only then, or never again trust one that went away. All KEKs of
// the library lose their sessions, and open new ones. The caller is not inside.
func (l *library) reset(ctx context.Context, seen uint64) error {
	select {
	case l.restart <- struct{}{}:
		defer func() { <-l.restart }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for range maxInside {
		if err := l.enter(ctx); err != nil {
			return err
		}
		defer l.leave()
	}
	if l.generation.Load() == seen {
		_ = l.Finalize() // it may not be initialized, which is as good
		l.generation.Add(1)
	}
	return nil
}

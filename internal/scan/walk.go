package scan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// walker goes through files and the containers within them, whatever lies in what, and visits every byte: that of an entry as its
// data, inflated, and that of no entry (what stands before, between and after the entries of a container, and its own tables) as
// raw parts of a path "app.apk!(between entries)".
//
// Containers are known by what is in them: zip (APK, AAB, XAPK, APKS, IPA, AAR, JAR), tar, ar (.deb), gzip, zlib, bzip2,
// zstd; and Brotli by the name *.br, as it looks like nothing. Those that are known and not read (walk_format.go) are problems:
// what is in them has not been seen.
//
// One walker can be used again, also at the same time. The limits are for each call. The workers are too.
type walker struct {
	limits  limits
	workers int

	// visit is called from up to workers goroutines. What it is given is overwritten after it returns.
	visit func(*entry)

	// problem is told what was not read, and why. It is called by one goroutine at a time.
	problem func(path string, err error)

	// read is told how many bytes were read from files, by many goroutines at once. It may be nil.
	read func(n int)
}

// metered is a file that tells how much of it is read.
type metered struct {
	*os.File
	tell func(n int)
}

func (m metered) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.File.ReadAt(p, off)
	if m.tell != nil {
		m.tell(n)
	}
	return n, err
}

// file walks through a file, or through all files in a folder and below it. Left out in a folder are pipes, sockets and devices,
// which hold nothing, the packs of git (see folderReader), and symbolic links: what one leads to is read where it lies, or is a
// problem if that is elsewhere. The error is that of a name which cannot be opened at all; what cannot be opened in a folder is a
// problem.
func (w *walker) file(ctx context.Context, name string) error {
	info, err := os.Stat(name) //nolint:gosec // it is what the caller wants to look at
	if err != nil {
		return err
	}
	f, err := openPatiently(ctx, name, info)
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		t := w.start(ctx, name)
		t.over() // tells it
		t.end()
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()                                     // it was read only
	if !info.IsDir() && (!info.Mode().IsRegular() || info.Size() == 0) { // pipes, and files of the kernel that say they are empty
		defer wakeUp(ctx, f)()
		return w.reader(ctx, name, f)
	}
	t := w.start(ctx, name)
	defer t.end()
	if info.IsDir() {
		t.folder(name)
	} else {
		t.one(nest{}, &body{path: name, at: metered{f, w.read}, n: info.Size(), size: info.Size(), deep: true}).report(t, name)
	}
	return nil
}

// reader walks through what comes from r, once. A zip that is too large to be held is read by its local headers.
// The error is that of r.
func (w *walker) reader(ctx context.Context, name string, r io.Reader) error {
	t := w.start(ctx, name)
	defer t.end()
	return t.stdin(name, r)
}

// bytes walks through data, which must not change.
func (w *walker) bytes(ctx context.Context, name string, data []byte) {
	t := w.start(ctx, name)
	defer t.end()
	t.memory(nest{}, name, data)
}

// walk is one call of a walker.
//
// One goroutine, the caller's, opens containers, one at a time within each other. Those that help it read entries that
// are none, and visit what it has read.
type walk struct {
	*walker
	ctx   context.Context
	root  string
	arena *arena
	seed  maphash.Seed

	helpers chan struct{} // holds one for each that runs
	visits  sync.WaitGroup

	inflated atomic.Int64
	entries  atomic.Int64
	halted   atomic.Bool

	telling sync.Mutex
	told    int64

	hands sync.Pool
	small sync.Pool // *bufio.Reader of smallBuffer
	large sync.Pool // of zipBuffer
	wide  sync.Pool // of streamBuffer
}

const smallBuffer = 64 << 10

func (w *walker) start(ctx context.Context, name string) *walk {
	t := &walk{walker: w, ctx: ctx, root: name, arena: newArena(w.limits.live), seed: maphash.MakeSeed()}
	t.helpers = make(chan struct{}, max(w.workers-1, 0))
	t.hands.New = func() any { return newHand() }
	t.small.New = func() any { return bufio.NewReaderSize(nil, smallBuffer) }
	t.large.New = func() any { return bufio.NewReaderSize(nil, zipBuffer) }
	t.wide.New = func() any { return bufio.NewReaderSize(nil, streamBuffer) }
	return t
}

func (w *walk) end() {
	w.visits.Wait()
	w.arena.close()
	if more := w.told - w.limits.problems; more > 0 { // nobody else is left to tell any
		w.problem(w.root, fmt.Errorf("problems: %w: there are %d more than those told", errTooMuch, more))
	}
}

func (w *walk) stdin(name string, r io.Reader) error {
	in := &interrupted{w: w, r: r}
	br := w.buffer(&w.small, in)
	defer w.unbuffer(&w.small, br)
	p := wholeOf(br)
	head, _ := p.peek(headSize)
	if f := formatOf(name, head); f != formatNone {
		w.unpack(nest{}, name, "", f, p)
	} else {
		w.hold(nest{}, p, func(in nest, data []byte) { w.memory(in, name, data) }, func(in nest, p *part) { w.streamLeaf(in, entry{path: name}, p, false) })
	}
	if in.err != nil {
		w.report(name, fmt.Errorf("reading: %w", in.err))
	}
	return in.err
}

// interrupted is a reader that ends when the walk does, and keeps its error.
type interrupted struct {
	w   *walk
	r   io.Reader
	err error
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.w.over() {
		return 0, errHalted
	}
	n, err := i.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if i.w.over() { // which may be why, see wakeUp
			return n, errHalted
		}
		i.err = err
	}
	return n, err
}

// nest is where in containers something is.
type nest struct {
	path  string // of the innermost
	depth int    // how many they are
	held  int64  // how many bytes are in memory for their sake
}

func (n nest) within(path string, held int64) nest { return nest{path, n.depth + 1, n.held + held} }

// maxName is where a name is cut off in a path. All of it is among the raw bytes of the container.
const maxName = 1024

func (n nest) join(name []byte) string {
	var b strings.Builder
	cut := len(name) > maxName
	if cut {
		end := maxName
		for end > maxName-utf8.UTFMax && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end]
	}
	b.Grow(len(n.path) + 1 + len(name) + len("…"))
	b.WriteString(n.path)
	b.WriteByte('!')
	b.Write(name)
	if cut {
		b.WriteString("…")
	}
	return b.String()
}

// between is the path of what belongs to no entry.
func (n nest) between() string { return n.path + "!(between entries)" }

// errHalted is what readers return when the walk is over. It has been told already.
var errHalted = errors.New("halted")

// over says whether nothing more is to be read.
func (w *walk) over() bool {
	if w.halted.Load() {
		return true
	}
	if err := w.ctx.Err(); err != nil {
		w.halt(w.root, fmt.Errorf("stopped: %w", err))
		return true
	}
	return false
}

// halt ends the walk, with a problem that is told even if no more are.
func (w *walk) halt(path string, err error) {
	if !w.halted.Swap(true) {
		w.telling.Lock()
		defer w.telling.Unlock()
		w.problem(path, err)
	}
}

func (w *walk) report(path string, err error) {
	if err == nil || errors.Is(err, errHalted) {
		return
	}
	w.telling.Lock()
	defer w.telling.Unlock()
	w.told++
	if w.told <= w.limits.problems {
		w.problem(path, err)
	}
}

// count counts an entry. It returns false when the walk is over.
func (w *walk) count(path string) bool {
	if w.entries.Add(1) > w.limits.entries {
		w.halt(path, fmt.Errorf("entries: %w", errTooMuch))
	}
	return !w.over()
}

// help runs f on another goroutine if one more may run, and else returns false.
func (w *walk) help(wg *sync.WaitGroup, f func()) bool {
	select {
	case w.helpers <- struct{}{}:
	default:
		return false
	}
	wg.Add(1)
	go func() {
		defer func() { <-w.helpers; wg.Done() }()
		f()
	}()
	return true
}

// give has e visited by another goroutine, or else by this one, and gives back the memory in which it lies.
func (w *walk) give(e *entry, l lease) {
	if len(e.data) < smallBuffer || !w.help(&w.visits, func() { w.visit(e); w.arena.giveBack(l) }) {
		w.visit(e)
		w.arena.giveBack(l)
	}
}

// maxLater bounds the containers that wait for their turn.
const maxLater = 256

// each calls do for everything that next returns, on this goroutine and on others as they become free, and then, on this one alone,
// later for that of which do returned true.
func each[T any](w *walk, next func() (T, bool), do func(*hand, T) bool, later func(T)) {
	for done := false; !done; {
		var mu sync.Mutex
		var waiting []T
		take := func() (t T, ok bool) {
			mu.Lock()
			defer mu.Unlock()
			if done = done || w.over(); done || len(waiting) >= maxLater {
				return t, false
			}
			t, ok = next()
			done = !ok
			return t, ok
		}
		var helping sync.WaitGroup
		var loop func()
		loop = func() {
			h := w.hands.Get().(*hand)
			defer w.hands.Put(h)
			for {
				t, ok := take()
				if !ok {
					return
				}
				w.help(&helping, loop)
				if do(h, t) {
					mu.Lock()
					waiting = append(waiting, t)
					mu.Unlock()
				}
			}
		}
		loop()
		helping.Wait()
		for _, t := range waiting {
			if w.over() {
				return
			}
			later(t)
		}
	}
}

func (w *walk) buffer(pool *sync.Pool, r io.Reader) *bufio.Reader {
	br := pool.Get().(*bufio.Reader)
	br.Reset(r)
	return br
}

func (w *walk) unbuffer(pool *sync.Pool, br *bufio.Reader) {
	br.Reset(nil) // so that it keeps nothing alive
	pool.Put(br)
}

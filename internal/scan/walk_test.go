package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// seen is what a walk visited and what was told, for tests.
type seen struct {
	mu       sync.Mutex
	data     map[string][]byte // of entries that are not raw, windows put together
	times    map[string]int    // that a path was visited
	raw      map[string][]byte // of what is raw, in the order of visits
	end      map[string]int64  // of that
	bytes    int64
	problems map[string]error
	told     int
	order    []string
}

func newSeen() *seen {
	return &seen{data: map[string][]byte{}, times: map[string]int{}, raw: map[string][]byte{}, end: map[string]int64{}, problems: map[string]error{}}
}

func (s *seen) visit(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(len(e.data))
	s.times[e.path]++
	s.order = append(s.order, e.path)
	if e.raw {
		known := min(max(s.end[e.path]-e.offset, 0), int64(len(e.data)))
		s.raw[e.path] = append(s.raw[e.path], e.data[known:]...)
		s.end[e.path] = max(s.end[e.path], e.offset+int64(len(e.data)))
		return
	}
	have := s.data[e.path]
	if int64(len(have)) > e.offset {
		have = have[:e.offset]
	}
	s.data[e.path] = append(append([]byte{}, have...), e.data...)
}

func (s *seen) problem(path string, err error) {
	s.problems[path] = errors.Join(s.problems[path], err)
	s.told++
}

func (s *seen) walker(l limits, workers int) *walker {
	return &walker{limits: l, workers: workers, visit: s.visit, problem: s.problem}
}

// has says whether what was visited as path, raw or not, contains the marker.
func (s *seen) has(path, marker string) bool {
	return bytes.Contains(s.data[path], []byte(marker)) || bytes.Contains(s.raw[path], []byte(marker))
}

func (s *seen) anywhere(marker string) bool {
	for path := range s.times {
		if s.has(path, marker) {
			return true
		}
	}
	return false
}

func (s *seen) paths() []string {
	var all []string
	for path := range s.data {
		all = append(all, path)
	}
	sort.Strings(all)
	return all
}

func walkBytes(t testing.TB, name string, data []byte) *seen {
	t.Helper()
	return walkLimited(t, name, data, defaultLimits())
}

func walkLimited(t testing.TB, name string, data []byte, l limits) *seen {
	t.Helper()
	s := newSeen()
	s.walker(l, 4).bytes(context.Background(), name, data)
	return s
}

func walkFile(t testing.TB, name string, data []byte, l limits) *seen {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSeen()
	if err := s.walker(l, 4).file(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	return s.without(filepath.Dir(path) + string(filepath.Separator))
}

func walkReader(t testing.TB, name string, data []byte, l limits) *seen {
	t.Helper()
	s := newSeen()
	if err := s.walker(l, 4).reader(context.Background(), name, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *seen) without(prefix string) *seen {
	c := newSeen()
	c.bytes, c.told = s.bytes, s.told
	for k, v := range s.data {
		c.data[strings.TrimPrefix(k, prefix)] = v
	}
	for k, v := range s.raw {
		c.raw[strings.TrimPrefix(k, prefix)] = v
	}
	for k, v := range s.times {
		c.times[strings.TrimPrefix(k, prefix)] = v
	}
	for k, v := range s.problems {
		c.problems[strings.TrimPrefix(k, prefix)] = v
	}
	return c
}

// wantData compares what was visited. It tells paths only: contents are large.
func wantData(t *testing.T, how string, want, got map[string][]byte) {
	t.Helper()
	for path, data := range want {
		if have, ok := got[path]; !ok {
			t.Errorf("%s: %s was not visited", how, path)
		} else if !bytes.Equal(have, data) {
			t.Errorf("%s: %s: other data: %d bytes, want %d", how, path, len(have), len(data))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s was visited, too", how, path)
		}
	}
}

func wantNoProblems(t *testing.T, s *seen) {
	t.Helper()
	for path, err := range s.problems {
		t.Errorf("%s: %v", path, err)
	}
}

func wantProblem(t *testing.T, s *seen, path string, want error) {
	t.Helper()
	if !errors.Is(s.problems[path], want) {
		t.Errorf("%s: got %v, want %v (all: %v)", path, s.problems[path], want, s.problems)
	}
}

// needTool fails in CI and skips elsewhere.
func needTool(t testing.TB, format string, a ...any) {
	t.Helper()
	if os.Getenv("SELO_CI") != "" {
		t.Fatalf(format, a...)
	}
	t.Skipf(format, a...)
}

func filler(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = "abcdefghijklmnop\n {}=.;"[(x>>24)%23]
	}
	return b
}

// TestFolder: what is in a folder is read, but what is not in it, or is no file, is not.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for i := range 700 {
		name := fmt.Sprintf("many/%d", i)
		write(name, fmt.Append(nil, i))
		want[name] = fmt.Append(nil, i)
	}
	for i := range 300 {
		write(fmt.Sprintf("zips/%d.jar", i), makeZip(t, zipEntry{name: "a", data: fmt.Append(nil, i)}))
		want[fmt.Sprintf("zips/%d.jar!a", i)] = fmt.Append(nil, i)
	}
	write("a/b/c/deep", []byte("deep"))
	write("x/.git/config", []byte("[config]"))
	write("x/.git/objects/aa/bb", zlibbed(t, []byte("blob 6\x00object")))
	write("x/.git/modules/m/objects/pack/p.pack", []byte("PACK\x00\x00\x00\x02"))
	write("x/.git/objects/pack/p.idx", []byte("index"))
	write("x/.git/objects/pack/notes", []byte("notes"))
	write("x/objects/pack/p.pack", []byte("PACK\x00\x00\x00\x02"))
	write("x/objects/o", []byte("o"))
	write("empty", nil)
	for name, data := range map[string]string{"a/b/c/deep": "deep", "x/.git/config": "[config]", "x/objects/o": "o", "empty": "", "x/.git/objects/aa/bb!bb": "blob 6\x00object", "x/.git/objects/pack/notes": "notes"} {
		want[name] = []byte(data)
	}
	for name, to := range map[string]string{
		"link": outside, "a/folder": filepath.Dir(outside), "a/two": "../link", "a/loop": "..", "a/inside": "b/c/deep", "absolute": filepath.Join(dir, "a/b"),
		"dangling": "nowhere", "itself": "itself", "device": os.DevNull,
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("mkfifo", filepath.Join(dir, "fifo")).CombinedOutput(); err != nil {
		needTool(t, "mkfifo: %v: %s", err, out)
	}
	s := newSeen()
	if err := s.walker(defaultLimits(), 4).file(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	s = s.without(dir + "/")
	for _, name := range []string{"link", "a/folder", "a/two", "x/objects/pack/p.pack"} {
		wantProblem(t, s, name, errUnread)
		delete(s.problems, name)
	}
	wantNoProblems(t, s)
	wantData(t, "folder", want, s.data)

	if os.Getuid() != 0 { // who may read everything
		for _, name := range []string{"many/1", "a"} {
			if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
				t.Fatal(err)
			}
		}
		s := newSeen()
		if err := s.walker(defaultLimits(), 4).file(context.Background(), dir); err != nil {
			t.Fatal(err)
		}
		wantProblem(t, s, filepath.Join(dir, "many/1"), fs.ErrPermission)
		wantProblem(t, s, filepath.Join(dir, "a"), fs.ErrPermission)
		if err := os.Chmod(filepath.Join(dir, "a"), 0o755); err != nil { // so that it can be removed
			t.Fatal(err)
		}
	}
	if err := s.walker(defaultLimits(), 1).file(context.Background(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestReaderFails: the error of what is read is returned, and told.
func TestReaderFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	for _, data := range [][]byte{[]byte("text"), makeZip(t, zipEntry{name: "a", data: []byte("a")})[:50], gzipped(t, filler(1000))[:300]} {
		s := newSeen()
		err := s.walker(defaultLimits(), 1).reader(context.Background(), "-", io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		wantProblem(t, s, "-", broken)
	}
}

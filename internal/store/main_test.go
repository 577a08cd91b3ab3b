package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/selo-id/selo/internal/transcript"
)

// TestMain searches everything that the tests recorded, the files of their databases among it, for the
// people and values planted in fixtures_test.go. As a child of a test it plays that part instead.
func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		os.Exit(runChild(part))
	}
	if name := os.Getenv(plainEnv); name != "" {
		// Not on the command line: of tests that are chosen there, transcript searches nothing.
		flag.Parse()
		if err := flag.Set("test.run", "^"+name+"$"); err != nil {
			panic(err)
		}
	}
	code := transcript.Main(m)
	if err := plainCopy.remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// fastDir is a directory in memory where there is one, for tests that open hundreds of databases and do not
// cut the power: what a killed process wrote stays either way.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "selo-store-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newPath returns a path for a database whose files are searched when the test is done.
func newPath(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "selo.db")
	t.Cleanup(func() { recordFiles(t, path) })
	return path
}

// recordFiles passes the bytes of a database and its companions to the transcript, as a reply: a disk that
// is read by somebody else. Their last cleanup has closed the store, but its WAL stays while others read.
//
// A page that was recorded before is left out: the thousand databases of the kill tests are nearly the same, and to search
// all of each took minutes.
func recordFiles(t testing.TB, path string) {
	t.Helper()
	pages.Lock()
	defer pages.Unlock()
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		b, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Error(err)
		}
		head := 0 // of each page, which is never the same
		if strings.HasSuffix(name, "-wal") && len(b) > 32 {
			b, head = b[32:], 24
		}
		to := transcript.ReplyTo(io.Discard)
		fmt.Fprintf(to, "%s\n", filepath.Base(name))
		for page := range slices.Chunk(b, head+4096) {
			sum := sha256.Sum256(page[min(head, len(page)):])
			if !pages.seen[sum] {
				pages.seen[sum] = true
				fmt.Fprintf(to, "%s\n", page)
			}
		}
	}
}

var pages = struct {
	sync.Mutex
	seen map[[32]byte]bool
}{seen: make(map[[32]byte]bool)}

// migrated is a database as Open makes it. Making it takes longer than most tests.
var migrated = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "selo-store-test-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "selo.db")
	s, err := Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// placeNew puts a new database at path. Tests that are about how one comes to be have Open make it.
func placeNew(t testing.TB, path string) {
	t.Helper()
	file, err := migrated()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// openSQLite opens the database at path, or a new one.
func openSQLite(t testing.TB, path string) *Store {
	t.Helper()
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		placeNew(t, path)
	}
	s, err := Open(t.Context(), path)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		recordFiles(t, path) // with the WAL
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The search of the files can find: what is written in clear on purpose is in the bytes it reads, and the
// value of a used id is there only as its hash.
func TestFilesAreReadWhole(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := tested{t, openSQLite(t, path)}
	s.registerPeppers()
	s.open(opening("ses-in-clear", "ana", repeatable("k"), withToken))
	s.decide(deciding("ses-in-clear", StateGranted, plantedID))
	s.record(happening(plantedEventID, VerdictRefused, plantedID), true, true, "ses-in-clear")
	s.reserve(opening("res-in-clear", "ana", repeatable("k2")))
	var all []byte
	for _, name := range []string{path, path + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	for _, clear := range []string{"ses-in-clear", "https://id.example", faceLiveness, "rct_ses-in-clear", "res-in-clear",
		"attempt.finished", string(opening("", "", repeatable("k")).Repeats[0].ID), string(sealedToken("ses-in-clear"))} {
		if !bytes.Contains(all, []byte(clear)) {
			t.Errorf("%q is not in the files, where it is stored in clear: wrong files, or not all of them", clear)
		}
	}
	for _, hidden := range []string{plantedID, plantedEventID, plantedKey, plantedToken} {
		if bytes.Contains(all, []byte(hidden)) {
			t.Errorf("%q is in the files in clear", hidden[:8])
		}
	}
}

package store

import (
	"bytes"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/selo-id/selo/internal/transcript"
)

// A path is a path, whatever SQLite or a URI makes of its characters: the database is there and nowhere
// else, and both pools have the same one. Bug: ":memory:" was a database in memory, forgotten at the end,
// and "//tmp/x" was refused.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{
		"selo.db", "with space.db", "a?mode=memory.db", "a?_pragma=synchronous(OFF).db", "100%.db", "%2e%2E%00.db", "a#b.db", "a&b=c;d+e.db",
		"é世.db", "a:b.db", ":memory:", "file:x.db", "file::memory:?cache=shared", `back\slash"'.db`, "./dot.db", "/" + dir + "/two slashes.db", filepath.Join(dir, "whole ?#%.db"),
	} {
		s, err := Open(t.Context(), name)
		if transcript.Error(err) != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		st := tested{t, s}
		st.registerPeppers()
		st.open(opening("ses-1", "ana"))
		if got := st.rows(`PRAGMA synchronous`); got[0] != "2" {
			t.Errorf("%q: synchronous is %s", name, got[0])
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s, err = Open(t.Context(), name); err != nil {
			t.Errorf("%q, again: %v", name, err)
			continue
		}
		if got := (tested{t, s}).session("ses-1", noon); got.State != StateOpen {
			t.Errorf("%q: %+v", name, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%q: the file itself: %v", name, err)
		}
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Fatalf("%q left %v in the directory, %v", name, left, err)
		}
	}
}

// An older program does not write to what a newer one made.
func TestNewerSchemaRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := openSQLite(t, path)
	if _, err := s.write.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	before := dump(t, s.write)
	_, err := Open(t.Context(), path)
	if transcript.Error(err) == nil || !strings.Contains(err.Error(), "99999") || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("newer schema: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, s.write)); diff != "" {
		t.Errorf("refused, and changed (-before +after):\n%s", diff)
	}
}

// A database of every earlier version is brought up to date, and ends up the same as a new one.
func TestOldVersionsMigrate(t *testing.T) {
	t.Parallel()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	fresh := tested{t, openSQLite(t, newPath(t))}
	want := fresh.rows(schemaQuery)
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for version := range int64(len(names)) { // 0 has no table but goose's own
		path := newPath(t)
		db, err := sql.Open("sqlite", dsn(path, "_txlock=immediate"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.GetVersions(t.Context()); err != nil { // makes goose's table
			t.Fatal(err)
		}
		if version > 0 {
			if _, err := p.UpTo(t.Context(), version); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s := tested{t, openSQLite(t, path)}
		if diff := cmp.Diff(want, s.rows(schemaQuery)); diff != "" {
			t.Errorf("from version %d (-new +migrated):\n%s", version, diff)
		}
		s.registerPeppers()
		s.open(opening("ses-1", "ana"))
		s.expectConsistent()
	}
}

// What is not a database is refused with an error that says so, and is left as it was.
func TestGarbageIsLeftAlone(t *testing.T) {
	t.Parallel()
	ours := filepath.Join(t.TempDir(), "ours.db")
	s, err := Open(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(ours)
	if err != nil {
		t.Fatal(err)
	}
	// Page 1 is the header and sqlite_master.
	damaged := slices.Concat(whole[:100], bytes.Repeat([]byte{0xff}, 3996), whole[4096:])
	for name, content := range map[string][]byte{
		"text":           []byte(strings.Repeat("this is not a database\n", 1000)),
		"almost":         append([]byte("SQLite format 3\x00"), make([]byte, 4096)...),
		"damaged":        damaged,
		"other than wal": slices.Concat(whole[:18], []byte{9, 9}, whole[20:]), // a format from the future
	} {
		path := filepath.Join(t.TempDir(), "selo.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), path)
		if transcript.Error(err) == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
		} else if !strings.HasPrefix(err.Error(), "opening store: ") {
			t.Errorf("%s: error %q", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
		if left, _ := filepath.Glob(path + "-*"); len(left) != 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
	if s, err := Open(t.Context(), t.TempDir()); transcript.Error(err) == nil {
		t.Error("a directory was opened")
		_ = s.Close()
	}
}

// Bug: a database that was removed while in use was said to be ready, and forgot all used ids with the process.
func TestRemovedDatabaseIsNotReady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "selo.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); transcript.Error(err) == nil {
		t.Error("ready without its file")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); transcript.Error(err) == nil {
		t.Error("ready with another file in its place")
	}
}

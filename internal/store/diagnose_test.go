package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selo-id/selo/internal/transcript"
)

// What is wrong is found out, and what is right is said.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "selo.db")
	store, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	s := tested{t, store}
	s.registerPeppers()
	restorable(s)
	d, err := s.Diagnose(t.Context())
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	if d.SizeBytes < 100_000 || d.FreeBytes <= 0 {
		t.Errorf("sizes: %+v", d)
	}
	d.SizeBytes, d.FreeBytes = 0, 0
	if want := (Diagnosis{JournalMode: "wal", Synchronous: "full", ForeignKeys: true, SQLiteVersion: s.rows(`SELECT sqlite_version()`)[0], Integrity: "ok", Schema: 4}); d != want {
		t.Errorf("diagnosis %+v, want %+v", d, want)
	}
	s.rows(`PRAGMA synchronous = 0`)
	s.rows(`PRAGMA foreign_keys = 0`)
	s.rows(`PRAGMA ignore_check_constraints = 1`)
	s.rows(`INSERT INTO heartbeat (id, count) VALUES (2, 2) RETURNING ''`)
	if err := os.Rename(path, path+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	d, err = s.Diagnose(t.Context())
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	if d.Synchronous != "off (writing), full (reading)" || d.ForeignKeys || d.Integrity != "CHECK constraint failed in heartbeat" || d.FreeBytes != -1 ||
		transcript.Error(d.Writable) == nil || !strings.Contains(d.Writable.Error(), "replaced") {
		t.Errorf("diagnosis %+v", d)
	}
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Diagnosis is what can be known of a database by looking at it. Pragmas are those of the writing connection and of a
// reading one: where they differ, JournalMode and Synchronous say both.
type Diagnosis struct {
	JournalMode   string // should be "wal"
	Synchronous   string // should be "full"
	ForeignKeys   bool   // enforced by both
	SQLiteVersion string
	Integrity     string // "ok", or the first problem that SQLite's quick_check finds
	Schema        int64
	Writable      error // why it cannot be written to, or is not the file that was opened; nil when it can
	SizeBytes     int64 // of the database file and its write-ahead log
	FreeBytes     int64 // for processes without privileges in the file system of the database; -1 where that is not known
}

// Diagnose finds out what is wrong with the database, also by writing to it as Ready does. That something is wrong is no error, unless nothing can be found out.
func (s *Store) Diagnose(ctx context.Context) (Diagnosis, error) {
	var d Diagnosis
	writing, err := pragmasOf(ctx, s.write)
	if err != nil {
		return Diagnosis{}, fmt.Errorf("diagnosing: %w", err)
	}
	reading, err := pragmasOf(ctx, s.read)
	if err != nil {
		return Diagnosis{}, fmt.Errorf("diagnosing: %w", err)
	}
	d.JournalMode = both(writing.journal, reading.journal)
	d.Synchronous = both(writing.synchronous, reading.synchronous)
	d.ForeignKeys = writing.foreignKeys && reading.foreignKeys
	d.SQLiteVersion = writing.version
	if d.Schema, err = schemaVersion(ctx, s.read); err != nil {
		return Diagnosis{}, fmt.Errorf("diagnosing: %w", err)
	}
	if err := s.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&d.Integrity); err != nil {
		if ctx.Err() != nil {
			return Diagnosis{}, fmt.Errorf("diagnosing: %w", err)
		}
		d.Integrity = err.Error()
	}
	d.Writable = s.Ready(ctx)
	for _, name := range []string{s.path, s.path + "-wal"} {
		info, err := os.Stat(name)
		if err == nil {
			d.SizeBytes += info.Size()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Diagnosis{}, fmt.Errorf("diagnosing: %w", err)
		}
	}
	if d.FreeBytes, err = freeBytes(s.path); err != nil {
		d.FreeBytes = -1 // the file is gone, as Writable says
	}
	return d, nil
}

type pragmas struct {
	journal, synchronous, version string
	foreignKeys                   bool
}

func pragmasOf(ctx context.Context, db *sql.DB) (p pragmas, _ error) {
	err := db.QueryRowContext(ctx, `SELECT journal_mode, CASE synchronous WHEN 0 THEN 'off' WHEN 1 THEN 'normal' WHEN 2 THEN 'full' ELSE 'extra' END,
		foreign_keys, sqlite_version() FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys`).Scan(&p.journal, &p.synchronous, &p.foreignKeys, &p.version)
	return p, err
}

func both(writing, reading string) string {
	if writing == reading {
		return writing
	}
	return writing + " (writing), " + reading + " (reading)"
}

package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// actTimeout bounds one act, waiting for its turn included.
const actTimeout = 8 * time.Second

// readers bounds the connections that only read; SQLite has one writer at a time.
const readers = 4

// Store is an open database. It is safe for concurrent use.
type Store struct {
	write *sql.DB // one connection, so that writers queue here and not in SQLite's busy loop
	read  *sql.DB

	driver string
	path   string
	opened os.FileInfo // what was at path then
}

// Open opens the SQLite database at path, creating it with mode 0600 if there is none, and brings its
// schema up to date. A schema newer than this program is refused.
func Open(ctx context.Context, path string) (*Store, error) {
	return openDriver(ctx, "sqlite", path)
}

func openDriver(ctx context.Context, driver, path string) (_ *Store, err error) {
	// An absolute path is always a file: SQLite takes ":memory:" and "//host/..." for something else.
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	// SQLite gives its WAL the mode of the database file.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s := &Store{driver: driver}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.write, err = sql.Open(driver, dsn(path, "_txlock=immediate")); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open(driver, dsn(path, "_pragma=query_only(1)")); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s.read.SetMaxOpenConns(readers)
	if err := s.migrate(ctx); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s.path = path
	if s.opened, err = os.Stat(path); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	return s, nil
}

// dsn carries every pragma, because a pragma run on one pooled connection says nothing about the others.
func dsn(path, more string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_pragma=busy_timeout(7000)" +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + more}
	return u.String()
}

func (s *Store) migrate(ctx context.Context) error {
	p, err := newMigrations(s.write)
	if err != nil {
		return err
	}
	var failed error
	for last := int64(-1); ; {
		have, want, err := p.GetVersions(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("reading schema version: %w", err)
		case have > want:
			return fmt.Errorf("the database has schema %d, this program knows up to %d: run the newer program", have, want)
		case have == want:
			return nil
		case have == last:
			return fmt.Errorf("migrating: %w", failed)
		}
		// When this fails and the schema has moved on, another process was faster.
		last = have
		_, failed = p.Up(ctx)
	}
}

func newMigrations(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	return p, nil
}

// Close waits for running acts and closes the database.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Ready reports whether the database answers and can be written to, by writing, and is still the file that was
// opened: what goes into a file that was removed is gone with the process.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.inPlace(); err != nil {
		return err
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO heartbeat (id, count) VALUES (1, 1) ON CONFLICT DO UPDATE SET count = count + 1`)
		return err
	})
}

func (s *Store) inPlace() error {
	now, err := os.Stat(s.path)
	if err != nil || !os.SameFile(now, s.opened) {
		return errors.New("the database file was removed or replaced while in use")
	}
	return nil
}

// act runs one act in one transaction, which BEGIN IMMEDIATE makes the only writer from its first
// statement on: what it reads stays true until it commits.
func (s *Store) act(ctx context.Context, do func(*sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	return inTx(ctx, s.write, do)
}

// look reads all that it reads from the database as it is at one moment.
func (s *Store) look(ctx context.Context, do func(*sql.Tx) error) error {
	return inTx(ctx, s.read, do)
}

func inTx(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// companions are the ends of the names of the files that SQLite keeps beside a database. It believes one that is there:
// that of another database would be read into this one.
var companions = []string{"-wal", "-shm", "-journal"}

// Backup writes all that the database has at one moment to a new file, with mode 0600, while this and other processes go on
// writing. The file is a whole SQLite database, checked and safe on its disk before it comes to its name; when there is
// something by that name, or something that SQLite would take for a part of it, Backup fails with ErrExists. A process that
// is killed may leave PATH.*.partial behind, which nobody needs. The file system must know hard links.
//
// VACUUM INTO makes it, and not SQLite's backup API, which is no faster: it ends with its context, leaves out what was
// deleted, such as the tokens of sessions that have ended, and makes one file that needs no other beside it. It holds
// checkpoints up while it runs: the write-ahead log grows meanwhile. Checking takes several times as long as copying.
func (s *Store) Backup(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	if err := publish(path, func(temp string) error {
		if err := s.copyTo(ctx, temp); err != nil {
			return err
		}
		return checkCopy(ctx, s.driver, temp)
	}); err != nil {
		return fmt.Errorf("backing up to %s: %w", path, err)
	}
	return nil
}

func (s *Store) copyTo(ctx context.Context, temp string) error {
	if err := s.inPlace(); err != nil {
		return err
	}
	from, err := openReadOnly(s.driver, s.path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return copyInto(ctx, from, temp)
}

// checkCopy checks a backup that was just made, as far as the database it is of was good.
func checkCopy(ctx context.Context, driver, path string) error {
	db, err := openReadOnly(driver, path)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := checkSchema(ctx, db); err != nil { // an empty file has integrity
		return err
	}
	return checkIntegrity(ctx, db)
}

// Restore makes a new database at to of the backup at from, which it leaves as it is. Like Backup it fails with ErrExists,
// and whatever it does before it is done is under another name. The backup must be a database of this program or an
// older one, and good. What Restore makes is up to date and says since when it is there:
//
//   - Ids that were used up after the backup was made are not known to be. Whoever decides must refuse responses that were
//     issued before RestoredAt. No session that was open can be answered: all are recorded as expired, with an audit row each.
//   - Reservations, requests that may be sent again for them, and sealed tokens are gone.
//   - Credentials and access keys that were revoked after the backup was made are not revoked: that is to be done again.
//
// at is now, and not before the newest audit row of the backup: a clock that is behind would have responses accepted again.
func Restore(ctx context.Context, from, to string, at time.Time) error {
	return restoreDriver(ctx, "sqlite", from, to, at)
}

func restoreDriver(ctx context.Context, driver, from, to string, at time.Time) error {
	from, err := filepath.Abs(from)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	if to, err = filepath.Abs(to); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	if err := publish(to, func(temp string) error {
		if err := copyBackup(ctx, driver, from, temp); err != nil {
			return fmt.Errorf("reading %s: %w", from, err)
		}
		return finishRestore(ctx, driver, temp, at)
	}); err != nil {
		return fmt.Errorf("restoring to %s: %w", to, err)
	}
	return nil
}

// copyBackup copies a backup that is of this program and good.
func copyBackup(ctx context.Context, driver, from, temp string) error {
	if info, err := os.Stat(from); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errors.New("it is not a file")
	}
	db, err := openReadOnly(driver, from)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := checkSchema(ctx, db); err != nil {
		return err
	}
	if err := checkIntegrity(ctx, db); err != nil {
		return err
	}
	return copyInto(ctx, db, temp)
}

// finishRestore makes the copy of a backup what Restore promises, and closes it.
func finishRestore(ctx context.Context, driver, temp string, at time.Time) (err error) {
	s, err := openDriver(ctx, driver, temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	// Not bounded as an act is: there may be many sessions, and nobody waits for their turn.
	if err := inTx(ctx, s.write, func(tx *sql.Tx) error { return markRestored(ctx, tx, at) }); err != nil {
		return err
	}
	return checkIntegrity(ctx, s.write)
}

func markRestored(ctx context.Context, tx *sql.Tx, at time.Time) error {
	var newest sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT max(at) FROM (SELECT max(at) AS at FROM audit UNION ALL SELECT max(at) FROM restores)`).Scan(&newest); err != nil {
		return fmt.Errorf("reading the newest audit row: %w", err)
	}
	row := Audit{At: at, Act: "restore", Outcome: "restored", CallerKind: "selo", Note: "from a backup without audit rows"}
	if newest.Valid {
		if at.UnixMicro() < newest.Int64 {
			return fmt.Errorf("the clock says %v, which is before the newest audit row of the backup, %v", at.UTC(), fromMicro(newest))
		}
		row.Note = "from a backup whose newest audit row is of " + fromMicro(newest).Format(time.RFC3339Nano)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO restores (at, backup_at) VALUES (?, ?)`, at.UnixMicro(), newest); err != nil {
		return fmt.Errorf("recording restore: %w", err)
	}
	if err := insertAudit(ctx, tx, row); err != nil {
		return err
	}
	open, err := scanSessions(tx.QueryContext(ctx, selectSession+` WHERE state = 'open' ORDER BY opened_at, id`))
	if err != nil {
		return err
	}
	for _, n := range open {
		if err := end(ctx, tx, n, StateExpired, at, Audit{CallerKind: "selo"}); err != nil {
			return err
		}
	}
	reserved, err := scanTexts(tx.QueryContext(ctx, `SELECT session_id FROM reservations`))
	if err != nil {
		return fmt.Errorf("reading reservations: %w", err)
	}
	for _, id := range reserved {
		if err := release(ctx, tx, id); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM session_tokens`); err != nil {
		return fmt.Errorf("dropping sealed tokens: %w", err)
	}
	return nil
}

// RestoredAt returns when this database last came back from a backup, or the zero time if it never did. Ids that were used
// before are perhaps not known: a response that was issued before must not be believed.
func (s *Store) RestoredAt(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `SELECT max(at) FROM restores`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("reading restores: %w", err)
	}
	return fromMicro(at), nil
}

// openReadOnly opens a database that must be there, on one connection, and writes nothing to it.
func openReadOnly(driver, path string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro&_pragma=busy_timeout(7000)"}
	db, err := sql.Open(driver, u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// copyInto copies a database into the empty file at path.
func copyInto(ctx context.Context, from *sql.DB, path string) error {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()} // for SQLite, ":memory:" is no file
	if _, err := from.ExecContext(ctx, `VACUUM INTO ?`, u.String()); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	return nil
}

// checkIntegrity looks for damage, and for rows that refer to none.
func checkIntegrity(ctx context.Context, db *sql.DB) error {
	var text string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&text); err != nil {
		return fmt.Errorf("checking integrity: %w", err)
	}
	if text != "ok" {
		return fmt.Errorf("the database is damaged: %s", text)
	}
	err := db.QueryRowContext(ctx, `SELECT "table" FROM pragma_foreign_key_check LIMIT 1`).Scan(&text)
	switch {
	case err == nil:
		return fmt.Errorf("the database is damaged: a row of %s refers to one that is not there", text)
	case !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("checking references: %w", err)
	}
	return nil
}

// checkSchema reports a database that is not of this program or an older one. What its migrations make must all be there
// by name; the text may differ, for that depends on the version of SQLite.
func checkSchema(ctx context.Context, db *sql.DB) error {
	have, err := schemaObjects(ctx, db)
	if err != nil {
		return fmt.Errorf("reading schema: %w", err)
	}
	there := map[string]bool{}
	for _, name := range have {
		there[name] = true
	}
	if !there["table goose_db_version"] || !there["table consumed_ids"] {
		return errors.New("it is not a database of Selo")
	}
	version, err := schemaVersion(ctx, db)
	if err != nil {
		return err
	}
	// The schema of that version, made afresh in memory, where one connection is one database.
	fresh, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	fresh.SetMaxOpenConns(1)
	p, err := newMigrations(fresh)
	if err != nil {
		return err
	}
	if _, last, err := p.GetVersions(ctx); err != nil {
		return err
	} else if version < 1 || version > last {
		return fmt.Errorf("it has schema %d, this program knows 1 to %d", version, last)
	}
	if _, err := p.UpTo(ctx, version); err != nil {
		return fmt.Errorf("making schema %d: %w", version, err)
	}
	want, err := schemaObjects(ctx, fresh)
	if err != nil {
		return fmt.Errorf("making schema %d: %w", version, err)
	}
	for _, name := range want {
		if !there[name] {
			return fmt.Errorf("it is said to have schema %d, and has no %s", version, name)
		}
	}
	return nil
}

// schemaObjects returns the kind and the name of all that was made in a database.
func schemaObjects(ctx context.Context, db *sql.DB) ([]string, error) {
	var all string
	err := db.QueryRowContext(ctx, `SELECT coalesce(group_concat(type || ' ' || name, char(10)), '') FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'`).Scan(&all)
	return strings.Split(all, "\n"), err
}

// schemaVersion reads the version without writing, which goose does when its table is missing.
func schemaVersion(ctx context.Context, db *sql.DB) (version int64, _ error) {
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
		return 0, fmt.Errorf("reading schema version: %w", err)
	}
	return version, nil
}

func scanTexts(rows *sql.Rows, err error) (all []string, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// publish has a database made under a temporary name beside path and, when it is whole and safe on its disk, gives it its
// name. It never takes the place of a file, and fails with ErrExists instead, whoever made that file and when.
func publish(path string, build func(temp string) error) error {
	if err := absent(path, append([]string{""}, companions...)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), strings.ReplaceAll(filepath.Base(path), "*", "_")+".*.partial") // with mode 0600
	if err != nil {
		return err
	}
	temp := f.Name()
	defer func() {
		for _, end := range append([]string{""}, companions...) {
			_ = os.Remove(temp + end) // what is left does no harm
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	if err := build(temp); err != nil {
		return err
	}
	if err := absent(temp, companions); err != nil { // SQLite has left a part of the database outside it
		return err
	}
	if err := syncFile(temp); err != nil {
		return err
	}
	if err := absent(path, companions); err != nil {
		return err
	}
	// A rename would take the place of a file that came meanwhile.
	if err := os.Link(temp, path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, ErrExists)
	} else if err != nil {
		return err
	}
	if err := syncFile(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path)) // it might be gone after a crash
	}
	return nil
}

// absent fails with ErrExists when there is a file, or a broken link, by the name of path with one of the ends.
func absent(path string, ends []string) error {
	for _, end := range ends {
		if _, err := os.Lstat(path + end); err == nil {
			return fmt.Errorf("%s: %w", path+end, ErrExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFile has what was written to a file, or the names in a directory, outlive a crash of the machine.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

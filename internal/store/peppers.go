package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// SealedPepper is a version of the pepper, sealed before it came here.
type SealedPepper struct {
	Version int
	Sealed  []byte
	KEK     string // ID of the key-encryption key that opens Sealed
}

// AddPepper records the sealed pepper of a version, with its audit row, whose time is the caller's. It fails with
// ErrPepperConflict, and writes nothing, when the version has one. That the version was not used with another pepper is
// for RegisterPepper to say.
func (s *Store) AddPepper(ctx context.Context, version int, sealed []byte, kek string, row Audit) error {
	if version < 1 || len(sealed) == 0 || kek == "" || row.At.IsZero() {
		return fmt.Errorf("adding pepper version %d: there is no version, no sealed pepper, no key-encryption key, or no time", version)
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		var there bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pepper_seals WHERE version = ?)`, version).Scan(&there); err != nil {
			return fmt.Errorf("looking up pepper: %w", err)
		}
		if there {
			return fmt.Errorf("adding pepper version %d: %w", version, ErrPepperConflict)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO pepper_seals (version, sealed, kek, created_at) VALUES (?, ?, ?, ?)`,
			version, sealed, kek, row.At.UnixMicro()); err != nil {
			return fmt.Errorf("inserting pepper: %w", err)
		}
		row.Act, row.Outcome, row.Note = "pepper", "added", joinNotes(fmt.Sprintf("pepper version %d", version), row.Note)
		return insertAudit(ctx, tx, row)
	})
}

// SealedPeppers returns the sealed peppers of all versions, in their order.
func (s *Store) SealedPeppers(ctx context.Context) (all []SealedPepper, _ error) {
	rows, err := s.read.QueryContext(ctx, `SELECT version, sealed, kek FROM pepper_seals ORDER BY version`)
	if err != nil {
		return nil, fmt.Errorf("reading peppers: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p SealedPepper
		if err := rows.Scan(&p.Version, &p.Sealed, &p.KEK); err != nil {
			return nil, fmt.Errorf("reading pepper: %w", err)
		}
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading peppers: %w", err)
	}
	return all, nil
}

// RewrapPepper does for the sealed pepper of a version what RewrapKey does for a secret.
func (s *Store) RewrapPepper(ctx context.Context, version int, before, after []byte, kek string, row Audit) error {
	if len(after) == 0 || kek == "" || row.At.IsZero() {
		return fmt.Errorf("rewrapping pepper version %d: there is no sealed pepper, no key-encryption key, or no time", version)
	}
	err := s.act(ctx, func(tx *sql.Tx) error {
		var have []byte
		var old string
		err := tx.QueryRowContext(ctx, `SELECT sealed, kek FROM pepper_seals WHERE version = ?`, version).Scan(&have, &old)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return fmt.Errorf("looking up pepper: %w", err)
		case !bytes.Equal(have, before):
			return ErrChanged
		}
		if _, err := tx.ExecContext(ctx, `UPDATE pepper_seals SET sealed = ?, kek = ? WHERE version = ?`, after, kek, version); err != nil {
			return fmt.Errorf("updating pepper: %w", err)
		}
		about := fmt.Sprintf("pepper version %d, from %s to %s", version, old, kek)
		row.Act, row.Outcome, row.Note = "pepper", "rewrapped", joinNotes(about, row.Note)
		return insertAudit(ctx, tx, row)
	})
	if err != nil {
		return fmt.Errorf("rewrapping pepper version %d: %w", version, err)
	}
	return nil
}

// PepperVersions returns the versions that pseudonyms may have been made with, whether their pepper is sealed here or was
// in a file.
func (s *Store) PepperVersions(ctx context.Context) (all []int, _ error) {
	rows, err := s.read.QueryContext(ctx, `SELECT version FROM peppers ORDER BY version`)
	if err != nil {
		return nil, fmt.Errorf("reading pepper versions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var version int
		if err := rows.Scan(&version); err != nil {
			return nil, fmt.Errorf("reading pepper version: %w", err)
		}
		all = append(all, version)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading pepper versions: %w", err)
	}
	return all, nil
}

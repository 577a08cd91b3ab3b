package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/selo-id/selo/internal/store"
)

type backupCommand struct {
	withConfig
	File string `arg:"" type:"path" help:"File to write; it must not be there yet."`
}

// Run copies the database while servers go on with it.
func (cmd *backupCommand) Run(ctx context.Context, std streams) (err error) {
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	if cfg.Database == "" {
		return errors.New("database: is required: the path of the SQLite file")
	}
	if _, err := os.Stat(cfg.path(cfg.Database)); err != nil { // Open would make one
		return fmt.Errorf("database: there is none at %s", cfg.Database)
	}
	s, err := store.Open(ctx, cfg.path(cfg.Database))
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Backup(ctx, cmd.File); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s is a whole copy of the database, checked. It is worth nothing without the kek: keep that apart from it.\n", cmd.File)
	return err
}

type restoreCommand struct {
	withConfig
	File string `arg:"" type:"path" help:"A backup."`
}

// Run makes the database out of a backup. It writes over nothing.
func (cmd *restoreCommand) Run(ctx context.Context, std streams) (err error) {
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	if cfg.Database == "" {
		return errors.New("database: is required: the path of the SQLite file")
	}
	if err := store.Restore(ctx, cmd.File, cfg.path(cfg.Database), time.Now()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, `%s is restored. Sessions that were open have ended, and responses from before now count for nothing: which of them were
used since the backup nobody knows.

Whatever was revoked since the backup is good again. Revoke it once more, before you start the server:
  selo key list --config %[2]s
  selo service list --config %[2]s
  selo operator list --config %[2]s
`, cfg.Database, cmd.Config)
	if err != nil {
		return err
	}
	p, err := cfg.open(ctx, std)
	if err != nil {
		return fmt.Errorf("it is restored, but no server can start with it; if it was made under another kek, list that in previous_keks:\n%w", err)
	}
	return p.store.Close()
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

// A process killed at any step of a backup or a restore leaves the whole file under its name, or none, and then it can be
// done again. The database that is backed up is as before.
func TestKilledBackupAndRestore(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	dir := fastDir(t)
	source := filepath.Join(dir, "source.db")
	placeNew(t, source)
	s, closeSource := reopen(t, source)
	s.registerPeppers()
	restorable(s)
	before := dump(t, s.write)
	good := filepath.Join(dir, "good")
	s.backup(good)
	closeSource()
	for _, play := range []string{"backup", "restore"} {
		t.Run(play, func(t *testing.T) {
			p := part{Play: play, Path: source, Act: filepath.Join(dir, play)}
			if play == "restore" {
				p.Path = good
			}
			absentAfter := 0
			steps := untilUnharmed(t, func(t *testing.T, step int) bool {
				p.Step = step
				killed, done := runKilled(t, p)
				_, err := os.Stat(p.Act)
				if there := err == nil; there != done && !killed {
					t.Errorf("killed %v, said done %v, there is %v", killed, done, there)
				} else if !there {
					absentAfter++
					if play == "backup" {
						s, closeStore := reopen(t, source)
						if diff := cmp.Diff(before, dump(t, s.write)); diff != "" {
							t.Errorf("a backup changed the database:\n%s", diff)
						}
						s.backup(p.Act)
						closeStore()
					} else if err := Restore(t.Context(), good, p.Act, restoredAt); transcript.Error(err) != nil {
						t.Fatal(err)
					}
				}
				if play == "backup" {
					db, err := openReadOnly("sqlite", p.Act)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(before, dump(t, db)); diff != "" {
						t.Errorf("the backup differs:\n%s", diff)
					}
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				} else {
					s, closeStore := reopen(t, p.Act)
					s.expectRestored()
					closeStore()
				}
				all, err := filepath.Glob(p.Act + "*")
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range all {
					if rest := strings.TrimPrefix(name, p.Act); rest != "" && !strings.Contains(rest, ".partial") {
						t.Errorf("left %s", name)
					}
					if err := os.Remove(name); err != nil {
						t.Error(err)
					}
				}
				return killed
			})
			if steps < 15 || absentAfter < steps/2 {
				t.Errorf("killed at %d steps, after %d of which there was nothing: these are not all the steps", steps, absentAfter)
			}
			t.Logf("killed at %d steps, after %d of which there was nothing", steps, absentAfter)
		})
	}
}

// playBackup and playRestore die at a step. Act is the path of what they make.
func playBackup(p part) error {
	s, arm, err := openSteps(p, false)
	if err != nil {
		return err
	}
	arm()
	if err := s.Backup(context.Background(), p.Act); err != nil {
		return err
	}
	_, err = fmt.Println("done")
	return errors.Join(err, s.Close())
}

func playRestore(p part) error {
	d, err := newStepDriver()
	if err != nil {
		return err
	}
	sql.Register("sqlite that dies", d)
	d.setHook((&counter{at: p.Step, do: die}).hook)
	if err := restoreDriver(context.Background(), "sqlite that dies", p.Path, p.Act, restoredAt); err != nil {
		return err
	}
	_, err = fmt.Println("done")
	return err
}

// An error of the database at any step, or the end of the context, is the end of a backup or a restore, and leaves nothing.
func TestFailingBackupAndRestore(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	name, d := registerSteps(t)
	s, err := openDriver(t.Context(), name, filepath.Join(fastDir(t), "source.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	st := tested{t, s}
	st.registerPeppers()
	restorable(st)
	good := filepath.Join(fastDir(t), "good")
	st.backup(good)
	dir := fastDir(t)
	to := filepath.Join(dir, "to")
	for what, run := range map[string]func(context.Context) error{
		"backup":  func(ctx context.Context) error { return s.Backup(ctx, to) },
		"restore": func(ctx context.Context) error { return restoreDriver(ctx, name, good, to, restoredAt) },
	} {
		for _, how := range []string{"failing", "cancelled"} {
			for n := 1; ; n++ {
				ctx, cancel := context.WithCancel(t.Context())
				c := &counter{at: n, only: "before ", do: func() error {
					if how == "cancelled" {
						cancel()
						return nil
					}
					return errors.New("the disk failed")
				}}
				d.setHook(c.hook)
				err := transcript.Error(run(ctx))
				d.setHook(nil)
				cancel()
				step, reached := c.reached()
				if err != nil {
					expectFiles(t, dir)
				} else {
					expectFiles(t, dir, "to")
					if how == "failing" && reached {
						// goose asks again, in another way, when its table is not found.
						if what == "backup" {
							t.Errorf("%s at step %d, %s, and it says that it is done", how, n, step)
						}
						s, closeStore := reopen(t, to)
						s.expectRestored()
						closeStore()
					}
					if e := os.Remove(to); e != nil {
						t.Fatal(e)
					}
				}
				if t.Failed() {
					return
				}
				if !reached {
					t.Logf("%s, %s: %d steps", what, how, n-1)
					break
				}
			}
		}
	}
}

// On a full disk a backup fails, leaves nothing, and is made when there is room.
func TestBackupDiskFull(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	placeNew(t, path)
	s, closeStore := reopen(t, path)
	s.registerPeppers()
	restorable(s)
	closeStore()
	dir := t.TempDir()
	cmd := child(t, part{Play: "backup full", Path: path, Act: filepath.Join(dir, "backup")})
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, cmd.Stderr)
	}
	t.Logf("%s", out)
	expectFiles(t, dir, "backup")
}

func playBackupFull(p part) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	s, err := Open(ctx, p.Path)
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	for _, size := range []uint64{0, 4096, 100_000} {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
			return err
		}
		full := s.Backup(ctx, p.Act)
		left, err := filepath.Glob(p.Act + "*")
		if err := errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old)); err != nil {
			return err
		}
		if full == nil || len(left) != 0 {
			return fmt.Errorf("with room for %d: %w, and there is %q", size, full, left)
		}
		fmt.Println(full)
	}
	return errors.Join(s.Backup(ctx, p.Act), s.Close())
}

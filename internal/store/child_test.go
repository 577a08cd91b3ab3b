package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// childEnv holds the part, as JSON, that a copy of the test binary plays as a child of a test.
const childEnv = "SELO_STORE_TEST_CHILD"

type part struct {
	Play string // a key of plays
	Path string // of the database
	Act  string // the name of a scenario, or the path of a file to make
	Step int    // at which to die
	Name string // of the child, for its sessions
	IDs  string // beginning of the ids that it shares with others
}

var plays = map[string]func(part) error{
	"act":     playAct,
	"migrate": playMigrate,
	"load":    playLoad,
	"full":    playFull,
	"denied":  playDenied,

	"backup":      playBackup,
	"backup full": playBackupFull,
	"restore":     playRestore,
}

func runChild(text string) int {
	var p part
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := plays[p.Play](p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child prepares a copy of this test binary that plays p.
func child(t testing.TB, p part) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = &strings.Builder{}
	return cmd
}

// wasKilled says whether a child that has ended was killed. That it failed otherwise is an error.
func wasKilled(cmd *exec.Cmd, err error) (bool, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return true, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("child: %w\n%s", err, cmd.Stderr)
	}
	return false, nil
}

// die is the end that no deferred call and no signal handler sees.
func die() error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	select {}
}

// openSteps opens the database of a part with a driver that dies at its step. It counts from here or, when
// opening is not what dies, from arm on.
func openSteps(p part, fromHere bool) (s *Store, arm func(), err error) {
	d, err := newStepDriver()
	if err != nil {
		return nil, nil, err
	}
	sql.Register("sqlite that dies", d)
	c := &counter{at: p.Step, do: die}
	arm = func() { d.setHook(c.hook) }
	if fromHere {
		arm()
	}
	s, err = openDriver(context.Background(), "sqlite that dies", p.Path)
	return s, arm, err
}

func playAct(p part) error {
	for _, sc := range scenarios {
		if sc.name != p.Act {
			continue
		}
		s, arm, err := openSteps(p, false)
		if err != nil {
			return err
		}
		arm()
		if err := sc.act(context.Background(), s); err != nil {
			return err
		}
		_, err = fmt.Println("done")
		return errors.Join(err, s.Close())
	}
	return fmt.Errorf("no scenario %q", p.Act)
}

func playMigrate(p part) error {
	s, _, err := openSteps(p, true)
	if err != nil {
		return err
	}
	_, err = fmt.Println("done")
	return errors.Join(err, s.Close())
}

// playLoad opens sessions and has them granted on several goroutines, until it is killed. The ids are few,
// so that most responses are replays. Each line of output is what an act has promised.
func playLoad(p part) error {
	s, err := Open(context.Background(), p.Path)
	if err != nil {
		return err
	}
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	failed := make(chan error)
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				session, who, id := fmt.Sprintf("%s-%d-%d", p.Name, g, i), fmt.Sprint(p.Name, g), fmt.Sprintf("%s id-%d", p.IDs, i/2)
				if err := loadOpen(s, i, opening(session, who, maxAttempts(2), repeatable(session), withToken)); err != nil {
					failed <- err
					return
				}
				say("opened %s", session)
				if _, err := s.RecordEvent(context.Background(), happening(session, VerdictRefused, id)); err != nil {
					failed <- err
					return
				}
				say("recorded %s", hashed(session))
				for _, act := range []DecideAct{deciding(session, StateOpen), deciding(session, StateGranted, id, "of "+session)} {
					d, err := s.Decide(context.Background(), act)
					if err != nil {
						failed <- err
						return
					}
					if len(d.Reasons) == 0 {
						say("granted %s, %s", session, id)
					}
				}
			}
		}()
	}
	return <-failed
}

// loadOpen opens a session in one of several ways.
func loadOpen(s *Store, i int, act OpenAct) error {
	ctx := context.Background()
	if i%3 == 0 {
		return tryOpen(ctx, s, act)
	}
	if i%3 == 1 { // a first try fails
		failed := act
		failed.Session.ID += " failed"
		if err := errors.Join(tryReserve(ctx, s, failed), s.Release(ctx, failed.Session.ID, releasing(failed))); err != nil {
			return err
		}
	}
	if err := tryReserve(ctx, s, act); err != nil {
		return err
	}
	return s.OpenReserved(ctx, act)
}

// killAfter runs a child, kills it when it has said so many lines, and returns all that it said.
func killAfter(cmd *exec.Cmd, lines int) (said []string, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err != nil { // what it said before its end was read
			break
		}
		if said = append(said, strings.TrimSuffix(line, "\n")); len(said) == lines {
			if err := cmd.Process.Kill(); err != nil {
				return said, err
			}
		}
	}
	if killed, err := wasKilled(cmd, cmd.Wait()); err != nil || !killed {
		return said, fmt.Errorf("a child ended before it was killed: %w", err)
	}
	return said, nil
}

// playFull opens sessions until the file system takes no more, then makes room, and says what was promised.
func playFull(p part) error {
	// Beyond the limit a write fails, as on a full disk; the signal that goes with it is ignored.
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
	info, err := os.Stat(p.Path + "-wal")
	if err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(info.Size()) + 100_000, Max: old.Max}); err != nil {
		return err
	}
	var full error
	opened := 0
	for full == nil && opened < 1000 {
		id := fmt.Sprint("ses-", opened)
		if full = tryOpen(ctx, s, opening(id, "ana")); full == nil {
			fmt.Println("opened", id)
			opened++
		}
	}
	if full == nil || opened == 0 {
		return fmt.Errorf("%d sessions opened, then %w: the disk was never full, or always", opened, full)
	}
	if _, err := s.Session(ctx, "ses-0", noon); err != nil {
		return fmt.Errorf("reading on a full disk: %w", err)
	}
	if err := s.Ready(ctx); err != nil {
		fmt.Println("not ready") // may be: what it writes is nothing
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := tryOpen(ctx, s, opening("ses-after", "bruno")); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	fmt.Println("opened ses-after")
	fmt.Println("failed with", full)
	return s.Close()
}

// playDenied opens a database where this process may not write, and says how that fails.
func playDenied(p part) error {
	if os.Getuid() == 0 { // root may write anywhere
		if err := errors.Join(syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Open(ctx, p.Path)
	if err == nil {
		return errors.Join(errors.New("opened all the same"), s.Close())
	}
	fmt.Println(err)
	return nil
}

// nobody is the user and group that own nothing.
const nobody = 65534

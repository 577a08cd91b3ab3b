package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

// keyHouse is a configuration whose database holds many keys and some peppers, with two KEKs.
type keyHouse struct {
	*Config
	keys, peppers int
	keks          [2]seal.KEK
	configs       [2]string         // with either KEK as the current one and the other as the previous
	secrets       map[string]string // by client ID, of those that were added here
}

func newKeyHouse(t *testing.T, keys int) *keyHouse {
	t.Helper()
	h := &keyHouse{Config: writeDemo(t, nil), secrets: make(map[string]string)}
	text, err := os.ReadFile(filepath.Join(h.dir, demoConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "kek-2"), []byte(transcript.Secret(randomHex(32))), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, names := range [2][2]string{{"kek", "kek-2"}, {"kek-2", "kek"}} {
		changed := strings.Replace(string(text), "file: kek\n", "file: "+names[0]+"\n", 1) + "previous_keks: [{file: " + names[1] + "}]\n"
		h.configs[i] = filepath.Join(h.dir, fmt.Sprintf("selo-%d.yaml", i))
		if !strings.Contains(changed, "file: "+names[0]+"\n") || os.WriteFile(h.configs[i], []byte(changed), 0o600) != nil {
			t.Fatalf("cannot change the kek in %s", text)
		}
		if h.keks[i], err = seal.NewKEK([]byte(readSecret(t, filepath.Join(h.dir, names[0])))); err != nil {
			t.Fatal(err)
		}
	}
	p, err := h.build(t.Context(), testLog(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range keys {
		id := randomHex(12)
		h.secrets[id] = transcript.Secret(randomHex(32))
		if _, err := p.broker.AddKey(t.Context(), policy.LocalOperator(), broker.NewKey{ClientID: id, Environment: selo.EnvironmentSandbox, Products: []string{liveness}},
			[]byte(h.secrets[id]), ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := keyring.AddPepper(t.Context(), p.store, p.keeper, localAudit()); err != nil {
			t.Fatal(err)
		}
	}
	h.keys, h.peppers = h.count(t, "access_keys"), h.count(t, "pepper_seals")
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *keyHouse) count(t *testing.T, table string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.path(h.Database)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// under is how many values are sealed under a KEK.
func (h *keyHouse) under(t *testing.T, kek int) int {
	t.Helper()
	where := ` WHERE kek = '` + h.keks[kek].ID() + `'`
	return h.count(t, "access_keys"+where) + h.count(t, "pepper_seals"+where)
}

// expectAll checks that every key and pepper of a database opens under the KEKs, to what it was.
func (h *keyHouse) expectAll(t *testing.T, path string, keks ...seal.KEK) {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	keeper, err := seal.NewKeeper(keks[0], keks[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	r, ps, err := keyring.Open(t.Context(), s, keeper)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	if len(ps.All()) != h.peppers || len(r.All()) != h.keys {
		t.Errorf("%d keys and %d peppers, want %d and %d", len(r.All()), len(ps.All()), h.keys, h.peppers)
	}
	right := 0
	for _, k := range r.All() {
		if want, err := selo.NewSecret([]byte(h.secrets[k.ClientID])); err == nil && k.Secret.Equal(want) {
			right++
		}
	}
	if right != len(h.secrets) {
		t.Errorf("%d of %d secrets are what they were", right, len(h.secrets))
	}
}

// start runs the program as a process of its own.
func (h *keyHouse) start(t *testing.T, args ...string) (*exec.Cmd, <-chan struct{}) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr, cmd.Stdout = transcript.Log(), transcript.ReplyTo(new(strings.Builder))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	return cmd, ended
}

// killWhen kills the process once ready says so and a while has passed, unless it has ended by then, which it reports.
func killWhen(cmd *exec.Cmd, ended <-chan struct{}, ready func() bool, after time.Duration) (killed bool) {
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ended:
			return false
		case <-tick.C:
		}
	}
	select {
	case <-ended:
	case <-time.After(after):
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	<-ended
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

// budget ends the rounds of a test on a slow machine.
func budget(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Must show: kill -9 in the middle of selo key rewrap loses no key and no pepper, and it can be run again, either way round.
func TestKilledWhileRewrapping(t *testing.T) {
	t.Parallel()
	h := newKeyHouse(t, 60)
	all := h.keys + h.peppers
	if n := h.under(t, 0); n != all {
		t.Fatalf("%d of %d are under the first kek", n, all)
	}
	halfWay, rounds := 0, 0
	for ctx := budget(t, 8*time.Second); rounds < 6 && ctx.Err() == nil; rounds++ {
		to := (rounds + 1) % 2
		for try := 0; h.under(t, to) < all; try++ {
			args := []string{"key", "rewrap", "--config", h.configs[to]}
			cmd, ended := h.start(t, args...)
			before := h.under(t, to)
			upTo := before + 1 + rand.IntN(all-before)
			if try == 2 { // twice killed, it is left alone
				upTo = all + 1
			}
			killed := killWhen(cmd, ended, func() bool { return h.under(t, to) >= upTo }, time.Duration(rand.Int64N(int64(3*time.Millisecond))))
			now := h.under(t, to)
			if now < before || now+h.under(t, 1-to) != all {
				t.Fatalf("%d are under the new kek, after %d, and %d under the old one, of %d", now, before, h.under(t, 1-to), all)
			}
			if killed && now > 0 && now < all {
				halfWay++
			}
			if !killed && cmd.ProcessState.ExitCode() != 0 {
				t.Fatalf("it ended with %v", cmd.ProcessState)
			}
			h.expectAll(t, h.path(h.Database), h.keks[to], h.keks[1-to])
		}
		h.expectAll(t, h.path(h.Database), h.keks[to])
	}
	t.Logf("%d rounds, %d times killed half-way", rounds, halfWay)
	if halfWay == 0 {
		t.Error("it was never killed half-way: the test showed nothing")
	}
}

// Must show: kill -9 in the middle of selo backup leaves a whole backup or none, and the database as it was.
func TestKilledWhileBackingUp(t *testing.T) {
	t.Parallel()
	h := newKeyHouse(t, 40)
	first := filepath.Join(h.dir, "first.db")
	partial := func(path string) func() bool {
		return func() bool {
			found, err := filepath.Glob(path + "*")
			return err != nil || len(found) > 0
		}
	}
	cmd, ended := h.start(t, "backup", first, "--config", h.configs[0])
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !partial(first)() {
		select {
		case <-ended:
			t.Fatal("it ended without a backup")
		case <-tick.C:
		}
	}
	begun := time.Now()
	<-ended
	takes := time.Since(begun)
	if cmd.ProcessState.ExitCode() != 0 {
		t.Fatalf("it ended with %v", cmd.ProcessState)
	}
	whole := func(path string) {
		t.Helper()
		restored := path + "-restored"
		if err := transcript.Error(store.Restore(t.Context(), path, restored, time.Now())); err != nil {
			t.Fatalf("what the backup left is not whole: %v", err)
		}
		h.expectAll(t, restored, h.keks[0])
	}
	whole(first)
	absent, there, left := 0, 0, 0
	for ctx, round := budget(t, 8*time.Second), 0; round < 12 && ctx.Err() == nil; round++ {
		path := filepath.Join(h.dir, fmt.Sprintf("copy-%d.db", round))
		cmd, ended := h.start(t, "backup", path, "--config", h.configs[0])
		killed := killWhen(cmd, ended, partial(path), time.Duration(rand.Int64N(int64(takes)*5/4)))
		_, err := os.Stat(path)
		switch {
		case err == nil:
			there++
			whole(path)
		case !os.IsNotExist(err) || !killed:
			t.Fatalf("%v, killed %v", err, killed)
		default:
			absent++
			if partial(path)() {
				left++
			}
			if round%4 == 0 { // it can be made again
				cmd, ended := h.start(t, "backup", path, "--config", h.configs[0])
				<-ended
				if cmd.ProcessState.ExitCode() != 0 {
					t.Fatalf("again: %v", cmd.ProcessState)
				}
				whole(path)
			}
		}
		h.expectAll(t, h.path(h.Database), h.keks[0])
	}
	t.Logf("a backup takes %v from its first file on; killed, it left %d whole ones, and none %d times, %d of those with a part of one", takes, there, absent, left)
	if absent == 0 || left == 0 {
		t.Error("it was never killed half-way: the test showed nothing")
	}
}

package store

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// A process killed before or after any call of an act to the database leaves all of the act or none; all of
// it when it had said so. Then the act can be done, again or at last, and used ids stay used. A process for each step is
// dear: acts that write no more than one of these are only failed and cancelled at every step, in this process.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	for _, name := range []string{
		"open under every limit", "grant", "expire by reading", "reserve", "open reserved", "release", "sweep", "event",
		"grant after events", "add key", "rewrap key", "rewrap pepper",
	} {
		sc := scenarios[slices.IndexFunc(scenarios, func(sc scenario) bool { return sc.name == name })]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sc.prepare(t)
			dir := fastDir(t)
			none, all := 0, 0
			steps := untilUnharmed(t, func(t *testing.T, step int) (killed bool) {
				path := filepath.Join(dir, fmt.Sprint(step, ".db"))
				p.copyTo(t, path)
				killed, done := runKilled(t, part{Play: "act", Path: path, Act: name, Step: step})

				s, closeStore := reopen(t, path)
				defer closeStore()
				took := p.expectAllOrNone(s, fmt.Sprint("killed at step ", step))
				if done && !took || !killed && !done {
					t.Errorf("killed %v, said done %v, took place %v", killed, done, took)
				}
				if killed && took {
					all++
				} else if killed {
					none++
				}
				p.again(s, took)
				s.expectConsistent()
				return killed
			})
			// The kill after Commit is the one that leaves the act in place.
			if steps < 10 || none < 9 || all < 1 {
				t.Errorf("killed at %d steps, %d of them with nothing done and %d with all: these are not all the steps", steps, none, all)
			}
		})
	}
}

// A process killed while it makes the database leaves one that the next can finish.
func TestKilledWhileMigrating(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	dir := fastDir(t)
	fresh, closeFresh := reopen(t, filepath.Join(dir, "fresh.db"))
	want := fresh.rows(schemaQuery)
	closeFresh()
	steps := untilUnharmed(t, func(t *testing.T, step int) bool {
		path := filepath.Join(dir, fmt.Sprint(step, ".db"))
		killed, done := runKilled(t, part{Play: "migrate", Path: path, Step: step})
		if !killed && !done {
			t.Error("neither killed nor done")
		}
		s, closeStore := reopen(t, path)
		defer closeStore()
		if diff := cmp.Diff(want, s.rows(schemaQuery)); diff != "" {
			t.Errorf("schema (-fresh +finished):\n%s", diff)
		}
		s.registerPeppers()
		s.open(opening("ses-1", "ana"))
		s.expectDecided(s.decide(deciding("ses-1", StateGranted, "id-1")), StateGranted, 0)
		s.expectConsistent()
		return killed
	})
	if steps < 20 {
		t.Errorf("killed at %d steps: these are not all the steps of a migration", steps)
	}
}

const schemaQuery = `SELECT name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY name`

// untilUnharmed calls run with each step from 1 on until it was not killed, and returns how often it was.
func untilUnharmed(t *testing.T, run func(t *testing.T, step int) (killed bool)) (steps int) {
	t.Helper()
	for step := 1; ; step++ {
		killed := false
		if !t.Run(fmt.Sprint("step ", step), func(t *testing.T) { killed = run(t, step) }) || !killed {
			return step - 1
		}
	}
}

// runKilled runs a child that may die, and reports whether it did and whether it had said that it was done.
func runKilled(t *testing.T, p part) (killed, done bool) {
	t.Helper()
	cmd := child(t, p)
	out, err := cmd.Output()
	killed, err = wasKilled(cmd, err)
	if err != nil {
		t.Fatal(err)
	}
	return killed, string(out) == "done\n"
}

// reopen opens a database that somebody was killed over, which must be whole.
func reopen(t testing.TB, path string) (tested, func()) {
	t.Helper()
	store, err := Open(t.Context(), path)
	if transcript.Error(err) != nil {
		t.Fatalf("reopening: %v", err)
	}
	s := tested{t, store}
	if got := s.rows(`PRAGMA integrity_check`); !slices.Equal(got, []string{"ok"}) {
		t.Fatalf("integrity_check: %q", got)
	}
	if got := s.rows(`SELECT "table" || rowid FROM pragma_foreign_key_check`); len(got) != 0 {
		t.Fatalf("foreign_key_check: %q", got)
	}
	return s, func() {
		recordFiles(t, path)
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Processes at work on several goroutines, in some rounds two on the same database and the same ids, are
// killed at any moment. Whatever they had promised is there, and no id is ever granted twice.
func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	const rounds = 25
	dir := fastDir(t)
	grantedTo := map[string]string{} // id to session, as promised
	for round := range rounds {
		path := filepath.Join(dir, fmt.Sprint(round/5, ".db")) // larger ones are slow to check
		if round%5 == 0 {
			placeNew(t, path)
		}
		s, closeStore := reopen(t, path)
		s.registerPeppers()
		closeStore()
		var wg sync.WaitGroup
		children := 1 // two take turns, which takes time
		if round%5 == 0 {
			children = 2
		}
		said, errs := make([][]string, children), make([]error, children)
		for i := range said {
			cmd := child(t, part{Play: "load", Path: path, Name: fmt.Sprint("r", round, "c", i), IDs: fmt.Sprint("r", round)})
			lines := 1 + rand.N(40)
			wg.Go(func() { said[i], errs[i] = killAfter(cmd, lines) })
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		s, closeStore = reopen(t, path)
		s.expectConsistent()
		states := map[string]bool{}
		for _, row := range s.rows(fmt.Sprintf(`SELECT state || ' ' || id FROM sessions WHERE id LIKE 'r%dc%%'`, round)) {
			states[row] = true
			_, id, _ := strings.Cut(row, " ")
			states["opened "+id] = true
		}
		for _, event := range s.rows(`SELECT lower(hex(event)) FROM webhook_events`) {
			states["recorded "+event] = true
		}
		var fresh []string
		for _, line := range slices.Concat(said...) {
			what, id, _ := strings.Cut(line, ", ")
			if !states[what] {
				t.Errorf("round %d: %q was promised and is not there", round, what)
			}
			if session, ok := strings.CutPrefix(what, "granted "); ok {
				if other, twice := grantedTo[id]; twice {
					t.Errorf("round %d: %s was granted to %s and to %s", round, id, other, session)
				}
				grantedTo[id] = session
				fresh = append(fresh, id)
			}
		}
		for i, id := range fresh[:min(len(fresh), 3)] {
			again := fmt.Sprint("again ", round, i)
			s.open(opening(again, again))
			s.expectDecided(s.decide(deciding(again, StateGranted, id)), StateOpen, 1, selo.ReasonReplayed)
		}
		closeStore()
		if t.Failed() {
			return
		}
	}
	if len(grantedTo) < rounds {
		t.Errorf("%d grants in %d rounds: the children had too little time to promise anything", len(grantedTo), rounds)
	}
	t.Logf("%d grants promised by processes that were killed, none lost and none repeated", len(grantedTo))
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// scenario is one act on a prepared database: what is done to it while it runs, and how it is done again.
type scenario struct {
	name  string
	setup func(tested)
	act   func(context.Context, *Store) error
	// again does the act once more, after one that took place or did not, and checks that it then has, once.
	again func(s tested, took bool)
}

// scenarios are the acts in the forms that write the most.
var scenarios = slices.Concat(journeyScenarios, openScenarios, eventScenarios, limitScenarios, credentialScenarios, keyScenarios)

var journeyScenarios = []scenario{
	{
		name: "open",
		setup: func(s tested) {
			s.open(opening("ses-earlier", "ana"))
			s.open(opening("ses-other", "bruno"))
		},
		act: func(ctx context.Context, s *Store) error { return tryOpen(ctx, s, openSuperseding()) },
		again: func(s tested, took bool) {
			err := s.tryOpen(openSuperseding())
			if took != (transcript.Error(err) != nil) {
				s.t.Errorf("opening again: %v, when the first took place is %v", err, took)
			}
			s.expectStates(map[string]State{"ses-earlier": StateSuperseded, "ses-other": StateOpen, "ses-new": StateOpen})
		},
	},
	{
		name:  "open over the limit",
		setup: func(s tested) { s.open(opening("ses-1", "ana")) },
		act: func(ctx context.Context, s *Store) error {
			err := tryOpen(ctx, s, opening("ses-2", "ana", limited(1, time.Hour)))
			var limit *LimitError
			if errors.As(err, &limit) {
				return nil // this is the act
			}
			return err
		},
		again: func(s tested, _ bool) { s.expectStates(map[string]State{"ses-1": StateOpen}) },
	},
	{
		name: "grant",
		setup: func(s tested) {
			s.open(opening("ses-1", "ana"))
			s.open(opening("ses-2", "bruno"))
		},
		act: func(ctx context.Context, s *Store) error {
			_, err := s.Decide(ctx, deciding("ses-1", StateGranted, "id-1", "id-2"))
			return err
		},
		again: func(s tested, took bool) {
			d := s.decide(deciding("ses-1", StateGranted, "id-1", "id-2"))
			if took {
				s.expectDecided(d, StateGranted, 0, selo.ReasonSessionNotOpen)
			} else {
				s.expectDecided(d, StateGranted, 0)
			}
			for i, id := range []string{"id-1", "id-2"} {
				act := deciding("ses-2", StateGranted, "fresh-0", "fresh-1")
				act.IDs[i].Value = id
				s.expectDecided(s.decide(act), StateOpen, i+1, selo.ReasonReplayed)
			}
		},
	},
	{
		name:  "refuse, last attempt",
		setup: func(s tested) { s.open(opening("ses-1", "ana", maxAttempts(1))) },
		act: func(ctx context.Context, s *Store) error {
			_, err := s.Decide(ctx, deciding("ses-1", StateOpen, "id-1"))
			return err
		},
		again: func(s tested, took bool) {
			d := s.decide(deciding("ses-1", StateOpen, "id-1"))
			if took {
				s.expectDecided(d, StateDenied, 1, selo.ReasonSessionNotOpen)
			} else {
				s.expectDecided(d, StateDenied, 1, selo.ReasonStale, selo.ReasonTooManyAttempts)
			}
		},
	},
	{
		name: "replay",
		setup: func(s tested) {
			s.open(opening("ses-1", "ana"))
			s.decide(deciding("ses-1", StateGranted, "id-1"))
			s.open(opening("ses-2", "ana"))
		},
		act: func(ctx context.Context, s *Store) error {
			_, err := s.Decide(ctx, deciding("ses-2", StateDenied, "id-1", "id-2"))
			return err
		},
		again: func(s tested, took bool) {
			attempts := 1
			if took {
				attempts = 2
			}
			s.expectDecided(s.decide(deciding("ses-2", StateGranted, "id-1", "id-2")), StateOpen, attempts, selo.ReasonReplayed)
		},
	},
	{
		name:  "expire by reading",
		setup: func(s tested) { s.open(opening("ses-1", "ana")) },
		act: func(ctx context.Context, s *Store) error {
			_, err := s.Session(ctx, "ses-1", noon.Add(time.Hour))
			return err
		},
		again: func(s tested, _ bool) {
			s.session("ses-1", noon.Add(time.Hour))
			s.expectTrail("ses-1", "open opened", "expire expired")
		},
	},
	{
		name:  "expire by deciding",
		setup: func(s tested) { s.open(opening("ses-1", "ana")) },
		act: func(ctx context.Context, s *Store) error {
			_, err := s.Decide(ctx, deciding("ses-1", StateGranted, "id-1").at(noon.Add(time.Hour)))
			return err
		},
		again: func(s tested, _ bool) {
			d := s.decide(deciding("ses-1", StateGranted, "id-1").at(noon.Add(time.Hour)))
			s.expectDecided(d, StateExpired, 0, selo.ReasonSessionNotOpen, selo.ReasonExpired)
		},
	},
	{
		name:  "small acts",
		setup: func(tested) {},
		act: func(ctx context.Context, s *Store) error {
			return s.CountUnauthenticated(ctx, noon, selo.ReasonTooLarge, 3)
		},
		again: func(s tested, _ bool) {
			if err := s.Record(s.t.Context(), opening("", "ana").Audit); transcript.Error(err) != nil {
				s.t.Error(err)
			}
			s.registerPeppers()
		},
	},
}

func openSuperseding() OpenAct {
	return opening("ses-new", "ana", openedAt(noon.Add(time.Minute)), limited(9, time.Hour), func(a *OpenAct) {
		a.Session.Keys = map[string]string{"identity": "client-1", "face": "client-2"}
	})
}

// prepared is the database of a scenario before its act and after it.
type prepared struct {
	scenario
	file          []byte
	before, after string // everything in it
}

func (sc scenario) prepare(t testing.TB) prepared {
	t.Helper()
	p := prepared{scenario: sc}
	path := filepath.Join(fastDir(t), "prepared.db")
	placeNew(t, path)
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	st := tested{t, s}
	st.registerPeppers()
	sc.setup(st)
	p.before = dump(t, s.write)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !os.IsNotExist(err) {
		t.Fatalf("a closed store leaves a WAL: %v", err)
	}
	if p.file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if got := dump(t, s.write); got != p.before {
		t.Fatalf("closing and opening changed the database:\n%s", cmp.Diff(p.before, got))
	}
	if err := sc.act(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if p.after = dump(t, s.write); p.after == p.before {
		t.Fatal("the act writes nothing: this scenario shows nothing")
	}
	return p
}

// copyTo writes the database as it is before the act.
func (p prepared) copyTo(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, p.file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// expectAllOrNone fails unless the database is as before the act or as after it, and says which.
func (p prepared) expectAllOrNone(s tested, what string) (took bool) {
	s.t.Helper()
	switch got := dump(s.t, s.write); got {
	case p.before:
		return false
	case p.after:
		return true
	default:
		s.t.Errorf("%s: part of the act is there (-before +found):\n%s", what, cmp.Diff(p.before, got))
		return false
	}
}

// dump returns every row of every table, but of some.
func dump(t testing.TB, db *sql.DB, but ...string) string {
	t.Helper()
	s := tested{t, &Store{write: db}}
	var all strings.Builder
	for _, table := range s.rows(`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`) {
		if slices.Contains(but, table) {
			continue
		}
		fmt.Fprintln(&all, table)
		dumpRows(t, db, `SELECT * FROM `+table, &all)
	}
	return all.String()
}

func dumpRows(t testing.TB, db *sql.DB, query string, to *strings.Builder) {
	t.Helper()
	rows, err := db.QueryContext(context.WithoutCancel(t.Context()), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			fmt.Fprintf(to, " %s=%v", columns[i], *v.(*any))
		}
		fmt.Fprintln(to)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// A context that ends at any moment of an act stops it whole, and an act that reports success is whole.
func TestCancelledAtEveryStep(t *testing.T) {
	t.Parallel()
	all := scenarios
	if inPlainCopy(t) {
		// A context ends beside the act, in a goroutine of database/sql: acts that read first and that write the most are
		// also done under the race detector.
		all = slices.DeleteFunc(slices.Clone(all), func(sc scenario) bool { return sc.name != "expire by reading" && sc.name != "open under every limit" })
	}
	for _, sc := range all {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			disturb(t, sc, "", func(cancel context.CancelFunc) error { cancel(); return nil })
		})
	}
}

// An error of the database at any moment of an act, such as of its disk, reaches the caller; none is
// overlooked, and nothing is written.
func TestFailingAtEveryStep(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	errDisk := errors.New("the disk failed")
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			disturb(t, sc, "before ", func(context.CancelFunc) error { return errDisk })
		})
	}
}

// disturb runs the act once for each of its steps with a disturbance there, on one store that must stay
// good, until the act ends before the step.
func disturb(t *testing.T, sc scenario, steps string, disturbance func(context.CancelFunc) error) {
	p := sc.prepare(t)
	name, d := registerSteps(t)
	dir := fastDir(t)
	for n := 1; ; n++ {
		path := filepath.Join(dir, fmt.Sprint(n, ".db"))
		p.copyTo(t, path)
		raw, err := openDriver(t.Context(), name, path)
		if err != nil {
			t.Fatal(err)
		}
		s := tested{t, raw}
		ctx, cancel := context.WithCancel(t.Context())
		c := &counter{at: n, only: steps, do: func() error { return disturbance(cancel) }}
		d.setHook(c.hook)
		failed := transcript.Error(sc.act(ctx, s.Store))
		d.setHook(nil)
		step, reached := c.reached()
		cancel()
		what := fmt.Sprintf("step %d, %s", n, step)
		took := p.expectAllOrNone(s, what)
		if took != (failed == nil) {
			t.Errorf("%s: the act returned %v, and took place is %v", what, failed, took)
		}
		sc.again(s, took)
		s.expectConsistent()
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if t.Failed() {
			return
		}
		if !reached {
			if !took || n < 4 {
				t.Errorf("undisturbed after %d steps: took place is %v", n, took)
			}
			return
		}
	}
}

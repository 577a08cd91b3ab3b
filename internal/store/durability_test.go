package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// Every connection of both pools has every pragma, however many are open, also one that took the place of
// another.
func TestPragmas(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, newPath(t))
	for _, pool := range []struct {
		name      string
		db        *sql.DB
		conns     int
		queryOnly string
	}{{"write", s.write, 1, "0"}, {"read", s.read, readers, "1"}} {
		for range 2 {
			var open []*sql.Conn
			for range pool.conns {
				c, err := pool.db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, c)
			}
			for i, c := range open {
				for pragma, want := range map[string]string{
					"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "7000", "query_only": pool.queryOnly,
				} {
					var got string
					if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
						t.Fatal(err)
					}
					if got != want {
						t.Errorf("%s connection %d: %s is %s, want %s", pool.name, i, pragma, got, want)
					}
				}
				// Broken on purpose, so that the pool replaces it.
				_ = c.Raw(func(any) error { return errBroken })
				if err := c.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
					t.Error(err)
				}
			}
		}
		if n := pool.db.Stats().MaxOpenConnections; n != pool.conns {
			t.Errorf("%s: at most %d connections, want %d", pool.name, n, pool.conns)
		}
	}
	if _, err := s.read.ExecContext(t.Context(), `DELETE FROM sessions`); err == nil {
		t.Error("a reading connection wrote")
	}
}

var errBroken = errors.New("driver: bad connection of a test")

// SQLite before 3.51.3 could corrupt a WAL database that several connections wrote to and checkpointed
// (sqlite.org/wal.html, "The WAL-Reset Bug").
func TestSQLiteVersion(t *testing.T) {
	t.Parallel()
	s := tested{t, openSQLite(t, newPath(t))}
	var major, minor, patch int
	version := s.rows(`SELECT sqlite_version()`)[0]
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		t.Fatal(err)
	}
	if slices.Compare([]int{major, minor, patch}, []int{3, 51, 3}) < 0 {
		t.Errorf("SQLite %s, want 3.51.3 or later", version)
	}
}

// Only its owner reads the database and what SQLite puts beside it.
func TestFileModes(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	store, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	tested{t, store}.registerPeppers()
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", filepath.Base(name), info.Mode())
		}
	}
}

// A directory or a file that may not be written is an error at once, and nothing is made there.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		exists    bool
		dir, file os.FileMode
	}{
		{"directory, no database yet", false, 0o555, 0},
		{"directory", true, 0o555, 0o600},
		{"file", true, 0o755, 0o400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "selo.db")
			var before []byte
			if tc.exists {
				s, err := Open(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if before, err = os.ReadFile(path); err != nil {
					t.Fatal(err)
				}
			}
			if os.Getuid() == 0 { // the child is nobody, and must get there
				for _, name := range []string{dir, path} {
					if err := os.Chown(name, nobody, nobody); err != nil && !os.IsNotExist(err) {
						t.Fatal(err)
					}
				}
				if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if tc.exists {
				if err := os.Chmod(path, tc.file); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, tc.dir); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Chmod(dir, 0o755) }() // so that it can be removed
			out, err := child(t, part{Play: "denied", Path: path}).Output()
			if err != nil || !strings.HasPrefix(string(out), "opening store: ") {
				t.Errorf("opening: %q, %v", out, err)
			}
			after, err := os.ReadFile(path)
			if tc.exists && (err != nil || !bytes.Equal(before, after)) || !tc.exists && !os.IsNotExist(err) {
				t.Errorf("the file changed, or came to be: %d bytes, %v", len(after), err)
			}
		})
	}
}

// A file system that takes no more: acts fail whole, what was promised stays, and with room it goes on.
func TestFileSystemFull(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	placeNew(t, path)
	s, closeStore := reopen(t, path)
	s.registerPeppers()
	closeStore()
	cmd := child(t, part{Play: "full", Path: path})
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, cmd.Stderr)
	}
	t.Logf("%s", out[max(0, len(out)-200):])
	s, closeStore = reopen(t, path)
	defer closeStore()
	s.expectConsistent()
	want := strings.Count(string(out), "opened ")
	if n := s.count("sessions"); n != want {
		t.Errorf("%d sessions, want the %d that were promised", n, want)
	}
}

// The same with a database that may not grow: the act that no longer fits leaves nothing, and fits later.
func TestDatabaseFull(t *testing.T) {
	t.Parallel()
	s := tested{t, openSQLite(t, filepath.Join(fastDir(t), "selo.db"))}
	s.registerPeppers()
	s.rows(fmt.Sprint(`PRAGMA max_page_count=`, s.rows(`PRAGMA page_count`)[0])) // of the one writing connection
	untilFull := func(act func(i int) error) (failed int) {
		for i := range 1000 {
			before := dump(t, s.write)
			err := act(i)
			if err == nil {
				continue
			}
			if !strings.Contains(transcript.Error(err).Error(), "full") {
				t.Error(err)
			}
			if diff := cmp.Diff(before, dump(t, s.write)); diff != "" {
				t.Errorf("the failed act left something (-before +after):\n%s", diff)
			}
			return i
		}
		t.Fatal("never full")
		return 0
	}
	id := func(i int) string { return fmt.Sprint("ses-", i) }
	opened := untilFull(func(i int) error { return s.tryOpen(opening(id(i), id(i))) })
	granted := untilFull(func(i int) error {
		if i == opened {
			t.Fatal("too few sessions to fill the database with grants")
		}
		_, err := s.Decide(t.Context(), deciding(id(i), StateGranted, id(i), id(i)+"'", id(i)+"''"))
		return err
	})
	reserved := untilFull(func(i int) error { return s.tryReserve(opening("res-"+id(i), id(i), repeatable(id(i)))) })
	recorded := untilFull(func(i int) error {
		_, err := s.RecordEvent(t.Context(), happening(id(i), VerdictRefused, id(granted), id(i)))
		return err
	})
	s.expectConsistent()
	s.rows(`PRAGMA max_page_count=4294967294`)
	s.reserve(opening("res-"+id(reserved), id(reserved), repeatable(id(reserved))))
	s.record(happening(id(recorded), VerdictRefused, id(granted), id(recorded)), true, false)
	s.open(opening(id(opened), id(opened)))
	s.expectDecided(s.decide(deciding(id(granted), StateGranted, id(granted), id(granted)+"'", id(granted)+"''")), StateGranted, 0)
	s.expectConsistent()
}

// Two programs on one file, as while one takes over from the other, make one database between them, and of
// all that they do at once exactly one wins. Bug: the slower one of two that made it failed.
func TestTwoStores(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	stores := make([]*Store, 4)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			s, err := Open(t.Context(), path)
			if transcript.Error(err) != nil {
				t.Errorf("opening at once: %v", err)
			}
			stores[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Cleanup(func() {
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	s := tested{t, stores[0]}
	s.registerPeppers()

	s.open(opening("ses-shared", "ana", maxAttempts(racers)))
	decided := make([]*Decided, racers)
	race(func(i int) {
		decided[i] = tested{t, stores[i%len(stores)]}.raceDecide(deciding("ses-shared", StateGranted, fmt.Sprint("id-", i)))
	})
	s.expectOneGrant("one session", decided, selo.ReasonSessionNotOpen)

	s.openForRacers()
	race(func(i int) {
		decided[i] = tested{t, stores[i%len(stores)]}.raceDecide(deciding(fmt.Sprint("ses-", i), StateGranted, "the id"))
	})
	for i := range stores { // each sees what another did
		tested{t, stores[i]}.expectConsistent()
	}
	s.expectOneGrant("one id", decided, selo.ReasonReplayed)
}

// The same for one request sent to all of them, one event, and the last places of a limit.
func TestTwoStoresShareRepeatsAndEvents(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	stores := make([]*Store, 3)
	for i := range stores {
		stores[i] = openSQLite(t, path)
	}
	s := tested{t, stores[0]}
	s.registerPeppers()
	errs, events := make([]error, racers), make([]*Recorded, racers)
	race(func(i int) {
		errs[i] = tryOpen(t.Context(), stores[i%3], opening(fmt.Sprint("ses-", i), "ana", repeatable("k"), withToken))
		var err error
		if events[i], err = stores[i%3].RecordEvent(t.Context(), happening(plantedEventID, VerdictRefused, "id-1")); transcript.Error(err) != nil {
			t.Error(err)
		}
		var limit *LimitError
		if err := tryReserve(t.Context(), stores[i%3], opening(fmt.Sprint("res-", i), "bruno", limited(5, time.Hour))); err != nil && !errors.As(transcript.Error(err), &limit) {
			t.Error(err)
		}
	})
	s.expectOneOpen(errs)
	s.expectOneNew(events)
	if n := s.count("reservations"); n != 5 {
		t.Errorf("%d reservations, want 5", n)
	}
	race(func(i int) {
		if err := stores[i%3].Sweep(t.Context(), noon.Add(time.Hour)); transcript.Error(err) != nil {
			t.Error(err)
		}
	})
	for i := range stores {
		tested{t, stores[i]}.expectPassing("key " + s.rows(`SELECT id FROM sessions`)[0])
		tested{t, stores[i]}.expectConsistent()
	}
}

// So are the access keys: all see each other's changes, by the generation.
func TestTwoStoresShareKeys(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	stores := []*Store{openSQLite(t, path), openSQLite(t, path)}
	s := tested{t, stores[0]}
	s.registerPeppers()
	s.raceOnKeys(stores)
	s.raceKeysAndGeneration(stores)
	s.expectConsistent()
}

// The places of every limit are those of the database, however many programs are on it.
func TestTwoStoresShareLimits(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	stores := []*Store{openSQLite(t, path), openSQLite(t, path)}
	s := tested{t, stores[0]}
	s.registerPeppers()
	for _, l := range everyLimit(9) {
		if l == (Limit{LimitSubject, 9, 24 * time.Hour}) {
			continue // another has taken the places
		}
		s.expectPlaces(l, func(i int) *Store { return stores[i/2%2] })
	}
	s.expectConsistent()
}

// An act under a context that has ended does nothing, and says why.
func TestContextEnded(t *testing.T) {
	t.Parallel()
	s := tested{t, openSQLite(t, newPath(t))}
	s.registerPeppers()
	s.open(opening("ses-1", "ana"))
	reserved := opening("ses-reserved", "ana")
	s.reserve(reserved)
	s.add(credential("key-1"))
	s.addKey(accessKey("client-1"))
	s.addPepper(1)
	before := dump(t, s.write)
	backup, restored := newPath(t), newPath(t)
	s.backup(backup)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, decided := s.Decide(ctx, deciding("ses-1", StateGranted, "id"))
	_, read := s.Session(ctx, "ses-1", noon)
	_, listed := s.Credentials(ctx, CredentialService)
	_, found := s.FindCredential(ctx, pseudonym(1, "key", "key-1"))
	_, certified := s.FindCertificate(ctx, []string{"dns:x"})
	_, revoked := s.RevokeCredential(ctx, CredentialService, "key-1", noon, byOperator("key-1"))
	_, explained := s.Trail(ctx, "ses-1", "")
	_, counted := s.Stats(ctx)
	_, recorded := s.RecordEvent(ctx, happening("evt-1", VerdictNone, "id"))
	_, _, keysRead := s.Keys(ctx)
	_, generation := s.Generation(ctx)
	_, changed := s.ChangeKey(ctx, changing("client-1", KeyRevoked), byOperator("client-1"))
	_, blast := s.BlastRadius(ctx, "client-1", selo.EnvironmentSandbox, noon, noon)
	_, peppers := s.SealedPeppers(ctx)
	_, restoredAt := s.RestoredAt(ctx)
	_, diagnosed := s.Diagnose(ctx)
	for act, err := range map[string]error{
		"Open":                 tryOpen(ctx, s.Store, opening("ses-2", "ana")),
		"Reserve":              tryReserve(ctx, s.Store, opening("ses-3", "ana", repeatable("k"))),
		"OpenReserved":         s.OpenReserved(ctx, reserved),
		"Release":              s.Release(ctx, "ses-reserved", releasing(reserved)),
		"Sweep":                s.Sweep(ctx, noon.Add(1000*time.Hour)),
		"RecordEvent":          recorded,
		"Decide":               decided,
		"Session":              read,
		"Record":               s.Record(ctx, opening("", "ana").Audit),
		"CountUnauthenticated": s.CountUnauthenticated(ctx, noon, selo.ReasonTooLarge, 1),
		"RegisterPepper":       s.RegisterPepper(ctx, 3, []byte("x")),
		"Ready":                s.Ready(ctx),
		"AddCredential":        s.AddCredential(ctx, credential("key-2"), byOperator("key-2")),
		"CredentialsUsed":      s.CredentialsUsed(ctx, map[string]time.Time{"key-1": noon}),
		"RevokeCredential":     revoked,
		"Credentials":          listed,
		"FindCredential":       found,
		"FindCertificate":      certified,
		"Trail":                explained,
		"Stats":                counted,
		"AddKey":               s.AddKey(ctx, accessKey("client-2"), byOperator("client-2")),
		"Keys":                 keysRead,
		"Generation":           generation,
		"ChangeKey":            changed,
		"RewrapKey":            rewrapOne(ctx, s.Store),
		"KeysUsed":             s.KeysUsed(ctx, map[KeyID]time.Time{accessKey("client-1").ID(): noon}),
		"BlastRadius":          blast,
		"AddPepper":            s.AddPepper(ctx, 2, pepperSeal(2, "kek-1"), "kek-1", byOperatorAt("pepper", noon)),
		"SealedPeppers":        peppers,
		"RewrapPepper":         rewrapPepperOne(ctx, s.Store),
		"Backup":               s.Backup(ctx, restored),
		"Restore":              Restore(ctx, backup, restored, noon.Add(time.Hour)),
		"RestoredAt":           restoredAt,
		"Diagnose":             diagnosed,
	} {
		if !errors.Is(transcript.Error(err), context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", act, err)
		}
	}
	if diff := cmp.Diff(before, dump(t, s.write)); diff != "" {
		t.Errorf("something was written (-before +after):\n%s", diff)
	}
	if s, err := Open(ctx, newPath(t)); transcript.Error(err) == nil {
		t.Error("a database was opened")
		_ = s.Close()
	}
}

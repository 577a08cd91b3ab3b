package store

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// A path is a path, whatever SQLite or a URI makes of its characters: the database is there and nowhere
// else, and both pools have the same one. Bug: ":memory:" was a database in memory, forgotten at the end,
// and "//tmp/x" was refused.
func TestPaths(t *testing.T) {
	if inPlainCopy(t) {
		return
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{
		"selo.db", "with space.db", "a?mode=memory.db", "a?_pragma=synchronous(OFF).db", "100%.db", "%2e%2E%00.db", "a#b.db", "a&b=c;d+e.db",
		"é世.db", "a:b.db", ":memory:", "file:x.db", "file::memory:?cache=shared", `back\slash"'.db`, "./dot.db", "/" + dir + "/two slashes.db", filepath.Join(dir, "whole ?#%.db"),
	} {
		s, err := Open(t.Context(), name)
		if transcript.Error(err) != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		st := tested{t, s}
		st.registerPeppers()
		st.open(opening("ses-1", "ana"))
		if got := st.rows(`PRAGMA synchronous`); got[0] != "2" {
			t.Errorf("%q: synchronous is %s", name, got[0])
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s, err = Open(t.Context(), name); err != nil {
			t.Errorf("%q, again: %v", name, err)
			continue
		}
		if got := (tested{t, s}).session("ses-1", noon); got.State != StateOpen {
			t.Errorf("%q: %+v", name, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		recordFiles(t, name)
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%q: the file itself: %v", name, err)
		}
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Fatalf("%q left %v in the directory, %v", name, left, err)
		}
	}
}

// An older program does not write to what a newer one made.
func TestNewerSchemaRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := openSQLite(t, path)
	if _, err := s.write.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	before := dump(t, s.write)
	_, err := Open(t.Context(), path)
	if transcript.Error(err) == nil || !strings.Contains(err.Error(), "99999") || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("newer schema: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, s.write)); diff != "" {
		t.Errorf("refused, and changed (-before +after):\n%s", diff)
	}
}

// A database of every earlier version is brought up to date, and ends up the same as a new one.
func TestOldVersionsMigrate(t *testing.T) {
	t.Parallel()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	fresh := tested{t, openSQLite(t, newPath(t))}
	want := fresh.rows(schemaQuery)
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for version := range int64(len(names)) { // 0 has no table but goose's own
		path := newPath(t)
		makeVersion(t, path, version)
		s := tested{t, openSQLite(t, path)}
		if diff := cmp.Diff(want, s.rows(schemaQuery)); diff != "" {
			t.Errorf("from version %d (-new +migrated):\n%s", version, diff)
		}
		s.registerPeppers()
		s.open(opening("ses-1", "ana"))
		s.expectConsistent()
	}
}

// makeVersion makes a database of an earlier version, with what the statements write.
func makeVersion(t *testing.T, path string, version int64, statements ...string) {
	t.Helper()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(path, "_txlock=immediate"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.GetVersions(t.Context()); err != nil { // makes goose's table
		t.Fatal(err)
	}
	if version > 0 {
		if _, err := p.UpTo(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// What version 1 stored is there after the migration, with the defaults of what it did not know, and works on.
func TestRowsMigrate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	hash := sha256.Sum256([]byte(plantedID))
	session := func(id, subject, rest string) string {
		return fmt.Sprintf(`INSERT INTO sessions VALUES ('%s', 'app', '%s', 'login', 'sandbox', '', 'https://id.example', x'%x', x'02', x'03', 1,
			'presence', %d, %d, %d, 3, 0, %s)`, id, faceLiveness, pseudonym(1, "subject", subject), noon.UnixMicro(), noon.Add(5*time.Minute).UnixMicro(), noon.Add(10*time.Minute).UnixMicro(), rest)
	}
	row := func(session, outcome string) string {
		return fmt.Sprintf(`INSERT INTO audit (at, act, outcome, reasons, session_id, caller_kind, service, app, product, purpose, subject_issuer, subject, cpf,
			pepper_version, client_ids, request_id) VALUES (%d, 'open', '%s', '', '%s', 'user', '', 'app', '', '', '', x'', x'', 1, '', 'req')`, noon.UnixMicro(), outcome, session)
	}
	makeVersion(t, path, 1,
		fmt.Sprintf(`INSERT INTO peppers VALUES (1, x'%x')`, pseudonym(1, "fingerprint", "")),
		session("ses-open", "ana", `'open', NULL, '', '', ''`), session("ses-granted", "bruno", `'granted', 5, '', 'presence', 'rct'`),
		`INSERT INTO session_keys VALUES ('ses-open', 'mobile', 'client-1'), ('ses-granted', 'mobile', 'client-1')`,
		fmt.Sprintf(`INSERT INTO consumed_ids VALUES ('caf', 'sandbox', 'requestId', x'%x', 'ses-granted', 5)`, hash),
		row("ses-open", "opened"), row("ses-granted", "opened"), row("ses-granted", "granted"),
	)
	s := tested{t, openSQLite(t, path)}
	s.registerPeppers()
	s.expectStates(map[string]State{"ses-open": StateOpen, "ses-granted": StateGranted})
	for what, want := range map[string]int{"sessions WHERE policy_id = ''": 2, "audit WHERE note = ''": 3, "consumed_ids": 1, "session_keys": 2} {
		if n := s.count(what); n != want {
			t.Errorf("%d %s, want %d", n, what, want)
		}
	}
	got := s.session("ses-granted", noon)
	if got.PolicyID != "" || got.ReceiptID != "rct" || got.Proved != selo.AssurancePresence || got.Keys["mobile"] != "client-1" || !got.OpenedAt.Equal(noon) {
		t.Errorf("a session of version 1: %+v", got)
	}
	s.expectConsistent()
	s.expectRefused(`UPDATE sessions SET policy_id = 'x' WHERE id = 'ses-granted'`, "has ended does not change")
	s.expectRefused(`UPDATE audit SET note = 'x'`, "never changed")
	// An event finds the old session, and the limit counts it.
	s.record(happening("evt-1", VerdictRefused, plantedID), true, true, "ses-granted")
	s.expectLimit(s.tryReserve(opening("ses-x", "bruno", limited(1, time.Hour))), time.Hour)
	act := opening("ses-new", "ana", repeatable("k"))
	s.reserve(act)
	s.openReserved(finishedAt(act, noon))
	s.expectStates(map[string]State{"ses-open": StateSuperseded, "ses-granted": StateGranted, "ses-new": StateOpen})
	s.expectConsistent()
}

// What version 2 stored is there too: its reservations are released, its programs go on writing beside ours, and
// what it opened counts for the limits that find rows.
func TestRowsOfVersion2Migrate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	session := func(id, subject, rest string) string {
		return fmt.Sprintf(`INSERT INTO sessions (id, app, product, purpose, environment, service, subject_issuer, subject, subject_sealed, cpf, pepper_version, assurance,
			opened_at, token_expires_at, respond_by, max_attempts, policy_id, %s) VALUES ('%s', 'app', '%s', 'login', 'sandbox', '', 'https://id.example', x'%x', x'02', x'%x', 1,
			'presence', %d, %d, %d, 3, 'policy', %s)`, "state, ended_at", id, faceLiveness, pseudonym(1, "subject", subject), pseudonym(1, "cpf", subject),
			noon.UnixMicro(), noon.Add(5*time.Minute).UnixMicro(), noon.Add(10*time.Minute).UnixMicro(), rest)
	}
	reservation := func(id, subject string) string {
		return fmt.Sprintf(`INSERT INTO reservations (session_id, app, subject, opened_at, until) VALUES ('%s', 'app', x'%x', %d, %d)`,
			id, pseudonym(1, "subject", subject), noon.UnixMicro(), noon.Add(time.Hour).UnixMicro())
	}
	row := func(session, act, outcome string) string {
		return fmt.Sprintf(`INSERT INTO audit (at, act, outcome, reasons, session_id, caller_kind, service, app, product, purpose, subject_issuer, subject, cpf,
			pepper_version, client_ids, request_id, note) VALUES (%d, '%s', '%s', '', '%s', 'user', '', 'app', '', '', '', x'', x'', 1, '', 'req', 'noted')`, noon.UnixMicro(), act, outcome, session)
	}
	rows := func(id, subject, rest string) []string {
		return []string{session(id, subject, rest), fmt.Sprintf(`INSERT INTO session_keys VALUES ('%s', 'mobile', 'client-1')`, id), row(id, "open", "opened")}
	}
	makeVersion(t, path, 2, slices.Concat([]string{fmt.Sprintf(`INSERT INTO peppers VALUES (1, x'%x')`, pseudonym(1, "fingerprint", ""))},
		rows("ses-open", "ana", `'open', NULL`), rows("ses-expired", "ana", `'expired', 5`), []string{
			row("ses-expired", "expire", "expired"), reservation("ses-reserved", "bruno"), row("ses-reserved", "open", "minting"), reservation("ses-died", "bruno"), row("ses-died", "open", "minting")})...)
	s := tested{t, openSQLite(t, path)}
	s.registerPeppers()
	s.expectStates(map[string]State{"ses-open": StateOpen, "ses-expired": StateExpired})
	if n := s.count(`sessions WHERE sign_up = 0 AND policy_id = 'policy'`); n != 2 {
		t.Errorf("%d sessions of version 2, want 2", n)
	}
	if all := s.explain("ses-expired", ""); len(all) != 2 || all[0].Note != "noted" {
		t.Errorf("trail of version 2: %+v", all)
	}
	subject, cpf := Limit{LimitSubject, 2, time.Hour}, Limit{LimitCPF, 2, time.Hour}
	s.refusedBy(opening("ses-x", "ana", limits(subject)), subject, time.Hour)
	s.refusedBy(opening("ses-x", "", withCPF(1, "ana"), limits(cpf)), cpf, time.Hour)
	s.refusedBy(opening("ses-x", "bruno", limits(subject)), subject, time.Hour)
	s.release(opening("ses-died", "bruno"))
	for _, statement := range slices.Concat([]string{`DELETE FROM reservations WHERE session_id = 'ses-reserved' AND app = 'app'`},
		rows("ses-reserved", "bruno", `'open', NULL`), rows("ses-beside", "carla", `'open', NULL`)) { // by a program of version 2 that is still running
		if _, err := s.write.ExecContext(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
	s.refusedBy(opening("ses-x", "carla", limits(Limit{LimitCPF, 1, time.Hour})), Limit{LimitCPF, 1, time.Hour}, time.Hour)
	s.expectConsistent()
}

// What version 3 stored is there, every row of it, and the new tables are empty; its programs go on writing beside ours.
func TestRowsOfVersion3Migrate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	session := func(id, subject, cpf, signUp, rest string) []string {
		return []string{fmt.Sprintf(`INSERT INTO sessions (id, app, product, purpose, environment, service, subject_issuer, subject, subject_sealed, cpf, pepper_version, assurance,
			opened_at, token_expires_at, respond_by, max_attempts, policy_id, sign_up, state, ended_at, proved, receipt_id) VALUES ('%s', 'app', '%s', 'login', 'sandbox', '', 'https://id.example',
			x'%x', x'02', %s, 1, 'presence', %d, %d, %d, 3, '', %s, %s)`, id, faceLiveness, pseudonym(1, "subject", subject), cpf, noon.UnixMicro(), noon.Add(5*time.Minute).UnixMicro(),
			noon.Add(10*time.Minute).UnixMicro(), signUp, rest),
			fmt.Sprintf(`INSERT INTO session_keys VALUES ('%s', 'mobile', 'client-1')`, id),
			fmt.Sprintf(`INSERT INTO audit (at, act, outcome, reasons, session_id, caller_kind, service, app, product, purpose, subject_issuer, subject, cpf, pepper_version, client_ids,
			request_id, note) VALUES (%d, 'open', 'opened', '', '%s', 'user', '', 'app', '', '', '', x'', x'', 1, 'mobile=client-1', 'req', '')`, noon.UnixMicro(), id)}
	}
	hash, key := sha256.Sum256([]byte(plantedID)), pseudonym(1, "key", "key-1")
	makeVersion(t, path, 3, slices.Concat([]string{fmt.Sprintf(`INSERT INTO peppers VALUES (1, x'%x')`, pseudonym(1, "fingerprint", ""))},
		session("ses-open", "ana", fmt.Sprintf(`x'%x'`, pseudonym(1, "cpf", "ana")), "0", `'open', NULL, '', ''`),
		session("ses-sign-up", "bruno", `x''`, "1", `'open', NULL, '', ''`),
		session("ses-granted", "carla", `x'03'`, "0", `'granted', 5, 'presence', 'rct'`), []string{
			fmt.Sprintf(`INSERT INTO consumed_ids VALUES ('caf', 'sandbox', 'requestId', x'%x', 'ses-granted', 5)`, hash),
			`INSERT INTO audit SELECT NULL, at, 'respond', 'granted', '', session_id, caller_kind, '', app, '', '', '', x'', x'', 1, '', 'req', '' FROM audit WHERE session_id = 'ses-granted'`,
			fmt.Sprintf(`INSERT INTO usage VALUES ('service "backend"', 60000000, %d, 2, %d)`, noon.Unix()/60, noon.Add(2*time.Hour).UnixMicro()),
			fmt.Sprintf(`INSERT INTO credentials VALUES ('key-1', 'service', 'backend', 'app', 'sessions:open sessions:read', 0, x'%x', '', %d, NULL, NULL, NULL)`, key, noon.UnixMicro()),
			`INSERT INTO audit SELECT NULL, at, 'credential', 'added', '', '', 'operator', '', app, '', '', '', x'', x'', 0, '', 'req', 'service backend, credential key-1' FROM audit WHERE session_id = 'ses-open'`,
			`INSERT INTO session_tokens VALUES ('ses-open', x'01', 5)`, `INSERT INTO idempotency VALUES (x'01', x'02', 'ses-open', 5)`,
		})...)
	old, err := openReadOnly("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	before := dump(t, old, "goose_db_version", "sqlite_sequence")
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s := tested{t, openSQLite(t, path)}
	if diff := cmp.Diff(before, dump(t, s.write, "goose_db_version", "sqlite_sequence", "access_keys", "pepper_seals", "key_generation", "restores")); diff != "" {
		t.Errorf("migrating changed rows (-before +after):\n%s", diff)
	}
	s.expectKeys(0)
	s.expectPeppers()
	if at, err := s.RestoredAt(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("restored at %v, %v", at, err)
	}
	s.registerPeppers()
	s.expectConsistent()
	s.expectFound(credential("key-1"))
	for _, statement := range session("ses-beside", "dora", `x'04'`, "0", `'open', NULL, '', ''`) { // by a program of version 3 that is still running
		if _, err := s.write.ExecContext(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
	s.expectDecided(s.decide(deciding("ses-beside", StateGranted, plantedID)), StateOpen, 1, selo.ReasonReplayed)
	s.addKey(accessKey("client-1")) // whose sessions were there before it
	if b, err := s.BlastRadius(t.Context(), "client-1", selo.EnvironmentSandbox, noon, noon); err != nil || b.SessionsSince != 4 || b.OpenSessions != 3 {
		t.Errorf("blast radius %+v, %v", b, err)
	}
	s.expectConsistent()
}

// What is not a database is refused with an error that says so, and is left as it was.
func TestGarbageIsLeftAlone(t *testing.T) {
	t.Parallel()
	ours := filepath.Join(t.TempDir(), "ours.db")
	s, err := Open(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(ours)
	if err != nil {
		t.Fatal(err)
	}
	// Page 1 is the header and sqlite_master.
	damaged := slices.Concat(whole[:100], bytes.Repeat([]byte{0xff}, 3996), whole[4096:])
	for name, content := range map[string][]byte{
		"text":           []byte(strings.Repeat("this is not a database\n", 1000)),
		"almost":         append([]byte("SQLite format 3\x00"), make([]byte, 4096)...),
		"damaged":        damaged,
		"other than wal": slices.Concat(whole[:18], []byte{9, 9}, whole[20:]), // a format from the future
	} {
		path := filepath.Join(t.TempDir(), "selo.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), path)
		if transcript.Error(err) == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
		} else if !strings.HasPrefix(err.Error(), "opening store: ") {
			t.Errorf("%s: error %q", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
		if left, _ := filepath.Glob(path + "-*"); len(left) != 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
	if s, err := Open(t.Context(), t.TempDir()); transcript.Error(err) == nil {
		t.Error("a directory was opened")
		_ = s.Close()
	}
}

// Bug: a database that was removed while in use was said to be ready, and forgot all used ids with the process.
func TestRemovedDatabaseIsNotReady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "selo.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); transcript.Error(err) == nil {
		t.Error("ready without its file")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); transcript.Error(err) == nil {
		t.Error("ready with another file in its place")
	}
}

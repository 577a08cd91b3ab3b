package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

// credential returns one of a service with an API key, with the changes asked for.
func credential(id string, changes ...func(*Credential)) Credential {
	c := Credential{ID: id, Kind: CredentialService, Name: "backend", App: "app", Scopes: []string{"sessions:open", "sessions:read"},
		KeyHash: pseudonym(1, "key", id), CreatedAt: noon}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func named(name string) func(*Credential) { return func(c *Credential) { c.Name = name } }

func ofApp(app string) func(*Credential) { return func(c *Credential) { c.App = app } }

func createdAt(at time.Time) func(*Credential) { return func(c *Credential) { c.CreatedAt = at } }

func expiringAt(at time.Time) func(*Credential) { return func(c *Credential) { c.ExpiresAt = at } }

func withKeyOf(id string) func(*Credential) {
	return func(c *Credential) { c.KeyHash = pseudonym(1, "key", id) }
}

func certified(name string) func(*Credential) {
	return func(c *Credential) { c.KeyHash, c.Certificate = nil, name }
}

func ofOperator(c *Credential) {
	c.Kind, c.App, c.Scopes = CredentialOperator, "", nil
}

// byOperator is the audit row of an act on credentials, as the caller gives it.
func byOperator(id string) Audit {
	return Audit{CallerKind: "operator", RequestID: "req " + id}
}

func (s tested) add(c Credential) {
	s.t.Helper()
	if err := s.AddCredential(s.t.Context(), c, byOperator(c.ID)); transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
}

func (s tested) revoke(kind CredentialKind, id string, at time.Time) *Credential {
	s.t.Helper()
	c, err := s.RevokeCredential(s.t.Context(), kind, id, at, byOperator(id))
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s tested) credentials(kind CredentialKind) []*Credential {
	s.t.Helper()
	all, err := s.Credentials(s.t.Context(), kind)
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	return all
}

func (s tested) expectCredentials(kind CredentialKind, want ...Credential) {
	s.t.Helper()
	var have []Credential
	for _, c := range s.credentials(kind) {
		have = append(have, *c)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		s.t.Errorf("credentials (-want +got):\n%s", diff)
	}
}

// Credentials come back as they were added, are used and revoked, and stay in the list.
func credentialLife(s tested) {
	key := credential("key-2", expiringAt(noon.Add(time.Hour)), createdAt(noon.Add(1500*time.Microsecond)))
	cert := credential("key-1", certified("dns:backend.example"), createdAt(noon.Add(time.Minute)))
	mapped := credential("key-3", named("mapped"), createdAt(noon.Add(time.Hour)), func(c *Credential) { c.MapSubjects, c.Scopes = true, nil })
	operator := credential("op-1", ofOperator, named("backend"), certified("uri:spiffe://ops/ana")) // may share a name
	for _, c := range []Credential{cert, mapped, operator, key} {
		s.add(c)
	}
	s.expectCredentials(CredentialService, key, cert, mapped) // oldest first
	s.expectCredentials(CredentialOperator, operator)
	s.expectCredentials("robot")
	got := s.rows(`SELECT act || ' ' || outcome || ' ' || app || ', ' || at || ', ' || caller_kind || ', ' || request_id || ', ' || note FROM audit ORDER BY id`)
	row := func(c Credential, outcome string, at time.Time, note string) string {
		return fmt.Sprint("credential ", outcome, " ", c.App, ", ", at.UnixMicro(), ", operator, req ", c.ID, ", ", note)
	}
	want := []string{
		row(cert, "added", cert.CreatedAt, "service backend, credential key-1, scopes sessions:open sessions:read"),
		row(mapped, "added", mapped.CreatedAt, "service mapped, credential key-3"),
		row(operator, "added", operator.CreatedAt, "operator backend, credential op-1"),
		row(key, "added", key.CreatedAt, "service backend, credential key-2, scopes sessions:open sessions:read"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("audit rows (-want +got):\n%s", diff)
	}

	s.expectFound(key)
	for _, hash := range [][]byte{nil, {}, pseudonym(1, "key", "key-1"), key.KeyHash[:31]} {
		_, err := s.FindCredential(s.t.Context(), hash)
		expectNotFound(s.t, err)
	}
	s.expectCertificate(nil)
	s.expectCertificate([]string{"", "dns:backend", "uri:spiffe://ops/ANA"})
	s.expectCertificate([]string{"uri:spiffe://ops/ana", "dns:other", "dns:backend.example"}, "op-1", "key-1")

	s.use(map[string]time.Time{"key-2": noon.Add(time.Minute), "op-1": noon, "nobody": noon})
	s.use(map[string]time.Time{"key-2": noon, "op-1": noon.Add(time.Second)}) // only forward
	s.use(nil)
	key.LastUsedAt, operator.LastUsedAt = noon.Add(time.Minute), noon.Add(time.Second)
	s.expectFound(key)
	s.expectCredentials(CredentialOperator, operator)

	at := noon.Add(2*time.Minute + time.Microsecond)
	key.RevokedAt = at
	if diff := cmp.Diff(&key, s.revoke(CredentialService, "key-2", at)); diff != "" {
		s.t.Errorf("revoked (-want +got):\n%s", diff)
	}
	rows := s.rows(`SELECT outcome || ', ' || note || ', ' || at FROM audit WHERE outcome = 'revoked'`)
	if want := fmt.Sprint("revoked, service backend, credential key-2, scopes sessions:open sessions:read, ", at.UnixMicro()); !slices.Equal(rows, []string{want}) {
		s.t.Errorf("audit rows of the revocation %q, want %q", rows, want)
	}
	before := dump(s.t, s.write)
	if again := s.revoke(CredentialService, "key-2", at.Add(time.Hour)); !again.RevokedAt.Equal(at) || dump(s.t, s.write) != before {
		s.t.Errorf("revoked again: %+v, or something was written", again)
	}
	s.expectFound(key)
	s.expectCredentials(CredentialService, key, cert, mapped)
	for kind, id := range map[CredentialKind]string{CredentialService: "op-1", CredentialOperator: "key-2", "": "key-2", "robot": ""} {
		s.expectNothing(ErrNotFound, func() error {
			_, err := s.RevokeCredential(s.t.Context(), kind, id, at, byOperator(id))
			return err
		})
	}
	s.use(map[string]time.Time{"key-2": noon.Add(time.Hour)}) // what was on its way when it was revoked
}

func (s tested) use(used map[string]time.Time) {
	s.t.Helper()
	if err := s.CredentialsUsed(s.t.Context(), used); transcript.Error(err) != nil {
		s.t.Error(err)
	}
}

func (s tested) expectFound(want Credential) {
	s.t.Helper()
	got, err := s.FindCredential(s.t.Context(), want.KeyHash)
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		s.t.Errorf("found (-want +got):\n%s", diff)
	}
}

func (s tested) expectCertificate(names []string, want ...string) {
	s.t.Helper()
	found, err := s.FindCertificate(s.t.Context(), names)
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for _, c := range found {
		ids = append(ids, c.ID)
	}
	if !slices.Equal(ids, want) {
		s.t.Errorf("certificates %q are of %q, want %q", names, ids, want)
	}
}

// What a credential has to itself no other takes, and a service keeps its app and its subjects.
func credentialConflicts(s tested) {
	s.add(credential("key-1"))
	s.add(credential("key-2", certified("dns:backend.example"), expiringAt(noon.Add(time.Hour))))
	s.add(credential("op-1", ofOperator, named("ana"), certified("uri:ana")))
	s.add(credential("revoked", named("old")))
	s.revoke(CredentialService, "revoked", noon)
	const minute = time.Minute
	for _, tc := range []struct {
		c    Credential
		says string
	}{
		{credential("key-1", withKeyOf("fresh")), "with this ID"},
		{credential("op-1"), "with this ID"}, // of the other kind
		{credential("key-3", withKeyOf("key-1")), "its key is, or was, that of credential key-1"},
		{credential("key-3", withKeyOf("revoked"), named("new")), "credential revoked"},
		{credential("op-2", ofOperator, withKeyOf("key-1")), "credential key-1"},
		{credential("key-3", certified("dns:backend.example"), createdAt(noon.Add(time.Hour-time.Microsecond))), "dns:backend.example is that of credential key-2"},
		{credential("key-3", certified("uri:ana")), "credential op-1"},
		{credential("key-3", ofApp("app-2")), "the service backend is of app app"},
		{credential("key-3", func(c *Credential) { c.MapSubjects = true }), "the service backend has map_subjects false"},
		{credential("key-3", named("old"), ofApp("app-2")), "the service old is of app app"}, // all ever
	} {
		s.expectNothing(ErrCredentialConflict, func() error {
			err := s.AddCredential(s.t.Context(), tc.c, byOperator(tc.c.ID))
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				s.t.Errorf("%+v: %v, want one about %q", tc.c, err, tc.says)
			}
			return err
		})
	}
	s.add(credential("key-4", certified("dns:backend.example"), createdAt(noon.Add(time.Hour)))) // the other has expired
	s.expectCertificate([]string{"dns:backend.example"}, "key-2", "key-4")
	s.revoke(CredentialService, "key-4", noon.Add(2*time.Hour))
	s.add(credential("key-5", certified("dns:backend.example"), createdAt(noon.Add(time.Hour+minute))))
	s.add(credential("key-6", ofOperator, named("backend"))) // an operator by the name of a service
	s.add(credential("key-7", named("other"), ofApp("app-2"), func(c *Credential) { c.MapSubjects = true }))

	for name, change := range map[string]func(*Credential){
		"no ID": func(c *Credential) { c.ID = "" }, "no name": named(""), "no kind": func(c *Credential) { c.Kind = "" },
		"a service without app": ofApp(""), "an operator of an app": func(c *Credential) { c.Kind = CredentialOperator },
		"an operator who maps": func(c *Credential) { ofOperator(c); c.MapSubjects = true },
		"two scopes in one":    func(c *Credential) { c.Scopes = []string{"a b"} }, "an empty scope": func(c *Credential) { c.Scopes = []string{""} },
		"nothing": func(c *Credential) { c.KeyHash = nil }, "both": func(c *Credential) { c.Certificate = "dns:x" },
		"a short hash": func(c *Credential) { c.KeyHash = c.KeyHash[:16] }, "another name": certified("ip:127.0.0.1"),
		"no time": func(c *Credential) { c.CreatedAt = time.Time{} }, "revoked": func(c *Credential) { c.RevokedAt = noon },
		"used": func(c *Credential) { c.LastUsedAt = noon }, "expired at once": expiringAt(noon),
	} {
		s.expectNothing(nil, func() error {
			err := s.AddCredential(s.t.Context(), credential("bad", change), byOperator("bad"))
			if err == nil || errors.Is(err, ErrCredentialConflict) || strings.Contains(err.Error(), "constraint") {
				s.t.Errorf("%s: %v, want an error of its own", name, err)
			}
			return err
		})
	}
}

// What a credential is never changes, whatever the program above believes.
func credentialsInRawSQL(s tested) {
	s.add(credential("key-1"))
	s.add(credential("key-2", expiringAt(noon.Add(time.Hour))))
	s.revoke(CredentialService, "key-1", noon.Add(time.Minute))
	before := dump(s.t, s.write)
	for _, change := range []string{`id = 'x'`, `kind = 'operator', app = ''`, `name = 'x'`, `app = 'x'`, `scopes = 'x'`, `map_subjects = 1`,
		`key_hash = randomblob(32)`, `key_hash = x'', certificate = 'dns:x'`, `created_at = 0`, `expires_at = NULL`, `expires_at = 1`} {
		s.expectRefused(`UPDATE credentials SET `+change+` WHERE id = 'key-2'`, "never changes")
		s.expectRefused(`UPDATE OR REPLACE credentials SET `+change+` WHERE id = 'key-2'`, "never changes")
	}
	for _, change := range []string{`revoked_at = NULL`, `revoked_at = 1`, `revoked_at = revoked_at + 1`} {
		s.expectRefused(`UPDATE credentials SET `+change+` WHERE id = 'key-1'`, "stays revoked")
	}
	s.expectRefused(`DELETE FROM credentials`, "never deleted")
	const columns = ` (id, kind, name, app, scopes, map_subjects, key_hash, certificate, created_at) `
	for _, values := range []string{`'key-1', 'service', 'backend', 'app', '', 0, randomblob(32), '', 1`,
		`'key-9', 'service', 'backend', 'app', '', 0, (SELECT key_hash FROM credentials WHERE id = 'key-1'), '', 1`} {
		s.expectRefused(`INSERT OR REPLACE INTO credentials`+columns+`VALUES (`+values+`)`, "never replaced")
		s.expectRefused(`INSERT INTO credentials`+columns+`VALUES (`+values+`) ON CONFLICT DO UPDATE SET app = 'x'`, "never replaced")
	}
	s.expectRefused(`INSERT INTO credentials`+columns+`VALUES ('key-9', 'service', 'backend', 'app', '', 0, x'', '', 1)`, "CHECK")
	if diff := cmp.Diff(before, dump(s.t, s.write)); diff != "" {
		s.t.Errorf("changed (-before +after):\n%s", diff)
	}
}

// Of any number of credentials that conflict and are added at once exactly one is.
func manyAddCredentials(s tested) {
	const adders = 32
	for _, tc := range []struct {
		name string
		c    func(i int) Credential
		want int
	}{
		{"one ID", func(i int) Credential { return credential("one", withKeyOf(fmt.Sprint("id ", i))) }, 1},
		{"one key", func(i int) Credential { return credential(fmt.Sprint("key-", i), withKeyOf("the key")) }, 1},
		{"one certificate", func(i int) Credential { return credential(fmt.Sprint("cert-", i), certified("dns:the.certificate")) }, 1},
		{"one service, apps", func(i int) Credential {
			return credential(fmt.Sprint("app-", i), named("apps"), ofApp(fmt.Sprint("app-", i)))
		}, 1},
		{"one service, subjects", func(i int) Credential {
			return credential(fmt.Sprint("map-", i), named("maps"), func(c *Credential) { c.MapSubjects = i%2 == 0 })
		}, adders / 2},
	} {
		errs := make([]error, adders)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range adders {
			wg.Go(func() {
				<-start
				c := tc.c(i)
				errs[i] = s.AddCredential(s.t.Context(), c, byOperator(c.ID))
			})
		}
		close(start)
		wg.Wait()
		added := 0
		for i, err := range errs {
			if err == nil {
				added++
			} else if !errors.Is(transcript.Error(err), ErrCredentialConflict) {
				s.t.Errorf("%s, adder %d: %v", tc.name, i, err)
			}
		}
		if added != tc.want {
			s.t.Errorf("%s: %d were added, want %d", tc.name, added, tc.want)
		}
	}
	// Of one that many revoke there is one row, and of its uses the last remains.
	race(func(i int) {
		at := noon.Add(time.Duration(i) * time.Second)
		s.revoke(CredentialService, "one", at)
		s.use(map[string]time.Time{"one": at})
	})
	one := s.rows(`SELECT (last_used_at - revoked_at >= 0) || ' ' || last_used_at FROM credentials WHERE id = 'one'`)
	if want := fmt.Sprint("1 ", noon.Add((racers-1)*time.Second).UnixMicro()); one[0] != want {
		s.t.Errorf("revoked and used at %q, want %q", one, want)
	}
	if n := s.count(`audit WHERE outcome = 'revoked'`); n != 1 {
		s.t.Errorf("%d rows of the revocation, want 1", n)
	}
}

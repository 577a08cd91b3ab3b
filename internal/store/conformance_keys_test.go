package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// Access keys come back as they were added and changed, in the generation that they are of.
func keyLife(s tested) {
	s.expectKeys(0)
	one := accessKey("client-1", keyPrepared, keyCreatedAt(noon.Add(1500*time.Microsecond)))
	production := accessKey("client-1", keyInProduction, withSecretOf("another"), func(k *AccessKey) {
		k.Name, k.Note, k.SharedReason, k.Products = "", "", "", []string{faceLiveness}
	})
	old := accessKey("client-0", keyRetiring, keyCreatedAt(noon.Add(-time.Hour)))
	for _, k := range []AccessKey{one, production, old} {
		s.addKey(k)
	}
	s.expectKeys(3, old, production, one)

	if diff := cmp.Diff(s.changeKey(changing("client-1", KeyActive, changedAt(noon.Add(time.Minute+time.Nanosecond)))), s.key("client-1")); diff != "" {
		s.t.Errorf("returned and stored (-returned +stored):\n%s", diff)
	}
	one.State, one.ActivatedAt = KeyActive, noon.Add(time.Minute)
	s.expectKeys(4, old, production, one)
	s.changeKey(changing("client-1", KeyRetiring))
	one.State, one.RetireUntil = KeyRetiring, noon.Add(time.Hour)
	s.changeKey(changing("client-1", KeyRevoked, leaked))
	one.State, one.RevokedAt, one.Leaked = KeyRevoked, noon.Add(time.Minute), true
	s.expectKeys(6, old, production, one)

	const about = ", products caf/face-authentication caf/face-liveness"
	row := func(outcome string, at time.Time, id, note string) string {
		return fmt.Sprint("key ", outcome, ", ", at.UnixMicro(), ", operator, req ", id, ", access key ", id, " ", note)
	}
	want := []string{
		row("added", one.CreatedAt, "client-1", "(sandbox)"+about),
		row("added", noon, "client-1", "(production), products caf/face-liveness"),
		row("added", old.CreatedAt, "client-0", "(sandbox)"+about),
		row("active", noon.Add(time.Minute), "client-1", "(sandbox)"+about),
		row("retiring", noon.Add(time.Minute), "client-1", "(sandbox)"+about+"; until 2026-03-02T13:00:00Z"),
		row("revoked", noon.Add(time.Minute), "client-1", "(sandbox)"+about+"; leaked"),
	}
	if diff := cmp.Diff(want, s.keyRows()); diff != "" {
		s.t.Errorf("audit rows (-want +got):\n%s", diff)
	}

	used := func(at time.Time, ids ...KeyID) {
		s.t.Helper()
		all := map[KeyID]time.Time{}
		for _, id := range ids {
			all[id] = at
		}
		if err := s.KeysUsed(s.t.Context(), all); transcript.Error(err) != nil {
			s.t.Error(err)
		}
	}
	used(noon.Add(time.Minute), one.ID(), old.ID(), KeyID{"nobody", selo.EnvironmentSandbox})
	used(noon, one.ID()) // only forward
	used(noon)
	one.LastUsedAt, old.LastUsedAt = noon.Add(time.Minute), noon.Add(time.Minute)
	s.expectKeys(6, old, production, one)
}

// Of every change exactly those that are promised take place, and the others say what the key may become.
func keyStates(s tested) {
	type result struct {
		to    KeyState
		takes bool   // is written
		says  string // of an error
	}
	add := map[KeyState]func(string){
		KeyPrepared: func(id string) { s.addKey(accessKey(id, keyPrepared)) },
		KeyActive:   func(id string) { s.addKey(accessKey(id)) },
		KeyRetiring: func(id string) { s.addKey(accessKey(id, keyRetiring)) },
		KeyRevoked: func(id string) {
			s.addKey(accessKey(id))
			s.changeKey(changing(id, KeyRevoked))
		},
	}
	for from, results := range map[KeyState][]result{
		KeyPrepared: {{KeyPrepared, false, ""}, {KeyActive, true, ""}, {KeyRetiring, false, "may become active or revoked"}, {KeyRevoked, true, ""}},
		KeyActive:   {{KeyPrepared, false, "may become retiring or revoked"}, {KeyActive, false, ""}, {KeyRetiring, true, ""}, {KeyRevoked, true, ""}},
		KeyRetiring: {{KeyPrepared, false, "retiring until 2026-03-02T13:00:00Z and cannot become prepared"}, {KeyActive, false, "it may become revoked"}, {KeyRetiring, false, ""}, {KeyRevoked, true, ""}},
		KeyRevoked:  {{KeyPrepared, false, "final"}, {KeyActive, false, "final"}, {KeyRetiring, false, "final"}, {KeyRevoked, false, ""}, {"gone", false, "cannot become gone"}},
	} {
		for _, r := range results {
			id := fmt.Sprint(from, "-", r.to)
			add[from](id)
			before, generation := dump(s.t, s.write), s.generation()
			k, err := s.ChangeKey(s.t.Context(), changing(id, r.to), byOperator(id))
			switch {
			case r.says != "" && (!errors.Is(transcript.Error(err), ErrKeyState) || !strings.Contains(err.Error(), r.says)):
				s.t.Errorf("%s: %v, want ErrKeyState that says %q", id, err, r.says)
			case r.says == "" && (transcript.Error(err) != nil || k.State != r.to):
				s.t.Errorf("%s: %+v, %v", id, k, err)
			}
			if wrote := dump(s.t, s.write) != before; wrote != r.takes || (s.generation() == generation+1) != r.takes {
				s.t.Errorf("%s: wrote is %v, generation %d after %d", id, wrote, s.generation(), generation)
			}
			if r.says == "" && !cmp.Equal(k, s.key(id)) {
				s.t.Errorf("%s: returned %+v, stored %+v", id, k, s.key(id))
			}
		}
	}

	// A date of retirement is only brought forward.
	s.addKey(accessKey("dated", keyRetiring))
	if k := s.changeKey(changing("dated", KeyRetiring, until(noon.Add(30*time.Minute)))); !k.RetireUntil.Equal(noon.Add(30 * time.Minute)) {
		s.t.Errorf("brought forward: %+v", k)
	}
	for what, c := range map[string]KeyChange{
		"later":           changing("dated", KeyRetiring, until(noon.Add(31*time.Minute))),
		"of a clock back": changing("dated", KeyRetiring, changedAt(noon.Add(-time.Hour)), until(noon.Add(time.Hour))),
	} {
		s.expectNothing(ErrKeyState, func() error {
			_, err := s.ChangeKey(s.t.Context(), c, byOperator("dated"))
			if err != nil && !strings.Contains(err.Error(), "brought forward") {
				s.t.Errorf("%s: %v", what, err)
			}
			return err
		})
	}
	// The same again, when the date has passed, is what it was.
	if k := s.changeKey(changing("dated", KeyRetiring, until(noon.Add(30*time.Minute)), changedAt(noon.Add(time.Hour)))); k.State != KeyRetiring {
		s.t.Errorf("again: %+v", k)
	}

	// Called leaked later, once, and for good.
	s.changeKey(changing("dated", KeyRevoked))
	if k := s.changeKey(changing("dated", KeyRevoked, leaked, changedAt(noon.Add(time.Hour)))); !k.Leaked || !k.RevokedAt.Equal(noon.Add(time.Minute)) {
		s.t.Errorf("leaked: %+v", k)
	}
	generation := s.generation()
	for _, c := range []KeyChange{changing("dated", KeyRevoked, leaked), changing("dated", KeyRevoked)} {
		if k := s.changeKey(c); !k.Leaked || s.generation() != generation {
			s.t.Errorf("leaked, then %+v: %+v", c, k)
		}
	}
	if rows := s.count(`audit WHERE act = 'key' AND outcome = 'leaked'`); rows != 1 {
		s.t.Errorf("%d rows of the leak, want 1", rows)
	}

	s.addKey(accessKey("plain"))
	for what, c := range map[string]KeyChange{
		"leaked and active": changing("plain", KeyActive, leaked), "retiring without a date": changing("plain", KeyRetiring, until(time.Time{})),
		"retiring until now": changing("plain", KeyRetiring, until(noon.Add(time.Minute+time.Nanosecond))), "revoked with a date": changing("plain", KeyRevoked, until(noon.Add(time.Hour))),
		"no time": changing("plain", KeyRevoked, changedAt(time.Time{})),
	} {
		s.expectNothing(nil, func() error {
			_, err := s.ChangeKey(s.t.Context(), c, byOperator("plain"))
			if errors.Is(err, ErrKeyState) {
				s.t.Errorf("%s: %v", what, err)
			}
			return err
		})
	}
	for _, c := range []KeyChange{changing("nobody", KeyActive), changing("plain", KeyRevoked, func(c *KeyChange) { c.Environment = selo.EnvironmentProduction })} {
		s.expectNothing(ErrNotFound, func() error {
			_, err := s.ChangeKey(s.t.Context(), c, byOperator("plain"))
			return err
		})
	}
}

// What an access key has to itself no other takes, ever.
func keyConflicts(s tested) {
	s.addKey(accessKey("client-1"))
	s.addKey(accessKey("revoked"))
	s.changeKey(changing("revoked", KeyRevoked))
	for _, tc := range []struct {
		k    AccessKey
		says string
	}{
		{accessKey("client-1", withSecretOf("fresh")), "there is one with this client ID, active"},
		{accessKey("revoked", withSecretOf("fresh")), "there is one with this client ID, revoked"},
		{accessKey("client-1", keyInProduction), "its secret is that of access key client-1 (sandbox), active"},
		{accessKey("client-2", withSecretOf("revoked")), "its secret is that of access key revoked (sandbox), revoked"},
	} {
		s.expectNothing(ErrKeyConflict, func() error {
			err := s.AddKey(s.t.Context(), tc.k, byOperator(tc.k.ClientID))
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				s.t.Errorf("%v, want one that says %q", err, tc.says)
			}
			return err
		})
	}
	for name, change := range map[string]func(*AccessKey){
		"no client ID": func(k *AccessKey) { k.ClientID = "" }, "two words": func(k *AccessKey) { k.ClientID = "a b" },
		"no environment": func(k *AccessKey) { k.Environment = "" }, "another environment": func(k *AccessKey) { k.Environment = "staging" },
		"no products": func(k *AccessKey) { k.Products = nil }, "an empty product": func(k *AccessKey) { k.Products = []string{""} },
		"unsorted": func(k *AccessKey) { k.Products = []string{"b", "a"} }, "twice": func(k *AccessKey) { k.Products = []string{"a", "a"} },
		"two in one": func(k *AccessKey) { k.Products = []string{"a b"} }, "no seal": func(k *AccessKey) { k.Sealed = nil }, "no KEK": func(k *AccessKey) { k.KEK = "" },
		"no fingerprint": func(k *AccessKey) { k.Fingerprint = nil }, "short": func(k *AccessKey) { k.Fingerprint = k.Fingerprint[:15] },
		"no time": keyCreatedAt(time.Time{}), "revoked": func(k *AccessKey) { k.State, k.RevokedAt = KeyRevoked, noon }, "no state": func(k *AccessKey) { k.State = "" },
		"revoked only in name": func(k *AccessKey) { k.State = KeyRevoked }, "used": func(k *AccessKey) { k.LastUsedAt = noon }, "leaked": func(k *AccessKey) { k.Leaked = true },
		"active since never": func(k *AccessKey) { k.ActivatedAt = time.Time{} }, "prepared and active": func(k *AccessKey) { k.State = KeyPrepared },
		"retiring until never": func(k *AccessKey) { k.State = KeyRetiring }, "retiring at once": func(k *AccessKey) { keyRetiring(k); k.RetireUntil = noon },
		"active until": func(k *AccessKey) { k.RetireUntil = noon.Add(time.Hour) },
	} {
		s.expectNothing(nil, func() error {
			err := s.AddKey(s.t.Context(), accessKey("bad", change), byOperator("bad"))
			if err == nil || errors.Is(err, ErrKeyConflict) || strings.Contains(err.Error(), "constraint") {
				s.t.Errorf("%s: %v, want an error of its own", name, err)
			}
			return err
		})
	}
}

// The rules hold whatever the program above believes.
func keysInRawSQL(s tested) {
	s.addKey(accessKey("prepared", keyPrepared))
	s.addKey(accessKey("active"))
	s.addKey(accessKey("retiring", keyRetiring))
	s.addKey(accessKey("revoked", keyRetiring))
	s.changeKey(changing("revoked", KeyRevoked, leaked))
	s.addPepper(1)
	before := dump(s.t, s.write)
	for _, tc := range []struct{ id, change, says string }{
		{"active", `client_id = 'x'`, "never changes"}, {"active", `environment = 'production'`, "never changes"},
		{"active", `fingerprint = randomblob(32)`, "never changes"}, {"active", `created_at = 0`, "never changes"}, {"active", `activated_at = 0`, "never changes"},
		{"active", `state = 'prepared', activated_at = NULL`, "never "}, {"retiring", `state = 'active', retire_until = NULL`, "never goes back"},
		{"retiring", `retire_until = retire_until + 1`, "never goes back"}, {"revoked", `state = 'active', revoked_at = NULL, retire_until = NULL, leaked = 0`, "access key"},
		{"revoked", `state = 'prepared'`, "never goes back"}, {"revoked", `leaked = 0`, "never goes back"}, {"revoked", `revoked_at = revoked_at + 1`, "stays revoked"},
		{"active", `leaked = 1`, "CHECK"}, {"active", `state = 'retiring'`, "CHECK"}, {"active", `state = 'revoked'`, "CHECK"}, {"active", `state = 'gone'`, ""},
		{"prepared", `state = 'active'`, "CHECK"}, {"active", `sealed = x''`, "CHECK"}, {"active", `kek = ''`, "CHECK"}, {"active", `retire_until = 1`, "CHECK"},
	} {
		s.expectRefused(`UPDATE access_keys SET `+tc.change+` WHERE client_id = '`+tc.id+`'`, tc.says)
		s.expectRefused(`UPDATE OR REPLACE access_keys SET `+tc.change+` WHERE client_id = '`+tc.id+`'`, tc.says)
	}
	const columns = ` (client_id, environment, name, note, products, shared_reason, state, sealed, kek, fingerprint, created_at) `
	for _, values := range []string{
		`'revoked', 'sandbox', '', '', 'p', '', 'prepared', x'01', 'k', randomblob(32), 1`,
		`'new', 'sandbox', '', '', 'p', '', 'prepared', x'01', 'k', (SELECT fingerprint FROM access_keys WHERE client_id = 'revoked'), 1`,
	} {
		s.expectRefused(`INSERT OR REPLACE INTO access_keys`+columns+`VALUES (`+values+`)`, "never replaced")
		s.expectRefused(`INSERT INTO access_keys`+columns+`VALUES (`+values+`) ON CONFLICT DO UPDATE SET sealed = x'02'`, "never replaced")
	}
	s.expectRefused(`INSERT OR REPLACE INTO pepper_seals VALUES (1, x'01', 'k', 1)`, "never replaced")
	s.expectRefused(`INSERT OR REPLACE INTO key_generation VALUES (1, 0)`, "only grows")
	for _, statement := range []string{`UPDATE pepper_seals SET version = 2`, `UPDATE pepper_seals SET created_at = 0`} {
		s.expectRefused(statement, "keeps its version")
	}
	s.expectRefused(`UPDATE key_generation SET count = count - 1`, "only grows")
	s.expectRefused(`DELETE FROM key_generation`, "only grows")
	s.expectRefused(`DELETE FROM access_keys`, "never deleted")
	s.expectRefused(`DELETE FROM pepper_seals`, "never deleted")
	s.rows(`INSERT INTO restores (at) VALUES (5) RETURNING ''`)
	s.expectRefused(`UPDATE restores SET at = 1`, "stays on record")
	s.expectRefused(`DELETE FROM restores`, "stays on record")
	s.expectRefused(`INSERT OR REPLACE INTO restores VALUES (1, 1, 1)`, "stays on record")
	if diff := cmp.Diff(before, dump(s.t, s.write)); !strings.Contains(diff, "restores") || strings.Contains(diff, "client_id=") {
		s.t.Errorf("changed, and not only by a restore (-before +after):\n%s", diff)
	}
	generation := s.generation()
	s.rows(`UPDATE access_keys SET note = 'x' WHERE client_id = 'active' RETURNING ''`)
	if s.generation() != generation+1 {
		s.t.Error("a change by raw SQL is none of the generation")
	}
}

// Seals are compared and swapped, also of revoked keys, and a change goes over nobody else's.
func keysRewrap(s tested) {
	s.addKey(accessKey("client-1"))
	s.addKey(accessKey("client-1", keyInProduction, withSecretOf("another")))
	s.changeKey(changing("client-1", KeyRevoked))
	rewrap := func(id string, before, after []byte, kek string, row Audit) error {
		return s.RewrapKey(s.t.Context(), id, selo.EnvironmentSandbox, before, after, kek, row)
	}
	row := byOperatorAt("client-1", noon.Add(time.Minute))
	one, two := sealOf("client-1", "kek-1"), sealOf("client-1", "kek-2")
	if err := rewrap("client-1", one, two, "kek-2", row); transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	want := accessKey("client-1")
	want.State, want.RevokedAt, want.Sealed, want.KEK = KeyRevoked, noon.Add(time.Minute), two, "kek-2"
	s.expectKeys(4, accessKey("client-1", keyInProduction, withSecretOf("another")), want)
	if rows := s.keyRows(); !strings.HasSuffix(rows[len(rows)-1], "caf/face-liveness; from kek-1 to kek-2") || len(rows) != 4 {
		s.t.Errorf("audit rows %q", rows)
	}
	for _, before := range [][]byte{one, nil, two[:31]} {
		s.expectNothing(ErrChanged, func() error { return rewrap("client-1", before, one, "kek-1", row) })
	}
	s.expectNothing(ErrNotFound, func() error { return rewrap("nobody", one, two, "kek-2", row) })
	s.expectNothing(nil, func() error { return rewrap("client-1", two, nil, "kek-2", row) })
	s.expectNothing(nil, func() error { return rewrap("client-1", two, one, "", row) })
	s.expectNothing(nil, func() error { return rewrap("client-1", two, one, "kek-1", byOperator("")) })
}

func pepperSeal(version int, kek string) []byte {
	return sealOf(fmt.Sprint("pepper ", version), kek)
}

func (s tested) addPepper(version int) {
	s.t.Helper()
	if err := s.AddPepper(s.t.Context(), version, pepperSeal(version, "kek-1"), "kek-1", byOperatorAt("pepper", noon)); transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
}

func (s tested) expectPeppers(want ...SealedPepper) {
	s.t.Helper()
	all, err := s.SealedPeppers(s.t.Context())
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(want, all); diff != "" {
		s.t.Errorf("peppers (-want +got):\n%s", diff)
	}
}

// Sealed peppers come back, are never replaced, are rewrapped as keys are, and count into the generation.
func peppersSealed(s tested) {
	s.expectPeppers()
	s.addPepper(2)
	s.addPepper(1)
	one, two := SealedPepper{1, pepperSeal(1, "kek-1"), "kek-1"}, SealedPepper{2, pepperSeal(2, "kek-1"), "kek-1"}
	s.expectPeppers(one, two)
	row := byOperatorAt("pepper", noon.Add(time.Minute))
	s.expectNothing(ErrPepperConflict, func() error { return s.AddPepper(s.t.Context(), 1, pepperSeal(1, "kek-1"), "kek-1", row) })
	for _, bad := range []func() error{
		func() error { return s.AddPepper(s.t.Context(), 0, one.Sealed, "kek-1", row) },
		func() error { return s.AddPepper(s.t.Context(), 3, nil, "kek-1", row) },
		func() error { return s.AddPepper(s.t.Context(), 3, one.Sealed, "", row) },
		func() error { return s.AddPepper(s.t.Context(), 3, one.Sealed, "kek-1", byOperator("")) },
		func() error { return s.RewrapPepper(s.t.Context(), 1, one.Sealed, nil, "kek-2", row) },
		func() error { return s.RewrapPepper(s.t.Context(), 1, one.Sealed, two.Sealed, "", row) },
	} {
		s.expectNothing(nil, bad)
	}
	s.expectNothing(ErrChanged, func() error {
		return s.RewrapPepper(s.t.Context(), 1, two.Sealed, pepperSeal(1, "kek-2"), "kek-2", row)
	})
	s.expectNothing(ErrNotFound, func() error {
		return s.RewrapPepper(s.t.Context(), 3, one.Sealed, pepperSeal(1, "kek-2"), "kek-2", row)
	})
	if err := s.RewrapPepper(s.t.Context(), 1, one.Sealed, pepperSeal(1, "kek-2"), "kek-2", row); transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	s.expectPeppers(SealedPepper{1, pepperSeal(1, "kek-2"), "kek-2"}, two)
	s.expectKeys(3)
	at := noon.UnixMicro()
	if want := []string{
		fmt.Sprint("pepper added, ", at, ", operator, req pepper, pepper version 2"), fmt.Sprint("pepper added, ", at, ", operator, req pepper, pepper version 1"),
		fmt.Sprint("pepper rewrapped, ", at+60_000_000, ", operator, req pepper, pepper version 1, from kek-1 to kek-2"),
	}; !slices.Equal(s.keyRows(), want) {
		s.t.Errorf("audit rows %q, want %q", s.keyRows(), want)
	}
}

package store

import (
	"context"
	"slices"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

var keyScenarios = []scenario{
	{
		name:  "add key",
		setup: func(s tested) { s.addKey(accessKey("client-1")) },
		act: func(ctx context.Context, s *Store) error {
			return s.AddKey(ctx, accessKey("client-2"), byOperator("client-2"))
		},
		again: func(s tested, took bool) {
			s.expectTook(took, s.AddKey(s.t.Context(), accessKey("client-2"), byOperator("client-2")), ErrKeyConflict)
			s.expectKeys(2, accessKey("client-1"), accessKey("client-2"))
		},
	},
	{
		name:  "change key",
		setup: func(s tested) { s.addKey(accessKey("client-1")) },
		act: func(ctx context.Context, s *Store) error {
			_, err := s.ChangeKey(ctx, changing("client-1", KeyRetiring), byOperator("client-1"))
			return err
		},
		again: func(s tested, _ bool) {
			s.changeKey(changing("client-1", KeyRetiring))
			s.expectKeys(2, accessKey("client-1", keyRetiring))
			if n := len(s.keyRows()); n != 2 {
				s.t.Errorf("%d audit rows, want 2", n)
			}
		},
	},
	{
		name:  "rewrap key",
		setup: func(s tested) { s.addKey(accessKey("client-1")) },
		act:   func(ctx context.Context, s *Store) error { return rewrapOne(ctx, s) },
		again: func(s tested, took bool) {
			s.expectTook(took, rewrapOne(s.t.Context(), s.Store), ErrChanged)
			s.expectKeys(2, accessKey("client-1", func(k *AccessKey) { k.Sealed, k.KEK = sealOf("client-1", "kek-2"), "kek-2" }))
		},
	},
	{
		name:  "add pepper",
		setup: func(s tested) { s.addPepper(1) },
		act: func(ctx context.Context, s *Store) error {
			return s.AddPepper(ctx, 2, pepperSeal(2, "kek-1"), "kek-1", byOperatorAt("pepper", noon))
		},
		again: func(s tested, took bool) {
			s.expectTook(took, s.AddPepper(s.t.Context(), 2, pepperSeal(2, "kek-1"), "kek-1", byOperatorAt("pepper", noon)), ErrPepperConflict)
			s.expectKeys(2)
		},
	},
	{
		name:  "rewrap pepper",
		setup: func(s tested) { s.addPepper(1) },
		act:   func(ctx context.Context, s *Store) error { return rewrapPepperOne(ctx, s) },
		again: func(s tested, took bool) {
			s.expectTook(took, rewrapPepperOne(s.t.Context(), s.Store), ErrChanged)
			s.expectPeppers(SealedPepper{1, pepperSeal(1, "kek-2"), "kek-2"})
		},
	},
	{
		name:  "keys used",
		setup: func(s tested) { s.addKey(accessKey("client-1")); s.addKey(accessKey("client-2")) },
		act: func(ctx context.Context, s *Store) error {
			return s.KeysUsed(ctx, map[KeyID]time.Time{accessKey("client-1").ID(): noon, accessKey("client-2").ID(): noon})
		},
		again: func(s tested, took bool) {
			earlier := noon.Add(-time.Second)
			if err := s.KeysUsed(s.t.Context(), map[KeyID]time.Time{accessKey("client-1").ID(): earlier}); transcript.Error(err) != nil {
				s.t.Error(err)
			}
			if got := s.key("client-1").LastUsedAt; took != got.Equal(noon) || !took && !got.Equal(earlier) {
				s.t.Errorf("last used at %v, when the first took place is %v", got, took)
			}
		},
	},
	{
		name:  "restored",
		setup: restorable,
		act: func(ctx context.Context, s *Store) error {
			return s.act(ctx, markRestoredAtNoon(ctx))
		},
		again: func(s tested, took bool) {
			if !took {
				if err := s.act(s.t.Context(), markRestoredAtNoon(s.t.Context())); transcript.Error(err) != nil {
					s.t.Error(err)
				}
			}
			s.expectRestored()
		},
	},
}

func rewrapOne(ctx context.Context, s *Store) error {
	return s.RewrapKey(ctx, "client-1", selo.EnvironmentSandbox, sealOf("client-1", "kek-1"), sealOf("client-1", "kek-2"), "kek-2", byOperatorAt("client-1", noon))
}

func rewrapPepperOne(ctx context.Context, s *Store) error {
	return s.RewrapPepper(ctx, 1, pepperSeal(1, "kek-1"), pepperSeal(1, "kek-2"), "kek-2", byOperatorAt("pepper", noon))
}

// restorable fills a database with some of all that there is.
func restorable(s tested) {
	s.open(opening("ses-open", "ana", repeatable("open"), withToken, byService("backend"), limits(everyLimit(9)...)))
	s.open(opening("ses-granted", "bruno"))
	s.decide(deciding("ses-granted", StateGranted, "used", "used too"))
	s.open(opening("ses-past", "carla", openedAt(noon.Add(-time.Hour)), withToken))
	s.reserve(opening("ses-reserved", "dora", repeatable("reserved"), byService("backend"), limits(everyLimit(9)...)))
	s.record(happening("evt-1", VerdictRefused, "unused"), true, false)
	s.add(credential("key-1"))
	s.addKey(accessKey("client-1"))
	s.addPepper(1)
}

// restoredAt is when restorable comes back.
var restoredAt = noon.Add(5 * time.Minute)

// expectRestored fails unless a database of restorable is one that came back.
func (s tested) expectRestored() {
	s.t.Helper()
	s.expectStates(map[string]State{"ses-open": StateExpired, "ses-granted": StateGranted, "ses-past": StateExpired})
	s.expectTrail("ses-open", "open opened", "expire expired")
	s.expectTrail("ses-reserved", "open minting")
	s.expectPassing("key ses-open")
	s.expectKeys(2, accessKey("client-1"))
	s.expectPeppers(SealedPepper{1, pepperSeal(1, "kek-1"), "kek-1"})
	s.expectCredentials(CredentialService, credential("key-1"))
	s.expectCounts(1)
	if at, err := s.RestoredAt(s.t.Context()); transcript.Error(err) != nil || !at.Equal(restoredAt) {
		s.t.Errorf("restored at %v, %v", at, err)
	}
	if rows := s.rows(`SELECT act || ' ' || outcome || ' ' || caller_kind || ' ' || (at - ` + microText(restoredAt) + `) || ', ' || note FROM audit WHERE act = 'restore'`); !slices.Equal(rows, []string{"restore restored selo 0, from a backup whose newest audit row is of 2026-03-02T12:02:00Z"}) {
		s.t.Errorf("audit rows of the restore %q", rows)
	}
	s.expectConsistent()
	s.open(opening("ses-after", "eva", openedAt(restoredAt.Add(time.Minute))))
	for i, id := range []string{"used", "used too"} {
		act := deciding("ses-after", StateGranted, "fresh-0", "fresh-1").at(restoredAt.Add(2 * time.Minute))
		act.IDs[i].Value = id
		if d := s.decide(act); d.Session.State == StateGranted {
			s.t.Errorf("id %q was used before the backup, and again", id)
		}
	}
	d := s.decide(deciding("ses-open", StateGranted, "fresh-2").at(restoredAt))
	if d.Session.State != StateExpired {
		s.t.Errorf("a session of before the backup: %+v", d)
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo/internal/transcript"
)

// everyLimit is one of each kind, of so many sessions, with buckets of three lengths.
func everyLimit(sessions int) []Limit {
	return []Limit{
		{LimitSubject, sessions, time.Hour}, {LimitSubject, sessions, 24 * time.Hour}, {LimitCPF, sessions, 24 * time.Hour}, {LimitProduct, sessions, time.Minute},
		{LimitService, sessions, time.Hour}, {LimitDaily, sessions, 24 * time.Hour}, {By: LimitOpen, Sessions: sessions},
	}
}

// counting opens under every limit, of which there are as many as the setup leaves room for.
func counting(id string, changes ...func(*OpenAct)) OpenAct {
	return opening(id, "ana", append([]func(*OpenAct){at(time.Second), byService("backend"), limits(everyLimit(2)...)}, changes...)...)
}

// expectCounts fails unless the buckets of product, service and day hold this each.
func (s tested) expectCounts(want int) {
	s.t.Helper()
	if got := s.rows(`SELECT key || ' ' || sum(count) FROM usage GROUP BY key ORDER BY key`); !slices.Equal(got, []string{
		fmt.Sprintf(`daily "sandbox" "%s" %d`, faceLiveness, want), fmt.Sprintf(`product "app" "%s" %d`, faceLiveness, want), fmt.Sprintf(`service "backend" %d`, want),
	}) {
		s.t.Errorf("counts %q, want %d each", got, want)
	}
}

var limitScenarios = []scenario{
	{
		name:  "open under every limit",
		setup: func(s tested) { s.open(counting("ses-1", at(0))) },
		act:   func(ctx context.Context, s *Store) error { return tryOpen(ctx, s, counting("ses-2")) },
		again: func(s tested, took bool) {
			err := s.tryOpen(counting("ses-2"))
			var over *LimitError
			if transcript.Error(err); took != errors.As(err, &over) || !took && err != nil {
				s.t.Errorf("again: %v, when the first took place is %v", err, took)
			}
			s.expectCounts(2)
		},
	},
	{
		name:  "reserve under every limit",
		setup: func(s tested) { s.open(counting("ses-1", at(0))) },
		act: func(ctx context.Context, s *Store) error {
			return tryReserve(ctx, s, counting("ses-2", repeatable("k")))
		},
		again: func(s tested, took bool) {
			s.expectTook(took, s.tryReserve(counting("ses-2", repeatable("k"))), ErrRepeatRunning)
			s.expectCounts(2)
			s.openReserved(finishedAt(counting("ses-2", repeatable("k")), noon.Add(2*time.Second)))
			s.expectCounts(2)
		},
	},
	{
		name: "release under every limit",
		setup: func(s tested) {
			s.open(counting("ses-1", at(0)))
			s.reserve(counting("ses-2"))
		},
		act: func(ctx context.Context, s *Store) error {
			return s.Release(ctx, "ses-2", releasing(counting("ses-2")))
		},
		again: func(s tested, took bool) {
			if !took {
				s.release(counting("ses-2"))
			}
			s.expectCounts(1)
			s.open(counting("ses-3"))
			s.expectCounts(2)
		},
	},
	{
		name: "open late under every limit",
		setup: func(s tested) {
			s.open(counting("ses-1", at(0), forProduct(faceAuthentication)))
			s.reserve(counting("ses-2"))
		},
		act: func(ctx context.Context, s *Store) error {
			return s.OpenReserved(ctx, finishedAt(counting("ses-2"), noon.Add(2*time.Minute)))
		},
		again: func(s tested, took bool) {
			s.expectTook(took, s.OpenReserved(s.t.Context(), finishedAt(counting("ses-2"), noon.Add(2*time.Minute))), ErrNotReserved)
			s.expectStates(map[string]State{"ses-1": StateOpen, "ses-2": StateOpen})
		},
	},
	{
		name: "over every limit",
		setup: func(s tested) {
			s.open(counting("ses-1", at(0)))
			s.open(counting("ses-2"))
		},
		act: func(ctx context.Context, s *Store) error {
			var over *LimitError
			if err := tryOpen(ctx, s, counting("ses-3")); !errors.As(err, &over) {
				return err
			}
			return nil
		},
		again: func(s tested, _ bool) {
			s.expectCounts(2)
			s.expectStates(map[string]State{"ses-1": StateSuperseded, "ses-2": StateOpen})
		},
	},
	{
		name: "sweep counts",
		setup: func(s tested) {
			s.open(counting("ses-1", at(0)))
			s.reserve(counting("ses-2"))
		},
		act: func(ctx context.Context, s *Store) error { return s.Sweep(ctx, noon.Add(25*time.Hour)) },
		again: func(s tested, _ bool) {
			s.sweep(noon.Add(25 * time.Hour))
			if n := s.count("(SELECT key FROM usage UNION ALL SELECT key FROM reservation_usage)"); n != 0 {
				s.t.Errorf("%d counts left", n)
			}
		},
	},
}

var credentialScenarios = []scenario{
	{
		name:  "add credential",
		setup: func(s tested) { s.add(credential("key-1")) },
		act: func(ctx context.Context, s *Store) error {
			return s.AddCredential(ctx, credential("key-2"), byOperator("key-2"))
		},
		again: func(s tested, took bool) {
			s.expectTook(took, s.AddCredential(s.t.Context(), credential("key-2"), byOperator("key-2")), ErrCredentialConflict)
			s.expectFound(credential("key-2"))
		},
	},
	{
		name:  "revoke credential",
		setup: func(s tested) { s.add(credential("key-1")) },
		act: func(ctx context.Context, s *Store) error {
			_, err := s.RevokeCredential(ctx, CredentialService, "key-1", noon.Add(time.Minute), byOperator("key-1"))
			return err
		},
		again: func(s tested, took bool) {
			later := noon.Add(time.Hour)
			if c := s.revoke(CredentialService, "key-1", later); took != c.RevokedAt.Equal(noon.Add(time.Minute)) || !took && !c.RevokedAt.Equal(later) {
				s.t.Errorf("revoked at %v, when the first took place is %v", c.RevokedAt, took)
			}
		},
	},
	{
		name: "credentials used",
		setup: func(s tested) {
			s.add(credential("key-1"))
			s.add(credential("key-2"))
		},
		act: func(ctx context.Context, s *Store) error {
			return s.CredentialsUsed(ctx, map[string]time.Time{"key-1": noon, "key-2": noon})
		},
		again: func(s tested, took bool) {
			s.use(map[string]time.Time{"key-1": noon.Add(-time.Second)})
			want := map[bool]time.Time{true: noon, false: noon.Add(-time.Second)}[took].UnixMicro()
			if got := s.rows(`SELECT last_used_at || '' FROM credentials WHERE id = 'key-1'`); strings.Join(got, "") != fmt.Sprint(want) {
				s.t.Errorf("last used at %q, want %d", got, want)
			}
		},
	},
}

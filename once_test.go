package selo_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// countingOnce notes what it was asked and answers err.
type countingOnce struct {
	err   error
	asked [][]selo.UsedID
}

func (o *countingOnce) Use(_ context.Context, ids []selo.UsedID, _ time.Time) error {
	o.asked = append(o.asked, append([]selo.UsedID(nil), ids...))
	return o.err
}

func providerIDs(values ...string) []selo.UsedID {
	var ids []selo.UsedID
	for _, v := range values {
		ids = append(ids, selo.UsedID{Provider: "caf", Environment: selo.EnvironmentProduction, Field: "requestId", Value: v})
	}
	return ids
}

func TestMemoryOnce(t *testing.T) {
	ctx := context.Background()
	o := new(selo.MemoryOnce)
	if err := o.Use(ctx, providerIDs("a", "b"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]selo.UsedID{providerIDs("a"), providerIDs("b"), providerIDs("a", "b"), providerIDs("c", "a")} {
		if err := o.Use(ctx, ids, time.Time{}); !errors.Is(err, selo.ReasonReplayed) {
			t.Errorf("Use(%v) = %v, want replayed", ids, err)
		}
	}
	if err := o.Use(ctx, providerIDs("c"), time.Time{}); err != nil {
		t.Errorf("c was recorded by a call that failed: %v", err)
	}
	// Each of the four fields makes another id.
	for _, id := range []selo.UsedID{
		{Provider: "other", Environment: selo.EnvironmentProduction, Field: "requestId", Value: "a"},
		{Provider: "caf", Environment: selo.EnvironmentSandbox, Field: "requestId", Value: "a"},
		{Provider: "caf", Environment: selo.EnvironmentProduction, Field: "attemptId", Value: "a"},
		{Provider: "caf", Environment: selo.EnvironmentProduction, Field: "requestId", Value: "A"},
	} {
		if err := o.Use(ctx, []selo.UsedID{id}, time.Time{}); err != nil {
			t.Errorf("Use(%v) = %v", id, err)
		}
	}
}

// race runs 64 calls of act at once and returns how many succeeded; each failure must be a replay.
func race(t *testing.T, act func(i int) error) int {
	t.Helper()
	const n = 64
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = act(i)
		})
	}
	close(start)
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, selo.ReasonReplayed):
			t.Errorf("%v, want replayed", err)
		}
	}
	return won
}

func TestOnceRace(t *testing.T) {
	t.Run("Use", func(t *testing.T) {
		o := new(selo.MemoryOnce)
		// Every call has an id of its own beside the common one, at either side of it.
		won := race(t, func(i int) error {
			ids := providerIDs("common", fmt.Sprint(i))
			if i%2 == 0 {
				ids[0], ids[1] = ids[1], ids[0]
			}
			return o.Use(context.Background(), ids, time.Time{})
		})
		if won != 1 {
			t.Errorf("%d calls won, want 1", won)
		}
	})
	t.Run("Verify", func(t *testing.T) {
		want, token := expecting(t, authentication), sign(auth())
		won := race(t, func(int) error {
			_, err := selo.Verify(context.Background(), token, want)
			return err
		})
		if won != 1 {
			t.Errorf("%d responses granted, want 1", won)
		}
	})
	t.Run("VerifyReceipt", func(t *testing.T) {
		key := receiptKeyOf(t, []byte(receiptSeed))
		want := receiptExpecting(key)
		token, err := key.Sign(testReceipt())
		if err != nil {
			t.Fatal(err)
		}
		won := race(t, func(int) error {
			_, err := selo.VerifyReceipt(context.Background(), token, want)
			return err
		})
		if won != 1 {
			t.Errorf("%d receipts accepted, want 1", won)
		}
	})
}

// TestManyAtOnce mixes tokens of all lengths, kinds and people in one pool of readers: what one call read
// must never be seen by another.
func TestManyAtOnce(t *testing.T) {
	people := []string{testCPF, otherCPF}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			own, other := people[i%2], people[(i+1)%2]
			for n := range 200 {
				want := expecting(t, liveness)
				want.CPF = cpfOf(t, own)
				id := fmt.Sprintf("%d-%d", i, n)
				r, err := selo.Verify(context.Background(), sign(live("requestId", `"`+id+`"`, "personId", `"`+own+`"`, `pad\u0020`, fmt.Sprintf(`"%0*d"`, n*7, 0))), want)
				if err != nil {
					t.Errorf("own response: %v", err)
				} else if r.IDs[0].Value != id {
					t.Errorf("id %q, want %q", r.IDs[0].Value, id)
				}
				if _, err := selo.Verify(context.Background(), sign(live("personId", `"`+other+`"`)), want); !errors.Is(err, selo.ReasonSubjectMismatch) {
					t.Errorf("somebody else's response: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

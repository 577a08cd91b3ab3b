package selo

import (
	"context"
	"errors"
	"sync"
	"time"
)

// UsedID is one id of a signed response, or of a receipt. It is used at most once within its provider,
// environment and field.
type UsedID struct {
	Provider    string      // "caf"; "selo" for a receipt
	Environment Environment // empty for a receipt
	Field       string
	Value       string
}

// Once remembers which ids were used. Use records all of ids or none, durably, before it returns, and
// fails with an error that matches ReasonReplayed when any of them was recorded before; of any number of
// simultaneous calls with the same id exactly one succeeds. Any other error means that nothing is known,
// and Verify refuses.
//
// After the time until nothing with these ids would be accepted anyway, so they may be forgotten then. Zero
// means never, and is what signed responses have.
//
// With more than one process, implement it on a store they share: a table with a unique key over the
// four fields of UsedID and one INSERT is enough.
type Once interface {
	Use(ctx context.Context, ids []UsedID, until time.Time) error
}

// MemoryOnce is Once in the memory of one process: right for tests, tools and a single instance that may
// forget on restart. It forgets nothing before, and so grows with use. The zero value is ready.
type MemoryOnce struct {
	mu   sync.Mutex
	used map[UsedID]struct{}
}

// Use implements Once.
func (o *MemoryOnce) Use(_ context.Context, ids []UsedID, _ time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if _, ok := o.used[id]; ok {
			return refuse(ReasonReplayed, id.Field, "was used before")
		}
	}
	if o.used == nil {
		o.used = make(map[UsedID]struct{})
	}
	for _, id := range ids {
		o.used[id] = struct{}{}
	}
	return nil
}

// useOnce calls o.Use and turns whatever fails into an *Error.
func useOnce(ctx context.Context, o Once, ids []UsedID, until time.Time) *Error {
	err := o.Use(ctx, ids, until)
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case !errors.As(err, &e):
	case e == nil: // a mistake of o, and no answer
		err = errors.New("Once returned a nil *Error")
	case e.Reason == ReasonReplayed || e.Reason == ReasonStoreUnavailable:
		return &Error{Reason: e.Reason, Field: e.Field, Detail: e.Detail, Err: e.Err}
	}
	if errors.Is(err, ReasonReplayed) {
		return refuse(ReasonReplayed, "", "an id in it was used before")
	}
	return &Error{Reason: ReasonStoreUnavailable, Detail: "one-time use could not be established", Err: err}
}

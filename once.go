package selo

import (
	"context"
	"errors"
	"sync"
)

// ProviderID is one id that a signed response carries. An id is used at most once within its provider,
// environment and field.
type ProviderID struct {
	Provider    string
	Environment Environment
	Field       string
	Value       string
}

// Once remembers which ids were used. Use records all of ids or none, durably, before it returns, and
// fails with an error that matches ReasonReplayed when any of them was recorded before; of any number of
// simultaneous calls with the same id exactly one succeeds. Any other error means that nothing is known,
// and Verify refuses.
//
// With more than one process, implement it on a store they share: a table with a unique key over the
// four fields of ProviderID and one INSERT is enough.
type Once interface {
	Use(ctx context.Context, ids []ProviderID) error
}

// MemoryOnce is Once in the memory of one process: right for tests, tools and a single instance that may
// forget on restart. It grows with use. The zero value is ready.
type MemoryOnce struct {
	mu   sync.Mutex
	used map[ProviderID]struct{}
}

// Use implements Once.
func (o *MemoryOnce) Use(_ context.Context, ids []ProviderID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if _, ok := o.used[id]; ok {
			return refuse(ReasonReplayed, id.Field, "was used before")
		}
	}
	if o.used == nil {
		o.used = make(map[ProviderID]struct{})
	}
	for _, id := range ids {
		o.used[id] = struct{}{}
	}
	return nil
}

// useOnce calls o.Use and turns whatever fails into an *Error.
func useOnce(ctx context.Context, o Once, ids []ProviderID) *Error {
	err := o.Use(ctx, ids)
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case !errors.As(err, &e):
	case e != nil:
		return e
	default: // a nil *Error in an error is a mistake of o, and no answer
		err = errors.New("Once returned a nil *Error")
	}
	r := ReasonStoreUnavailable
	if errors.Is(err, ReasonReplayed) {
		r = ReasonReplayed
	}
	return &Error{Reason: r, Detail: "one-time use could not be established", Err: err}
}

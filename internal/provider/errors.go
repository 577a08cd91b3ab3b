package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/selo-id/selo"
)

// RetryAfter is found by errors.As in an error when it is known how long not to call: the provider said so
// (429), or the circuit breaker is open. A call made earlier is refused at once.
type RetryAfter struct {
	After time.Duration // more than zero; round up when rounding
}

// Error says how long to wait.
func (e *RetryAfter) Error() string { return fmt.Sprintf("retry after %v", e.After) }

// verdict is what one call says about the provider.
type verdict uint8

const (
	unjudged verdict = iota // nothing
	answered                // it works
	failed
)

// fault is why a call did not give what was asked for. Its texts are made of constants and numbers: they
// are logged and passed on.
type fault struct {
	verdict verdict
	reason  selo.Reason // "" is selo.ReasonProviderUnavailable
	detail  string      // for the caller
	cause   error       // for the log
	retry   bool        // it may pass by itself
	after   time.Duration
}

// The details, which a caller may be shown.
const (
	detailUnreachable = "the provider could not be reached"
	detailTimeout     = "the provider did not answer in time"
	detailError       = "the provider answered with an error"
	detailRefused     = "the provider did not accept our credentials"
	detailUnusable    = "the provider gave an answer that cannot be used"
	detailRedirect    = "the provider answered with a redirect, which is never followed"
	detailWait        = "the provider asks to be called later"
	detailBreaker     = "the provider keeps failing and is left alone for a moment"
	detailBusy        = "too many calls to the provider at once"
	detailEnded       = "the caller did not wait for the provider"
	detailNoAttempt   = "the provider has no such attempt (yet)"
	detailNoRecord    = "the provider has no record of this attempt that can be used"
)

// word is how a call ended, for whoever counts; nil is one that was answered.
func (f *fault) word() string {
	if f == nil {
		return "answered"
	}
	switch f.detail {
	case detailNoAttempt, detailNoRecord:
		return "no_attempt"
	case detailUnreachable:
		return "unreachable"
	case detailTimeout:
		return "timeout"
	case detailError:
		return "error"
	case detailRefused:
		return "refused"
	case detailUnusable, detailRedirect:
		return "unusable"
	case detailWait:
		return "wait"
	case detailBreaker:
		return "breaker"
	case detailBusy:
		return "busy"
	case detailEnded:
		return "ended"
	}
	return "invalid"
}

// wrongShape is an answer that the provider would not give if it were what we take it for.
func wrongShape(what string) *fault {
	return &fault{verdict: failed, detail: detailUnusable, cause: errors.New(what)}
}

// wrongMatter is an answer that cannot be used because of the attempt that it is about. Whoever picks an attempt id
// can bring it about, as often as they like: so it does not count against the provider, or one could shut the
// re-check for everybody, and it is no outage, or asking would cost nothing.
func wrongMatter(what string) *fault {
	return &fault{reason: selo.ReasonNotFinal, detail: detailNoRecord, cause: errors.New(what)}
}

// ofThisAttempt is what becomes of a fault that was found in a record which is the one asked for.
func ofThisAttempt(f *fault) *fault {
	if f == nil || f.verdict != failed || f.cause == nil {
		return f
	}
	return wrongMatter(f.cause.Error())
}

var errTimeout = errors.New("no complete answer in time")

// ended is what became of a call whose context ended: by our own bound, or by the caller.
func ended(ctx context.Context) *fault {
	if errors.Is(context.Cause(ctx), errTimeout) {
		return &fault{verdict: failed, detail: detailTimeout, cause: errTimeout}
	}
	// Not the caller's cause, which may say anything.
	return &fault{detail: detailEnded, cause: ctx.Err()}
}

// refusal makes the error of a fault.
func (f *fault) refusal(lane string) *selo.Error {
	e := &selo.Error{Reason: f.reason, Detail: f.detail}
	if e.Reason == "" {
		e.Reason = selo.ReasonProviderUnavailable
	}
	switch {
	case f.cause == nil && f.after > 0:
		e.Err = fmt.Errorf("calling the provider (%s): %w", lane, &RetryAfter{f.after})
	case f.after > 0:
		e.Err = fmt.Errorf("calling the provider (%s): %w: %w", lane, f.cause, &RetryAfter{f.after})
	case f.cause != nil:
		e.Err = fmt.Errorf("calling the provider (%s): %w", lane, f.cause)
	}
	return e
}

package provider

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	maxInFlight = 64

	failuresToOpen = 5
	openFor        = 10 * time.Second
	// probeWait is what those are told who come while another's call tries whether the provider is well.
	probeWait = time.Second

	// defaultRetryAfter is for a 429 that does not say for how long.
	defaultRetryAfter = time.Second
	maxRetryAfter     = 5 * time.Minute
)

// gate decides whether a call of one kind may be made now: not before the time that the provider named, not
// while its circuit breaker is open, not beyond so many at once. It starts no goroutine and waits for nothing.
type gate struct {
	name string // of the kind of call, in logs and errors
	now  func() time.Time
	log  *slog.Logger

	mu        sync.Mutex
	inFlight  int
	notBefore time.Time // after a 429

	failures int       // in a row, while closed
	open     bool      // the breaker
	until    time.Time // while open: when the next probe may go
	probing  bool      // while open: one is under way
	// epoch counts openings and closings. What a call finds that began in another epoch is old news:
	// neither may 60 slow calls of an outage open a breaker that just closed, nor one that slipped
	// through before the outage close it.
	epoch uint64
}

// pass is the permission to make one call. It must be handed back to leave.
type pass struct {
	epoch uint64
	probe bool
}

var (
	errNotBefore = errors.New("not calling: it answered 429 before")
	errOpen      = errors.New("not calling: the circuit breaker is open")
	errBusy      = errors.New("not calling: as many calls as may be are in flight")
)

// enter lets a call through, or says why not. Of pass and fault exactly one counts.
func (g *gate) enter() (pass, *fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if wait, ok := left(g.notBefore, now, maxRetryAfter); ok {
		return pass{}, &fault{detail: detailWait, cause: errNotBefore, after: wait}
	}
	if g.open {
		if wait, ok := left(g.until, now, openFor); ok {
			return pass{}, &fault{detail: detailBreaker, cause: errOpen, after: wait}
		}
		if g.probing {
			return pass{}, &fault{detail: detailBreaker, cause: errOpen, after: probeWait}
		}
	}
	if g.inFlight >= maxInFlight {
		return pass{}, &fault{detail: detailBusy, cause: errBusy}
	}
	g.inFlight++
	g.probing = g.open
	return pass{epoch: g.epoch, probe: g.open}, nil
}

// left is the time from now to end. More than can have been set means that the clock went back, and then
// the end counts for nothing: it must not lock anybody out for as long as the clock was wrong.
func left(end, now time.Time, most time.Duration) (time.Duration, bool) {
	wait := end.Sub(now)
	return wait, !end.IsZero() && 0 < wait && wait <= most
}

// leave hands a pass back with what the call found. after is how long the provider wants to be left alone;
// cause is for the log.
func (g *gate) leave(ctx context.Context, p pass, v verdict, after time.Duration, cause error) {
	opened, closed := g.settle(p, v, after)
	// Outside the lock, which a slow log must not hold.
	switch {
	case opened:
		g.log.WarnContext(ctx, "the provider keeps failing, not calling it for a while",
			"call", g.name, "failures", failuresToOpen, "for", openFor, "error", cause)
	case closed:
		g.log.InfoContext(ctx, "the provider is well again", "call", g.name)
	}
}

func (g *gate) settle(p pass, v verdict, after time.Duration) (opened, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.inFlight--
	if p.probe {
		g.probing = false
	}
	if after > 0 {
		before, still := left(g.notBefore, now, maxRetryAfter)
		if !still || after > before {
			g.notBefore = now.Add(after)
		}
	}
	switch {
	case p.epoch != g.epoch || v == unjudged:
	case v == answered:
		g.failures = 0
		if g.open { // so this was the probe
			g.open = false
			g.epoch++
			closed = true
		}
	case g.open: // the probe failed; said in the log when it opened
		g.until = now.Add(openFor)
	default:
		if g.failures++; g.failures >= failuresToOpen {
			g.open, g.until, g.failures = true, now.Add(openFor), 0
			g.epoch++
			opened = true
		}
	}
	return opened, closed
}

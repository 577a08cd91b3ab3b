package api

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often an address may fail to authenticate.
const (
	failuresAtOnce = 60
	failureEvery   = 2 * time.Second // from then on
)

// maxAddresses bounds the memory of a throttle.
const maxAddresses = 1 << 14

// throttle counts failures to authenticate by address: each IPv4 address has failuresAtOnce and gets one back every
// failureEvery, and so has each /64 of IPv6, which one client has whole. Requests without an address share one budget.
//
// It remembers maxAddresses at most. With more than that somebody is forgotten, who may then fail afresh: whoever has
// got all failures back, or else whoever is closest to that. So addresses that failed once, however many, do not make
// it forget one that failed often; but whoever has that many addresses is not held up by this at all. Nothing that
// they do makes it grow, and each failure costs the logarithm of maxAddresses.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex
	clock   time.Time // what now said last
	time    time.Time // the time of the buckets: as the clock goes, and it never goes back
	buckets map[netip.Prefix]*bucket
	queue   queue // the same, the first to be full in front
}

// bucket is what one address has left.
type bucket struct {
	address  netip.Prefix
	failures *rate.Limiter
	full     time.Time // when nothing is missing again
	index    int       // in the queue
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, clock: now(), time: time.Unix(0, 0), buckets: make(map[netip.Prefix]*bucket)}
}

// over reports whether an address has no failures left, and how long until it has one. It takes none.
func (t *throttle) over(a netip.Addr) (retryAfter time.Duration, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[throttled(a)]
	if b == nil {
		return 0, false
	}
	// As AllowN counts it, to the nanosecond.
	retryAfter = max(0, time.Duration((1-b.failures.TokensAt(t.tick()))*float64(failureEvery)))
	return retryAfter, retryAfter > 0
}

// failed takes one failure from an address. From one that has none left it takes nothing.
func (t *throttle) failed(a netip.Addr) {
	address := throttled(a)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.tick()
	// Up to two for the one that may be added, so that addresses which no longer matter are not kept.
	for range 2 {
		if len(t.queue) > 0 && !t.queue[0].full.After(now) {
			t.forgetFirst()
		}
	}
	b := t.buckets[address]
	isNew := b == nil
	if isNew {
		if len(t.queue) >= maxAddresses {
			t.forgetFirst()
		}
		b = &bucket{address: address, failures: rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce)}
		t.buckets[address] = b
	}
	b.failures.AllowN(now, 1)
	missing := failuresAtOnce - b.failures.TokensAt(now)
	b.full = now.Add(time.Duration(missing * float64(failureEvery)))
	if isNew {
		heap.Push(&t.queue, b)
	} else {
		heap.Fix(&t.queue, b.index)
	}
}

func (t *throttle) forgetFirst() {
	delete(t.buckets, heap.Pop(&t.queue).(*bucket).address)
}

// tick returns the time of the buckets. Where the clock is set back it goes on from there, so that nobody waits for the
// clock to catch up; where the clock is set forward failures come back early.
func (t *throttle) tick() time.Time {
	now := t.now()
	t.time = t.time.Add(max(0, now.Sub(t.clock)))
	t.clock = now
	return t.time
}

// throttled returns whom an address stands for.
func throttled(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of the zero Addr
	}
	return p
}

// queue is a heap.Interface.
type queue []*bucket

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].full.Before(q[j].full) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(b any) {
	b.(*bucket).index = len(*q)
	*q = append(*q, b.(*bucket))
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	b := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return b
}

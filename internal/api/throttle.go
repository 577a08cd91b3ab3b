package api

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"
)

// How often one address may fail to authenticate, and one user, whose every refusal is on record, be refused.
const (
	failuresAtOnce, refusalsAtOnce = 60, 120
	failureEvery, refusalEvery     = 2 * time.Second, 10 * time.Second // from then on
)

// maxThrottled bounds the memory of a throttle.
const maxThrottled = 1 << 14

// throttle counts failures by whose they are: each has some at once, and gets one back after every so long.
//
// It remembers maxThrottled at most. With more than that somebody is forgotten, who may then fail afresh: whoever has
// got all failures back, or else whoever is closest to that. So those who failed once, however many, do not make
// it forget one that failed often; but whoever has that many addresses is not held up by this at all. Nothing that
// they do makes it grow, and each failure costs the logarithm of maxThrottled.
type throttle[K comparable] struct {
	now    func() time.Time
	atOnce int
	every  time.Duration

	mu      sync.Mutex
	clock   time.Time // what now said last
	time    time.Time // the time of the buckets: as the clock goes, and it never goes back
	buckets map[K]*bucket[K]
	queue   queue[K] // the same, the first to be full in front
}

// bucket is what one of them has left: nothing is missing from full on, and each failure puts that off.
type bucket[K comparable] struct {
	whose K
	full  time.Time
	index int // in the queue
}

func newThrottle[K comparable](atOnce int, every time.Duration, now func() time.Time) *throttle[K] {
	return &throttle[K]{now: now, atOnce: atOnce, every: every, clock: now(), time: time.Unix(0, 0), buckets: make(map[K]*bucket[K])}
}

// over reports whether somebody has no failures left, and how long until they have one. It takes none.
func (t *throttle[K]) over(whose K) (retryAfter time.Duration, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	retryAfter = t.wait(t.buckets[whose], t.tick())
	return retryAfter, retryAfter > 0
}

// wait is how long until a bucket has a failure left.
func (t *throttle[K]) wait(b *bucket[K], now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	return max(0, b.full.Sub(now)-time.Duration(t.atOnce-1)*t.every)
}

// take takes one failure from somebody, or, from one who has none left, nothing: then it says how long until they have
// one. Whoever takes one before it is known whether they fail gives it back if they do not.
func (t *throttle[K]) take(whose K) (retryAfter time.Duration, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.tick()
	// Up to two for the one that may be added, so that those who no longer matter are not kept.
	for range 2 {
		if len(t.queue) > 0 && !t.queue[0].full.After(now) {
			t.forgetFirst()
		}
	}
	b := t.buckets[whose]
	if retryAfter = t.wait(b, now); retryAfter > 0 {
		return retryAfter, true
	}
	if b != nil {
		b.full = later(b.full, now).Add(t.every)
		heap.Fix(&t.queue, b.index)
		return 0, false
	}
	if len(t.queue) >= maxThrottled {
		t.forgetFirst()
	}
	b = &bucket[K]{whose: whose, full: now.Add(t.every)}
	t.buckets[whose] = b
	heap.Push(&t.queue, b)
	return 0, false
}

// giveBack undoes a take.
func (t *throttle[K]) giveBack(whose K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.buckets[whose]; b != nil {
		b.full = b.full.Add(-t.every)
		heap.Fix(&t.queue, b.index)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (t *throttle[K]) forgetFirst() {
	delete(t.buckets, heap.Pop(&t.queue).(*bucket[K]).whose)
}

// tick returns the time of the buckets. Where the clock is set back it goes on from there, so that nobody waits for the
// clock to catch up; where the clock is set forward failures come back early.
func (t *throttle[K]) tick() time.Time {
	now := t.now()
	t.time = t.time.Add(max(0, now.Sub(t.clock)))
	t.clock = now
	return t.time
}

// throttled returns whom an address stands for: itself, or its /64 of IPv6, which one client has whole. Requests without
// an address share one budget.
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
type queue[K comparable] []*bucket[K]

func (q queue[K]) Len() int           { return len(q) }
func (q queue[K]) Less(i, j int) bool { return q[i].full.Before(q[j].full) }

func (q queue[K]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[K]) Push(b any) {
	b.(*bucket[K]).index = len(*q)
	*q = append(*q, b.(*bucket[K]))
}

func (q *queue[K]) Pop() any {
	last := len(*q) - 1
	b := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return b
}

package api

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// hand is a clock that a test moves.
type hand struct{ at time.Time }

func (h *hand) now() time.Time       { return h.at }
func (h *hand) move(d time.Duration) { h.at = h.at.Add(d) }

func newHand() *hand { return &hand{time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)} }

func fail(t *throttle[netip.Prefix], a netip.Addr, times int) {
	for range times {
		t.take(throttled(a))
	}
}

func wantOver(t *testing.T, th *throttle[netip.Prefix], a netip.Addr, want time.Duration) {
	t.Helper()
	if retryAfter, over := th.over(throttled(a)); over != (want > 0) || retryAfter != want {
		t.Errorf("%v is over: %v for %v, want %v", a, over, retryAfter, want)
	}
}

var (
	ana   = netip.MustParseAddr("203.0.113.7")
	bruno = netip.MustParseAddr("203.0.113.8")
)

func TestThrottleEdge(t *testing.T) {
	clock := newHand()
	th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, clock.now)
	for range 100 {
		wantOver(t, th, ana, 0) // asking takes nothing, and keeps nothing
	}
	if len(th.buckets) != 0 {
		t.Errorf("%d addresses", len(th.buckets))
	}
	for range 60 {
		wantOver(t, th, ana, 0)
		th.take(throttled(ana))
	}
	wantOver(t, th, ana, 2*time.Second)
	wantOver(t, th, bruno, 0)

	// What fails all the same costs nothing more.
	fail(th, ana, 1000)
	wantOver(t, th, ana, 2*time.Second)
	clock.move(1500 * time.Millisecond)
	wantOver(t, th, ana, 500*time.Millisecond)
	clock.move(500*time.Millisecond - 1)
	wantOver(t, th, ana, 1)
	clock.move(1)
	wantOver(t, th, ana, 0)
	th.take(throttled(ana))
	wantOver(t, th, ana, 2*time.Second)

	clock.move(20 * time.Second)
	for range 10 {
		wantOver(t, th, ana, 0)
		th.take(throttled(ana))
	}
	wantOver(t, th, ana, 2*time.Second)

	clock.move(time.Hour) // sixty again, and no more
	fail(th, ana, 59)
	wantOver(t, th, ana, 0)
	th.take(throttled(ana))
	wantOver(t, th, ana, 2*time.Second)
}

// Whenever it said to come back, it is right.
func TestThrottleRetryAfter(t *testing.T) {
	clock := newHand()
	th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, clock.now)
	fail(th, ana, 60)
	for i := range 10_000 {
		clock.move(time.Duration(i*i*7919) % (3 * time.Second))
		retryAfter, over := th.over(throttled(ana))
		if over {
			clock.move(retryAfter - 1)
			if _, over := th.over(throttled(ana)); !over && retryAfter > 1 {
				t.Fatalf("round %d: over too early", i)
			}
			clock.move(1)
		}
		if again, over := th.over(throttled(ana)); over && again > 1 { // the last nanosecond may be lost in rounding
			t.Fatalf("round %d: still over for %v after %v", i, again, retryAfter)
		}
		for range 60 {
			th.take(throttled(ana))
		}
	}
}

func TestThrottleGroups(t *testing.T) {
	for _, tc := range []struct {
		name, one, two string
		same           bool
	}{
		{"IPv4", "203.0.113.7", "203.0.113.8", false},
		{"IPv4 in IPv6 form", "203.0.113.7", "::ffff:203.0.113.7", true},
		{"two in IPv6 form", "::ffff:203.0.113.7", "::ffff:203.0.113.8", false},
		{"a /64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"the next /64", "2001:db8::1", "2001:db8:0:1::1", false},
		{"zones", "fe80::1%eth0", "fe80::2%eth1", true},
		{"no address", "", "", true},
		{"no address and 0.0.0.0", "", "0.0.0.0", false},
		{"no address and ::", "", "::", false},
		{"0.0.0.0 and ::", "0.0.0.0", "::", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parse := func(s string) (a netip.Addr) {
				if s != "" {
					a = netip.MustParseAddr(s)
				}
				return a
			}
			th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, newHand().now)
			fail(th, parse(tc.one), 60)
			if _, over := th.over(throttled(parse(tc.two))); over != tc.same {
				t.Errorf("over: %v, want %v", over, tc.same)
			}
		})
	}
}

// number is the i-th address of IPv4, or the i-th /64 of a /32.
func number(i int, v6 bool) netip.Addr {
	if !v6 {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i))))
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	binary.BigEndian.PutUint32(a[4:], uint32(i))
	return netip.AddrFrom16(a)
}

func checkSize(t *testing.T, th *throttle[netip.Prefix], want int) {
	t.Helper()
	if len(th.buckets) != want || len(th.queue) != want || cap(th.queue) > 2*maxThrottled {
		t.Fatalf("%d addresses, %d in the queue of %d; want %d", len(th.buckets), len(th.queue), cap(th.queue), want)
	}
	for i, b := range th.queue {
		if b.index != i || th.buckets[b.whose] != b || i > 0 && b.full.Before(th.queue[(i-1)/2].full) {
			t.Fatalf("the queue is out of order at %d", i)
		}
	}
}

// Two hundred thousand addresses neither make it grow nor make it forget whom it holds up.
func TestThrottleBound(t *testing.T) {
	clock := newHand()
	th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, clock.now)
	fail(th, ana, 60)
	for i := range 200_000 {
		th.take(throttled(number(i, i%2 == 0)))
	}
	checkSize(t, th, maxThrottled)
	wantOver(t, th, ana, 2*time.Second)

	// Addresses that no longer matter go away by themselves.
	clock.move(time.Hour)
	for i := range maxThrottled {
		th.take(throttled(number(5_000_000+i, false)))
		if len(th.buckets) > maxThrottled {
			t.Fatalf("%d addresses", len(th.buckets))
		}
	}
	checkSize(t, th, maxThrottled)
	clock.move(time.Hour)
	for range maxThrottled {
		clock.move(2 * time.Second)
		th.take(throttled(bruno))
		th.take(throttled(number(clock.at.Second(), true)))
	}
	if len(th.buckets) > 3 {
		t.Errorf("%d addresses are kept", len(th.buckets))
	}
}

// When it is full, those go first who have got everything back.
func TestThrottleForgetsTheIdle(t *testing.T) {
	clock := newHand()
	th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, clock.now)
	fail(th, bruno, 1) // full in 2 s
	fail(th, ana, 60)  // full in 120 s, over until then
	for i := range maxThrottled - 2 {
		fail(th, number(i, false), 2)
	}
	clock.move(2 * time.Second)
	fail(th, ana, 1)
	th.take(throttled(number(200_000, false)))
	checkSize(t, th, maxThrottled)
	if th.buckets[throttled(bruno)] != nil || th.buckets[throttled(number(7, false))] == nil {
		t.Error("somebody else was forgotten than who was idle")
	}
	wantOver(t, th, ana, 2*time.Second)
}

func TestThrottleClock(t *testing.T) {
	clock := newHand()
	th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, clock.now)
	fail(th, ana, 60)
	clock.move(-time.Hour)
	wantOver(t, th, ana, 2*time.Second)
	th.take(throttled(ana))
	clock.move(2 * time.Second) // nobody waits for the hour
	wantOver(t, th, ana, 0)
	th.take(throttled(ana))
	wantOver(t, th, ana, 2*time.Second)
	for range 1000 {
		clock.move(-time.Second)
		fail(th, bruno, 1)
	}
	wantOver(t, th, bruno, 2*time.Second)
	clock.at = time.Time{} // some clocks begin there
	wantOver(t, th, bruno, 2*time.Second)
	for range 100 {
		clock.move(math.MaxInt64) // 292 years
		wantOver(t, th, ana, 0)
		fail(th, ana, 60)
		wantOver(t, th, ana, 2*time.Second)
	}
	checkSize(t, th, 1)
}

func TestThrottleAtOnce(t *testing.T) {
	th := newThrottle[netip.Prefix](failuresAtOnce, failureEvery, newHand().now)
	var done sync.WaitGroup
	for i := range 16 {
		done.Go(func() {
			for j := range 3000 {
				if j%100 == 0 {
					th.take(throttled(ana))
				}
				th.take(throttled(number(i*3000+j, j%2 == 0)))
				th.over(throttled(ana))
			}
		})
	}
	done.Wait()
	checkSize(t, th, maxThrottled)
	wantOver(t, th, ana, 2*time.Second)
}

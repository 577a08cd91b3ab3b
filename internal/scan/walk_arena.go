package scan

import (
	"slices"
	"sync"
)

// arena is the memory in which entries lie: one range of addresses, of limits.live bytes, whose pages exist from when they are
// first written to. It is both the memory and the account of it, so there is no way to hold more; nothing in it is
// garbage, which would be as much again; and as it lies outside of Go's heap where that can be, the heap stays small
// and the collector does not let it grow to twice its size.
//
// Entries borrow from the bottom. Containers that are held while their entries are read take from the top, as a stack: there
// is one goroutine that holds any. Whoever waits for a loan has none, and who has one never waits for another, so all
// loans end; and the limits let nobody ask for more than what the stack leaves. So nobody waits for ever.
type arena struct {
	mu    sync.Mutex
	freed sync.Cond
	size  int64
	mem   []byte // nil until something is needed
	unmap func()
	lent  []lease // by from
	top   int64   // where the stack ends
}

// lease is a range of an arena.
type lease struct {
	from, to int64
	b        []byte
}

// pageSize is what loans are rounded to, so that no two goroutines write to one cache line.
const pageSize = 4096

func pages(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

func newArena(size int64) *arena {
	a := &arena{size: pages(size), top: pages(size)}
	a.freed.L = &a.mu
	return a
}

// close gives the memory back. Nothing may be lent.
func (a *arena) close() {
	if a.unmap != nil {
		a.unmap()
	}
	a.mem, a.unmap = nil, nil
}

func (a *arena) lease(from, to int64) lease {
	if a.mem == nil {
		a.mem, a.unmap = mapMemory(int(a.size))
	}
	return lease{from, to, a.mem[from:to:to]}
}

// lend waits until there are n bytes. They hold what somebody left there.
func (a *arena) lend(n int64) lease {
	n = max(pages(n), pageSize)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		from, at := int64(0), len(a.lent)
		for i := range a.lent {
			if a.lent[i].from-from >= n {
				at = i
				break
			}
			from = a.lent[i].to
		}
		if from+n <= a.top {
			l := a.lease(from, from+n)
			a.lent = slices.Insert(a.lent, at, l)
			return l
		}
		if n > a.top {
			panic("scan: more memory asked for than there is") // wholeIn and heldIn are there to prevent it
		}
		a.freed.Wait()
	}
}

// shrink ends the loan of all but the first n bytes.
func (a *arena) shrink(l *lease, n int64) {
	n = max(pages(n), pageSize)
	if n >= l.to-l.from {
		return
	}
	a.mu.Lock()
	i, _ := a.find(l.from)
	l.to, l.b = l.from+n, l.b[:n:n]
	a.lent[i] = *l
	a.mu.Unlock()
	a.freed.Broadcast()
}

func (a *arena) giveBack(l lease) {
	a.mu.Lock()
	if i, ok := a.find(l.from); ok {
		a.lent = slices.Delete(a.lent, i, i+1)
	}
	a.mu.Unlock()
	a.freed.Broadcast()
}

func (a *arena) find(from int64) (int, bool) {
	return slices.BinarySearchFunc(a.lent, from, func(l lease, from int64) int { return int(l.from - from) })
}

// hold puts n bytes on the stack. drop takes them off; they are those that were put there last.
func (a *arena) hold(n int64) lease {
	n = pages(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > a.top {
		panic("scan: more memory asked for than there is")
	}
	for len(a.lent) > 0 && a.lent[len(a.lent)-1].to > a.top-n {
		a.freed.Wait()
	}
	a.top -= n
	return a.lease(a.top, a.top+n)
}

// setAside is hold for memory that somebody else has: a decoder, on the heap. The pages are given back.
func (a *arena) setAside(n int64) lease {
	l := a.hold(n)
	forget(l.b)
	return l
}

// settle ends the hold of all but the first n bytes, which move.
func (a *arena) settle(l lease, n int64) lease {
	b := l.b[int64(len(l.b))-max(pages(n), pageSize):]
	copy(b, l.b[:n])
	a.mu.Lock()
	l.from = l.to - int64(len(b))
	a.top, l.b = l.from, b
	a.mu.Unlock()
	a.freed.Broadcast()
	return l
}

// keep makes a loan into a hold of its first n bytes, which move. It waits for other loans, which is for the goroutine that holds:
// they are of visits, which wait for nothing.
func (a *arena) keep(l lease, n int64) lease {
	size := max(pages(n), pageSize)
	a.mu.Lock()
	defer a.mu.Unlock()
	for slices.ContainsFunc(a.lent, func(o lease) bool { return o.from != l.from && o.to > a.top-size }) {
		a.freed.Wait()
	}
	if i, ok := a.find(l.from); ok {
		a.lent = slices.Delete(a.lent, i, i+1)
	}
	a.top -= size
	held := a.lease(a.top, a.top+size)
	copy(held.b, l.b[:n]) // they may overlap
	a.freed.Broadcast()
	return held
}

func (a *arena) drop(l lease) {
	a.mu.Lock()
	a.top = l.to
	a.mu.Unlock()
	a.freed.Broadcast()
}

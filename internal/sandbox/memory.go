package sandbox

import (
	"maps"
	"sync"
	"time"

	"github.com/selo-id/selo"
)

// maxRemembered bounds the attempts, and the registrations; the oldest are forgotten first.
const maxRemembered = 10_000

// memory is all that a Sandbox remembers between two requests. The mutex is over everything: nothing is
// done under it that waits.
type memory struct {
	mu         sync.Mutex
	attempts   *bounded[string, record]
	registered *bounded[selo.CPF, struct{}]
	last       map[string]ids // by client ID: the ids of the latest run
	faults     []*fault
	counts     map[string]int64 // requests by route
	held       []func()         // each sends an event that is to come after the next
	deliveries int
}

// ids are what Caf calls one run.
type ids struct{ request, attempt string }

// record is one attempt as the provider remembers it.
type record struct {
	id       string
	clientID string
	product  string
	created  time.Time
	person   selo.CPF // zero when the run was for nobody in particular

	// Of a run of Smart Auth.
	policyID  string
	status    string
	faceCheck bool // a face was seen, was alive and matched

	// Of a run of face liveness or face authentication.
	isAlive, isMatch bool
}

func newMemory() *memory {
	m := new(memory)
	m.clear()
	return m
}

// reset forgets everything.
func (m *memory) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}

func (m *memory) clear() {
	m.attempts = newBounded[string, record](maxRemembered)
	m.registered = newBounded[selo.CPF, struct{}](maxRemembered)
	m.last, m.counts = make(map[string]ids), make(map[string]int64)
	m.faults, m.held, m.deliveries = nil, nil, 0
}

func (m *memory) count(route string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[route]++
}

func (m *memory) requests() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

// nextIDs returns those of a new run of a client, or of its previous one again.
func (m *memory) nextIDs(clientID string, again bool) ids {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, ok := m.last[clientID]
	if !ok || !again {
		next = ids{NewUUID(), NewUUID()}
	}
	m.last[clientID] = next
	return next
}

func (m *memory) remember(r record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts.put(r.id, r)
}

func (m *memory) attempt(id string) (record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attempts.get(id)
}

// finish changes the status of a pending attempt. Of two that try, one is told that it is pending no more.
func (m *memory) finish(id, status string, faceCheck bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.attempts.get(id)
	if !ok || r.status != statusPending {
		return false
	}
	r.status, r.faceCheck = status, faceCheck
	m.attempts.put(id, r)
	return true
}

func (m *memory) registerFace(cpf selo.CPF) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registered.put(cpf, struct{}{})
}

func (m *memory) hasFace(cpf selo.CPF) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.registered.get(cpf)
	return ok
}

// hold keeps an event back, if there is room.
func (m *memory) hold(send func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) >= maxWaiting {
		return false
	}
	m.held = append(m.held, send)
	return true
}

// takeHeld takes the events that were kept back, oldest first.
func (m *memory) takeHeld() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := m.held
	m.held = nil
	return held
}

// nextDelivery returns the number of a delivery, from 1.
func (m *memory) nextDelivery() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deliveries++
	return m.deliveries
}

// bounded is a map of so many keys, that forgets the oldest for a new one.
type bounded[K comparable, V any] struct {
	values map[K]V
	order  []K // a ring once it is full
	oldest int // in a full ring
	most   int
}

func newBounded[K comparable, V any](most int) *bounded[K, V] {
	return &bounded[K, V]{values: make(map[K]V), most: most}
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	v, ok := b.values[k]
	return v, ok
}

// put sets the value of k. A key that is there already keeps its age.
func (b *bounded[K, V]) put(k K, v V) {
	if _, ok := b.values[k]; !ok {
		if len(b.order) < b.most {
			b.order = append(b.order, k)
		} else {
			delete(b.values, b.order[b.oldest])
			b.order[b.oldest] = k
			b.oldest = (b.oldest + 1) % b.most
		}
	}
	b.values[k] = v
}

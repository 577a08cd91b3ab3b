package sandbox

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

// faultKind is something that can go wrong on request.
type faultKind struct {
	name string
	// routes are the only ones where it can happen, and where requests take it; nil is every one that is not
	// below /_sandbox/.
	routes []string
	// disturb answers instead of, or around, the handler; nil when the handler itself asks for the fault.
	disturb func(s *Sandbox, w http.ResponseWriter, r *http.Request, f *fault)
}

// The faults that handlers ask for.
const (
	faultEchoToken   = "echo-token"
	faultClockSkew   = "clock-skew"
	faultDuplicate   = "duplicate"
	faultWrongPerson = "wrong-person"
	faultRefused     = "refused"
	faultOutOfOrder  = "out-of-order"
	faultSlow        = "slow"
)

// faultKinds returns every fault there is. (A function, because disturbances lead to handlers, and handlers
// back here.)
func faultKinds() []faultKind {
	records := []string{routeRecheck, routeFaceAttempt}
	return []faultKind{
		{"429", nil, answerTooMany},
		{"500", nil, refuseWith(&refusal{http.StatusInternalServerError, codeInternal, "this fault was asked for"})},
		{"503", nil, refuseWith(&refusal{http.StatusServiceUnavailable, codeUnavailable, "this fault was asked for"})},
		{"401", nil, refuseWith(badToken("this fault was asked for: the token is refused, whatever it is"))},
		{faultSlow, nil, answerSlowly},
		{"empty", nil, answerWith("application/json", "")},
		{"wrong-shape", nil, answerWith("application/json", `{"status":"ok","result":[{"value":1},null,"two"]}`)},
		{"not-json", nil, answerWith("text/html; charset=utf-8", "<!doctype html><title>Maintenance</title><p>We will be back soon.")},
		{"huge", nil, answerHugely},
		{"redirect", nil, answerElsewhere},
		{"hang-up", nil, func(*Sandbox, http.ResponseWriter, *http.Request, *fault) { panic(http.ErrAbortHandler) }},
		{faultEchoToken, []string{routeSession}, nil},
		{faultClockSkew, append([]string{routeSDK, routeFinish}, records...), nil},
		{faultDuplicate, []string{routeSDK}, nil},
		{faultWrongPerson, records, nil},
		{faultRefused, records, nil},
		{faultOutOfOrder, []string{routeSDK, routeFinish, routeMobileAuthenticate}, nil},
	}
}

func faultNames() string {
	var names []string
	for _, k := range faultKinds() {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

// happensAt reports whether requests by route can meet the fault.
func (k faultKind) happensAt(route string) bool {
	return !isControl(route) && (k.routes == nil || slices.Contains(k.routes, route))
}

// canMeet reports whether a request whose path begins with path can meet the fault at all.
func (k faultKind) canMeet(path string) bool {
	return k.routes == nil || slices.ContainsFunc(k.routes, func(route string) bool {
		literal, _, _ := strings.Cut(route, "{")
		return strings.HasPrefix(literal, path) || strings.HasPrefix(path, literal)
	})
}

// fault is one that was asked for, for the next requests of a path. A nil fault is none.
type fault struct {
	kind  faultKind
	path  string
	left  int
	delay time.Duration // slow only
	skew  time.Duration // clock-skew only
}

func (f *fault) is(name string) bool { return f.kind.name == name }

// takeFault returns the oldest fault that a request is to meet, or nil.
func (m *memory) takeFault(route, path string) *fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.faults, func(f *fault) bool {
		return strings.HasPrefix(path, f.path) && f.kind.happensAt(route)
	})
	if i < 0 {
		return nil
	}
	taken := *m.faults[i]
	if m.faults[i].left--; m.faults[i].left == 0 {
		m.faults = slices.Delete(m.faults, i, i+1)
	}
	return &taken
}

type faultKey struct{}

func withFault(r *http.Request, f *fault) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), faultKey{}, f))
}

// faultOf returns the fault that a request met, or one that is nothing.
func faultOf(r *http.Request) *fault {
	if f, ok := r.Context().Value(faultKey{}).(*fault); ok {
		return f
	}
	return new(fault)
}

package sandbox

import (
	"net/http"
	"strings"
	"time"
)

const (
	routeFaults    = "/_sandbox/faults"
	routeReset     = "/_sandbox/reset"
	routeRequests  = "/_sandbox/requests"
	routeElsewhere = "/_sandbox/elsewhere"

	maxFaults      = 100 // that wait
	maxFaultCount  = 1000
	maxFaultPath   = 256
	maxSkew        = 366 * 24 * time.Hour
	faultBody      = `{"path": "/…", "fault": "<fault>", "count"?: 1, "delay"?: "3s", "skew"?: "-10m"}`
	onlyOfDuration = "delay is for slow, more than 0 and at most 30s; skew is for clock-skew, not 0 and at most 8784h either way; both as Go durations, such as 1m30s"
)

// QueuedFault is a fault that waits, or is asked for.
type QueuedFault struct {
	Path  string `json:"path"`           // of requests: this, or what begins with it
	Fault string `json:"fault"`          // its name
	Count int    `json:"count,omitzero"` // for how many requests, still; asked for as 0, it is 1
	Delay string `json:"delay,omitzero"` // slow: a Go duration of at most 30 s; "" is 3s
	Skew  string `json:"skew,omitzero"`  // clock-skew: a Go duration; required there
}

// FaultQueue is the answer of GET and POST /_sandbox/faults.
type FaultQueue struct {
	Faults []QueuedFault `json:"faults"` // oldest first
}

// RequestCounts is the answer of GET /_sandbox/requests.
type RequestCounts struct {
	Counts map[string]int64 `json:"counts"` // by route, such as "/sdk/caf/{product}"; "/" is every unknown path
}

// isControl reports whether a route is one by which the sandbox itself is told what to do. They are neither
// counted nor disturbed, or a test could lock itself out.
func isControl(route string) bool {
	return strings.HasPrefix(route, "/_sandbox/") && route != routeElsewhere
}

// control registers the paths below /_sandbox/.
func (s *Sandbox) control() {
	s.answer(http.MethodPost+" "+routeFaults, s.queueFault)
	s.handle(http.MethodGet, routeFaults, func(http.ResponseWriter, *http.Request) (any, *refusal) {
		return s.memory.queued(), nil
	})
	s.handle(http.MethodPost, routeReset, func(http.ResponseWriter, *http.Request) (any, *refusal) {
		s.memory.reset()
		return map[string]string{"status": "reset"}, nil
	})
	s.handle(http.MethodGet, routeRequests, func(http.ResponseWriter, *http.Request) (any, *refusal) {
		return RequestCounts{s.memory.requests()}, nil
	})
	s.answer(routeElsewhere, func(http.ResponseWriter, *http.Request) (any, *refusal) {
		return map[string]string{"status": "elsewhere"}, nil
	})
}

// queueFault takes one fault into the queue and answers with the whole.
func (s *Sandbox) queueFault(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	var asked QueuedFault
	if no := readBody(w, r, &asked, faultBody); no != nil {
		return nil, no
	}
	f, no := asked.check()
	if no != nil {
		return nil, no
	}
	if !s.memory.queueFault(f) {
		return nil, &refusal{http.StatusTooManyRequests, codeRateLimited, "100 faults wait already; POST " + routeReset + " forgets them"}
	}
	return s.memory.queued(), nil
}

// check makes a fault of what was asked for.
func (q QueuedFault) check() (*fault, *refusal) {
	f := &fault{path: q.Path, left: max(q.Count, 1)}
	for _, k := range faultKinds() {
		if k.name == q.Fault {
			f.kind = k
		}
	}
	switch {
	case f.kind.name == "":
		return nil, invalid("fault must be one of " + faultNames())
	case !strings.HasPrefix(q.Path, "/") || len(q.Path) > maxFaultPath:
		return nil, invalid("path must begin with / and have at most 256 bytes")
	case isControl(q.Path):
		return nil, invalid("the paths below /_sandbox/ have no faults")
	case q.Count < 0 || q.Count > maxFaultCount:
		return nil, invalid("count must be 1 to 1000, or absent for 1")
	case !f.kind.canMeet(q.Path):
		return nil, invalid("this fault does not happen at this path; it happens at " + strings.Join(f.kind.routes, ", "))
	}
	var ok bool
	if f.delay, ok = q.duration(faultSlow, q.Delay, maxDelay); !ok || f.delay < 0 {
		return nil, invalid(onlyOfDuration)
	}
	if f.skew, ok = q.duration(faultClockSkew, q.Skew, maxSkew); !ok {
		return nil, invalid(onlyOfDuration)
	}
	if f.is(faultSlow) && f.delay == 0 {
		f.delay = defaultDelay
	}
	if f.is(faultClockSkew) && f.skew == 0 {
		return nil, invalid(onlyOfDuration)
	}
	return f, nil
}

// duration reads a duration that only the fault of that name has; absent, it is 0.
func (q QueuedFault) duration(of, s string, most time.Duration) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && q.Fault == of && d != 0 && d <= most && d >= -most
}

// queueFault reports whether there was room.
func (m *memory) queueFault(f *fault) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.faults) >= maxFaults {
		return false
	}
	m.faults = append(m.faults, f)
	return true
}

func (m *memory) queued() FaultQueue {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := FaultQueue{Faults: []QueuedFault{}}
	for _, f := range m.faults {
		q := QueuedFault{Path: f.path, Fault: f.kind.name, Count: f.left}
		if f.delay != 0 {
			q.Delay = f.delay.String()
		}
		if f.skew != 0 {
			q.Skew = f.skew.String()
		}
		queue.Faults = append(queue.Faults, q)
	}
	return queue
}

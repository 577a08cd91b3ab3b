package sandbox

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

const (
	hugeSize     = 1 << 20 // added to the answer
	maxDelay     = 30 * time.Second
	defaultDelay = 3 * time.Second
)

func refuseWith(no *refusal) func(*Sandbox, http.ResponseWriter, *http.Request, *fault) {
	return func(s *Sandbox, w http.ResponseWriter, r *http.Request, _ *fault) { s.refuse(w, r, no) }
}

func answerTooMany(s *Sandbox, w http.ResponseWriter, r *http.Request, _ *fault) {
	w.Header().Set("Retry-After", "2")
	s.refuse(w, r, &refusal{http.StatusTooManyRequests, codeRateLimited, "this fault was asked for"})
}

func answerWith(contentType, body string) func(*Sandbox, http.ResponseWriter, *http.Request, *fault) {
	return func(_ *Sandbox, w http.ResponseWriter, _ *http.Request, _ *fault) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, body)
	}
}

func answerElsewhere(_ *Sandbox, w http.ResponseWriter, _ *http.Request, _ *fault) {
	w.Header().Set("Location", routeElsewhere)
	w.WriteHeader(http.StatusFound)
}

// answerSlowly waits, then answers as usual. The body is read before, because net/http notices that a client
// left only when there is nothing of its request left to read.
func answerSlowly(s *Sandbox, w http.ResponseWriter, r *http.Request, f *fault) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxImageSize))
	if err != nil {
		s.refuse(w, r, unreadable(err, maxImageSize))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	// The server's own limit may be shorter. (net/http lifts the one for reading by itself.)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.delay + maxDelay))
	timer := time.NewTimer(f.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.mux.ServeHTTP(w, r)
	case <-r.Context().Done():
		panic(http.ErrAbortHandler) // there is nobody to answer
	}
}

// answerHugely answers as usual and goes on with spaces, which JSON allows: whoever reads without a limit
// finds nothing wrong.
func answerHugely(s *Sandbox, w http.ResponseWriter, r *http.Request, _ *fault) {
	s.mux.ServeHTTP(w, r)
	_, _ = w.Write(bytes.Repeat([]byte(" "), hugeSize))
}

package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Bug: failures were counted after the fact, so that parallel requests passed the throttle and each was introspected.
func TestParallelFailuresAreThrottled(t *testing.T) {
	h := newHouse(t, settings{})
	var refused, throttled atomic.Int64
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			a := h.send("POST", "/v1/sessions", "", "", http.Header{"Authorization": {fmt.Sprintf("Bearer opaque-%d", i)}})
			switch a.status {
			case http.StatusUnauthorized:
				refused.Add(1)
			case http.StatusTooManyRequests:
				throttled.Add(1)
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	if refused.Load() != 60 || throttled.Load() != 340 || h.lab.asked > 60 {
		t.Errorf("%d refused, %d throttled, the issuer asked %d times; want 60, 340 and at most 60", refused.Load(), throttled.Load(), h.lab.asked)
	}
}

// Bug: a key that was revoked while its request's body was still on the way opened a session.
func TestRevokedWhileSending(t *testing.T) {
	h := newHouse(t, settings{})
	body := &revoking{h: h, text: strings.NewReader(`{"product":"caf/face-liveness","purpose":"login","subject":"customer-81","cpf":"` + anaCPF.Digits() + `"}`)}
	r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/v1/sessions", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", h.credential("opener"))
	if a := h.do(r); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// revoking is a body that revokes the API key before its end.
type revoking struct {
	h    *house
	text *strings.Reader
	done bool
}

func (r *revoking) Read(b []byte) (int, error) {
	if r.text.Len() < 20 && !r.done {
		r.done = true
		r.h.revoke("opener")
	}
	return r.text.Read(b[:1])
}

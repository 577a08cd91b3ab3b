package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

const crowd = 64

// volley sends as many requests at once as makes a crowd, and counts the answers by status and reason.
func volley(t *testing.T, h *house, request func(i int) *http.Request) (outcomes map[string]int, granted []answer) {
	t.Helper()
	var mu sync.Mutex
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	outcomes = make(map[string]int)
	ready.Add(crowd)
	for i := range crowd {
		r := request(i)
		done.Go(func() {
			ready.Done()
			<-begin
			a := h.do(r)
			mu.Lock()
			defer mu.Unlock()
			var p struct {
				State   string
				Reasons []string
			}
			if err := json.Unmarshal(a.body, &p); err != nil {
				t.Error(err)
			}
			outcome := http.StatusText(a.status) + ": " + strings.Join(append(p.Reasons, p.State), " ")
			outcomes[outcome]++
			if a.status == http.StatusOK {
				granted = append(granted, a)
			}
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	return outcomes, granted
}

func (h *house) respondRequest(t *testing.T, who, id, response string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/v1/sessions/"+id+"/response", strings.NewReader(`{"signed_response":"`+response+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", h.credential(who))
	return r
}

// Of 64 posts of one response at once, one is granted.
func TestOneResponseManyTimesAtOnce(t *testing.T) {
	t.Run("one session", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, settings{})
		id, mobile := h.opened("ana", "caf/face-liveness", "login")
		response := h.sdk(mobile, "caf/face-liveness", anaCPF, "approve")
		outcomes, granted := volley(t, h, func(int) *http.Request { return h.respondRequest(t, "ana", id, response) })
		if diff := cmp.Diff(map[string]int{"OK: granted": 1, "Conflict: session_not_open granted": crowd - 1}, outcomes); diff != "" {
			t.Fatalf("answers (-want +got):\n%s", diff)
		}
		// The one receipt verifies, and is the one that reading gives.
		m := granted[0].json(t)
		receipt, err := selo.VerifyReceipt(t.Context(), m["receipt"].(string), selo.ReceiptExpectation{
			Keys: receiptKeys(t, h), Issuer: seloIss, App: "bank", Subject: selo.Subject{Issuer: issuer, ID: "ana"}, Purpose: "login",
			Once: new(selo.MemoryOnce), Assurance: selo.AssurancePresence, Now: h.clock.Now(),
		})
		if err != nil || receipt.Session != id {
			t.Errorf("receipt: %+v, %v", receipt, err)
		}
		if again := h.send("GET", "/v1/sessions/"+id, "ana", "", nil).json(t); again["receipt"] != m["receipt"] {
			t.Error("reading gives another receipt")
		}
	})
	t.Run("as many sessions", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, settings{limits: []store.Limit{{By: store.LimitSubject, Sessions: 1000, Window: time.Hour}}})
		var ids []string
		var mobile string
		for i := range crowd {
			a := h.send("POST", "/v1/sessions", "backend", `{"product":"caf/face-liveness","purpose":"login","subject":"customer-`+strconv.Itoa(i)+`","cpf":"`+anaCPF.Digits()+`"}`, nil)
			if a.status != http.StatusCreated {
				t.Fatalf("opening: %d %s", a.status, a.body)
			}
			m := a.json(t)
			ids = append(ids, m["session_id"].(string))
			mobile = m["tokens"].(map[string]any)["mobile"].(string)
		}
		response := h.sdk(mobile, "caf/face-liveness", anaCPF, "approve")
		outcomes, _ := volley(t, h, func(i int) *http.Request { return h.respondRequest(t, "backend", ids[i], response) })
		if diff := cmp.Diff(map[string]int{"OK: granted": 1, "Conflict: replayed open": crowd - 1}, outcomes); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
	t.Run("sent by everybody", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, settings{})
		id, mobile := h.opened("ana", "caf/face-authentication", "new-device")
		response := h.sdk(mobile, "caf/face-authentication", anaCPF, "approve")
		senders := slices.Repeat([]string{"bruno", "backend", "reader", "ana"}, crowd/4)
		outcomes, _ := volley(t, h, func(i int) *http.Request { return h.respondRequest(t, senders[i], id, response) })
		want := map[string]int{"OK: granted": 1, "Conflict: session_not_open granted": crowd/4 - 1, "Not Found: session_unknown ": crowd * 3 / 4}
		if diff := cmp.Diff(want, outcomes); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

// receiptKeys are the keys as another service gets them.
func receiptKeys(t *testing.T, h *house) *selo.ReceiptKeys {
	t.Helper()
	keys, err := selo.ParseReceiptKeys(h.send("GET", "/.well-known/jwks.json", "", "", nil).body)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

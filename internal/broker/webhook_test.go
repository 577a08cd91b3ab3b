package broker_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

var webhookSecret, liveSecret = plant(randomHex()), plant(randomHex())

func withWebhooks(cfg *broker.Config) {
	secret, err := selo.NewSecret(webhookSecret)
	if err != nil {
		panic(err)
	}
	live, err := selo.NewSecret(liveSecret)
	if err != nil {
		panic(err)
	}
	cfg.Webhooks = []broker.Webhook{{Name: "console", Environment: selo.EnvironmentSandbox, Secret: secret}, {Name: "live", Environment: selo.EnvironmentProduction, Secret: live}}
}

func hexMAC(secret []byte, body string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

func (h *house) event(id, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"caf","type":"FACEAUTHENTICATIONEVENT","time":%q,"data":%s}`, id, h.clock.Now().UTC().Format(time.RFC3339), data)
}

func (h *house) webhook(name, body string, signatures ...string) (bool, error) {
	h.t.Helper()
	if signatures == nil {
		secret := webhookSecret
		if name == "live" {
			secret = liveSecret
		}
		signatures = []string{hexMAC(secret, body)}
	}
	isNew, err := h.Webhook(h.t.Context(), name, []byte(body), signatures, thisTest)
	return isNew, transcript.Error(err)
}

func TestWebhookSignatures(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t, withWebhooks)
	body := h.event("e1", `{"attemptId":"a1","isMatch":true}`)
	good := hexMAC(webhookSecret, body)
	for name, signatures := range map[string][]string{
		"missing": {}, "empty": {""}, "another key": {hexMAC([]byte("x"), body)}, "upper case": {strings.ToUpper(good)}, "prefix": {"sha256=" + good},
		"cut": {good[:63]}, "longer": {good + "0"}, "space": {" " + good}, "twice": {good, good}, "one of two": {good, "x"},
		"of the body written again": {hexMAC(webhookSecret, strings.ReplaceAll(body, ":", ": "))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.webhook("console", body, append(make([]string, 0, 2), signatures...)...)
			if len(signatures) == 0 {
				_, err = h.Webhook(t.Context(), "console", []byte(body), nil, thisTest)
			}
			if got := selo.ReasonsOf(err); len(got) != 1 || got[0] != selo.ReasonCallerUnauthenticated {
				t.Errorf("%v", err)
			}
		})
	}
	if h.count("webhook_events") != 0 || h.count("audit") != 0 {
		t.Error("something was written for a stranger")
	}
	// Nobody is banned for it.
	if isNew, err := h.webhook("console", body); err != nil || !isNew {
		t.Errorf("%v, %v", isNew, err)
	}
	if isNew, err := h.webhook("console", body); err != nil || isNew {
		t.Errorf("again: %v, %v", isNew, err)
	}
	if _, err := h.webhook("nobody", body); err != broker.ErrNoWebhook { //nolint:errorlint // the very value
		t.Errorf("%v", err)
	}
}

func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t, withWebhooks)
	now := h.clock.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	for _, tc := range []struct {
		body string
		want selo.Reason // "" is taken
	}{
		{`{"id":"e1","time":"` + at(0) + `"}`, ""},
		{`{"id":"e2","time":"` + at(-24*time.Hour) + `"}`, selo.ReasonStale}, // the clock has a fraction of a second more
		{`{"id":"e3","time":"` + at(-23*time.Hour) + `"}`, ""},
		{`{"id":"e4","time":"` + at(6*time.Minute) + `"}`, selo.ReasonFromTheFuture},
		{`{"time":"` + at(0) + `"}`, selo.ReasonRequestInvalid},
		{`{"id":"","time":"` + at(0) + `"}`, selo.ReasonRequestInvalid},
		{`{"id":7,"time":"` + at(0) + `"}`, selo.ReasonRequestInvalid},
		{`{"ID":"e5","time":"` + at(0) + `"}`, selo.ReasonRequestInvalid},
		{`{"id":"e6"}`, selo.ReasonRequestInvalid},
		{`{"id":"e7","time":1700000000}`, selo.ReasonRequestInvalid},
		{`{"id":"e8","time":"yesterday"}`, selo.ReasonRequestInvalid},
		{`{"id":"e9","id":"e10","time":"` + at(0) + `"}`, selo.ReasonRequestInvalid},
		{`{"id":"` + strings.Repeat("x", 257) + `","time":"` + at(0) + `"}`, selo.ReasonRequestInvalid},
		{`[]`, selo.ReasonRequestInvalid}, {``, selo.ReasonRequestInvalid}, {`{}x`, selo.ReasonRequestInvalid}, {`null`, selo.ReasonRequestInvalid},
		{`{"id":"e11","time":"` + at(0) + `","data":"text","type":7}`, selo.ReasonRequestInvalid},
		{`{"id":"e12","time":"` + at(0) + `","data":"text","type":"` + anaCPF.Digits() + `"}`, ""},
		{`{"id":"e13","time":"` + at(0) + `","data":{"attemptId":{},"isMatch":"yes"}}`, ""},
	} {
		_, err := h.webhook("console", tc.body)
		if got := selo.ReasonsOf(err); tc.want == "" && err != nil || tc.want != "" && (len(got) != 1 || got[0] != tc.want) {
			t.Errorf("%.80s: %v, want %q", tc.body, err, tc.want)
		}
	}
}

// An event is evidence beside the session that used its attempt, whichever came first, and decides nothing.
func TestWebhookEvidence(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"event", "response"} {
		for _, says := range []bool{true, false} {
			t.Run(fmt.Sprint(first, " first, ", says), func(t *testing.T) {
				t.Parallel()
				h, _ := cafHouse(t, withWebhooks)
				s := h.opened(ana(), smartAuth, "transfer")
				p := h.attestation(anaCPF)
				body := h.event("e1", fmt.Sprintf(`{"attemptId":%q,"personId":%q,"isAuthorized":%v}`, p["attemptId"], anaCPF.Digits(), says))
				event := func() {
					if isNew, err := h.webhook("console", body); err != nil || !isNew {
						t.Fatalf("%v, %v", isNew, err)
					}
				}
				if first == "event" {
					event()
				}
				if h.state(ana(), s.SessionID) != store.StateOpen {
					t.Fatal("the event decided")
				}
				if _, err := h.answerWith(s.SessionID, broker.Answer{SignedResponse: p.by("sbx-smart")}); err != nil {
					t.Fatal(err)
				}
				if first != "event" {
					event()
				}
				if h.state(ana(), s.SessionID) != store.StateGranted {
					t.Fatal("the event decided")
				}
				want := "evidence"
				if !says {
					want = "contradicts"
				}
				var rows []string
				for _, r := range h.trail() {
					if r.Act == "webhook" && r.Session == s.SessionID {
						rows = append(rows, r.Outcome)
					}
				}
				if len(rows) != 1 || rows[0] != want {
					t.Errorf("%q, want one %s", rows, want)
				}
			})
		}
	}
}

// Production's events say nothing about the sandbox's sessions, though both have one attempt id.
func TestWebhookEnvironments(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t, withWebhooks)
	s := h.opened(ana(), smartAuth, "transfer")
	p := h.attestation(anaCPF)
	if _, err := h.decide(ana(), s.SessionID, p.by("sbx-smart")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.webhook("live", h.event("e1", fmt.Sprintf(`{"attemptId":%q,"isAuthorized":false}`, p["attemptId"]))); err != nil {
		t.Fatal(err)
	}
	for _, r := range h.trail() {
		if r.Act == "webhook" && r.Session != "" {
			t.Errorf("%+v", r)
		}
	}
}

package sandbox

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// WebhookSignatureHeader carries the lower-case hex HMAC-SHA256 of the raw body under the webhook's secret.
const WebhookSignatureHeader = "X-Caf-Signature"

const (
	eventFaceAuthentication = "FACEAUTHENTICATIONEVENT"
	eventSmartAuth          = "smart_auth"

	maxWaiting     = 256 // events that wait for Run
	maxRetries     = 3
	defaultRetry   = time.Second
	webhookTimeout = 5 * time.Second
)

// Webhook is where events are sent to. Like a Key, it prints and logs as [secret] and does not marshal.
type Webhook struct {
	unprintable

	URL    string // http or https, to a loopback address or localhost; no user, no fragment
	Secret []byte // signs the body; of any length but 0
}

// WebhookEvent is the body that a webhook gets: CloudEvents 1.0 as JSON. It names a person in clear: do not
// log it.
type WebhookEvent struct {
	SpecVersion string      `json:"specversion"` // "1.0"
	ID          string      `json:"id"`          // UUID; the same in every delivery of this event
	Source      string      `json:"source"`      // "caf-sandbox"
	Type        string      `json:"type"`        // "FACEAUTHENTICATIONEVENT", or "smart_auth", for which Caf names none
	Time        string      `json:"time"`        // RFC 3339, in UTC
	Data        WebhookData `json:"data"`
}

// WebhookData says what happened.
type WebhookData struct {
	AttemptID    string `json:"attemptId"`
	RequestID    string `json:"requestId,omitzero"`    // face authentication only
	PersonID     string `json:"personId"`              // the CPF, 11 digits
	IsMatch      *bool  `json:"isMatch,omitzero"`      // face authentication only
	IsAuthorized *bool  `json:"isAuthorized,omitzero"` // Smart Auth only
}

// postOffice sends events. A nil one has nobody to send them to.
type postOffice struct {
	targets  []target
	badEvery int
	retry    time.Duration
	waiting  chan []byte // bodies
	log      *slog.Logger
}

// target is a Webhook that was checked. Its secret is in the function, where fmt cannot see it.
type target struct {
	url string
	mac func(body []byte) []byte
}

func newPostOffice(cfg Config, log *slog.Logger) (*postOffice, error) {
	switch {
	case cfg.BadSignatureEvery < 0 || cfg.WebhookRetry < 0:
		return nil, errors.New("sandbox: BadSignatureEvery and WebhookRetry must not be negative")
	case len(cfg.Webhooks) == 0 && (cfg.BadSignatureEvery != 0 || cfg.WebhookRetry != 0):
		return nil, errors.New("sandbox: BadSignatureEvery or WebhookRetry without Webhooks, so nothing would be sent")
	case len(cfg.Webhooks) == 0:
		return nil, nil
	}
	p := &postOffice{badEvery: cfg.BadSignatureEvery, retry: cfg.WebhookRetry, waiting: make(chan []byte, maxWaiting), log: log}
	if p.retry == 0 {
		p.retry = defaultRetry
	}
	for i, hook := range cfg.Webhooks {
		if err := hook.check(); err != nil {
			return nil, fmt.Errorf("sandbox: webhook %d: %w", i, err)
		}
		p.targets = append(p.targets, target{hook.URL, newMAC(hook.Secret)})
	}
	return p, nil
}

// check returns what is wrong with h, without its URL, which may hold a secret of its own.
func (h Webhook) check() error {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return errors.New("URL must be http or https, without user and fragment")
	case !isLoopback(u.Hostname()):
		return errors.New("URL must be of a loopback address or localhost: events carry CPFs")
	case len(h.Secret) == 0:
		return errors.New("no Secret; anyone could sign with none")
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// fire puts an event in the queue, or keeps it back until the next one, if that is the fault asked for.
// Several that were kept back follow newest first, so that each comes after its successor.
func (s *Sandbox) fire(r *http.Request, kind string, data WebhookData) {
	if s.post == nil {
		return
	}
	body, no := marshal(WebhookEvent{"1.0", NewUUID(), "caf-sandbox", kind, s.now().UTC().Format(time.RFC3339), data})
	if no != nil {
		return
	}
	send := func() { s.post.put(body) }
	if faultOf(r).is(faultOutOfOrder) && s.memory.hold(send) {
		return
	}
	send()
	for _, late := range slices.Backward(s.memory.takeHeld()) {
		late()
	}
}

// put never waits: a run of the SDK is not slowed down by a webhook.
func (p *postOffice) put(body []byte) {
	select {
	case p.waiting <- body:
	default:
		p.log.Warn("webhook event dropped", slog.Int("waiting", maxWaiting))
	}
}

// Run sends events to the webhooks, one after the other, until ctx ends; then nothing of it is left behind.
// Events that still wait then are sent by the next Run, if there is one. Without webhooks it only waits for
// the end, so that a caller needs not ask. Events are kept waiting while it does not run, 256 at most; more are
// dropped, with a line in the log.
func (s *Sandbox) Run(ctx context.Context) {
	if s.post == nil {
		<-ctx.Done()
		return
	}
	client := webhookClient()
	for {
		select {
		case <-ctx.Done():
			return
		case body := <-s.post.waiting:
			for i := range s.post.targets {
				n := s.memory.nextDelivery()
				s.post.deliver(ctx, client, i, body, s.post.badEvery > 0 && n%s.post.badEvery == 0)
			}
		}
	}
}

// webhookClient goes where it is sent and nowhere else, and keeps no connection.
func webhookClient() *http.Client {
	dialer := &net.Dialer{
		Timeout: webhookTimeout,
		Control: func(_, address string, _ syscall.RawConn) error { // localhost is what the resolver says it is
			if ap, err := netip.ParseAddrPort(address); err != nil || !ap.Addr().Unmap().IsLoopback() {
				return errors.New("not a loopback address")
			}
			return nil
		},
	}
	return &http.Client{
		Timeout:       webhookTimeout,
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, // and no Proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// deliver sends one event to one webhook, again when there is no answer or one of 5xx. The copy with the
// wrong signature is sent once, whatever becomes of it.
func (p *postOffice) deliver(ctx context.Context, client *http.Client, i int, body []byte, badFirst bool) {
	mac := p.targets[i].mac(body)
	if badFirst {
		wrong := bytes.Clone(mac)
		wrong[0] ^= 1
		p.send(ctx, client, i, body, wrong)
	}
	pause := p.retry
	for try := range 1 + maxRetries {
		if try > 0 {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			pause *= 2
		}
		if p.send(ctx, client, i, body, mac) {
			return
		}
	}
	p.log.WarnContext(ctx, "webhook given up", slog.Int("webhook", i), slog.Int("tries", 1+maxRetries))
}

// send reports whether there was an answer that settles it. What the client says of a failure has the URL in
// it, so it goes nowhere.
func (p *postOffice) send(ctx context.Context, client *http.Client, i int, body, mac []byte) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.targets[i].url, bytes.NewReader(body))
	if err != nil {
		return true // it was checked in New, and would fail every time
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	r.Header.Set(WebhookSignatureHeader, hex.EncodeToString(mac))
	answer, err := client.Do(r)
	status := 0 // no answer
	if err == nil {
		status = answer.StatusCode
		_ = answer.Body.Close()
	}
	p.log.LogAttrs(ctx, slog.LevelInfo, "webhook", slog.Int("webhook", i), slog.Int("status", status))
	return err == nil && status < http.StatusInternalServerError
}

package sandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Config is what a Sandbox is made of.
type Config struct {
	Keys []Key            // the access keys that were issued; at least one, no client ID twice
	Now  func() time.Time // the time by which tokens expire and responses are dated; nil is time.Now
	Log  *slog.Logger     // one line per attempt and per refusal, without token, secret or CPF; nil discards

	APIToken            APIToken // lets in at GET /v1/faces/attempts/{attemptId}; when empty, nobody is
	RequireRegistration bool     // /faces/authenticate knows only the CPFs that /faces/register was sent; false is everybody

	Webhooks          []Webhook     // where events are sent, by Run; each gets every event
	BadSignatureEvery int           // every Nth delivery is preceded by a copy with a wrong signature; 0 is none
	WebhookRetry      time.Duration // pause before the first of three retries, doubled for each further; 0 is 1 s
}

// Sandbox is the pretend provider, an http.Handler for the paths of the package documentation. It is safe
// for concurrent use. What it remembers, it remembers in memory and within bounds; POST /_sandbox/reset
// makes it forget.
type Sandbox struct {
	*door
	keys     map[string]*issuedKey // by client ID
	now      func() time.Time
	session  signer                  // of session tokens, with a secret that nobody else has
	apiToken func(token string) bool // in constant time; holds the token, where fmt cannot see it
	register bool                    // Config.RequireRegistration
	memory   *memory
	post     *postOffice
}

// New checks cfg and makes a Sandbox. It copies the keys, secrets included. Where there are Webhooks,
// nothing is sent until Run is called.
func New(cfg Config) (*Sandbox, error) {
	if len(cfg.Keys) == 0 {
		return nil, errors.New("sandbox: Keys is empty, so no token could ever be accepted")
	}
	own := make([]byte, 32)
	_, _ = rand.Read(own) // never fails
	s := &Sandbox{
		door: newDoor(cfg.Log), keys: make(map[string]*issuedKey), now: cfg.Now,
		session: newSigner(own), apiToken: acceptsToken(cfg.APIToken), register: cfg.RequireRegistration,
		memory: newMemory(),
	}
	if s.now == nil {
		s.now = time.Now
	}
	for i, k := range cfg.Keys {
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("sandbox: key %d: %w", i, err)
		}
		if s.keys[k.ClientID] != nil {
			return nil, fmt.Errorf("sandbox: key %d: client %q is named twice", i, k.ClientID)
		}
		s.keys[k.ClientID] = newIssuedKey(k)
	}
	var err error
	if s.post, err = newPostOffice(cfg, s.log); err != nil {
		return nil, err
	}
	s.handle(http.MethodGet, routeSession, s.exchange)
	s.handle(http.MethodPost, routeSDK, s.sdk)
	s.handle(http.MethodPost, routeFinish, s.finish)
	s.handle(http.MethodPost, routeMobileLiveness, s.mobile(productFaceLiveness, s.mobileLiveness))
	s.handle(http.MethodPost, routeMobileAuthenticate, s.mobile(productFaceAuthentication, s.mobileAuthenticate))
	s.handle(http.MethodPost, routeMobileRegister, s.mobile(productFaceAuthentication, s.mobileRegister))
	s.handle(http.MethodGet, routeRecheck, s.recheck)
	s.handle(http.MethodGet, routeFaceAttempt, s.faceAttempt)
	s.control()
	return s, nil
}

// The paths, as patterns. Faults and counts know a request by its pattern.
const (
	routeSession            = "/bff/session-tokens"
	routeSDK                = "/sdk/caf/{product}"
	routeFinish             = "/sdk/caf/smart-auth/{attemptId}"
	routeMobileLiveness     = "/faces/liveness"
	routeMobileAuthenticate = "/faces/authenticate"
	routeMobileRegister     = "/faces/register"
	routeRecheck            = "/authentications/{attemptId}"
	routeFaceAttempt        = "/v1/faces/attempts/{attemptId}"
)

// acceptsToken compares MACs under a key of the moment, so that neither content nor length takes time.
func acceptsToken(token APIToken) func(string) bool {
	if len(token) == 0 {
		return func(string) bool { return false }
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	mac := newMAC(key)
	want := mac(token)
	return func(sent string) bool { return hmac.Equal(mac([]byte(sent)), want) }
}

// ServeHTTP answers one request, disturbed by the fault that was asked for, if any.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	_, pattern := s.mux.Handler(r)
	route := pattern[strings.IndexByte(pattern, ' ')+1:]
	if !isControl(route) {
		s.memory.count(route)
	}
	fault := s.memory.takeFault(route, r.URL.Path)
	if fault == nil {
		s.mux.ServeHTTP(w, r)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "fault", slog.String("route", route), slog.String("fault", fault.kind.name))
	r = withFault(r, fault)
	if fault.kind.disturb == nil {
		s.mux.ServeHTTP(w, r)
		return
	}
	r.Pattern = pattern
	fault.kind.disturb(s, w, r, fault)
}

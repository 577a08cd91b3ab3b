// Package api is the JSON door: it reads requests strictly, asks the broker, and translates answers. It
// decides nothing.
//
// POST /v1/sessions opens a session, POST /v1/sessions/{id}/response decides a signed response, and GET
// /v1/sessions/{id} tells how a session stands. The contract is openapi.yaml beside this file, which is
// served at /openapi.yaml and held to the handlers by a test. Only 200 is a grant, so that a client which
// looks at nothing but the status code fails closed.
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/metrics"
	"github.com/selo-id/selo/internal/policy"
)

//go:embed openapi.yaml
var openAPI []byte

// maxBody leaves room for a response of selo.MaxTokenSize and one far over it, which then gets the reason that
// says so.
const maxBody = 64 << 10

// maxEvent leaves room for the largest of the provider's events, which carry whole documents' data.
const maxEvent = 1 << 20

// Config of the handler. All fields are required, but for the last five.
type Config struct {
	Broker      *broker.Broker
	Callers     *policy.Authenticator
	ReceiptKeys *selo.ReceiptKeys
	Log         *slog.Logger

	TrustedProxies []netip.Prefix   // whose X-Forwarded-For is believed
	ClientCAs      *x509.CertPool   // of services' client certificates; nil takes none
	Metrics        *metrics.Metrics // nil counts nothing
	Throttles      *Throttles       // of the server before this configuration; nil begins anew
	Now            func() time.Time // by which certificates are judged; nil is time.Now
}

type server struct {
	Config
	jwks  []byte
	proxy sync.Once // that one was noticed which is not trusted
}

// Throttles are how often who has failed. They are in memory, and outlive a configuration.
type Throttles struct {
	failed  *throttle[netip.Prefix] // unauthenticated, by address
	refused *throttle[userID]       // end users, by what they made us write
}

// NewThrottles returns those of a server that has just begun.
func NewThrottles(now func() time.Time) *Throttles {
	return &Throttles{newThrottle[netip.Prefix](failuresAtOnce, failureEvery, now), newThrottle[userID](refusalsAtOnce, refusalEvery, now)}
}

// userID is the SHA-256 of a subject.
type userID [sha256.Size]byte

// New returns the handler of the whole API.
func New(cfg Config) (http.Handler, error) {
	if cfg.Broker == nil || cfg.Callers == nil || cfg.ReceiptKeys == nil || cfg.Log == nil {
		return nil, errors.New("api: Broker, Callers, ReceiptKeys and Log are required")
	}
	jwks, err := cfg.ReceiptKeys.JWKS()
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Throttles == nil {
		cfg.Throttles = NewThrottles(cfg.Now)
	}
	s := &server{Config: cfg, jwks: jwks}
	mux := http.NewServeMux()
	methods := make(map[string]string) // by path
	routes := []struct {
		method, path string
		handle       func(*exchange)
	}{
		{"POST", "/v1/sessions", s.openSession},
		{"GET", "/v1/sessions/{id}", s.session},
		{"POST", "/v1/sessions/{id}/response", s.respond},
		{"POST", "/v1/webhooks/caf/{name}", s.webhook},
		{"GET", "/v1/admin/credentials", s.credentials},
		{"POST", "/v1/admin/credentials", s.addCredential},
		{"DELETE", "/v1/admin/credentials/{kind}/{id}", s.revokeCredential},
		{"GET", "/v1/admin/trail", s.trail},
		{"GET", "/v1/admin/keys", s.accessKeys},
		{"POST", "/v1/admin/keys", s.addKey},
		{"POST", "/v1/admin/keys/rewrap", s.rewrapKeys},
		{"GET", "/v1/admin/keys/{environment}/{client_id}", s.accessKey},
		{"POST", "/v1/admin/keys/{environment}/{client_id}", s.changeKey},
		{"GET", "/.well-known/jwks.json", s.keys},
		{"GET", "/openapi.yaml", s.document},
		{"GET", "/healthz", s.health},
		{"GET", "/readyz", s.ready},
	}
	for _, route := range routes {
		mux.HandleFunc(route.method+" "+route.path, s.serve(route.path, route.handle))
		methods[route.path] = strings.TrimPrefix(methods[route.path]+", "+route.method, ", ")
	}
	for path, allowed := range methods {
		cfg.Metrics.DeclareRoutes(path)
		mux.HandleFunc(path, s.serve(path, func(x *exchange) {
			x.w.Header().Set("Allow", allowed)
			x.problem(problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "use " + allowed})
		}))
	}
	notFound := s.serve("", func(x *exchange) {
		x.problem(problem{Status: http.StatusNotFound, Title: "No such path", Detail: "the paths are listed in /openapi.yaml"})
	})
	mux.HandleFunc("/", notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); p != path.Clean("/"+p) {
			notFound(w, r) // the mux would redirect, in an answer of its own making
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// exchange is one request and its answer, with what the access log says of it.
type exchange struct {
	*server
	w    http.ResponseWriter
	r    *http.Request
	act  context.Context // of what the broker does: it goes on, and on the record, when the client leaves
	id   string
	user userID // of an end user; zero for everybody else

	body    []byte
	bodyErr error

	status int
	log    []slog.Attr
}

// serve gives every answer the headers and the log line that all have.
func (s *server) serve(route string, handle func(*exchange)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		x := &exchange{server: s, w: w, r: r, act: context.WithoutCancel(r.Context()), id: rand.Text()}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Request-Id", x.id)
		limit := int64(maxBody)
		if strings.HasPrefix(route, "/v1/webhooks/") {
			limit = maxEvent
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.Log.ErrorContext(r.Context(), "panic", "request_id", x.id, "panic", p, "stack", string(debug.Stack()))
				if x.status == 0 {
					x.problem(internalProblem)
				}
			}
			attrs := append([]slog.Attr{
				slog.String("request_id", x.id),
				slog.String("method", shownMethod(r.Method)),
				slog.String("route", route), // not the path: whatever was typed there is not ours to keep
				slog.Int("status", x.status),
				slog.Float64("took_ms", float64(time.Since(start).Microseconds())/1000),
			}, x.log...)
			s.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
			s.Metrics.Request(route, shownMethod(r.Method), x.status, time.Since(start))
		}()
		handle(x)
	}
}

// shownMethod is what the log may repeat of a method, which a client makes up as it likes.
func shownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "(other)"
}

// send writes one answer.
func (x *exchange) send(status int, contentType string, body []byte) {
	x.status = status
	x.w.Header().Set("Content-Type", contentType)
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // the client is gone; nothing is left to do
}

func (x *exchange) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.fail(err)
		return
	}
	x.send(status, "application/json", append(body, '\n'))
}

// caller reads the body, authenticates the request, or answers it and returns nil. In this order, so that who was
// revoked while they were still sending is refused.
func (x *exchange) caller() *policy.Caller {
	x.body, x.bodyErr = io.ReadAll(x.r.Body)
	values := x.r.Header.Values("Authorization")
	address := throttled(clientAddress(x.r, x.TrustedProxies))
	x.mayBeBehindAProxy()
	// Others may sit behind the same address, in a mobile network thousands: whoever was recognised before is. For
	// everybody else a failure is taken before anything is asked or verified, and given back.
	taken := false
	var c *policy.Caller
	var err error
	switch {
	case len(values) == 0 && x.ClientCAs != nil && x.r.TLS != nil && len(x.r.TLS.PeerCertificates) > 0:
		if c, err = x.certificate(); err != nil {
			x.Throttles.failed.take(address)
		}
	case len(values) == 1 && x.Callers.Recognise(x.act, values[0]):
		c, err = x.Callers.Authenticate(x.r.Context(), values[0])
	default:
		if wait, over := x.Throttles.failed.take(address); over {
			x.Metrics.Throttled()
			x.Broker.Unauthenticated(selo.ReasonRateLimited)
			x.fail(&broker.Refusal{RetryAfter: wait, Err: &selo.Error{Reason: selo.ReasonRateLimited, Field: "authorization",
				Detail: "too many requests from this address were not authenticated"}})
			return nil
		}
		if taken = true; len(values) == 1 {
			c, err = x.Callers.Authenticate(x.r.Context(), values[0])
		} else {
			err = &selo.Error{Reason: selo.ReasonCallerUnauthenticated, Field: "authorization", Detail: "send exactly one Authorization header: Bearer and a token or an API key"}
		}
	}
	if taken && (err == nil || policy.Expired(err) || ours(err)) {
		x.Throttles.failed.giveBack(address)
	}
	if err != nil {
		x.Broker.Unauthenticated(firstReason(err))
		x.fail(err)
		return nil
	}
	if c.Kind == policy.KindEndUser {
		x.user = sha256.Sum256([]byte(c.Subject.Issuer + "\x00" + c.Subject.ID))
		if wait, over := x.Throttles.refused.over(x.user); over {
			x.Broker.Unauthenticated(selo.ReasonRateLimited) // counted: no row for each
			x.fail(&broker.Refusal{RetryAfter: wait, Err: &selo.Error{Reason: selo.ReasonRateLimited, Field: "authorization",
				Detail: "too many requests of this user were refused or repeated"}})
			return nil
		}
	}
	x.log = append(x.log, slog.String("caller", string(c.Kind)), slog.String("app", c.App))
	if c.Name != "" {
		x.log = append(x.log, slog.String("service", c.Name))
	}
	return c
}

// ours reports whether an error is no fault of who asks.
func ours(err error) bool {
	var e *selo.Error
	return !errors.As(err, &e) || e.Err != nil
}

// mayBeBehindAProxy says once that X-Forwarded-For comes and nobody is trusted to say it: if a proxy sends it, all the
// world has one address.
func (x *exchange) mayBeBehindAProxy() {
	if len(x.TrustedProxies) == 0 && len(x.r.Header.Values("X-Forwarded-For")) > 0 {
		x.proxy.Do(func() {
			x.Log.WarnContext(x.r.Context(), "a request has X-Forwarded-For, and no proxy is trusted to say it: if one is in front, name it in trusted_proxies")
		})
	}
}

// onRecord notes that the request left a row and no new session. So that an insistent user does not fill the disk there
// are not many of these; a service, which speaks for many users, has no such bound.
func (x *exchange) onRecord() {
	if x.user != (userID{}) {
		x.Throttles.refused.take(x.user)
	}
}

// certificate authenticates the service that showed a client certificate. TLS has verified it when the connection
// began, which may be long ago and by other authorities: so it is verified again.
func (x *exchange) certificate() (*policy.Caller, error) {
	shown := x.r.TLS.PeerCertificates
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	if _, err := shown[0].Verify(x509.VerifyOptions{Roots: x.ClientCAs, Intermediates: between, CurrentTime: x.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, &selo.Error{Reason: selo.ReasonCallerUnauthenticated, Field: "client certificate", Detail: "does not verify: it has expired, or is of another authority"}
	}
	return x.Callers.AuthenticateCertificate(x.r.Context(), shown[0])
}

// read decodes the body, which must be one JSON object of exactly the fields of v, or answers and returns
// false. want says so to a person, act to the audit trail.
func (x *exchange) read(c *policy.Caller, act string, v any, want string) bool {
	body, err := x.body, x.bodyErr
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return x.unreadable(c, act, &selo.Error{Reason: selo.ReasonTooLarge, Field: "body", Detail: "is longer than any request of this API"})
	}
	if err == nil {
		if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
			err = errors.New("not an object")
		} else {
			err = json.Unmarshal(body, v, json.RejectUnknownMembers(true))
		}
	}
	if err != nil {
		// The decoder's own words could repeat what was sent.
		return x.unreadable(c, act, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body", Detail: "must be a JSON object with " + want + ", each once, and nothing else"})
	}
	return true
}

// unreadable answers a body that is no request, with a row in the audit trail, and returns false.
func (x *exchange) unreadable(c *policy.Caller, act string, e *selo.Error) bool {
	x.fail(x.Broker.Refused(x.act, c, act, e, x.id))
	return false
}

func (s *server) keys(x *exchange) {
	x.w.Header().Set("Cache-Control", "public, max-age=300")
	x.send(http.StatusOK, "application/jwk-set+json", s.jwks)
}

func (s *server) document(x *exchange) {
	x.send(http.StatusOK, "application/yaml", openAPI)
}

type healthBody struct {
	Status string `json:"status"`
}

func (s *server) health(x *exchange) { x.json(http.StatusOK, healthBody{"ok"}) }

func (s *server) ready(x *exchange) {
	if err := s.Broker.Ready(x.r.Context()); err != nil {
		x.fail(&selo.Error{Reason: selo.ReasonStoreUnavailable, Detail: "the store cannot be written", Err: err})
		return
	}
	x.json(http.StatusOK, healthBody{"ready"})
}

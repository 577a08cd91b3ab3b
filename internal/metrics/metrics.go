// Package metrics counts and times what Selo does, and shows it to Prometheus at GET /metrics.
//
// No label holds personal data or grows without bound. A value of a label is shown only if it is one of a fixed
// list or was declared from the configuration (Declare). Everything else is shown as "(other)", and so is what looks
// like a CPF, declared or not. An empty product, purpose or reason stays empty: there was none.
package metrics

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"github.com/selo-id/selo"
)

// path is the only one that Handler answers.
const path = "/metrics"

// maxScrapes is how many scrapes run at once; the next is answered with 503.
const maxScrapes = 4

// Metrics is a set of metrics with a registry of its own. Make it with New. It is safe for concurrent use, and a nil
// *Metrics does nothing.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	apps, rules, products, purposes, sources, routes *vocabulary // declared
	methods, acts, outcomes, reasons, environments   *vocabulary // fixed
	calls, callOutcomes, ruleResults, fetchOutcomes  *vocabulary

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	actsTotal      *prometheus.CounterVec
	actSeconds     *prometheus.HistogramVec
	refused        *prometheus.CounterVec
	throttled      prometheus.Counter
	callsTotal     *prometheus.CounterVec
	callSeconds    *prometheus.HistogramVec
	ruleOutcomes   *prometheus.CounterVec
	dailySessions  *prometheus.GaugeVec
	dailyCeiling   *prometheus.GaugeVec
	reloads        *prometheus.CounterVec
	reloadSuccess  prometheus.Gauge
	reloadTime     prometheus.Gauge
	dropped        *prometheus.CounterVec

	readings map[string]reading
	collect  atomic.Pointer[func(set func(name string, labels map[string]string, value float64))]
}

// New returns metrics in which nothing has happened yet, with those of the Go runtime and of the process.
//
// Whoever makes Metrics has read a configuration, so it counts as the last successful reload.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.makeVocabularies()
	m.makeMetrics()
	m.readings = m.makeReadings()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), snapshot{m})
	m.reloadSuccess.Set(1)
	m.reloadTime.SetToCurrentTime()
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:            m.registry,
		ErrorHandling:       promhttp.ContinueOnError, // one metric that cannot be had must not hide the others
		DisableCompression:  true,
		AcceptedFormats:     []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText},
		MaxRequestsInFlight: maxScrapes,
	})
	return m
}

// makeMetrics makes and registers everything that is counted here.
func (m *Metrics) makeMetrics() {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: []float64{
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.requests = counter("selo_http_requests_total", "Answered requests.", "route", "method", "status")
	m.requestSeconds = histogram("selo_http_request_seconds", "How long answering a request took.", "route")
	m.actsTotal = counter("selo_acts_total", "Acts of callers and of the provider, by their first reason.", "act", "product", "purpose", "outcome", "reason")
	m.actSeconds = histogram("selo_act_seconds", "How long an act took.", "act", "product")
	m.refused = counter("selo_unauthenticated_total", "Requests that could not be attributed to any caller.", "reason")
	m.throttled = counter("selo_throttled_total", "Requests of addresses that had failed to authenticate too often.").WithLabelValues()
	m.callsTotal = counter("selo_provider_calls_total", "Calls to the provider.", "environment", "call", "outcome")
	m.callSeconds = histogram("selo_provider_call_seconds", "How long a call to the provider took.", "environment", "call")
	m.ruleOutcomes = counter("selo_rule_outcomes_total", "What rules said; observed is true of rules that are only watched.", "app", "rule", "result", "observed")
	m.dailySessions = gauge("selo_daily_sessions", "Sessions opened on this day.", "environment", "product")
	m.dailyCeiling = gauge("selo_daily_ceiling", "Sessions that may be opened on one day.", "environment", "product")
	m.reloads = counter("selo_config_reloads_total", "Times that the configuration was read again.", "outcome")
	m.reloads.WithLabelValues("ok")
	m.reloads.WithLabelValues("failed")
	m.reloadSuccess = gauge("selo_config_last_reload_success", "1 if the configuration in use is the last one that was read.").WithLabelValues()
	m.reloadTime = gauge("selo_config_last_reload_success_timestamp_seconds", "When the configuration in use was read.").WithLabelValues()
	m.dropped = counter("selo_metrics_dropped_total", "Values read at a scrape that were not shown, and readers that panicked.", "why")
}

// Declare adds values that labels may take; what was declared before stays. Of each label at most 1000 values are
// taken, and none that is longer than 128 bytes or is not plain UTF-8.
func (m *Metrics) Declare(apps, rules, products, purposes, sources []string) {
	if m == nil {
		return
	}
	m.apps.declare(apps)
	m.rules.declare(rules)
	m.products.declare(products)
	m.purposes.declare(purposes)
	m.sources.declare(sources)
}

// DeclareRoutes adds the patterns of the mux, without methods, such as /v1/sessions/{id}.
func (m *Metrics) DeclareRoutes(routes ...string) {
	if m != nil {
		m.routes.declare(routes)
	}
}

// Handler answers GET /metrics, in the text format of Prometheus or of OpenMetrics, never compressed. Any other path is
// a 404 and any other method, HEAD included, a 405. It authenticates nobody.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case r.URL.Path != path:
			http.Error(w, "the metrics are at "+path, http.StatusNotFound)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
		default:
			m.handler.ServeHTTP(w, r)
		}
	})
}

// Request counts one answered request. route is a pattern of the mux, as given to New.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	if m == nil {
		return
	}
	shown := other
	if http.StatusText(status) != "" {
		shown = strconv.Itoa(status)
	}
	route = m.routes.take(route)
	m.requests.WithLabelValues(route, m.methods.take(method), shown).Inc()
	m.requestSeconds.WithLabelValues(route).Observe(seconds(took))
}

// Act counts one act by its outcome, both as the audit trail names them. reason is the first one, "" without any;
// product and purpose are "" when they are not known.
func (m *Metrics) Act(act, product, purpose, outcome string, reason selo.Reason, took time.Duration) {
	if m == nil {
		return
	}
	act, product = m.acts.take(act), m.products.take(product)
	m.actsTotal.WithLabelValues(act, product, m.purposes.take(purpose), m.outcomes.take(outcome), m.reasons.take(string(reason))).Inc()
	m.actSeconds.WithLabelValues(act, product).Observe(seconds(took))
}

// Refused counts one request that could not be attributed to any caller.
func (m *Metrics) Refused(reason selo.Reason) {
	if m == nil {
		return
	}
	m.refused.WithLabelValues(m.reasons.take(string(reason))).Inc()
}

// Throttled counts one request that was refused because its address had failed to authenticate too often.
func (m *Metrics) Throttled() {
	if m == nil {
		return
	}
	m.throttled.Inc()
}

// ProviderCall counts one call to the provider. call is exchange, smart-auth or faces; the outcomes are listed in
// vocabulary.go.
func (m *Metrics) ProviderCall(environment, call, outcome string, took time.Duration) {
	if m == nil {
		return
	}
	environment, call = m.environments.take(environment), m.calls.take(call)
	m.callsTotal.WithLabelValues(environment, call, m.callOutcomes.take(outcome)).Inc()
	m.callSeconds.WithLabelValues(environment, call).Observe(seconds(took))
}

// RuleOutcome counts what one rule of an app said: allow, deny or error. observed is true of a rule that is only
// watched and decides nothing.
func (m *Metrics) RuleOutcome(app, rule, result string, observed bool) {
	if m == nil {
		return
	}
	m.ruleOutcomes.WithLabelValues(m.apps.take(app), m.rules.take(rule), m.ruleResults.take(result), strconv.FormatBool(observed)).Inc()
}

// Daily shows how many sessions of a product were opened on this day, and how many may be.
func (m *Metrics) Daily(environment, product string, used, ceiling int) {
	if m == nil {
		return
	}
	environment, product = m.environments.take(environment), m.products.take(product)
	m.dailySessions.WithLabelValues(environment, product).Set(float64(used))
	m.dailyCeiling.WithLabelValues(environment, product).Set(float64(ceiling))
}

// Reloaded counts that the configuration was read again, and whether it is now the one in use.
func (m *Metrics) Reloaded(ok bool) {
	switch {
	case m == nil:
	case ok:
		m.reloads.WithLabelValues("ok").Inc()
		m.reloadSuccess.Set(1)
		m.reloadTime.SetToCurrentTime()
	default:
		m.reloads.WithLabelValues("failed").Inc()
		m.reloadSuccess.Set(0)
	}
}

// seconds is never less than none: a clock may have been set back meanwhile.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }

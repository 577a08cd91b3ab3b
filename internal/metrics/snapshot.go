package metrics

import (
	"math"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a value was dropped.
const (
	dropUnknown = "unknown" // no such metric
	dropLabels  = "labels"  // other labels than the metric has
	dropValue   = "value"   // not finite, or a counter below zero
	dropTwice   = "twice"   // the same metric and labels were set again, and the later value is shown
	dropPanic   = "panic"   // not a value: the collector panicked, and what it had set by then is shown
)

// reading is a metric whose value others know and tell at a scrape.
type reading struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []label
}

type label struct {
	name   string
	values *vocabulary
}

// makeReadings makes the table of what Collect may set.
func (m *Metrics) makeReadings() map[string]reading {
	table := make(map[string]reading)
	add := func(kind prometheus.ValueType, name, help string, labels ...label) {
		names := make([]string, len(labels))
		for i, l := range labels {
			names[i] = l.name
		}
		table[name] = reading{prometheus.NewDesc(name, help, names, nil), kind, labels}
	}
	source := label{"source", m.sources}
	add(prometheus.GaugeValue, "selo_store_ready", "1 if the store could be written when it was last tried.")
	add(prometheus.GaugeValue, "selo_store_bytes", "Size of the database.")
	add(prometheus.GaugeValue, "selo_sessions_open", "Sessions that can still take a response.")
	add(prometheus.GaugeValue, "selo_issuer_keys_age_seconds", "How long ago an issuer's keys were last had.", source)
	add(prometheus.GaugeValue, "selo_issuer_keys_usable", "1 if there are keys of an issuer to verify with.", source)
	add(prometheus.CounterValue, "selo_issuer_key_fetches_total", "Times that an issuer's keys were fetched.", source, label{"outcome", m.fetchOutcomes})
	add(prometheus.CounterValue, "selo_token_cache_hits_total", "Bearer tokens found among those verified before.")
	add(prometheus.CounterValue, "selo_token_cache_misses_total", "Bearer tokens that had to be verified.")
	add(prometheus.GaugeValue, "selo_token_cache_entries", "Bearer tokens remembered as verified.")
	return table
}

// Collect has collector called at every scrape, to set what others know: the metrics of the table in snapshot.go, each
// with exactly its labels. Anything else is dropped, and counted in selo_metrics_dropped_total. It replaces the
// collector before it, for the scrapes that begin from then on; nil takes it away.
//
// The collector must be quick, and several scrapes may call it at once. If it panics, what it had set by then is shown.
func (m *Metrics) Collect(collector func(set func(name string, labels map[string]string, value float64))) {
	switch {
	case m == nil:
	case collector == nil:
		m.collect.Store(nil)
	default:
		m.collect.Store(&collector)
	}
}

// snapshot is the prometheus.Collector of the readings.
type snapshot struct{ m *Metrics }

// Describe tells the registry every reading.
func (s snapshot) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range s.m.readings {
		ch <- r.desc
	}
}

// Collect asks the collector in use.
func (s snapshot) Collect(ch chan<- prometheus.Metric) {
	collector := s.m.collect.Load()
	if collector == nil {
		return
	}
	var mu sync.Mutex
	over := false // the collector may have kept set, and call it from anywhere
	taken := make(map[string]prometheus.Metric)
	set := func(name string, labels map[string]string, value float64) {
		key, metric, why := s.m.read(name, labels, value)
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		if why == "" && taken[key] != nil {
			why = dropTwice
		}
		if why != "" {
			s.m.dropped.WithLabelValues(why).Inc()
		}
		if metric != nil {
			taken[key] = metric
		}
	}
	func() {
		defer func() {
			if recover() != nil {
				s.m.dropped.WithLabelValues(dropPanic).Inc()
			}
		}()
		(*collector)(set)
	}()
	mu.Lock()
	defer mu.Unlock()
	over = true
	for _, metric := range taken {
		ch <- metric
	}
}

// read makes a metric of what was set, with a key that is the same for the same series, or says why it cannot.
func (m *Metrics) read(name string, labels map[string]string, value float64) (key string, metric prometheus.Metric, why string) {
	r, ok := m.readings[name]
	if !ok {
		return "", nil, dropUnknown
	}
	if len(labels) != len(r.labels) {
		return "", nil, dropLabels
	}
	values := make([]string, len(r.labels))
	for i, l := range r.labels {
		given, ok := labels[l.name]
		if !ok {
			return "", nil, dropLabels
		}
		values[i] = l.values.take(given)
	}
	if math.IsNaN(value) || math.IsInf(value, 0) || r.kind == prometheus.CounterValue && value < 0 {
		return "", nil, dropValue
	}
	metric, err := prometheus.NewConstMetric(r.desc, r.kind, value, values...)
	if err != nil {
		return "", nil, dropLabels
	}
	return name + "\x00" + strings.Join(values, "\x00"), metric, ""
}

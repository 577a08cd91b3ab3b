package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selo-id/selo/internal/metrics"
)

// serving is an API that runs, whose parts may be replaced while it does.
type serving struct {
	log     *slog.Logger
	metrics *metrics.Metrics
	first   *Config // of the addresses, which stay as they are
	now     atomic.Pointer[parts]
	stop    context.CancelFunc // ends what runs beside the requests of now
	running sync.WaitGroup
}

// ServeHTTP answers with the parts of this moment. A request is answered by those that it began with.
func (s *serving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.now.Load().handler.ServeHTTP(w, r)
}

// tls returns what the listener needs, nil for plain HTTP; each connection gets the certificates of its moment.
func (s *serving) tls() *tls.Config {
	if s.now.Load().tls == nil {
		return nil
	}
	// A resumed connection would have the certificates of an earlier moment.
	return &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return s.now.Load().tls, nil
	}}
}

// start makes p the parts of this moment.
func (s *serving) start(beside, ctx context.Context, p *parts) {
	for _, w := range p.warnings {
		s.log.WarnContext(ctx, w)
	}
	// Requests that began with the parts before are counted by those: they go on until the last can have ended.
	if s.stop != nil {
		time.AfterFunc(readTimeout+writeTimeout, s.stop)
	}
	var mine context.Context
	mine, s.stop = context.WithCancel(beside) //nolint:gosec // G118: the next start calls it, and beside ends the last
	s.running.Go(func() { p.broker.Run(mine) })
	s.running.Go(func() { p.callers.Run(mine) })
	s.metrics.Collect(p.collect)
	s.now.Store(p)
}

// reload reads the configuration again. One with a mistake changes nothing.
func (s *serving) reload(beside, ctx context.Context) {
	next, err := s.read(ctx)
	s.metrics.Reloaded(err == nil)
	if err != nil {
		s.log.ErrorContext(ctx, "the configuration was not reloaded; the one before stays in force", "error", err)
		return
	}
	s.start(beside, ctx, next)
	s.log.InfoContext(ctx, "the configuration was reloaded")
}

func (s *serving) read(ctx context.Context) (*parts, error) {
	cfg, err := readConfig(s.first.file)
	if err != nil {
		return nil, err
	}
	var f faults
	for _, fixed := range []struct{ field, before, now string }{
		{"listen", s.first.Listen, cfg.Listen},
		{"metrics_listen", s.first.MetricsListen, cfg.MetricsListen},
		{"database", s.first.path(s.first.Database), cfg.path(cfg.Database)},
	} {
		if fixed.before != fixed.now {
			f.add(fixed.field, "cannot change while the program runs; start it anew")
		}
	}
	if (s.first.TLS == nil) != (cfg.TLS == nil) {
		f.add("tls", "cannot come or go while the program runs; start it anew")
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return cfg.build(ctx, s.log, s.metrics, s.now.Load())
}

// collect reads the values that are looked at when somebody asks.
func (p *parts) collect(set func(name string, labels map[string]string, value float64)) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	set("selo_store_ready", nil, number(p.broker.Ready(ctx) == nil))
	if stats, err := p.store.Stats(ctx); err == nil {
		set("selo_store_bytes", nil, float64(stats.DatabaseBytes))
		set("selo_sessions_open", nil, float64(stats.OpenSessions))
	}
	for _, k := range p.callers.Keys() {
		source := map[string]string{"source": k.Source}
		set("selo_issuer_keys_usable", source, number(k.Usable))
		set("selo_issuer_keys_age_seconds", source, k.Age.Seconds())
		set("selo_issuer_key_fetches_total", map[string]string{"source": k.Source, "outcome": "failed"}, float64(k.Failures))
		set("selo_issuer_key_fetches_total", map[string]string{"source": k.Source, "outcome": "ok"}, float64(k.Fetches-k.Failures))
	}
	hits, misses, entries := p.callers.CacheStats()
	set("selo_token_cache_hits_total", nil, float64(hits))
	set("selo_token_cache_misses_total", nil, float64(misses))
	set("selo_token_cache_entries", nil, float64(entries))
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

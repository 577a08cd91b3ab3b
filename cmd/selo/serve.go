package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/selo-id/selo/internal/metrics"
)

// Limits of every HTTP server that this program runs.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	shutdownTimeout   = 10 * time.Second
	maxHeaderBytes    = 32 << 10
)

type serveCommand struct {
	Config string `required:"" placeholder:"selo.yaml" help:"Configuration; see selo.example.yaml." type:"path"`
}

// Run serves the API until ctx ends, then finishes the requests that are under way. SIGHUP reads the configuration
// again.
func (cmd *serveCommand) Run(ctx context.Context, std streams) error {
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(std.err, nil))
	return cfg.serve(ctx, log, nil, std.hangup)
}

// serve runs the API that cfg describes, on the listeners of API and metrics if there are some already, and reads its file
// again whenever reload says so.
func (c *Config) serve(ctx context.Context, log *slog.Logger, listeners []net.Listener, reload <-chan os.Signal) (err error) {
	s := &serving{log: log, metrics: metrics.New(), first: c}
	p, err := c.build(ctx, log, s.metrics, nil)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	defer func() { err = errors.Join(err, p.store.Close()) }()
	if listeners == nil {
		if listeners, err = c.listen(ctx); err != nil {
			return err
		}
	}
	// What runs beside the requests outlives the servers, so that what the last ones did is counted too.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer s.running.Wait()
	defer stop()
	s.start(beside, ctx, p)
	s.running.Go(func() {
		for {
			select {
			case <-reload:
				s.reload(beside, ctx)
			case <-beside.Done():
				return
			}
		}
	})
	servers := []func(context.Context) error{func(ctx context.Context) error {
		return serveHTTP(ctx, listeners[0], s, log, s.tls())
	}}
	if len(listeners) > 1 {
		servers = append(servers, func(ctx context.Context) error {
			return serveHTTP(ctx, listeners[1], s.metrics.Handler(), log, nil)
		})
	}
	return serveAll(ctx, servers...)
}

// listen opens the listeners of the API and, if there is to be one, of the metrics.
func (c *Config) listen(ctx context.Context) ([]net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	all := []net.Listener{l}
	if c.MetricsListen != "" {
		m, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.MetricsListen)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("metrics_listen: %w", err), l.Close())
		}
		all = append(all, m)
	}
	return all, nil
}

// serveAll runs servers until ctx ends or one of them fails, which ends the others.
func serveAll(ctx context.Context, servers ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make(chan error, len(servers))
	for _, serve := range servers {
		go func() {
			defer stop()
			errs <- serve(ctx)
		}()
	}
	var all []error
	for range servers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// serveHTTP serves on l, with TLS unless that is nil, until ctx ends, then waits for the requests under way.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger, tls *tls.Config) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		TLSConfig:         tls,

		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like everything else
	}
	ended := make(chan error, 1)
	go func() {
		if tls != nil {
			ended <- server.ServeTLS(l, "", "")
		} else {
			ended <- server.Serve(l)
		}
	}()
	log.InfoContext(ctx, "listening", "address", l.Addr().String(), "tls", tls != nil)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(finish); err != nil {
		return errors.Join(fmt.Errorf("stopping: %w", err), server.Close())
	}
	log.InfoContext(finish, "stopped")
	return nil
}

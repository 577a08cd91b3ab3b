package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/selo-id/selo/internal/api"
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

// Run serves the API until ctx ends, then finishes the requests that are under way.
func (cmd *serveCommand) Run(ctx context.Context, std streams) error {
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(std.err, nil))
	return cfg.serve(ctx, log, nil)
}

// serve runs the API that cfg describes, on l if that is not nil.
func (c *Config) serve(ctx context.Context, log *slog.Logger, l net.Listener) (err error) {
	p, err := c.build(ctx, log)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	defer func() { err = errors.Join(err, p.store.Close()) }()
	for _, w := range p.warnings {
		log.WarnContext(ctx, w)
	}
	handler, err := api.New(api.Config{Broker: p.broker, Callers: p.callers, ReceiptKeys: p.receiptKey.Public(), Log: log})
	if err != nil {
		return err
	}
	if l == nil {
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen); err != nil {
			return err
		}
	}
	// The counter outlives the server, so that refusals of its last requests are counted too.
	counting, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	var counter sync.WaitGroup
	counter.Go(func() { p.broker.Run(counting) })
	defer counter.Wait()
	defer stopCounting()
	return serveHTTP(ctx, l, handler, log, p.tls)
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

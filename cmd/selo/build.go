package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/api"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/metrics"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
)

// listener refuses to send tokens over plain HTTP to other machines unless told to. It returns nil for plain
// HTTP.
func (c *Config) listener(f *faults) *tls.Config {
	host, port, err := net.SplitHostPort(c.Listen)
	if _, notANumber := strconv.ParseUint(port, 10, 16); err != nil || notANumber != nil {
		f.add("listen", "must be host:port, such as 127.0.0.1:8401")
	}
	if c.TLS != nil {
		if c.InsecureHTTP {
			f.add("insecure_http", "contradicts tls")
		}
		pair, err := tls.LoadX509KeyPair(c.path(c.TLS.CertFile), c.path(c.TLS.KeyFile))
		if err != nil {
			f.add("tls", "cert_file and key_file do not load: %v", withoutPath(err))
		}
		cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true, NextProtos: []string{"h2", "http/1.1"}}
		if c.TLS.ClientCAFile != "" {
			pem, err := os.ReadFile(c.path(c.TLS.ClientCAFile))
			cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
			switch {
			case err != nil:
				f.add("tls.client_ca_file", "%v", withoutPath(err))
			case !cfg.ClientCAs.AppendCertsFromPEM(pem):
				f.add("tls.client_ca_file", "holds no certificate in PEM")
			}
		}
		return cfg
	}
	if err == nil && !c.InsecureHTTP && !isLoopback(host) {
		f.add("listen", "is not a loopback address: set tls, or insecure_http if something in front does TLS")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// parts is everything that a configuration describes, checked and opened.
type parts struct {
	handler   http.Handler
	throttles *api.Throttles
	broker    *broker.Broker
	callers   *policy.Authenticator
	store     *store.Store
	keeper    *seal.Keeper
	tls       *tls.Config // nil for plain HTTP
	warnings  []string
}

// build checks the whole configuration, reports every mistake in it at once, and opens the store, or takes over that
// of the parts that it replaces.
func (c *Config) build(ctx context.Context, log *slog.Logger, m *metrics.Metrics, before *parts) (*parts, error) {
	f := slices.Clone(c.unknown)
	p := &parts{tls: c.listener(&f)}
	cfg := broker.Config{
		Issuer: c.Issuer, Log: log, Metrics: m,
		Providers: c.providers(&f, log, m), Webhooks: c.webhooks(&f),
		TokenLifetime: f.duration("token_lifetime", c.TokenLifetime),
		RespondWithin: f.duration("respond_within", c.RespondWithin),
	}
	if c.MaxAttempts != nil {
		if cfg.MaxAttempts = *c.MaxAttempts; cfg.MaxAttempts == 0 {
			f.add("max_attempts", "must be between 1 and 100")
		}
	}
	cfg.Limits, cfg.Daily = c.limits(&f)
	var apps []policy.App
	cfg.Apps, apps = c.apps(&f)
	of := policy.Config{Apps: apps, Log: log}
	p.throttles = api.NewThrottles(time.Now)
	if before != nil {
		of.Previous, p.throttles = before.callers, before.throttles
	}
	cfg.LaxKeys = c.StrictKeys != nil && !*c.StrictKeys
	if !c.sealed {
		p.keeper = c.keeper(ctx, &f)
	}
	var err error
	if p.callers, err = policy.New(ctx, of); err != nil {
		f.join(err)
	}
	if cfg.ReceiptKey, err = c.receiptKey(); err != nil {
		f.join(err)
	}
	proxies, err := api.ParseTrustedProxies(c.TrustedProxies)
	if err != nil {
		f.add("trusted_proxies", "%v", err)
	}
	if c.Database == "" {
		f.add("database", "is required: the path of the SQLite file")
	}
	f.join(broker.Check(cfg))
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	if before != nil {
		p.store = before.store
	} else if p.store, err = store.Open(ctx, c.path(c.Database)); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	cfg.Store = p.store
	p.callers.UseStore(p.store)
	if c.sealed {
		cfg.Keys, cfg.Peppers = keyring.Unopened()
	} else {
		cfg.Keys, cfg.Peppers, err = keyring.Open(ctx, p.store, p.keeper)
	}
	if err == nil {
		p.broker, err = broker.New(ctx, cfg)
	}
	if err == nil {
		p.handler, err = api.New(api.Config{Broker: p.broker, Callers: p.callers, ReceiptKeys: cfg.ReceiptKey.Public(),
			TrustedProxies: proxies, ClientCAs: p.clientCAs(), Throttles: p.throttles, Metrics: m, Log: log})
	}
	if err != nil {
		if before == nil {
			err = errors.Join(err, p.store.Close())
		}
		return nil, err
	}
	c.declare(m, p.callers)
	if before == nil {
		for product, most := range cfg.Daily {
			for _, app := range cfg.Apps {
				m.Daily(string(app.Environment), product, 0, most)
			}
		}
	}
	p.warnings = c.looseFiles()
	return p, nil
}

func (p *parts) clientCAs() *x509.CertPool {
	if p.tls == nil {
		return nil
	}
	return p.tls.ClientCAs
}

// declare tells the metrics every name that may be a label.
func (c *Config) declare(m *metrics.Metrics, callers *policy.Authenticator) {
	var apps, rules, products, purposes, sources []string
	for _, a := range c.Apps {
		apps = append(apps, a.Name)
		products = append(products, a.Products...)
		purposes = slices.AppendSeq(purposes, maps.Keys(a.Purposes))
		for _, r := range a.Rules {
			rules = append(rules, r.Name)
		}
	}
	for _, k := range callers.Keys() {
		sources = append(sources, k.Source)
	}
	m.Declare(apps, rules, products, purposes, sources)
}

func (c *Config) receiptKey() (*selo.ReceiptKey, error) {
	if c.ReceiptKeyFile == "" {
		return nil, errors.New("receipt_key_file: is required (openssl genpkey -algorithm ed25519)")
	}
	data, err := os.ReadFile(c.path(c.ReceiptKeyFile))
	if err != nil {
		return nil, fmt.Errorf("receipt_key_file: %w", withoutPath(err))
	}
	defer clear(data)
	key, err := selo.ParseReceiptKey(data)
	if err != nil {
		return nil, fmt.Errorf("receipt_key_file: %w", err)
	}
	return key, nil
}

// looseFiles warns of secrets that other users of the machine can read.
func (c *Config) looseFiles() (warnings []string) {
	files := []string{c.ReceiptKeyFile, c.Database}
	if c.TLS != nil {
		files = append(files, c.TLS.KeyFile)
	}
	keks := c.PreviousKEKs
	if c.KEK != nil { // sealed, nobody has asked for one
		keks = append([]KEKConfig{*c.KEK}, keks...)
	}
	for _, k := range keks {
		files = append(files, k.File)
		if k.PKCS11 != nil {
			files = append(files, k.PKCS11.PINFile)
		}
	}
	for _, k := range c.Caf {
		files = append(files, k.APITokenFile)
	}
	for _, a := range c.Apps {
		if a.Introspection != nil {
			files = append(files, a.Introspection.ClientSecretFile)
		}
		if a.CPFLookup != nil {
			files = append(files, a.CPFLookup.SecretFile)
		}
	}
	for _, w := range c.Webhooks {
		files = append(files, w.SecretFile)
	}
	for _, file := range files {
		if info, err := os.Stat(c.path(file)); file != "" && err == nil && info.Mode().Perm()&0o077 != 0 {
			warnings = append(warnings, fmt.Sprintf("%s: has mode %04o; it is its owner's alone (chmod 600)", file, info.Mode().Perm()))
		}
	}
	return warnings
}

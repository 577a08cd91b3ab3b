package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"

	"github.com/selo-id/selo/internal/broker"
)

// running is a server in this process whose configuration a test changes.
type running struct {
	t      *testing.T
	cfg    *Config
	url    string
	hangup chan os.Signal
	log    *lines
	client *http.Client
}

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more *sync.Cond
}

func newLines() *lines {
	l := &lines{}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.more.Broadcast()
	_, _ = transcript.Log().Write(b)
	return l.text.Write(b)
}

// await returns when a line says what for so many times.
func (l *lines) await(what string, times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for strings.Count(l.text.String(), what) < times {
		l.more.Wait()
	}
}

func startServer(t *testing.T, change func(*Config)) *running {
	t.Helper()
	r := &running{t: t, hangup: make(chan os.Signal), log: newLines()}
	r.cfg = writeDemo(t, change)
	r.cfg.file = filepath.Join(r.cfg.dir, "selo.yaml")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + l.Addr().String()
	if r.cfg.TLS != nil {
		r.url = "https://" + l.Addr().String()
	}
	r.client = transcript.Client(&http.Client{Transport: &http.Transport{}})
	r.write(nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- r.cfg.serve(ctx, slog.New(slog.NewJSONHandler(r.log, nil)), []net.Listener{l}, r.hangup)
	}()
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r.log.await(`"listening"`, 1)
	return r
}

// write writes the configuration file, changed.
func (r *running) write(change func(*Config)) {
	r.t.Helper()
	next := *r.cfg
	if change != nil {
		change(&next)
	}
	text, err := yaml.Marshal(next)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.cfg.file, text, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) open(purpose string) (status int, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "POST", r.url+"/v1/sessions",
		strings.NewReader(`{"product":"caf/face-liveness","purpose":"`+purpose+`","subject":"customer-1","cpf":"52998224725"}`))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.cfg.TLS == nil {
		req.Header.Set("Authorization", "Bearer "+readSecret(r.t, filepath.Join(r.cfg.dir, serviceKeyFile)))
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// A reload takes the new rules, drops no request and leaves nothing behind; a file with a mistake changes nothing.
func TestReload(t *testing.T) {
	r := startServer(t, nil)
	if status, body := r.open("login"); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	closed := func(c *Config) {
		c.Apps[0].Rules = append([]RuleConfig{{Name: "closed", Deny: "true"}}, c.Apps[0].Rules...)
		c.Apps[0].RuleCases = nil
	}
	apps := r.cfg.Apps // which closed must not change in place
	change := func(f func(*Config)) {
		r.cfg.Apps = append([]AppConfig(nil), apps...)
		r.write(f)
	}
	for i, mistake := range []func(*Config){
		func(c *Config) { c.Apps[0].Rules = []RuleConfig{{Name: "typo", Allow: "claims.rolls == 'x'"}} },
		func(c *Config) { c.Database = "another.db" },
		func(c *Config) { c.Listen = "127.0.0.1:1" },
		func(c *Config) { c.Issuer = "" },
		func(c *Config) { c.KEK = &KEKConfig{File: "pepper-of-nobody"} },
	} {
		change(mistake)
		r.hangup <- syscall.SIGHUP
		r.log.await("was not reloaded", i+1)
		if status, body := r.open("login"); status != http.StatusCreated {
			t.Fatalf("after mistake %d: %d %s", i+1, status, body)
		}
	}
	if err := os.WriteFile(r.cfg.file, []byte("listen: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hangup <- syscall.SIGHUP
	r.log.await("was not reloaded", 6)

	change(closed)
	r.hangup <- syscall.SIGHUP
	r.log.await("was reloaded", 1)
	if status, body := r.open("login"); status != http.StatusForbidden || !strings.Contains(body, "rule_denied") {
		t.Errorf("with the new rule: %d %s", status, body)
	}
	change(nil)
	r.hangup <- syscall.SIGHUP
	r.log.await("was reloaded", 2)

	// Requests that run meanwhile are answered, every one.
	before := runtime.NumGoroutine()
	var work sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, body := r.open("login"); status != http.StatusCreated {
					t.Errorf("%d %s", status, body)
					return
				}
			}
		})
	}
	const reloads = 20
	for i := range reloads {
		r.hangup <- syscall.SIGHUP
		r.log.await("was reloaded", i+3)
	}
	close(stop)
	work.Wait()
	r.client.CloseIdleConnections()
	// What runs beside an earlier configuration ends some time after it; there are two for each.
	if after := runtime.NumGoroutine(); after > before+2*reloads+10 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

// authority makes client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, file string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: file}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) issue(t *testing.T, name string, usage x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A service shows a client certificate instead of an API key, over real TLS.
func TestMutualTLS(t *testing.T) {
	var ours, theirs *authority
	var pool *x509.CertPool
	r := startServer(t, func(c *Config) {
		pool = writeCertificate(t, c.dir)
		ours, theirs = newAuthority(t, filepath.Join(c.dir, "client-ca.pem")), newAuthority(t, filepath.Join(c.dir, "other-ca.pem"))
		c.TLS = &TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem", ClientCAFile: "client-ca.pem"}
		// While the server is not running yet; it could as well.
		plain := *c
		plain.TLS = nil
		p, err := plain.build(t.Context(), testLog(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.broker.AddCredential(t.Context(), policy.LocalOperator(), broker.NewCredential{Kind: store.CredentialService, Name: "erp",
			App: demoApp, Scopes: []string{policy.ScopeSessionsOpen}, Certificate: "dns:erp.bank.test", ExpiresAt: time.Now().Add(time.Hour)}, ""); err != nil {
			t.Fatal(err)
		}
		if err := p.store.Close(); err != nil {
			t.Fatal(err)
		}
	})
	with := func(cert *tls.Certificate) *http.Client {
		cfg := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		if cert != nil {
			// Whatever authorities the server names: an attacker does not ask.
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		return transcript.Client(&http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}})
	}
	erp := with(ours.issue(t, "erp.bank.test", x509.ExtKeyUsageClientAuth))
	r.client = erp
	if status, body := r.open("login"); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	// Bug: whoever was not authenticated from the same address shut out a service that shows a certificate.
	r.client = with(nil)
	for range 70 {
		if status, _ := r.open("login"); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			t.Fatalf("nobody: %d", status)
		}
	}
	r.client.CloseIdleConnections()
	r.client = erp
	if status, body := r.open("login"); status != http.StatusCreated {
		t.Errorf("after others failed from its address: %d %s", status, body)
	}
	for name, cert := range map[string]*tls.Certificate{"nobody": nil, "another name": ours.issue(t, "crm.bank.test", x509.ExtKeyUsageClientAuth)} {
		r.client = with(cert)
		if status, body := r.open("login"); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			t.Errorf("%s: %d %s", name, status, body)
		}
		r.client.CloseIdleConnections()
	}
	for name, cert := range map[string]*tls.Certificate{"another authority": theirs.issue(t, "erp.bank.test", x509.ExtKeyUsageClientAuth),
		"a server's certificate": ours.issue(t, "erp.bank.test", x509.ExtKeyUsageServerAuth)} {
		client := with(cert)
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: %d, want the handshake refused", name, resp.StatusCode)
		}
		client.CloseIdleConnections()
	}
	// An authority that was taken away counts no more, on a connection of before either.
	r.write(func(c *Config) {
		c.TLS = &TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem", ClientCAFile: "other-ca.pem"}
	})
	r.hangup <- syscall.SIGHUP
	r.log.await("was reloaded", 1)
	r.client = erp
	if status, body := r.open("login"); status != http.StatusUnauthorized {
		t.Errorf("after its authority was taken away: %d %s", status, body)
	}
	erp.CloseIdleConnections()
}

// The metrics of a server are on a listener of their own, and name no one.
func TestMetricsListener(t *testing.T) {
	cfg := writeDemo(t, func(c *Config) { c.Listen, c.MetricsListen = "127.0.0.1:0", "127.0.0.1:0" })
	ls, err := cfg.listen(t.Context())
	if err != nil || len(ls) != 2 {
		t.Fatalf("%d listeners, %v", len(ls), err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	log := newLines()
	go func() { ended <- cfg.serve(ctx, slog.New(slog.NewJSONHandler(log, nil)), ls, nil) }()
	log.await(`"listening"`, 2)
	client := transcript.Client(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	api, metrics := "http://"+ls[0].Addr().String(), "http://"+ls[1].Addr().String()
	if status, _ := get(api + "/v1/sessions/52998224725"); status != http.StatusUnauthorized {
		t.Errorf("a session without a credential: %d", status)
	}
	status, text := get(metrics + "/metrics")
	for _, want := range []string{
		`selo_http_requests_total{method="GET",route="/v1/sessions/{id}",status="401"} 1`,
		`selo_unauthenticated_total{reason="caller_unauthenticated"} 1`,
		"selo_store_ready 1", "selo_sessions_open 0", `selo_daily_ceiling{environment="sandbox",product="caf/face-liveness"} 100000`,
		"selo_config_last_reload_success 1", "selo_token_cache_entries 0",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%d, without %s", status, want)
		}
	}
	if strings.Contains(text, "52998224725") || strings.Contains(text, "selo_metrics_dropped_total") {
		t.Error("a path is in the metrics, or something was dropped")
	}
	if status, _ := get(api + "/metrics"); status != http.StatusNotFound {
		t.Errorf("/metrics of the API: %d", status)
	}
	if status, _ := get(metrics + "/v1/sessions"); status != http.StatusNotFound {
		t.Errorf("/v1/sessions of the metrics: %d", status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

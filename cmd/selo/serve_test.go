package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/transcript"
)

// writeDemo writes a complete configuration into a folder and returns it.
func writeDemo(t *testing.T, change func(*Config)) *Config {
	t.Helper()
	dir := t.TempDir()
	cfg, err := demoConfig(dir, "127.0.0.1:0", "", demoURLs{Sandbox: "http://127.0.0.1:1", IdP: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.demoCredentials(t.Context()); err != nil {
		t.Fatal(err)
	}
	plantSecrets(t, dir)
	if change != nil {
		change(cfg)
	}
	return cfg
}

func testLog() *slog.Logger { return slog.New(slog.NewJSONHandler(transcript.Log(), nil)) }

// A request that is under way when the process is told to stop gets its answer.
func TestGracefulShutdown(t *testing.T) {
	cfg := writeDemo(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cfg.serve(ctx, testLog(), []net.Listener{l}, nil) }()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	key := readSecret(t, filepath.Join(cfg.dir, serviceKeyFile))
	body := `{"product":"caf/face-liveness","purpose":"login","subject":"customer-1","cpf":"52998224725"}`
	fmt.Fprintf(conn, "POST /v1/sessions HTTP/1.1\r\nHost: selo\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", key, len(body))
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	stop() // the handler is waiting for the body now
	fmt.Fprint(conn, body)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("status %d", resp.StatusCode)
	}
	if _, err := io.Copy(transcript.ReplyTo(io.Discard), resp.Body); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	cfg := writeDemo(t, nil)
	pool := writeCertificate(t, cfg.dir)
	cfg.TLS = &TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cfg.serve(ctx, testLog(), []net.Listener{l}, nil) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Get("https://" + l.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || resp.TLS == nil || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("status %d, TLS %+v", resp.StatusCode, resp.TLS)
	}
	client.CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "selo test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// What works and should not stay so is logged when the server starts.
func TestWarningsAreLogged(t *testing.T) {
	cfg := writeDemo(t, nil)
	p, err := cfg.build(t.Context(), testLog(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.broker.AddKey(t.Context(), policy.LocalOperator(), broker.NewKey{ClientID: randomHex(12), Environment: selo.EnvironmentSandbox,
		Products: []string{"caf/face-liveness"}}, []byte(transcript.Secret("a short secret")), ""); err != nil {
		t.Fatal(err)
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(cfg.dir, cfg.ReceiptKeyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cfg.serve(ctx, slog.New(slog.NewJSONHandler(transcript.LogTo(&log), nil)), []net.Listener{l}, nil)
	}()
	if err := waitReady(ctx, "http://"+l.Addr().String()+"/readyz"); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"shorter than 32 bytes", "receipt-key.pem: has mode 0644"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("not logged: %s\n%s", want, log.String())
		}
	}
}

// A client that sends nothing does not hold a connection for ever.
func TestSlowClients(t *testing.T) {
	log := testLog()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serveHTTP(ctx, newOnePipe(there), http.NotFoundHandler(), log, nil) }()
		start := time.Now()
		if _, err := here.Write([]byte("GET / HTTP/1.1\r\nHost: ")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, here); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > readHeaderTimeout+time.Second {
			t.Errorf("held for %v", took)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// onePipe is a listener with one connection.
type onePipe struct {
	conn chan net.Conn
	once sync.Once
}

func newOnePipe(c net.Conn) *onePipe {
	p := &onePipe{conn: make(chan net.Conn, 1)}
	p.conn <- c
	return p
}

func (p *onePipe) Accept() (net.Conn, error) {
	if c, ok := <-p.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p *onePipe) Close() error   { p.once.Do(func() { close(p.conn) }); return nil }
func (p *onePipe) Addr() net.Addr { return &net.TCPAddr{} }

// All mistakes of a configuration are reported at once, each under the name of its field.
func TestEveryMistakeAtOnce(t *testing.T) {
	cfg := writeDemo(t, func(c *Config) {
		c.Listen = "0.0.0.0:8401"
		c.Issuer = ""
		c.Database = ""
		c.ReceiptKeyFile = "nowhere.pem"
		c.TokenLifetime = "soon"
		c.RespondWithin = "3h"
		c.MaxAttempts = new(0)
		c.Limits = &LimitsConfig{Subject: []string{"many"}, CPF: []string{"5/1h", "5/tomorrow"}, OpenSessions: new(0), Daily: map[string]int{"caf/palm": 5}}
		c.TrustedProxies = []string{"0.0.0.0/0"}
		c.Apps[0].CPFLookup = &LookupConfig{URL: "http://backend.bank.test/cpf", SecretFile: "kek"}
		c.Apps[0].Introspection = &IntrospectionConfig{URL: "https://id.bank.test/introspect", ClientID: "selo", ClientSecretFile: "nowhere"}
		c.Apps[0].Limits = map[string][]string{"caf/face-liveness": {"5"}}
		c.Apps[0].Claims = map[string]ClaimConfig{"roles": {Type: "list"}}
		c.Apps[1].Rules = []RuleConfig{{Name: "typo", Allow: "claims.rolls == 'x'"}, {Name: "unguarded", Allow: "claims.acr == '2' || claims.azp == 'x'"}}
		c.Apps[1].Purposes["new-device"] = PurposeConfig{SignUp: true}
		c.KEK = &KEKConfig{File: "kek", Env: "SELO_KEK"}
		c.Apps[0].Environment = "production"
		c.Apps[0].Audience = ""
		c.Apps[0].Purposes["transfer"] = PurposeConfig{Assurance: "certain"}
	})
	_, err := cfg.build(t.Context(), testLog(), nil, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	text := transcript.Error(err).Error()
	for _, want := range []string{
		"listen: is not a loopback address", "issuer: is required", "database: is required", "receipt_key_file: ",
		"token_lifetime: must be a duration", "respond_within: must be between", "max_attempts: ", "limits.subject[0]: ", "limits.cpf[1]: ", "limits.open: ", "limits.daily: ", "trusted_proxies: [0]",
		"apps[0].cpf_lookup: url must be https", "apps[0].introspection.client_secret_file: ", "apps[0].limits.caf/face-liveness[0]: ", "claims.roles",
		"rules[0].allow: ", "rules[1].allow: ", "sign_up: ",
		"kek: the KEK needs exactly one of", "audience", "purposes.transfer.assurance: unknown assurance",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not reported: %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Plain HTTP leaves the machine only when somebody said so.
func TestListener(t *testing.T) {
	for _, one := range []struct {
		listen   string
		insecure bool
		tls      bool
		ok       bool
	}{
		{"127.0.0.1:8401", false, false, true},
		{"[::1]:8401", false, false, true},
		{"localhost:8401", false, false, true},
		{"0.0.0.0:8401", false, false, false},
		{":8401", false, false, false},
		{"selo.internal:8401", false, false, false},
		{"0.0.0.0:8401", true, false, true},
		{"0.0.0.0:8401", false, true, true}, // with the certificate below
		{"0.0.0.0:8401", true, true, false},
		{"8401", true, false, false},
	} {
		var f faults
		c := &Config{Listen: one.listen, InsecureHTTP: one.insecure}
		if one.tls {
			c.dir = t.TempDir()
			writeCertificate(t, c.dir)
			c.TLS = &TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem"}
		}
		if c.listener(&f); (len(f) == 0) != one.ok {
			t.Errorf("%+v: %v", one, f)
		}
	}
}

// selo.example.yaml is a configuration that works once its files exist, and it explains every field.
func TestExampleConfig(t *testing.T) {
	text, err := os.ReadFile("../../selo.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	receiptKey, err := selo.GenerateReceiptKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := receiptKey.PEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"selo.yaml":   string(text),
		"secrets/kek": transcript.Secret(randomHex(32)), "secrets/receipt-key.pem": string(key),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := readConfig(filepath.Join(dir, "selo.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := cfg.build(t.Context(), testLog(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.warnings) != 0 {
		t.Errorf("warnings: %v", p.warnings)
	}
	if err := p.store.Close(); err != nil {
		t.Error(err)
	}

	// The fields that are commented out must be real as well.
	uncommented := regexp.MustCompile(`(?m)^( *)#([a-z])`).ReplaceAllString(string(text), "$1$2")
	path := filepath.Join(dir, "all.yaml")
	if err := os.WriteFile(path, []byte(uncommented), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfig(path); err != nil {
		t.Errorf("with every field: %v", err)
	}
	for _, tag := range yamlTags(reflect.TypeOf(Config{})) {
		if !regexp.MustCompile(`(?m)(^|[ #{])` + tag + `:`).Match(text) {
			t.Errorf("%s is not explained", tag)
		}
	}
}

func yamlTags(typ reflect.Type) (tags []string) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return yamlTags(typ.Elem())
	case reflect.Struct:
		for i := range typ.NumField() {
			if tag, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ","); tag != "" {
				tags = append(tags, tag)
				tags = append(tags, yamlTags(typ.Field(i).Type)...)
			}
		}
	}
	return tags
}

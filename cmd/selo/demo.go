package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/store"
)

const (
	demoApp      = "demo-app"
	demoAudience = "demo-app"
	demoNewApp   = "demo-exchanged" // whose tokens the provider makes
	demoPolicy   = "demo-policy"
	demoWebhook  = "sandbox"

	demoSessions  = 1000 // of one user in a minute: a demo is there to be played with
	demoCheckRate = 200

	// Names, not addresses: they are in the database and must outlive the ports.
	demoIssuer        = "https://sign-in.demo.invalid"
	demoReceiptIssuer = "https://selo.demo.invalid"

	serviceKeyFile    = "service-api-key"
	newServiceKeyFile = "service-api-key-exchanged"
	operatorKeyFile   = "operator-api-key"
	lookupSecretFile  = "cpf-lookup"
	webhookSecretFile = "webhook-secret"
	apiTokenFile      = "caf-api-token"
	demoConfigFile    = "selo.yaml"
	sandboxFile       = "sandbox.yaml"
)

type demoCommand struct {
	Dir        string `placeholder:"DIR" help:"Keep configuration, keys and database in DIR, and go on with them next time." type:"path"`
	ListenBase string `name:"listen-base" default:"127.0.0.1:8401" placeholder:"HOST:PORT" help:"API address (${default}); the sandbox, the sign-in and the metrics take the next three ports. Port 0 picks free ones."`
	JSON       bool   `name:"json" help:"Print one line of JSON with the base URLs instead of the guide."`
}

// demoURLs are the base URLs of the servers.
type demoURLs struct {
	API     string `json:"api"`
	Sandbox string `json:"sandbox"`
	IdP     string `json:"idp"`
	Metrics string `json:"metrics"`
}

// Run serves all of them until ctx ends. What it runs is the same server as serve, from a configuration
// file that it writes.
func (cmd *demoCommand) Run(ctx context.Context, std streams) (err error) {
	listeners, urls, err := listenFour(ctx, cmd.ListenBase)
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range listeners {
			_ = l.Close() // closed already, unless something failed before it was served
		}
	}()
	dir := cmd.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "selo-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := prepareDir(dir); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	cfg, err := demoConfig(dir, listeners[0].Addr().String(), listeners[3].Addr().String(), urls)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := cfg.demoCredentials(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	box := sandbox.Config{Log: log}
	for _, w := range cfg.Webhooks {
		secret, err := readSecretFile(cfg.path(w.SecretFile))
		if err != nil {
			return err
		}
		box.Webhooks = append(box.Webhooks, sandbox.Webhook{URL: urls.API + "/v1/webhooks/caf/" + w.Name, Secret: secret})
	}
	keys, err := readKeyFile(cfg.path(sandboxFile))
	if err != nil {
		return err
	}
	provider, err := keys.sandbox(box)
	if err != nil {
		return err
	}
	if err := demoCheck(dir, urls, keys); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	lookup, err := readSecretFile(cfg.path(lookupSecretFile))
	if err != nil {
		return err
	}
	signIn, err := sandbox.NewIdentityProvider(sandbox.IdentityProviderConfig{Issuer: demoIssuer, Audience: demoAudience, Others: []string{demoNewApp, demoOtherApp},
		Users: sandbox.DemoUsers(), LookupSecret: lookup})
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	start := func(serve func() error) {
		running.Go(func() {
			if err := serve(); err != nil {
				stop(err) // one that fails ends all
			}
		})
	}
	start(func() error { return cfg.serve(ctx, log, []net.Listener{listeners[0], listeners[3]}, nil) })
	start(func() error { return serveHTTP(ctx, listeners[1], provider, log, nil) })
	running.Go(func() { provider.Run(ctx) })
	start(func() error { return serveHTTP(ctx, listeners[2], signIn, log, nil) })
	if err := waitReady(ctx, urls.API+"/readyz"); err != nil {
		stop(fmt.Errorf("waiting for the API: %w", err)) // unless something else stopped it before
	} else if err := cmd.announce(std.out, urls, dir); err != nil {
		stop(err)
	}
	<-ctx.Done()
	running.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// announce says where the servers are.
func (cmd *demoCommand) announce(out io.Writer, urls demoURLs, dir string) error {
	if !cmd.JSON {
		return printGuide(out, urls, dir, cmd.Dir != "")
	}
	line, err := json.Marshal(urls)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

// prepareDir makes a folder for a demo, or accepts one that is empty or a demo's, and nobody else's: what
// stands in other folders is not ours to write over.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 {
		return errors.New("everybody may write to this folder; choose another")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if config, err := os.Lstat(filepath.Join(dir, demoConfigFile)); len(entries) > 0 && (err != nil || !config.Mode().IsRegular()) {
		return errors.New("this folder holds something that is not a demo's; choose an empty one")
	}
	return nil
}

// waitReady returns when the server, whose listener takes connections already, has said that it is ready.
func waitReady(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", url, resp.StatusCode)
	}
	return nil
}

// listenFour opens four listeners on consecutive ports, or on any free ones when the port is 0.
func listenFour(ctx context.Context, base string) (ls []net.Listener, urls demoURLs, err error) {
	host, portText, err := net.SplitHostPort(base)
	if err != nil {
		return nil, urls, usagef("--listen-base: must be host:port, such as 127.0.0.1:8401")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port > 65532 {
		return nil, urls, usagef("--listen-base: the port must be a number from 0 to 65532")
	}
	if !isLoopback(host) {
		return nil, urls, usagef("--listen-base: the demo signs anyone in, so it listens on a loopback address only, such as 127.0.0.1:8401")
	}
	var at [4]string
	for i := range at {
		p := port
		if p != 0 {
			p += uint64(i)
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.FormatUint(p, 10)))
		if err != nil {
			for _, l := range ls {
				_ = l.Close()
			}
			return nil, urls, fmt.Errorf("%w\nTry --listen-base 127.0.0.1:0, which picks free ports", err)
		}
		ls = append(ls, l)
		at[i] = "http://" + l.Addr().String()
	}
	return ls, demoURLs{at[0], at[1], at[2], at[3]}, nil
}

// demoConfig writes what the demo needs into dir, and reads it back as serve would. Keys that are there
// from an earlier run are kept, so that its database still means something.
func demoConfig(dir, listen, metricsListen string, urls demoURLs) (*Config, error) {
	path := filepath.Join(dir, demoConfigFile)
	cfg, err := readConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		cfg, err = newDemoConfig(dir)
	}
	if err != nil {
		return nil, err
	}
	if !cfg.isDemo() {
		return nil, fmt.Errorf("%s is not a demo's, or no more: choose another folder, or run it with selo serve --config, and the pretend provider with selo sandbox --config", path)
	}
	cfg.Listen, cfg.MetricsListen = listen, metricsListen
	for i := range cfg.Apps {
		cfg.Apps[i].AuthorizedParties = []string{sandbox.DemoClient}
		cfg.Apps[i].JWKSURL = urls.IdP + "/idp/jwks.json"
		cfg.Apps[i].CPFLookup = &LookupConfig{URL: urls.IdP + "/backend/cpf", SecretFile: lookupSecretFile}
	}
	for env, caf := range cfg.Caf {
		caf.SessionURL, caf.IdentityURL, caf.FacesURL = urls.Sandbox, urls.Sandbox, urls.Sandbox
		cfg.Caf[env] = caf
	}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	header := []byte("# Written by selo demo. selo.example.yaml explains the fields.\n")
	// In one step, so that a kill leaves the old one or the new one.
	next, err := os.CreateTemp(dir, demoConfigFile+"-*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = next.Write(append(header, text...))
	if err := errors.Join(err, next.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return nil, err
	}
	return readConfig(path)
}

// isDemo reports whether the apps are still those of a demo: what somebody has made their own is not written over.
func (c *Config) isDemo() bool {
	return len(c.unknown) == 0 && len(c.Apps) == 2 &&
		c.Apps[0].Name == demoApp && c.Apps[0].Issuer == demoIssuer && c.Apps[0].Audience == demoAudience &&
		c.Apps[1].Name == demoNewApp && c.Apps[1].Issuer == demoIssuer && c.Apps[1].Audience == demoNewApp
}

// newDemoConfig makes fresh keys in dir and the configuration that names them.
func newDemoConfig(dir string) (*Config, error) {
	write := func(name, text string) error {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text + "\n")
		return errors.Join(err, f.Close())
	}
	cfg := &Config{
		Issuer:         demoReceiptIssuer,
		Database:       "selo.db",
		ReceiptKeyFile: "receipt-key.pem",
		KEK:            &KEKConfig{File: "kek"},
		Limits: &LimitsConfig{
			Subject: []string{fmt.Sprintf("%d/1m", demoSessions)},
			CPF:     []string{"20000/1h"}, Service: []string{"50000/1h"},
			Daily: make(map[string]int),
		},
	}
	if err := write("kek", randomHex(32)); err != nil {
		return nil, err
	}
	receiptKey, err := selo.GenerateReceiptKey()
	if err != nil {
		return nil, err
	}
	pem, err := receiptKey.PEM()
	if err != nil {
		return nil, err
	}
	if err := write("receipt-key.pem", string(pem)); err != nil {
		return nil, err
	}
	products, exchanged := []string{}, []string{}
	keys := KeyFile{Caf: map[string]CafConfig{string(selo.EnvironmentSandbox): {APITokenFile: apiTokenFile}}}
	for _, p := range selo.Profiles() {
		file := "secret-" + filepath.Base(p.Product)
		if err := write(file, randomHex(32)); err != nil {
			return nil, err
		}
		keys.AccessKeys = append(keys.AccessKeys, AccessKeyConfig{
			ClientID: randomHex(12), SecretFile: file, Environment: string(selo.EnvironmentSandbox), Products: []string{p.Product},
		})
		products = append(products, p.Product)
		cfg.Limits.Daily[p.Product] = 100000
		if len(p.Roles) == 1 {
			exchanged = append(exchanged, p.Product)
		}
	}
	text, err := yaml.Marshal(keys)
	if err != nil {
		return nil, err
	}
	if err := write(sandboxFile, "# What selo sandbox plays the provider for: the other half of the keys that are in the database.\n"+string(text)); err != nil {
		return nil, err
	}
	login, match := PurposeConfig{Assurance: selo.AssurancePresence.String()}, PurposeConfig{Assurance: selo.AssuranceMatch.String()}
	cfg.Apps = []AppConfig{{
		Name: demoApp, Issuer: demoIssuer, Audience: demoAudience, Environment: string(selo.EnvironmentSandbox), Products: products, PolicyID: demoPolicy,
		Purposes: map[string]PurposeConfig{
			"login": login, "new-device": match,
			"pay":       {Assurance: selo.AssuranceKnownContext.String()},
			"transfer":  {Assurance: selo.AssuranceReauthenticated.String()},
			"documents": {Capture: true},
		},
		Limits: map[string][]string{"caf/face-authentication": {"5000/1h"}},
		Claims: map[string]ClaimConfig{"roles": {Claim: "/realm_access/roles", Type: string(policy.ClaimStrings)}},
		Rules: []RuleConfig{
			{Name: "second-factor", Purposes: []string{"transfer"}, Allow: `caller.kind == "service" || amr_has("otp") && signed_in_within("15m")`},
			{Name: "blocked", Deny: `has(claims.roles) && "blocked" in claims.roles`},
			{Name: "password-alone", Deny: `!amr_has("otp")`, Observe: true},
		},
		RuleCases: []RuleCaseConfig{
			{Name: "a transfer with a code", Product: "caf/smart-auth", Purpose: "transfer", Claims: map[string]any{"amr": []any{"pwd", "otp"}, "auth_time": "-5m"}, Want: "allow"},
			{Name: "a transfer with a password alone", Product: "caf/smart-auth", Purpose: "transfer", Claims: map[string]any{"amr": []any{"pwd"}, "auth_time": "-5m"}, Want: "deny", By: "second-factor"},
			{Name: "a blocked user", Product: "caf/face-liveness", Purpose: "login", Claims: map[string]any{"roles": []any{"blocked"}}, Want: "deny", By: "blocked"},
		},
	}, {
		Name: demoNewApp, Issuer: demoIssuer, Audience: demoNewApp, Environment: string(selo.EnvironmentSandbox), Products: exchanged, Exchanged: exchanged,
		Purposes: map[string]PurposeConfig{"login": login, "new-device": match, "documents": {Capture: true},
			"onboarding": {Assurance: selo.AssurancePresence.String(), SignUp: true}},
	}}
	for _, f := range []string{webhookSecretFile, apiTokenFile, lookupSecretFile} {
		if err := write(f, randomHex(32)); err != nil {
			return nil, err
		}
	}
	cfg.Caf = map[string]CafConfig{string(selo.EnvironmentSandbox): {APITokenFile: apiTokenFile}}
	cfg.Webhooks = []WebhookConfig{{Name: demoWebhook, Environment: string(selo.EnvironmentSandbox), SecretFile: webhookSecretFile}}
	return cfg, nil
}

// demoCredentials adds the credentials of the demo, unless those of an earlier run are still good.
func (c *Config) demoCredentials(ctx context.Context) (err error) {
	p, err := c.build(ctx, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	keys, err := readKeyFile(c.path(sandboxFile))
	if err != nil {
		return err
	}
	if _, err := keys.importInto(ctx, p); err != nil {
		return err
	}
	sessions := []string{policy.ScopeSessionsOpen, policy.ScopeSessionsRead}
	for file, n := range map[string]broker.NewCredential{
		serviceKeyFile:    {Kind: store.CredentialService, Name: "backend", App: demoApp, Scopes: sessions},
		newServiceKeyFile: {Kind: store.CredentialService, Name: "backend-exchanged", App: demoNewApp, Scopes: sessions},
		operatorKeyFile:   {Kind: store.CredentialOperator, Name: "demo", Scopes: []string{policy.ScopeAdmin}},
	} {
		if key, err := readSecretFile(c.path(file)); err == nil {
			if _, err := p.callers.Authenticate(ctx, "Bearer "+string(key)); err == nil {
				continue
			}
		}
		n.ExpiresAt = time.Now().Add(365 * 24 * time.Hour)
		_, key, err := p.broker.AddCredential(ctx, policy.LocalOperator(), n, "")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.path(file), []byte(key+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

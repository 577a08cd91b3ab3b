package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/provider"
	"github.com/selo-id/selo/internal/store"
)

// Config is selo.yaml. Unknown fields are errors. Paths are relative to the folder of the file. Secrets
// are never values in it, only files that hold nothing else; selo.example.yaml explains every field.
type Config struct {
	Listen         string            `yaml:"listen"`                  // host:port
	InsecureHTTP   bool              `yaml:"insecure_http,omitempty"` // plain HTTP on an address that is not loopback
	TLS            *TLSConfig        `yaml:"tls,omitempty"`
	Issuer         string            `yaml:"issuer"`
	Database       string            `yaml:"database"`
	ReceiptKeyFile string            `yaml:"receipt_key_file"` // Ed25519, PEM
	Peppers        []PepperConfig    `yaml:"peppers"`
	TokenLifetime  string            `yaml:"token_lifetime,omitempty"` // duration
	RespondWithin  string            `yaml:"respond_within,omitempty"` // duration
	MaxAttempts    *int              `yaml:"max_attempts,omitempty"`
	Limit          *LimitConfig      `yaml:"limit,omitempty"`
	AccessKeys     []AccessKeyConfig `yaml:"access_keys"`
	Apps           []AppConfig       `yaml:"apps"`
	Services       []ServiceConfig   `yaml:"services,omitempty"`

	Caf      map[string]CafConfig `yaml:"caf,omitempty"` // environment to where Caf is called
	Webhooks []WebhookConfig      `yaml:"webhooks,omitempty"`

	dir     string // of the file
	unknown faults // fields that it has and Config has not
}

// TLSConfig names a certificate and its key, PEM.
type TLSConfig struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// PepperConfig is one version of the pepper: at least 32 random bytes in a file.
type PepperConfig struct {
	Version int    `yaml:"version"`
	File    string `yaml:"file"`
}

// LimitConfig bounds the sessions of one subject.
type LimitConfig struct {
	Sessions int    `yaml:"sessions"`
	Window   string `yaml:"window"` // duration
}

// AccessKeyConfig is one access key of the provider.
type AccessKeyConfig struct {
	ClientID    string   `yaml:"client_id"`
	SecretFile  string   `yaml:"secret_file"`
	Environment string   `yaml:"environment"` // production or sandbox
	Products    []string `yaml:"products"`
	State       string   `yaml:"state,omitempty"` // prepared, active (default), retiring, revoked
	Until       string   `yaml:"until,omitempty"` // RFC 3339; for retiring
}

// AppConfig is one mobile app.
type AppConfig struct {
	Name        string                   `yaml:"name"`
	Issuer      string                   `yaml:"issuer"`
	Audience    string                   `yaml:"audience"`
	JWKSURL     string                   `yaml:"jwks_url,omitempty"`
	JWKSFile    string                   `yaml:"jwks_file,omitempty"`
	CPFClaim    string                   `yaml:"cpf_claim,omitempty"`
	Environment string                   `yaml:"environment"`
	Products    []string                 `yaml:"products"`
	Exchanged   []string                 `yaml:"exchanged,omitempty"`
	PolicyID    string                   `yaml:"policy_id,omitempty"`
	Purposes    map[string]PurposeConfig `yaml:"purposes"`
}

// PurposeConfig is what a purpose requires; match when it does not say less.
type PurposeConfig struct {
	Assurance string `yaml:"assurance,omitempty"`
	Recheck   string `yaml:"recheck,omitempty"`
	PolicyID  string `yaml:"policy_id,omitempty"`
	Capture   bool   `yaml:"capture,omitempty"`
}

// CafConfig says where Caf is called, server to server. What is left out is not called.
type CafConfig struct {
	SessionURL           string `yaml:"session_url,omitempty"`
	SessionAuthorization string `yaml:"session_authorization,omitempty"` // raw or bearer
	IdentityURL          string `yaml:"identity_url,omitempty"`
	FacesURL             string `yaml:"faces_url,omitempty"`
	APITokenFile         string `yaml:"api_token_file,omitempty"`
	Timeout              string `yaml:"timeout,omitempty"` // duration
}

// WebhookConfig is one address at which Caf posts events.
type WebhookConfig struct {
	Name        string `yaml:"name"`
	Environment string `yaml:"environment"`
	SecretFile  string `yaml:"secret_file"`
	MaxAge      string `yaml:"max_age,omitempty"` // duration
}

// ServiceConfig is one backend with an API key.
type ServiceConfig struct {
	Name        string   `yaml:"name"`
	App         string   `yaml:"app"`
	KeySHA256   string   `yaml:"key_sha256"` // hex
	Scopes      []string `yaml:"scopes"`
	MapSubjects bool     `yaml:"map_subjects,omitempty"`
}

// faults collects every mistake of a configuration.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

// join adds err, whose text already names the field.
func (f *faults) join(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

func (c *Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

func (f *faults) duration(field, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		f.add(field, "must be a duration such as 90s, 5m or 1h")
		return 0
	}
	return d
}

// accessKeys loads the keys that the configuration lists.
func (c *Config) accessKeys(f *faults) []keyring.Key {
	var keys []keyring.Key
	for i, k := range c.AccessKeys {
		at := fmt.Sprintf("access_keys[%d]", i)
		key := keyring.Key{
			AccessKey: selo.AccessKey{ClientID: k.ClientID, Environment: selo.Environment(k.Environment)},
			Products:  k.Products,
			State:     keyring.State(k.State),
		}
		secret, err := selo.ReadSecretFile(c.path(k.SecretFile))
		switch {
		case k.SecretFile == "":
			f.add(at+".secret_file", "is required; the secret itself never stands in this file")
		case err != nil:
			f.add(at+".secret_file", "%v", withoutPath(err))
		}
		key.Secret = secret
		if k.Until != "" {
			until, err := time.Parse(time.RFC3339, k.Until)
			if err != nil {
				f.add(at+".until", "must be a date and time such as 2027-01-31T12:00:00Z")
			}
			key.Until = until
		}
		keys = append(keys, key)
	}
	return keys
}

// ring is accessKeys as a checked ring, nil after a mistake.
func (c *Config) ring(f *faults) *keyring.Ring {
	if len(c.AccessKeys) == 0 {
		f.add("access_keys", "at least one is required")
	}
	ring, err := keyring.NewRing(c.accessKeys(f))
	f.join(err)
	return ring
}

func (c *Config) peppers(f *faults) *keyring.Peppers {
	var all []*keyring.Pepper
	before := len(*f)
	for i, p := range c.Peppers {
		at := fmt.Sprintf("peppers[%d]", i)
		material, err := readSecretFile(c.path(p.File))
		if err != nil {
			f.add(at+".file", "%v", err)
			continue
		}
		pepper, err := keyring.NewPepper(p.Version, material)
		clear(material)
		if err != nil {
			f.add(at, "%v", err)
			continue
		}
		all = append(all, pepper)
	}
	if len(*f) > before {
		return nil
	}
	peppers, err := keyring.NewPeppers(all...)
	f.join(err)
	return peppers
}

func (c *Config) apps(f *faults) (apps []broker.App, callers []policy.App) {
	for i, a := range c.Apps {
		at := fmt.Sprintf("apps[%d]", i)
		app := broker.App{Name: a.Name, Environment: selo.Environment(a.Environment), Products: a.Products,
			Exchanged: a.Exchanged, PolicyID: a.PolicyID, Purposes: make(map[string]broker.Purpose)}
		for name, p := range a.Purposes {
			purpose := broker.Purpose{Recheck: broker.RecheckRule(p.Recheck), PolicyID: p.PolicyID, Capture: p.Capture}
			if p.Assurance != "" {
				if err := purpose.Assurance.UnmarshalText([]byte(p.Assurance)); err != nil {
					f.add(at+".purposes."+name+".assurance", "%v", err)
				}
			}
			app.Purposes[name] = purpose
		}
		apps = append(apps, app)
		callers = append(callers, policy.App{Name: a.Name, Issuer: a.Issuer, Audience: a.Audience,
			JWKSURL: a.JWKSURL, JWKSFile: c.path(a.JWKSFile), CPFClaim: a.CPFClaim})
	}
	return apps, callers
}

// providers are the clients for the calls that the configuration describes.
func (c *Config) providers(f *faults, log *slog.Logger) map[selo.Environment]*provider.Client {
	clients := make(map[selo.Environment]*provider.Client)
	for _, name := range slices.Sorted(maps.Keys(c.Caf)) {
		at, k := "caf."+name, c.Caf[name]
		env := selo.Environment(name)
		if env != selo.EnvironmentProduction && env != selo.EnvironmentSandbox {
			f.add("caf", "has one entry for production and one for sandbox, and no other")
			continue
		}
		cfg := provider.Config{SessionURL: k.SessionURL, IdentityURL: k.IdentityURL, FacesURL: k.FacesURL, Timeout: f.duration(at+".timeout", k.Timeout), Log: log}
		switch k.SessionAuthorization {
		case "", "raw":
		case "bearer":
			cfg.Bearer = true
		default:
			f.add(at+".session_authorization", "must be raw or bearer")
		}
		if k.APITokenFile != "" {
			token, err := readSecretFile(c.path(k.APITokenFile))
			if err != nil {
				f.add(at+".api_token_file", "%v", err)
				continue
			}
			cfg.APIToken = token
		}
		client, err := provider.New(cfg)
		clear(cfg.APIToken)
		if err != nil {
			f.add(at, "%v", err)
			continue
		}
		clients[env] = client
	}
	return clients
}

func (c *Config) webhooks(f *faults) (all []broker.Webhook) {
	for i, w := range c.Webhooks {
		at := fmt.Sprintf("webhooks[%d]", i)
		secret, err := selo.ReadSecretFile(c.path(w.SecretFile))
		if err != nil && w.SecretFile != "" {
			f.add(at+".secret_file", "%v", withoutPath(err))
		}
		all = append(all, broker.Webhook{Name: w.Name, Environment: selo.Environment(w.Environment), Secret: secret, MaxAge: f.duration(at+".max_age", w.MaxAge)})
	}
	return all
}

func (c *Config) services(f *faults) (all []policy.Service) {
	for i, s := range c.Services {
		hash, err := hex.DecodeString(s.KeySHA256)
		if err != nil {
			f.add(fmt.Sprintf("services[%d].key_sha256", i), "must be the SHA-256 of the API key in hex (printf %%s KEY | sha256sum)")
		}
		if err == nil && len(hash) == sha256.Size && !slices.ContainsFunc(hash, func(b byte) bool { return b != 0 }) {
			f.add(fmt.Sprintf("services[%d].key_sha256", i), "is the example's, of no key at all")
		}
		all = append(all, policy.Service{Name: s.Name, App: s.App, KeySHA256: hash, Scopes: s.Scopes, MapSubjects: s.MapSubjects})
	}
	return all
}

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
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
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
	broker     *broker.Broker
	callers    *policy.Authenticator
	receiptKey *selo.ReceiptKey
	store      *store.Store
	tls        *tls.Config // nil for plain HTTP
	warnings   []string
}

// build checks the whole configuration, reports every mistake in it at once, and opens the store.
func (c *Config) build(ctx context.Context, log *slog.Logger) (*parts, error) {
	f := slices.Clone(c.unknown)
	p := &parts{tls: c.listener(&f)}
	cfg := broker.Config{
		Issuer: c.Issuer, Log: log,
		Keys: c.ring(&f), Peppers: c.peppers(&f),
		Providers: c.providers(&f, log), Webhooks: c.webhooks(&f),
		TokenLifetime: f.duration("token_lifetime", c.TokenLifetime),
		RespondWithin: f.duration("respond_within", c.RespondWithin),
	}
	if c.MaxAttempts != nil {
		if cfg.MaxAttempts = *c.MaxAttempts; cfg.MaxAttempts == 0 {
			f.add("max_attempts", "must be between 1 and 100")
		}
	}
	if c.Limit != nil {
		cfg.Limit = store.Limit{Sessions: c.Limit.Sessions, Window: f.duration("limit.window", c.Limit.Window)}
		if cfg.Limit == (store.Limit{}) {
			f.add("limit", "sessions and window are both required")
		}
	}
	var callers []policy.App
	cfg.Apps, callers = c.apps(&f)
	var err error
	if p.callers, err = policy.New(ctx, policy.Config{Apps: callers, Services: c.services(&f), Log: log}); err != nil {
		f.join(err)
	}
	if cfg.ReceiptKey, err = c.receiptKey(); err != nil {
		f.join(err)
	}
	p.receiptKey = cfg.ReceiptKey
	if c.Database == "" {
		f.add("database", "is required: the path of the SQLite file")
	}
	f.join(broker.Check(cfg))
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	if p.store, err = store.Open(ctx, c.path(c.Database)); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	cfg.Store = p.store
	if p.broker, err = broker.New(ctx, cfg); err != nil {
		return nil, errors.Join(err, p.store.Close())
	}
	p.warnings = append(cfg.Keys.Warnings(), c.looseFiles()...)
	return p, nil
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
	for _, p := range c.Peppers {
		files = append(files, p.File)
	}
	for _, k := range c.AccessKeys {
		files = append(files, k.SecretFile)
	}
	for _, k := range c.Caf {
		files = append(files, k.APITokenFile)
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

package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/metrics"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/provider"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
)

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

// keeper opens the key-encryption keys. It returns nil after a mistake.
func (c *Config) keeper(ctx context.Context, f *faults) *seal.Keeper {
	if c.KEK == nil {
		f.add("kek", "is required: it seals access keys and peppers in the database (openssl rand -hex 32 > secrets/kek)")
		return nil
	}
	var all []seal.KEK
	for i, k := range append([]KEKConfig{*c.KEK}, c.PreviousKEKs...) {
		at := "kek"
		if i > 0 {
			at = fmt.Sprintf("previous_keks[%d]", i-1)
		}
		from := seal.Source{File: c.path(k.File), Env: k.Env, Credential: k.Credential}
		if k.PKCS11 != nil {
			from.PKCS11 = &seal.PKCS11{Module: k.PKCS11.Module, TokenLabel: k.PKCS11.TokenLabel, KeyLabel: k.PKCS11.KeyLabel, PINFile: c.path(k.PKCS11.PINFile)}
		}
		kek, err := seal.Open(ctx, from)
		if err != nil {
			f.add(at, "%v", err)
			continue
		}
		all = append(all, kek)
	}
	if len(all) < 1+len(c.PreviousKEKs) {
		return nil
	}
	keeper, err := seal.NewKeeper(all[0], all[1:]...)
	if err != nil {
		f.add("kek", "%v", err)
	}
	return keeper
}

func (c *Config) apps(f *faults) (apps []broker.App, callers []policy.App) {
	for i, a := range c.Apps {
		at := fmt.Sprintf("apps[%d]", i)
		app := broker.App{Name: a.Name, Environment: selo.Environment(a.Environment), Products: a.Products,
			Exchanged: a.Exchanged, PolicyID: a.PolicyID, Purposes: make(map[string]broker.Purpose)}
		for name, p := range a.Purposes {
			purpose := broker.Purpose{Recheck: broker.RecheckRule(p.Recheck), PolicyID: p.PolicyID, Capture: p.Capture, SignUp: p.SignUp}
			if p.Assurance != "" {
				if err := purpose.Assurance.UnmarshalText([]byte(p.Assurance)); err != nil {
					f.add(at+".purposes."+name+".assurance", "%v", err)
				}
			}
			app.Purposes[name] = purpose
		}
		for product, rates := range a.Limits {
			if app.Limits == nil {
				app.Limits = make(map[string][]store.Limit)
			}
			app.Limits[product] = f.rates(at+".limits."+product, store.LimitProduct, rates)
		}
		caller := policy.App{Name: a.Name, Issuer: a.Issuer, Audience: a.Audience, JWKSURL: a.JWKSURL, JWKSFile: c.path(a.JWKSFile),
			CPFClaim: a.CPFClaim, AuthorizedParties: a.AuthorizedParties, Introspection: c.introspection(f, at, a)}
		for name, claim := range a.Claims {
			if caller.Claims == nil {
				caller.Claims = make(map[string]policy.Claim)
			}
			caller.Claims[name] = policy.Claim{Path: claim.Claim, Type: policy.ClaimType(claim.Type)}
		}
		app.Rules = a.rules(f)
		if err := app.Rules.CheckCases(); err != nil {
			f.join(fmt.Errorf("app %q: %w", a.Name, err))
		}
		app.CPFLookup = c.lookup(f, at, a)
		apps = append(apps, app)
		callers = append(callers, caller)
	}
	return apps, callers
}

func (c *Config) introspection(f *faults, at string, a AppConfig) *policy.Introspection {
	if a.Introspection == nil {
		return nil
	}
	secret, err := readSecretFile(c.path(a.Introspection.ClientSecretFile))
	if err != nil {
		f.add(at+".introspection.client_secret_file", "%v", err)
	}
	return &policy.Introspection{URL: a.Introspection.URL, ClientID: a.Introspection.ClientID, ClientSecret: secret}
}

func (c *Config) lookup(f *faults, at string, a AppConfig) *policy.Lookup {
	if a.CPFLookup == nil {
		return nil
	}
	secret, err := readSecretFile(c.path(a.CPFLookup.SecretFile))
	if err != nil {
		f.add(at+".cpf_lookup.secret_file", "%v", err)
		return nil
	}
	lookup, err := policy.NewLookup(policy.LookupConfig{URL: a.CPFLookup.URL, Secret: secret, Timeout: f.duration(at+".cpf_lookup.timeout", a.CPFLookup.Timeout)})
	clear(secret)
	if err != nil {
		f.add(at+".cpf_lookup", "%v", err)
	}
	return lookup
}

// rules compiles the rules of an app, and checks the table of cases beside them.
func (a AppConfig) rules(f *faults) *policy.Rules {
	cfg := policy.RulesConfig{Products: a.Products, Purposes: slices.Sorted(maps.Keys(a.Purposes)),
		Assurances: make(map[string]string), Claims: make(map[string]policy.ClaimType)}
	for name, claim := range a.Claims {
		cfg.Claims[name] = policy.ClaimType(claim.Type)
	}
	for name, p := range a.Purposes {
		cfg.Assurances[name] = cmp.Or(p.Assurance, selo.AssuranceMatch.String())
	}
	for _, r := range a.Rules {
		cfg.Rules = append(cfg.Rules, policy.Rule{Name: r.Name, Products: r.Products, Purposes: r.Purposes, Allow: r.Allow, Deny: r.Deny, Observe: r.Observe})
	}
	for _, k := range a.RuleCases {
		cfg.Cases = append(cfg.Cases, policy.RuleCase{Name: k.Name, Product: k.Product, Purpose: k.Purpose, Kind: policy.Kind(k.Caller),
			Service: k.Service, Scopes: k.Scopes, Claims: k.Claims, CPF: k.CPFKnown, Now: k.Now, Want: k.Want, By: k.By})
	}
	rules, err := policy.CompileRules(cfg)
	if err != nil {
		f.join(fmt.Errorf("app %q: %w", a.Name, err))
	}
	return rules
}

// rates reads limits such as 5/1h.
func (f *faults) rates(field string, by store.LimitBy, texts []string) (all []store.Limit) {
	for i, text := range texts {
		count, window, ok := strings.Cut(text, "/")
		n, err := strconv.ParseUint(count, 10, 31)
		d, wrong := days(window)
		if !ok || err != nil || wrong != nil {
			f.add(fmt.Sprintf("%s[%d]", field, i), "must be a number of sessions and a time, such as 5/1h or 20/1d")
			n, d = 1, time.Hour // reported once
		}
		all = append(all, store.Limit{By: by, Sessions: int(n), Window: d})
	}
	return all
}

// limits are those of all apps, nil when there is no such section.
func (c *Config) limits(f *faults) (all []store.Limit, daily map[string]int) {
	l := c.Limits
	if l == nil {
		return nil, nil
	}
	all = broker.DefaultLimits()
	if l.Subject != nil {
		all = f.rates("limits.subject", store.LimitSubject, l.Subject)
	}
	all = append(all, f.rates("limits.cpf", store.LimitCPF, l.CPF)...)
	all = append(all, f.rates("limits.service", store.LimitService, l.Service)...)
	if l.OpenSessions != nil {
		all = append(all, store.Limit{By: store.LimitOpen, Sessions: *l.OpenSessions})
	}
	return all, l.Daily
}

// providers are the clients for the calls that the configuration describes.
func (c *Config) providers(f *faults, log *slog.Logger, m *metrics.Metrics) map[selo.Environment]*provider.Client {
	clients := make(map[selo.Environment]*provider.Client)
	for _, name := range slices.Sorted(maps.Keys(c.Caf)) {
		at, k := "caf."+name, c.Caf[name]
		env := selo.Environment(name)
		if env != selo.EnvironmentProduction && env != selo.EnvironmentSandbox {
			f.add("caf", "has one entry for production and one for sandbox, and no other")
			continue
		}
		cfg := provider.Config{SessionURL: k.SessionURL, IdentityURL: k.IdentityURL, FacesURL: k.FacesURL, Timeout: f.duration(at+".timeout", k.Timeout), Log: log,
			Observe: func(call, outcome string, took time.Duration) { m.ProviderCall(name, call, outcome, took) }}
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

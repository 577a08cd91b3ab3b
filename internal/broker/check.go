package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

// Check reports every contradiction of a configuration at once, without a store; but the names of apps, which
// package policy judges. Keys, Peppers and
// ReceiptKey may be nil when they were found faulty already: what depends on them is then not checked.
func Check(cfg Config) error {
	cfg = cfg.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Issuer == "" {
		bad("issuer: is required; it is the iss of receipts")
	}
	if len(cfg.Issuer) > 255 || !utf8.ValidString(cfg.Issuer) || strings.ContainsFunc(cfg.Issuer, unicode.IsControl) {
		bad("issuer: must be at most 255 bytes of UTF-8 without control characters")
	}
	if cfg.RespondWithin < time.Minute || cfg.RespondWithin > MaxRespondWithin {
		bad("respond_within: must be between 1m and %v", MaxRespondWithin)
	}
	if cfg.TokenLifetime != 0 && (cfg.TokenLifetime < time.Second || cfg.TokenLifetime > cfg.RespondWithin) {
		bad("token_lifetime: must be at least 1s and at most respond_within (%v)", cfg.RespondWithin)
	}
	if cfg.MaxAttempts < 1 || cfg.MaxAttempts > 100 {
		bad("max_attempts: must be between 1 and 100")
	}
	errs = append(errs, cfg.checkLimits()...)
	if len(cfg.Apps) == 0 {
		bad("apps: at least one is required")
	}
	for _, app := range cfg.Apps {
		errs = append(errs, cfg.checkApp(app)...)
	}
	errs = append(errs, cfg.checkWebhooks()...)
	return errors.Join(errs...)
}

func (cfg Config) checkApp(app App) (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("app %s: %s", app.Name, fmt.Sprintf(format, args...)))
	}
	if app.Environment != selo.EnvironmentProduction && app.Environment != selo.EnvironmentSandbox {
		bad("environment: must be production or sandbox")
	}
	if len(app.Products) == 0 {
		bad("products: at least one is required")
	}
	if len(app.Purposes) == 0 {
		bad("purposes: at least one is required")
	}
	var profiles []*selo.Profile
	for i, name := range app.Products {
		p, err := selo.LookupProfile(name)
		if err != nil {
			bad("products[%d]: %v", i, err)
			continue
		}
		if slices.Contains(app.Products[:i], name) {
			bad("products[%d]: is listed twice", i)
		}
		profiles = append(profiles, p)
		for _, fault := range cfg.checkProduct(app, p) {
			bad("%s", fault)
		}
	}
	for _, product := range slices.Sorted(maps.Keys(app.Limits)) {
		if !slices.Contains(app.Products, product) {
			bad("limits: %s is not one of the app's products", product)
		}
		for i, l := range app.Limits[product] {
			if fault := checkLimit(l); fault != "" {
				bad("limits.%s[%d]: %s", product, i, fault)
			}
		}
	}
	for i, name := range app.Exchanged {
		if !slices.Contains(app.Products, name) {
			bad("exchanged[%d]: is not one of the app's products", i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Purposes)) {
		if name == "" {
			bad("purposes: a purpose needs a name")
		}
		for _, fault := range cfg.checkPurpose(app, app.Purposes[name], profiles) {
			bad("purpose %s: %s", name, fault)
		}
	}
	return errs
}

func (cfg Config) checkProduct(app App, p *selo.Profile) (faults []string) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if cfg.TokenLifetime > p.MaxLifetime {
		bad("token_lifetime: %s allows at most %v", p.Product, p.MaxLifetime)
	}
	if cfg.TokenLifetime == 0 && cfg.RespondWithin < p.Lifetime {
		bad("respond_within: is shorter than the token of %s lives (%v)", p.Product, p.Lifetime)
	}
	if slices.Contains(app.Exchanged, p.Product) {
		switch client := cfg.Providers[app.Environment]; {
		case len(p.Roles) > 1:
			bad("exchanged: %s starts with %d tokens of ours; no exchange of them is described", p.Product, len(p.Roles))
		case client == nil || !client.Exchanges():
			bad("exchanged: needs caf.%s.session_url, where the tokens are exchanged", app.Environment)
		}
	}
	return faults
}

func (cfg Config) checkPurpose(app App, asked Purpose, profiles []*selo.Profile) (faults []string) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	p := asked.withDefaults(app)
	if p.Assurance < selo.AssurancePresence || p.Assurance > selo.AssuranceMatch {
		bad("assurance: is none of the assurances")
		return faults
	}
	if p.Recheck != RecheckWhenNeeded && p.Recheck != RecheckAlways && p.Recheck != RecheckNever {
		bad("recheck: must be when-needed, always or never")
		return faults
	}
	if asked.SignUp && !slices.ContainsFunc(profiles, func(profile *selo.Profile) bool {
		return slices.Contains(app.Exchanged, profile.Product) && profile.Assurance <= selo.AssurancePresence && provesNothing(profile) == p.Capture
	}) {
		bad("sign_up: needs an exchanged product that proves no more than presence, such as caf/face-liveness: a token of ours is for one CPF")
	}
	if p.Capture {
		if asked != (Purpose{Capture: true, SignUp: asked.SignUp}) {
			bad("capture: grants nothing, so assurance, recheck and policy_id say nothing beside it")
		}
		if !slices.ContainsFunc(profiles, provesNothing) {
			bad("capture: no product of the app is one that proves nothing, such as caf/document-detection")
		}
		return faults
	}
	if asked.SignUp && p.Assurance != selo.AssurancePresence {
		bad("sign_up: proves presence at most, so assurance must be presence")
	}
	reach, policies := selo.AssuranceUnset, false
	for _, profile := range profiles {
		reach = max(reach, cfg.reach(app, p, profile))
		policies = policies || profile.HasPolicy()
		if profile.HasPolicy() && p.PolicyID == "" && cfg.reach(app, p, profile) >= p.Assurance {
			bad("policy_id: %s needs the policy that its attempts must have run, here or for the whole app", profile.Product)
		}
	}
	if asked.PolicyID != "" && !policies {
		bad("policy_id: no product of the app runs a provider policy")
	}
	if len(p.PolicyID) > 256 || strings.ContainsFunc(p.PolicyID, unicode.IsControl) {
		bad("policy_id: must be at most 256 bytes without control characters")
	}
	if p.Assurance > reach {
		bad("requires %v, but no product of the app proves it", p.Assurance)
	}
	if p.Recheck == RecheckAlways {
		for _, profile := range profiles {
			if !provesNothing(profile) && !cfg.rechecks(app, profile) {
				bad("recheck: always needs caf.%s.%s, where %s is asked about", app.Environment, recheckURL(profile.Product), profile.Product)
			}
		}
	}
	return faults
}

// reach is the most that a product can prove for a purpose.
func (cfg Config) reach(app App, p Purpose, profile *selo.Profile) selo.Assurance {
	if p.Recheck != RecheckNever && cfg.rechecks(app, profile) {
		return max(profile.Assurance, profile.Recheck)
	}
	return profile.Assurance
}

func (cfg Config) checkLimits() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	bySubject := false
	for _, l := range cfg.Limits {
		fault := checkLimit(l)
		switch l.By {
		case store.LimitSubject:
			bySubject = true
		case store.LimitOpen:
			if fault = ""; l.Sessions < 1 {
				fault = "must be at least 1"
			}
		case store.LimitCPF, store.LimitService:
		default:
			fault = "is not a limit of all apps"
		}
		if fault != "" {
			bad("limits.%s: %s", l.By, fault)
		}
	}
	if !bySubject {
		bad("limits.subject: at least one is required, such as 30/1h")
	}
	for _, product := range slices.Sorted(maps.Keys(cfg.Daily)) {
		if _, err := selo.LookupProfile(product); err != nil {
			bad("limits.daily: is by product, such as caf/face-liveness, and has something else")
			continue
		}
		if cfg.Daily[product] < 1 {
			bad("limits.daily.%s: must be at least 1", product)
		}
	}
	return errs
}

// maxWindow bounds the windows of limits: by then, whoever counted would better look at the audit trail.
const maxWindow = 31 * 24 * time.Hour

func checkLimit(l store.Limit) string {
	if l.Sessions < 1 || l.Sessions > 1e9 || l.Window < time.Second || l.Window > maxWindow {
		return "must be at least 1 session in 1s to 31d, such as 5/1h"
	}
	return ""
}

func provesNothing(p *selo.Profile) bool { return len(p.Shapes) == 0 }

func (cfg Config) checkWebhooks() (errs []error) {
	seen := make(map[string]bool)
	for i, w := range cfg.Webhooks {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("webhooks[%d].%s", i, fmt.Sprintf(format, args...)))
		}
		if w.Name == "" || len(w.Name) > 64 || strings.Trim(w.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			bad("name: must be 1 to 64 of a-z, 0-9 and -")
		}
		if seen[w.Name] {
			bad("name: is listed twice")
		}
		seen[w.Name] = true
		if w.Secret.IsZero() {
			bad("secret_file: a webhook without a secret would believe anybody")
		}
		for j := range i {
			// What is signed for one would be good for the other, and count twice.
			if !w.Secret.IsZero() && w.Secret.Equal(cfg.Webhooks[j].Secret) {
				bad("secret_file: is that of webhooks[%d]; every webhook has its own", j)
			}
		}
		if cfg.Keys != nil && !w.Secret.IsZero() {
			if env := cfg.Keys.Environment(w.Secret); env != "" && env != w.Environment {
				bad("secret_file: is that of a %s access key", env)
			}
		}
		if w.Environment != selo.EnvironmentProduction && w.Environment != selo.EnvironmentSandbox {
			bad("environment: must be production or sandbox")
		}
		if w.MaxAge != 0 && (w.MaxAge < time.Minute || w.MaxAge > MaxEventAge) {
			bad("max_age: must be between 1m and %v", MaxEventAge)
		}
	}
	return errs
}

package broker_test

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/store"
)

func TestDecideGrants(t *testing.T) {
	formatted := anaCPF.Digits()
	formatted = formatted[:3] + "." + formatted[3:6] + "." + formatted[6:9] + "-" + formatted[9:]
	for _, tc := range []struct {
		name, product, purpose string
		want                   selo.Assurance
		change                 func(payload) payload
	}{
		{"liveness", liveness, "login", selo.AssurancePresence, nil},
		{"face authentication", faceAuth, "new-device", selo.AssuranceMatch, nil},
		{"face authentication where presence is enough", faceAuth, "login", selo.AssuranceMatch, nil},
		{"CPF with punctuation", liveness, "login", selo.AssurancePresence, func(p payload) payload { return p.with("personId", formatted) }},
		{"as early as may be", liveness, "login", selo.AssurancePresence, func(p payload) payload { return p.with("iat", start.Unix()-4) }},
		{"as late as may be", liveness, "login", selo.AssurancePresence, func(p payload) payload { return p.with("iat", start.Unix()+30) }},
		{"exp ahead", liveness, "login", selo.AssurancePresence, func(p payload) payload { return p.with("exp", start.Unix()+1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(ana(), tc.product, tc.purpose)
			p := h.approved(tc.product, anaCPF)
			if tc.change != nil {
				p = tc.change(p)
			}
			granted, err := h.decide(ana(), s.SessionID, p.by(keyOf(tc.product)))
			if err != nil {
				t.Fatal(err)
			}
			receipt := granted.Receipt
			want := &broker.Session{
				ID: s.SessionID, Product: tc.product, Purpose: tc.purpose, State: store.StateGranted, ExpiresAt: s.ExpiresAt, RespondBy: s.RespondBy,
				Assurance: tc.want, Receipt: receipt, ReceiptUntil: start.Truncate(time.Second).Add(2 * time.Minute),
			}
			if diff := cmp.Diff(want, granted); diff != "" {
				t.Errorf("granted (-want +got):\n%s", diff)
			}
			if n := h.count("consumed_ids"); n != 1 {
				t.Errorf("%d ids consumed, want 1", n)
			}
		})
	}
}

// refusals are responses that are refused, with every reason for it. They leave the session open, use up
// nothing but an attempt, and keep nobody from being granted afterwards. The key of a case is the name of
// the test.
var refusals = map[string]struct {
	product  string // "" is liveness
	response func(h *house, s *broker.Opened) string
	want     []selo.Reason
}{
	"too large": {"", func(h *house, _ *broker.Opened) string {
		return h.approved(liveness, anaCPF).with("imageUrl", strings.Repeat("x", 16<<10)).by("sbx-liveness")
	}, reasons(selo.ReasonTooLarge)},
	"nothing":      {"", func(*house, *broker.Opened) string { return "" }, reasons(selo.ReasonMalformed)},
	"two segments": {"", func(*house, *broker.Opened) string { return "e30.e30" }, reasons(selo.ReasonMalformed)},
	"a line break at the end": {"", func(h *house, _ *broker.Opened) string {
		return h.approved(liveness, anaCPF).by("sbx-liveness") + "\n"
	}, reasons(selo.ReasonMalformed)},
	"padding": {"", func(h *house, _ *broker.Opened) string {
		return h.approved(liveness, anaCPF).by("sbx-liveness") + "="
	}, reasons(selo.ReasonMalformed)},
	"crit in the header": {"", func(h *house, _ *broker.Opened) string {
		return sandbox.Sign(secrets["sbx-liveness"], []byte(`{"alg":"HS256","crit":["x"]}`), []byte(h.approved(liveness, anaCPF).json()))
	}, reasons(selo.ReasonHeaderRefused)},
	"typ of a receipt": {"", func(h *house, _ *broker.Opened) string {
		return sandbox.Sign(secrets["sbx-liveness"], []byte(`{"alg":"HS256","typ":"selo-receipt+jwt"}`), []byte(h.approved(liveness, anaCPF).json()))
	}, reasons(selo.ReasonHeaderRefused)},
	"alg none, signed": {"", func(h *house, _ *broker.Opened) string {
		return sandbox.Sign(secrets["sbx-liveness"], []byte(`{"alg":"none"}`), []byte(h.approved(liveness, anaCPF).json()))
	}, reasons(selo.ReasonAlgorithmRefused)},
	"alg none, not signed": {"", func(h *house, _ *broker.Opened) string {
		return encode(`{"alg":"none"}`) + "." + encode(h.approved(liveness, anaCPF).json()) + "."
	}, reasons(selo.ReasonSignatureInvalid)},
	"signed by nobody": {"", func(h *house, _ *broker.Opened) string {
		return sandbox.Sign(nil, []byte(sandbox.HS256Header), []byte(h.approved(liveness, anaCPF).json()))
	}, reasons(selo.ReasonSignatureInvalid)},
	"signed by another product's key": {"", func(h *house, _ *broker.Opened) string { return h.approved(liveness, anaCPF).by("sbx-faceauth") }, reasons(selo.ReasonSignatureInvalid)},
	"signed by a wider key":           {"", func(h *house, _ *broker.Opened) string { return h.approved(liveness, anaCPF).by("sbx-both") }, reasons(selo.ReasonSignatureInvalid)},
	"signed by the production key":    {"", func(h *house, _ *broker.Opened) string { return h.approved(liveness, anaCPF).by("prd-both") }, reasons(selo.ReasonSignatureInvalid)},
	"one bit of the payload": {"", func(h *house, _ *broker.Opened) string {
		token := []byte(h.approved(liveness, anaCPF).by("sbx-liveness"))
		token[len(sandbox.HS256Header)*4/3+10] ^= 1
		return string(token)
	}, reasons(selo.ReasonSignatureInvalid)},
	"payload is an array":                        {"", said(`[]`), reasons(selo.ReasonPayloadInvalid)},
	"payload is not JSON":                        {"", said(`isAlive=true`), reasons(selo.ReasonPayloadInvalid)},
	"a claim twice":                              {"", said(`{"isAlive":false,"isAlive":true}`), reasons(selo.ReasonPayloadInvalid)},
	"another spelling":                           {"", said(`{"IsAlive":true}`), reasons(selo.ReasonPayloadInvalid)},
	"our own mobile token":                       {"", func(_ *house, s *broker.Opened) string { return s.Tokens["mobile"] }, reasons(selo.ReasonTokenConfusion)},
	"a mobile token and yes":                     {"", changed("iss", "sbx-liveness"), reasons(selo.ReasonTokenConfusion)},
	"face authentication's response in liveness": {"", func(h *house, _ *broker.Opened) string { return h.approved(faceAuth, anaCPF).by("sbx-liveness") }, reasons(selo.ReasonProductMismatch)},
	"liveness' response in face authentication": {faceAuth, func(h *house, _ *broker.Opened) string { return h.approved(liveness, anaCPF).by("sbx-faceauth") },
		reasons(selo.ReasonProductMismatch, selo.ReasonClaimMissing)},
	"no attempt id":          {"", changed("requestId", nil), reasons(selo.ReasonClaimMissing)},
	"no decision":            {"", changed("isAlive", nil), reasons(selo.ReasonClaimMissing)},
	"empty attempt id":       {"", changed("requestId", ""), reasons(selo.ReasonClaimType)},
	"attempt id is a number": {"", changed("requestId", 7), reasons(selo.ReasonClaimType)},
	"decision in words":      {"", changed("isAlive", "true"), reasons(selo.ReasonClaimType)},
	"decision is one":        {"", changed("isAlive", 1), reasons(selo.ReasonClaimType)},
	"decision is an object":  {"", changed("isAlive", map[string]bool{"isAlive": true}), reasons(selo.ReasonClaimType)},
	"names nobody":           {"", changed("personId", nil), reasons(selo.ReasonSubjectUnproven)},
	"names an empty person":  {"", changed("personId", ""), reasons(selo.ReasonSubjectUnproven)},
	"person is a number":     {"", changed("personId", 39053344705), reasons(selo.ReasonClaimType)},
	"somebody else":          {"", changed("personId", brunoCPF.Digits()), reasons(selo.ReasonSubjectMismatch)},
	"somebody else, and no": {"", func(h *house, _ *broker.Opened) string {
		return h.approved(liveness, brunoCPF).with("isAlive", false).by("sbx-liveness")
	}, reasons(selo.ReasonSubjectMismatch, selo.ReasonNotApproved)},
	"says not when":      {"", changed("iat", nil), reasons(selo.ReasonFreshnessUnproven)},
	"when in words":      {"", changed("iat", "now"), reasons(selo.ReasonClaimType)},
	"before the session": {"", changed("iat", start.Unix()-5), reasons(selo.ReasonStale)},
	"long ago":           {"", changed("iat", 0), reasons(selo.ReasonStale)},
	"in the future":      {"", changed("iat", start.Unix()+31), reasons(selo.ReasonFromTheFuture)},
	"in milliseconds":    {"", changed("iat", start.UnixMilli()), reasons(selo.ReasonFromTheFuture)},
	"expired by itself":  {"", changed("exp", start.Unix()), reasons(selo.ReasonExpired)},
	"nbf ahead":          {"", changed("nbf", start.Unix()+40), reasons(selo.ReasonFromTheFuture)},
	"alive but no match, late": {faceAuth, func(h *house, _ *broker.Opened) string {
		return h.approved(faceAuth, anaCPF).with("isMatch", false).with("iat", 1).by("sbx-faceauth")
	}, reasons(selo.ReasonStale, selo.ReasonNotApproved)},
	"match in words": {faceAuth, func(h *house, _ *broker.Opened) string {
		return h.approved(faceAuth, anaCPF).with("isMatch", "true").by("sbx-faceauth")
	}, reasons(selo.ReasonClaimType)},
	"no match at all": {faceAuth, func(h *house, _ *broker.Opened) string {
		return h.approved(faceAuth, anaCPF).with("isMatch", nil).by("sbx-faceauth")
	}, reasons(selo.ReasonClaimMissing)},
}

func reasons(rs ...selo.Reason) []selo.Reason { return rs }

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// said signs these very bytes.
func said(payload string) func(*house, *broker.Opened) string {
	return func(*house, *broker.Opened) string { return signed("sbx-liveness", payload) }
}

// changed is ana's approval with one claim changed.
func changed(claim string, value any) func(*house, *broker.Opened) string {
	return func(h *house, _ *broker.Opened) string {
		return h.approved(liveness, anaCPF).with(claim, value).by("sbx-liveness")
	}
}

func TestDecideRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(cfg *broker.Config) { cfg.Limits = perSubject(1000, time.Hour) })
	for _, name := range slices.Sorted(maps.Keys(refusals)) {
		tc := refusals[name]
		t.Run(name, func(t *testing.T) {
			h.t = t
			product := liveness
			if tc.product != "" {
				product = tc.product
			}
			used := h.count("consumed_ids")
			s := h.opened(ana(), product, "login")
			_, err := h.decide(ana(), s.SessionID, tc.response(h, s))
			r := refused(t, err, tc.want...)
			if r.Session != s.SessionID || r.State != store.StateOpen || r.AttemptsLeft != 4 {
				t.Errorf("session %q is %s with %d attempts left, want %q open with 4", r.Session, r.State, r.AttemptsLeft, s.SessionID)
			}
			if got := h.count("consumed_ids"); got != used {
				t.Error("a refused response used up ids")
			}
			// And it did no harm: the true response is granted.
			if _, err := h.decide(ana(), s.SessionID, h.approved(product, anaCPF).by(keyOf(product))); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	for _, tc := range []struct {
		name, product string
		change        func(payload) payload
	}{
		{"not alive", liveness, func(p payload) payload { return p.with("isAlive", false) }},
		{"no match", faceAuth, func(p payload) payload { return p.with("isMatch", false) }},
		{"match, not alive", faceAuth, func(p payload) payload { return p.with("isAlive", false) }},
		{"neither", faceAuth, func(p payload) payload { return p.with("isAlive", false).with("isMatch", false) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(ana(), tc.product, "login")
			no := tc.change(h.approved(tc.product, anaCPF))
			_, err := h.decide(ana(), s.SessionID, no.by(keyOf(tc.product)))
			if r := refused(t, err, selo.ReasonNotApproved); r.State != store.StateDenied || r.AttemptsLeft != 0 {
				t.Errorf("state %s with %d attempts left, want denied", r.State, r.AttemptsLeft)
			}
			if n := h.count("consumed_ids"); n != 1 {
				t.Errorf("%d ids consumed, want 1: a denial uses its response up", n)
			}
			got, err := h.read(ana(), s.SessionID)
			if err != nil || got.State != store.StateDenied || got.Receipt != "" || got.Assurance != selo.AssuranceUnset {
				t.Errorf("read: %+v, %v", got, err)
			}
			if diff := cmp.Diff(reasons(selo.ReasonNotApproved), got.Reasons); diff != "" {
				t.Errorf("reasons of the denial (-want +got):\n%s", diff)
			}
			// The attempt's id cannot come back with a yes.
			again := h.opened(ana(), tc.product, "login")
			yes := h.approved(tc.product, anaCPF).with("requestId", no["requestId"])
			_, err = h.decide(ana(), again.SessionID, yes.by(keyOf(tc.product)))
			if r := refused(t, err, selo.ReasonReplayed); r.State != store.StateOpen {
				t.Errorf("state %s, want open", r.State)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.opened(ana(), faceAuth, "login")
	yes := h.approved(faceAuth, anaCPF)
	if _, err := h.decide(ana(), first.SessionID, yes.by("sbx-faceauth")); err != nil {
		t.Fatal(err)
	}
	t.Run("same session", func(t *testing.T) {
		_, err := h.decide(ana(), first.SessionID, yes.by("sbx-faceauth"))
		if r := refused(t, err, selo.ReasonSessionNotOpen); r.State != store.StateGranted {
			t.Errorf("state %s, want granted", r.State)
		}
	})
	t.Run("another session", func(t *testing.T) {
		s := h.opened(ana(), faceAuth, "new-device")
		_, err := h.decide(ana(), s.SessionID, yes.by("sbx-faceauth"))
		if r := refused(t, err, selo.ReasonReplayed); r.State != store.StateOpen || r.AttemptsLeft != 4 {
			t.Errorf("state %s with %d attempts left, want open with 4", r.State, r.AttemptsLeft)
		}
	})
	t.Run("same id, otherwise new", func(t *testing.T) {
		s := h.opened(ana(), faceAuth, "new-device")
		_, err := h.decide(ana(), s.SessionID, yes.with("userId", "u2").with("iat", h.clock.Now().Unix()+1).by("sbx-faceauth"))
		refused(t, err, selo.ReasonReplayed)
	})
	t.Run("same id, another product", func(t *testing.T) {
		s := h.opened(ana(), liveness, "login")
		_, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).with("requestId", yes["requestId"]).by("sbx-liveness"))
		refused(t, err, selo.ReasonReplayed)
	})
	t.Run("same id, another person", func(t *testing.T) {
		s := h.opened(bruno(), faceAuth, "login")
		_, err := h.decide(bruno(), s.SessionID, h.approved(faceAuth, brunoCPF).with("requestId", yes["requestId"]).by("sbx-faceauth"))
		refused(t, err, selo.ReasonReplayed)
	})
	t.Run("after a restart", func(t *testing.T) {
		h.restart()
		s := h.opened(ana(), faceAuth, "login")
		_, err := h.decide(ana(), s.SessionID, yes.by("sbx-faceauth"))
		refused(t, err, selo.ReasonReplayed)
	})
	t.Run("same id in the other environment is another attempt", func(t *testing.T) {
		shop := endUser("shop", "ana", anaCPF)
		s := h.opened(shop, faceAuth, "login")
		if _, err := h.decide(shop, s.SessionID, yes.by("prd-both")); err != nil {
			t.Error(err)
		}
	})
	t.Run("a refused no with a used id is no denial", func(t *testing.T) {
		s := h.opened(ana(), faceAuth, "login")
		_, err := h.decide(ana(), s.SessionID, yes.with("isMatch", false).by("sbx-faceauth"))
		if r := refused(t, err, selo.ReasonNotApproved, selo.ReasonReplayed); r.State != store.StateOpen {
			t.Errorf("state %s, want open", r.State)
		}
	})
}

// A configuration that changed since a session was opened may be stricter with it, never laxer.
func TestConfigurationChangesWhileOpen(t *testing.T) {
	purposes := func(p map[string]broker.Purpose) func(*broker.Config) {
		return func(cfg *broker.Config) {
			cfg.Apps = slices.Clone(cfg.Apps)
			for i := range cfg.Apps {
				cfg.Apps[i].Purposes = p
			}
		}
	}
	for _, tc := range []struct {
		name, product, purpose string
		change                 func(*broker.Config)
		want                   selo.Reason // "" is a grant
	}{
		{"the purpose requires more now", liveness, "login", func(cfg *broker.Config) {
			purposes(map[string]broker.Purpose{"login": {Assurance: selo.AssuranceMatch}})(cfg)
			cfg.Apps[2].Products = []string{faceAuth}
		}, selo.ReasonAssuranceTooLow},
		{"the purpose requires less now", faceAuth, "new-device", purposes(map[string]broker.Purpose{"new-device": {Assurance: selo.AssurancePresence}}), ""},
		{"the purpose is gone", faceAuth, "new-device", purposes(map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}}), selo.ReasonRuleDenied},
		{"the product is gone", faceAuth, "login", func(cfg *broker.Config) {
			cfg.Apps = slices.Clone(cfg.Apps)
			cfg.Apps[0].Products, cfg.Apps[0].Purposes = []string{liveness}, map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}}
		}, selo.ReasonRuleDenied},
		{"the app is gone", liveness, "login", func(cfg *broker.Config) { cfg.Apps = cfg.Apps[1:] }, selo.ReasonSessionUnknown},
		{"the app is in production now", liveness, "login", func(cfg *broker.Config) {
			cfg.Apps = slices.Clone(cfg.Apps)
			cfg.Apps[0].Environment = selo.EnvironmentProduction
		}, selo.ReasonSessionUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(ana(), tc.product, tc.purpose)
			before := h.cfg
			h.restart(tc.change)
			yes := h.approved(tc.product, anaCPF).by(keyOf(tc.product))
			granted, err := h.decide(ana(), s.SessionID, yes)
			if tc.want == "" {
				if err != nil || granted.Assurance != selo.AssuranceMatch {
					t.Errorf("%+v, %v", granted, err)
				}
				return
			}
			refused(t, err, tc.want)
			// Nothing was lost by it.
			h.restart(func(cfg *broker.Config) { *cfg = before })
			if _, err := h.decide(ana(), s.SessionID, yes); err != nil {
				t.Errorf("as before: %v", err)
			}
		})
	}
	t.Run("the record requires more than the configuration", func(t *testing.T) {
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		h.exec(`UPDATE sessions SET assurance = 'match' WHERE id = ?`, s.SessionID)
		_, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
		refused(t, err, selo.ReasonAssuranceTooLow)
	})
}

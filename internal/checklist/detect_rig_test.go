package checklist

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/checklist/testdata/servers"
	"github.com/selo-id/selo/internal/finding"
)

// rig is the bench of a test: keys and users that nobody had before, and everything that its server ever handed out.
type rig struct {
	name   string // what is in the messages of tests with many
	dir    string
	config servers.Config
	target *Target

	mu   sync.Mutex
	told []string // credentials and tokens
}

// newRig makes keys and users. The first two have room for what all probes ask for, the third has what users usually have.
func newRig(t *testing.T, product string) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir()}
	r.config = servers.Config{
		Product: product, Key: newKey(), Face: newKey(), Retired: newKey(), Sandbox: newKey(), WebhookSecret: rand.Text(), Told: r.tell,
		Users: []servers.User{
			{Name: "ana", CPF: newCPF(t), Password: rand.Text(), Limit: 2000},
			{Name: "bruno", CPF: newCPF(t), Password: rand.Text(), Limit: 2000},
			{Name: "carla", CPF: newCPF(t), Password: rand.Text()},
		},
	}
	r.target = &Target{
		Environment: environmentStaging, Product: product,
		Key: r.key(t, "key", r.config.Key),
		OtherKeys: Others{
			Retired: r.key(t, "retired", r.config.Retired),
			Sandbox: r.key(t, "sandbox", r.config.Sandbox),
		},
		Limits: Limits{Rate: maxRate, Burst: 40},
	}
	if product == selo.CafSmartAuth().Product {
		r.config.Policy = "policy-" + strings.ToLower(rand.Text())
		r.target.PolicyID = r.config.Policy
	}
	for _, u := range r.config.Users {
		r.target.Users = append(r.target.Users, User{Name: u.Name, CPF: u.CPF})
	}
	return r
}

func (r *rig) tell(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, secret)
}

// file writes a secret where the target can name it.
func (r *rig) file(t *testing.T, name, secret string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (r *rig) key(t *testing.T, name string, k servers.Key) *Key {
	t.Helper()
	return &Key{ClientID: k.ClientID, SecretFile: r.file(t, name+".secret", k.Secret)}
}

// passwords gives the users of the target theirs, as the secret {{password}}, and values that are the same for all.
func (r *rig) passwords(t *testing.T, values map[string]string) {
	t.Helper()
	for i, u := range r.config.Users {
		r.target.Users[i].Secrets = map[string]Source{"password": {File: r.file(t, u.Name+".password", u.Password)}}
		r.target.Users[i].Values = values
	}
}

// webhook describes where the server takes events.
func (r *rig) webhook(t *testing.T) {
	t.Helper()
	r.target.Webhook = &Webhook{
		Request:    Step{URL: "/webhooks/caf", Headers: map[string]string{selo.WebhookSignatureHeader: "{{signature}}"}, Raw: "{{event}}"},
		SecretFile: r.file(t, "webhook.secret", r.config.WebhookSecret),
		Accepted:   "status == 200", Acted: "status == 200 && body.acted == true",
	}
}

// serve starts a server, whose log is no matter.
func (r *rig) serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet
	s.Start()
	t.Cleanup(s.Close)
	r.target.Target = s.URL
	return s
}

// run runs the check, and holds what may stand in no report against the report.
func (r *rig) run(t *testing.T, o Options) *finding.Report {
	t.Helper()
	report := r.report(t, o)
	if report == nil {
		t.FailNow()
	}
	return report
}

// report is run for goroutines that are not the test's own: it returns nil when there is none.
func (r *rig) report(t *testing.T, o Options) *finding.Report {
	t.Helper()
	slots <- struct{}{}
	defer func() { <-slots }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := New(ctx, r.target, r.dir)
	if err != nil {
		t.Errorf("%s: New: %v", r.name, err)
		return nil
	}
	report, err := c.Run(ctx, o)
	if err != nil {
		t.Errorf("%s: Run: %v", r.name, err)
		return nil
	}
	r.wantNothingLeaked(t, report)
	return report
}

// slots bounds how many checks run at once. They wait more than they work: for the pace of their requests, and two seconds for a
// second token. So there may be more of them than there are processors, which is what t.Parallel allows.
var slots = make(chan struct{}, 8)

func newKey() servers.Key {
	id := make([]byte, 12)
	_, _ = rand.Read(id) // never fails
	return servers.Key{ClientID: hex.EncodeToString(id), Secret: rand.Text() + rand.Text()}
}

// newCPF makes a CPF that has no leading zero, so that it is found where it is written as a number too.
func newCPF(t *testing.T) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(899_999_999))
	if err != nil {
		t.Fatal(err)
	}
	digits := n.Add(n, big.NewInt(100_000_000)).String()
	for range 2 {
		sum := 0
		for i, d := range digits {
			sum += int(d-'0') * (len(digits) + 1 - i)
		}
		check := 11 - sum%11
		if check > 9 {
			check = 0
		}
		digits += string(rune('0' + check))
	}
	if _, err := selo.ParseCPF(digits); err != nil {
		return newCPF(t) // all digits the same
	}
	return digits
}

// outcomes returns the IDs of the probes that came to one of the outcomes.
func outcomes(r *finding.Report, of ...finding.Outcome) []string {
	var ids []string
	for _, f := range r.Findings {
		if slices.Contains(of, f.Outcome) {
			ids = append(ids, f.Rule)
		}
	}
	return ids
}

// messageOf tells what was found by a probe.
func messageOf(r *finding.Report, id string) string {
	for _, f := range r.Findings {
		if f.Rule == id {
			return string(f.Outcome) + ": " + f.Message
		}
	}
	return "no finding"
}

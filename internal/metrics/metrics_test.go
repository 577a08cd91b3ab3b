package metrics_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/metrics"
)

const route = "/v1/sessions/{id}"

// declared returns metrics that know a small configuration.
func declared() *metrics.Metrics {
	m := metrics.New()
	m.DeclareRoutes("/v1/sessions", route)
	m.Declare([]string{"bank", "shop"}, []string{"office-hours"}, []string{"caf/face-liveness"}, []string{"login"}, []string{"https://sign-in.bank.test"})
	return m
}

// answer asks the handler.
func answer(m *metrics.Metrics, method, target string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	return w
}

// scrape returns what is shown over a real connection, after the parser of Prometheus has taken it.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v: %s", resp.StatusCode, err, text)
	}
	checkText(t, string(text))
	return string(text)
}

func checkText(t *testing.T, text string) {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := p.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("the parser of Prometheus: %v\n%s", err, text)
	}
}

// ours returns the series of Selo, without buckets and what depends on the clock.
func ours(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "selo_") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "_timestamp_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func wantSeries(t *testing.T, m *metrics.Metrics, want ...string) {
	t.Helper()
	lines := strings.Split(scrape(t, m), "\n")
	for _, one := range want {
		if !slices.Contains(lines, one) {
			t.Errorf("no series %s\n%s", one, ours(strings.Join(lines, "\n")))
		}
	}
}

func source(name string) map[string]string { return map[string]string{"source": name} }

// everything has each metric once.
func everything(m *metrics.Metrics) {
	m.Request(route, "GET", 200, 250*time.Millisecond)
	m.Act("open", "caf/face-liveness", "login", "opened", "", 2*time.Millisecond)
	m.Act("respond", "caf/face-liveness", "login", "refused", selo.ReasonStale, 2*time.Millisecond)
	m.Act("respond", "", "", "refused", selo.ReasonSessionUnknown, -time.Second)
	m.Refused(selo.ReasonCallerUnauthenticated)
	m.Throttled()
	m.ProviderCall("sandbox", "smart-auth", "timeout", 5*time.Second)
	m.RuleOutcome("bank", "office-hours", "true", true)
	m.RuleOutcome("bank", "office-hours", "false", false)
	m.Daily("production", "caf/face-liveness", 41, 1000)
	m.Reloaded(true)
	m.Reloaded(false)
	m.Collect(func(set func(string, map[string]string, float64)) {
		set("selo_store_ready", nil, 1)
		set("selo_store_bytes", nil, 4096)
		set("selo_sessions_open", nil, 3)
		set("selo_issuer_keys_age_seconds", source("https://sign-in.bank.test"), 12.5)
		set("selo_issuer_keys_usable", source("https://sign-in.bank.test"), 1)
		set("selo_issuer_key_fetches_total", map[string]string{"source": "https://sign-in.bank.test", "outcome": "failed"}, 2)
		set("selo_token_cache_hits_total", nil, 90)
		set("selo_token_cache_misses_total", nil, 10)
		set("selo_token_cache_entries", nil, 7)
	})
}

func TestEverything(t *testing.T) {
	m := declared()
	everything(m)
	const want = `selo_act_seconds_sum{act="open",product="caf/face-liveness"} 0.002
selo_act_seconds_count{act="open",product="caf/face-liveness"} 1
selo_act_seconds_sum{act="respond",product=""} 0
selo_act_seconds_count{act="respond",product=""} 1
selo_act_seconds_sum{act="respond",product="caf/face-liveness"} 0.002
selo_act_seconds_count{act="respond",product="caf/face-liveness"} 1
selo_acts_total{act="open",outcome="opened",product="caf/face-liveness",purpose="login",reason=""} 1
selo_acts_total{act="respond",outcome="refused",product="",purpose="",reason="session_unknown"} 1
selo_acts_total{act="respond",outcome="refused",product="caf/face-liveness",purpose="login",reason="stale"} 1
selo_config_last_reload_success 0
selo_config_reloads_total{outcome="failed"} 1
selo_config_reloads_total{outcome="ok"} 1
selo_daily_ceiling{environment="production",product="caf/face-liveness"} 1000
selo_daily_sessions{environment="production",product="caf/face-liveness"} 41
selo_http_request_seconds_sum{route="/v1/sessions/{id}"} 0.25
selo_http_request_seconds_count{route="/v1/sessions/{id}"} 1
selo_http_requests_total{method="GET",route="/v1/sessions/{id}",status="200"} 1
selo_issuer_key_fetches_total{outcome="failed",source="https://sign-in.bank.test"} 2
selo_issuer_keys_age_seconds{source="https://sign-in.bank.test"} 12.5
selo_issuer_keys_usable{source="https://sign-in.bank.test"} 1
selo_provider_call_seconds_sum{call="smart-auth",environment="sandbox"} 5
selo_provider_call_seconds_count{call="smart-auth",environment="sandbox"} 1
selo_provider_calls_total{call="smart-auth",environment="sandbox",outcome="timeout"} 1
selo_rule_outcomes_total{app="bank",observed="false",result="false",rule="office-hours"} 1
selo_rule_outcomes_total{app="bank",observed="true",result="true",rule="office-hours"} 1
selo_sessions_open 3
selo_store_bytes 4096
selo_store_ready 1
selo_throttled_total 1
selo_token_cache_entries 7
selo_token_cache_hits_total 90
selo_token_cache_misses_total 10
selo_unauthenticated_total{reason="caller_unauthenticated"} 1
`
	text := scrape(t, m)
	if diff := cmp.Diff(want, ours(text)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	for _, name := range []string{"go_goroutines ", "process_start_time_seconds ", "promhttp_metric_handler_errors_total{"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %+v", err, problems)
	}
}

// What was not declared is not shown, neither is a value that the client library would panic at.
func TestOther(t *testing.T) {
	m := declared()
	m.Request("/v1/sessions/3f2a", "BREW", 799, time.Second)
	m.Request("", "get", 0, time.Second)
	m.Act("openn", "caf/x", "\xff", "maybe", "because", time.Second)
	m.Refused("")
	m.Refused("who?")
	m.ProviderCall("", "delete", "ok\x00", time.Second)
	m.RuleOutcome("office-hours", "bank", "yes", false)
	m.Daily("staging", "caf/x", 1, 2)
	wantSeries(t, m,
		`selo_http_requests_total{method="(other)",route="(other)",status="(other)"} 2`,
		`selo_acts_total{act="(other)",outcome="(other)",product="(other)",purpose="(other)",reason="(other)"} 1`,
		`selo_unauthenticated_total{reason=""} 1`,
		`selo_unauthenticated_total{reason="(other)"} 1`,
		`selo_provider_calls_total{call="(other)",environment="(other)",outcome="(other)"} 1`,
		`selo_rule_outcomes_total{app="(other)",observed="false",result="(other)",rule="(other)"} 1`,
		`selo_daily_sessions{environment="(other)",product="(other)"} 1`)
}

func TestDeclare(t *testing.T) {
	for name, tc := range map[string]struct {
		value string
		shown bool
	}{
		"name":                   {"bank", true},
		"url":                    {"https://sign-in.bank.test:8443/realms/a", true},
		"non-ASCII":              {"logon-única", true},
		"ten digits":             {"app-3905334470", true},
		"date and time":          {"2026-01-02 15:04", true},
		"as long as may be":      {strings.Repeat("x", 128), true},
		"longer":                 {strings.Repeat("x", 129), false},
		"CPF":                    {"39053344705", false},
		"CPF with punctuation":   {"390.533.447-05", false},
		"CPF with some of it":    {"390533447-05", false},
		"CPF in a text":          {"user-390.533.447-05-login", false},
		"CPF in a URL":           {"https://bank.test/39053344705/keys", false},
		"CPF in a longer number": {"0039053344705", false},
		"no UTF-8":               {"bank\xff", false},
		"line break":             {"bank\nselo_x 1", false},
		"NUL":                    {"bank\x00", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := metrics.New()
			m.DeclareRoutes(tc.value)
			list := []string{tc.value}
			m.Declare(list, list, list, list, list)
			m.Request(tc.value, "GET", 200, 0)
			m.Act("open", tc.value, tc.value, "opened", "", 0)
			m.RuleOutcome(tc.value, tc.value, "false", false)
			m.Daily("sandbox", tc.value, 1, 2)
			m.Collect(func(set func(string, map[string]string, float64)) {
				set("selo_issuer_keys_usable", source(tc.value), 1)
			})
			text := scrape(t, m)
			if shown := strings.Contains(text, tc.value); shown != tc.shown {
				t.Errorf("shown: %v, want %v", shown, tc.shown)
			}
			if others := strings.Contains(text, `"(other)"`); others == tc.shown {
				t.Errorf("(other) there: %v", others)
			}
		})
	}
}

// Declaring is additive, and ends at a thousand.
func TestDeclareCap(t *testing.T) {
	m := declared()
	for i := range 5000 {
		m.Declare([]string{"app-" + strconv.Itoa(i)}, nil, nil, nil, nil)
	}
	for i := range 5000 {
		m.RuleOutcome("app-"+strconv.Itoa(i), "office-hours", "false", false)
	}
	m.RuleOutcome("bank", "office-hours", "false", false)
	wantSeries(t, m,
		`selo_rule_outcomes_total{app="bank",observed="false",result="false",rule="office-hours"} 1`,
		`selo_rule_outcomes_total{app="app-997",observed="false",result="false",rule="office-hours"} 1`,
		`selo_rule_outcomes_total{app="(other)",observed="false",result="false",rule="office-hours"} 4002`)
}

// An attacker who writes what they like into every label adds nothing after the first round.
func TestSeriesAreBounded(t *testing.T) {
	m := declared()
	everything(m)
	random := rand.New(rand.NewPCG(1, 2))
	status := 0
	round := func() {
		w := fmt.Sprintf("%x.390.533.447-05", random.Uint64())
		status++
		m.Request(w, w, status, time.Duration(random.Int64()))
		m.Act(w, w, w, w, selo.Reason(w), time.Duration(random.Int64()))
		m.Refused(selo.Reason(w))
		m.ProviderCall(w, w, w, 0)
		m.RuleOutcome(w, w, w, random.IntN(2) == 0)
		m.Daily(w, w, random.Int(), random.Int())
	}
	for range 2000 { // every status that there is
		round()
	}
	before := strings.Count(scrape(t, m), "\n")
	for range 100_000 {
		round()
	}
	text := scrape(t, m)
	if after := strings.Count(text, "\n"); after != before {
		t.Errorf("%d lines became %d", before, after)
	}
	if before > 500 {
		t.Errorf("%d lines", before)
	}
	if strings.Contains(text, "390") && strings.Contains(text, "447-05") {
		t.Error("a CPF is shown")
	}
}

// Every reason of the library has a name here, also those that are still to come.
func TestReasons(t *testing.T) {
	tree, err := parser.ParseFile(token.NewFileSet(), "../../errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := declared()
	n := 0
	ast.Inspect(tree, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
				reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Error(err)
				}
				n++
				m.Refused(selo.Reason(reason))
			}
		}
		return true
	})
	text := scrape(t, m)
	if got := strings.Count(text, "\nselo_unauthenticated_total{"); n < 41 || got != n || strings.Contains(text, "(other)") {
		t.Errorf("%d reasons are shown of %d; vocabulary.go lacks some", got, n)
	}
}

func TestCollectDrops(t *testing.T) {
	m := declared()
	bank := "https://sign-in.bank.test"
	m.Collect(func(set func(string, map[string]string, float64)) {
		set("selo_store_bytes", nil, 1)
		set("selo_store_bytes", map[string]string{}, 2)
		set("selo_secrets", nil, 1)
		set("selo_http_requests_total", nil, 1)
		set("selo_store_ready", map[string]string{"cpf": "39053344705"}, 1)
		set("selo_issuer_keys_usable", nil, 1)
		set("selo_issuer_keys_usable", map[string]string{"issuer": bank}, 1)
		set("selo_issuer_keys_age_seconds", source(bank), math.NaN())
		set("selo_sessions_open", nil, math.Inf(1))
		set("selo_token_cache_hits_total", nil, -1)
		set("selo_issuer_keys_usable", source("https://a.test"), 0)
		set("selo_issuer_keys_usable", source("https://b.test"), 1)
		panic("nothing more")
	})
	scrape(t, m) // counts what the next one shows
	m.Collect(nil)
	const want = `selo_config_last_reload_success 1
selo_config_reloads_total{outcome="failed"} 0
selo_config_reloads_total{outcome="ok"} 0
selo_metrics_dropped_total{why="labels"} 3
selo_metrics_dropped_total{why="panic"} 1
selo_metrics_dropped_total{why="twice"} 2
selo_metrics_dropped_total{why="unknown"} 2
selo_metrics_dropped_total{why="value"} 3
selo_throttled_total 0
`
	if diff := cmp.Diff(want, ours(scrape(t, m))); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestCollectIsReplaced(t *testing.T) {
	m := declared()
	var kept func(string, map[string]string, float64)
	m.Collect(func(set func(string, map[string]string, float64)) {
		kept = set
		set("selo_store_bytes", nil, 1)
		set("selo_sessions_open", nil, 1)
	})
	wantSeries(t, m, "selo_store_bytes 1", "selo_sessions_open 1")
	kept("selo_token_cache_entries", nil, 1) // too late
	m.Collect(func(set func(string, map[string]string, float64)) {
		set("selo_store_bytes", nil, 2)
		m.Collect(nil) // from the next scrape on
		panic("after the first")
	})
	if text := ours(scrape(t, m)); !strings.Contains(text, "selo_store_bytes 2\n") || strings.Contains(text, "selo_sessions_open") ||
		strings.Contains(text, "selo_token_cache_entries") {
		t.Error(text)
	}
	if text := ours(scrape(t, m)); strings.Contains(text, "selo_store_bytes") {
		t.Error(text)
	}
}

func TestReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := declared()
		want := func(success, at string) {
			t.Helper()
			text := answer(m, "GET", "/metrics", nil).Body.String()
			for _, line := range []string{"selo_config_last_reload_success " + success, "selo_config_last_reload_success_timestamp_seconds " + at} {
				if !strings.Contains(text, "\n"+line+"\n") {
					t.Errorf("no %s\n%s", line, text)
				}
			}
		}
		want("1", "9.466848e+08") // 2000-01-01, where the bubble's time begins
		time.Sleep(time.Minute)
		m.Reloaded(false)
		want("0", "9.466848e+08")
		time.Sleep(time.Minute)
		m.Reloaded(true)
		want("1", "9.4668492e+08")
	})
}

func TestHandler(t *testing.T) {
	m := declared()
	for _, tc := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/metrics", 200},
		{"GET", "/metrics?name[]=selo_throttled_total", 200},
		{"HEAD", "/metrics", 405},
		{"POST", "/metrics", 405},
		{"OPTIONS", "/metrics", 405},
		{"BREW", "/metrics", 405},
		{"GET", "/", 404},
		{"GET", "/metrics/", 404},
		{"GET", "//metrics", 404},
		{"GET", "/metrics/../metrics", 404},
		{"GET", "/debug/pprof/", 404},
		{"POST", "/other", 404},
	} {
		w := answer(m, tc.method, tc.target, nil)
		if w.Code != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.target, w.Code, tc.status)
		}
		if allow := w.Header().Get("Allow"); (allow == "GET") != (tc.status == 405) {
			t.Errorf("%s %s: Allow %q", tc.method, tc.target, allow)
		}
		if tc.status != 200 && strings.Contains(w.Body.String(), "selo_") {
			t.Errorf("%s %s shows metrics", tc.method, tc.target)
		}
	}
}

func TestFormats(t *testing.T) {
	m := declared()
	everything(m)
	for _, tc := range []struct{ accept, contentType string }{
		{"", "text/plain; version=0.0.4; charset=utf-8"},
		{"*/*", "text/plain; version=0.0.4; charset=utf-8"},
		{"text/plain", "text/plain; version=0.0.4; charset=utf-8"},
		{"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text; version=1.0.0; charset=utf-8"},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "text/plain; version=0.0.4; charset=utf-8"},
		{"application/json", "text/plain; version=0.0.4; charset=utf-8"},
		{strings.Repeat(",;=", 1000), "text/plain; version=0.0.4; charset=utf-8"},
	} {
		w := answer(m, "GET", "/metrics", http.Header{"Accept": {tc.accept}, "Accept-Encoding": {"gzip, zstd, br"}})
		got, _, _ := strings.Cut(w.Header().Get("Content-Type"), "; escaping=")
		if w.Code != 200 || got != tc.contentType || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("Accept %.40q: %d %v", tc.accept, w.Code, w.Header())
		}
		if open := strings.HasSuffix(w.Body.String(), "# EOF\n"); open != strings.Contains(tc.contentType, "openmetrics") {
			t.Errorf("Accept %.40q: OpenMetrics: %v", tc.accept, open)
		} else if !open {
			checkText(t, w.Body.String())
		}
	}
}

func TestNil(t *testing.T) {
	var m *metrics.Metrics
	m.Declare([]string{"bank"}, nil, nil, nil, nil)
	everything(m)
	m.Collect(nil)
	if w := answer(m, "GET", "/metrics", nil); w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

func TestAtOnce(t *testing.T) {
	const crowd, rounds = 16, 50
	m := declared()
	var done sync.WaitGroup
	for i := range crowd {
		done.Go(func() {
			for j := range rounds {
				m.Declare([]string{fmt.Sprintf("app-%d-%d", i, j)}, nil, nil, nil, []string{"source-" + strconv.Itoa(j)})
				everything(m)
				if j%10 == 0 {
					w := answer(m, "GET", "/metrics", nil)
					if w.Code != http.StatusServiceUnavailable { // too many scrapes at once
						checkText(t, w.Body.String())
					}
				}
			}
		})
	}
	done.Wait()
	wantSeries(t, m, fmt.Sprintf("selo_throttled_total %d", crowd*rounds),
		fmt.Sprintf(`selo_http_requests_total{method="GET",route="/v1/sessions/{id}",status="200"} %d`, crowd*rounds))
}

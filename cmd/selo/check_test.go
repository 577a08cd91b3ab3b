package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/transcript"
)

// check runs selo check and returns the IDs of what came of it, by outcome.
func check(t *testing.T, want int, config string, args ...string) (map[finding.Outcome][]string, *finding.Report) {
	t.Helper()
	var out bytes.Buffer
	args = append([]string{"check", "--config", config, "--format", "json"}, args...)
	code := run(t.Context(), args, streams{strings.NewReader(""), transcript.ReplyTo(&out), transcript.Log(), nil})
	if code != want {
		t.Errorf("exit status %d, want %d", code, want)
	}
	report, err := finding.ReadJSON(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatalf("%v: %.2000s", err, &out)
	}
	came := make(map[finding.Outcome][]string)
	for _, f := range report.Findings {
		came[f.Outcome] = append(came[f.Outcome], f.Rule)
		if f.Outcome != finding.Pass && f.Outcome != finding.NotApplicable {
			t.Logf("%s: %s: %s", f.Outcome, f.Rule, f.Message)
		}
	}
	for _, ids := range came {
		slices.Sort(ids)
	}
	return came, report
}

// wantClean fails for anything but passes and the probes that do not apply.
func wantClean(t *testing.T, came map[finding.Outcome][]string, notApplicable ...string) {
	t.Helper()
	passes := len(came[finding.Pass])
	delete(came, finding.Pass)
	if diff := cmp.Diff(map[finding.Outcome][]string{finding.NotApplicable: notApplicable}, came); diff != "" {
		t.Errorf("what does not pass (-want +got):\n%s", diff)
	}
	if passes < 80 {
		t.Errorf("%d probes passed", passes)
	}
}

// TestCheckDemo checks Selo itself, from outside, by the file that the demo writes.
func TestCheckDemo(t *testing.T) {
	s := startDemo(t)
	came, _ := check(t, 0, filepath.Join(s.dir, demoCheckFile))
	wantClean(t, came, "after-logout", "other-policy", "retired-key", "sandbox-key", "wrong-password")
}

// example starts one of the servers in Node.js, and returns the check.yaml that is beside it.
func example(t *testing.T, folder, clientID, clientSecret string, env ...string) (config string) {
	t.Helper()
	for name, value := range map[string]string{
		"CAF_CLIENT_ID": clientID, "CAF_CLIENT_SECRET": clientSecret,
		"APP_SECRET": transcript.Secret(randomHex(32)), "ANA_PASSWORD": transcript.Secret(randomHex(16)), "BRUNO_PASSWORD": transcript.Secret(randomHex(16)),
	} {
		t.Setenv(name, value)
		env = append(env, name+"="+value)
	}
	_, out := startNode(t, folder, "server.js", append(env, "PORT=0")...)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s ended: %v", folder, err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "check.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	there := strings.Replace(string(text), "http://127.0.0.1:3000", strings.TrimSpace(line), 1)
	if there == string(text) {
		t.Fatal("check.yaml names another target")
	}
	config = filepath.Join(t.TempDir(), "check.yaml")
	if err := os.WriteFile(config, []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func exampleKey() (clientID, clientSecret string) {
	return randomHex(12), transcript.Secret(randomHex(32))
}

// notDescribed are the probes of what the examples' check.yaml do not describe, because these servers do not have it.
var notDescribed = []string{
	"after-logout", "expired-credentials", "other-policy", "retired-key", "sandbox-key",
	"webhook-accepted", "webhook-replay", "webhook-reserialised", "webhook-unsigned", "webhook-wrong-signature", "wrong-audience",
}

// TestCheckNaive is a server as hurried teams write it: what its README owns up to is found, and nothing else.
func TestCheckNaive(t *testing.T) {
	id, secret := exampleKey()
	came, report := check(t, 1, example(t, "../../examples/node-naive", id, secret))
	delete(came, finding.Pass)
	want := map[finding.Outcome][]string{
		finding.NotApplicable: slices.Sorted(slices.Values(append(slices.Clone(notDescribed), "cpf-in-submit"))), // 9 is worse
		finding.Warn: {
			"older-than-session", // 10
			"token-claims",       // 4
		},
		finding.Fail: {
			"burst",                                    // 6
			"cors",                                     // 19
			"cpf-from-body", "cpf-masked", "cpf-twice", // 1
			"crit-header", "b64-header", // 8
			"decision-number", "decision-object", "decision-string", // 13
			"decision-twice",                            // 15
			"future", "iat-missing", "iat-odd", "stale", // 10
			"hs384-hs512",                       // 7
			"id-missing",                        // 11
			"no-server-error", "no-stack-trace", // 18
			"payload-form",                                                                                 // 16
			"person-missing", "person-twice", "person-type", "response-other-person", "session-other-user", // 9
			"replay", "replay-late", "replay-other-session", "replay-parallel", "replay-parallel-sessions", "replay-resigned", // 11
			"token-exp-reasonable", // 3
			"token-no-store",       // 5
		},
	}
	slices.Sort(want[finding.Fail])
	if diff := cmp.Diff(want, came); diff != "" {
		t.Errorf("what does not pass (-want +got):\n%s", diff)
	}
	wantInREADME(t, report)
}

// wantInREADME fails unless the report that both READMEs show is what is really said, as far as they show it.
func wantInREADME(t *testing.T, report *finding.Report) {
	t.Helper()
	var text bytes.Buffer
	if err := finding.WriteText(&text, report, finding.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../README.md", "../../README.pt-BR.md"} {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, shown, ok := strings.Cut(string(page), "examples/node-naive/README.md)")
		_, shown, _ = strings.Cut(shown, "\n\n")
		shown, _, _ = strings.Cut(shown, "\n\n")
		if !ok || strings.Count(shown, "\n") < 10 {
			t.Fatalf("%s shows no report", name)
		}
		for line := range strings.SplitSeq(shown, "\n") {
			line = strings.TrimPrefix(line, "    ")
			if strings.TrimSpace(line) != "…" && !strings.Contains(text.String(), line+"\n") {
				t.Errorf("%s: the report does not say %q", name, line)
			}
		}
	}
}

// TestCheckCorrect is the same server mended by hand.
func TestCheckCorrect(t *testing.T) {
	id, secret := exampleKey()
	config := example(t, "../../internal/checklist/testdata/node-correct", id, secret, "TOKENS_PER_MINUTE=250", "FAILURES_PER_MINUTE=250")
	came, _ := check(t, 0, config)
	wantClean(t, came, notDescribed...)
}

// TestCheckWithSelo is the same server again, which leaves the difficult part to Selo.
func TestCheckWithSelo(t *testing.T) {
	s := startDemo(t)
	keys, err := readKeyFile(filepath.Join(s.dir, sandboxFile))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys.AccessKeys, func(k AccessKeyConfig) bool { return slices.Contains(k.Products, authentication) })
	config := example(t, "../../examples/node-with-selo", keys.AccessKeys[i].ClientID, readSecret(t, filepath.Join(s.dir, keys.AccessKeys[i].SecretFile)),
		"SELO_URL="+s.urls.API, "SELO_API_KEY_FILE="+filepath.Join(s.dir, serviceKeyFile), "REQUESTS_PER_MINUTE=250")
	came, _ := check(t, 0, config)
	wantClean(t, came, notDescribed...)
}

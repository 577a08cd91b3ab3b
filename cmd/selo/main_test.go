package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/transcript"
)

// asMain makes the test binary behave as the program, for tests that kill it.
const asMain = "SELO_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	for _, u := range sandbox.DemoUsers() {
		if !u.CPF.IsZero() { // somebody who is signing up
			transcript.CPF(u.CPF.Digits())
		}
	}
	os.Exit(transcript.Main(m))
}

// TestScripts runs testdata/*.txt, one sitting of a user each.
//
//	selo ARG… [<FILE]           the program; <FILE is its standard input
//	exits CODE ARG… [<FILE]     the same, which must end with this exit status
//	response FILE SECRET JSON   writes a signed response with that payload, signed with the bytes of SECRET
//	demo-config                 writes a complete configuration, selo.yaml, with its secrets and database
//	replace FILE FROM TO        replaces a text in a file; append FILE LINE adds a line
//	revoke-key FILE             revokes the service's API key in FILE
//	secret FILE TEXT            writes TEXT, with \n and \r, to a file that must not come out of anything
func TestScripts(t *testing.T) {
	selo := func(ts *testscript.TestScript, want int, args []string) {
		var in io.Reader = strings.NewReader("")
		if last := len(args) - 1; last >= 0 && strings.HasPrefix(args[last], "<") {
			in = strings.NewReader(ts.ReadFile(args[last][1:]))
			args = args[:last]
		}
		for i, a := range args {
			// Paths are relative to the script's folder, not to the test's.
			if a != "-" && i > 0 && slices.Contains([]string{"--config", "--secret-file", "--dir", "backup", "restore", "import", "init", "--output", "--baseline", "scan", "--fingerprints", "--allow"}, args[i-1]) &&
				!slices.Contains([]string{"list", "fingerprint"}, a) && !strings.HasPrefix(a, "--") {
				args[i] = ts.MkAbs(a)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		code := run(ctx, args, streams{in, transcript.ReplyTo(ts.Stdout()), transcript.LogTo(ts.Stderr()), nil})
		if code != want {
			ts.Fatalf("exit status %d, want %d", code, want)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"selo": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg {
					ts.Fatalf("say which exit status: exits CODE")
				}
				selo(ts, exitOK, args)
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				want, ok := map[string]int{"0": 0, "1": 1, "2": 2, "3": 3}[args[0]]
				if !ok {
					ts.Fatalf("no such exit status: %s", args[0])
				}
				selo(ts, want, args[1:])
			},
			"response": func(ts *testscript.TestScript, _ bool, args []string) {
				secret := bytes.TrimSuffix([]byte(ts.ReadFile(args[1])), []byte("\n"))
				token := sandbox.Sign(secret, []byte(sandbox.HS256Header), []byte(args[2]))
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token+"\n"), 0o600))
				ts.Setenv(strings.TrimSuffix(args[0], ".jwt"), token)
			},
			"demo-config": func(ts *testscript.TestScript, _ bool, _ []string) {
				cfg, err := demoConfig(ts.MkAbs("."), "127.0.0.1:0", "", demoURLs{Sandbox: "http://127.0.0.1:1", IdP: "http://127.0.0.1:1"})
				ts.Check(err)
				ts.Check(cfg.demoCredentials(t.Context()))
				ts.Check(os.WriteFile(ts.MkAbs("kek-2"), []byte(transcript.Secret(randomHex(32))), 0o600))
				plantSecrets(t, ts.MkAbs("."))
			},
			"replace": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[0])
				if !strings.Contains(text, args[1]) {
					ts.Fatalf("%s has no %q in it", args[0], args[1])
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
			},
			"append": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[0])+args[1]+"\n"), 0o600))
			},
			"revoke-key": func(ts *testscript.TestScript, _ bool, args []string) {
				selo(ts, exitOK, []string{"service", "revoke", strings.TrimSpace(ts.ReadFile(args[0])), "--config", "selo.yaml"})
			},
			"secret": func(ts *testscript.TestScript, _ bool, args []string) {
				text := strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(args[1])
				transcript.Secret(strings.TrimRight(text, "\r\n"))
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
			},
		},
	})
}

// server is one run of the program in this process.
type server struct {
	urls   demoURLs
	dir    string
	stop   func()   // as SIGINT does
	ended  chan int // exit status
	client *http.Client
}

// startDemo runs selo demo --json on free ports.
func startDemo(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), ended: make(chan int, 1), client: transcript.Client(&http.Client{Transport: &http.Transport{}})}
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	out, w := io.Pipe()
	go func() {
		code := run(ctx, []string{"demo", "--json", "--listen-base", "127.0.0.1:0", "--dir", s.dir}, streams{strings.NewReader(""), w, transcript.Log(), nil})
		_ = w.Close()
		s.ended <- code
	}()
	s.urls = readURLs(t, out)
	plantSecrets(t, s.dir)
	t.Cleanup(func() {
		stop()
		if code := <-s.ended; code != 0 {
			t.Errorf("demo ended with status %d", code)
		}
		s.client.CloseIdleConnections()
	})
	return s
}

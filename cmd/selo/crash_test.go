package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/selo-id/selo/internal/transcript"
)

// startProcess runs selo demo as a process of its own, which can be killed.
func startProcess(t *testing.T, dir string) (*server, *exec.Cmd) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "demo", "--json", "--listen-base", "127.0.0.1:0", "--dir", dir)
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stderr = transcript.Log()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir, urls: readURLs(t, out), client: transcript.Client(&http.Client{Transport: &http.Transport{}})}
	plantSecrets(t, dir)
	t.Cleanup(s.client.CloseIdleConnections)
	return s, cmd
}

// A grant that was answered is a grant after kill -9, with the same receipt, and no response grants twice.
// One whose answer was cut off granted once or can still grant once.
func TestKillAndRestart(t *testing.T) {
	dir := t.TempDir()
	s, process := startProcess(t, dir)
	type attempt struct{ id, signed, receipt string }
	const rounds, workers = 3, 4
	for round := range rounds {
		// Opening supersedes, so that each subject has one session at a time: these are all different.
		key := "Bearer " + readSecret(t, dir+"/"+serviceKeyFile)
		var mu sync.Mutex
		var attempts []attempt
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := 0; ; i++ {
					a := attempt{}
					opened, err := s.try(t.Context(), "POST", s.urls.API+"/v1/sessions", key, fmt.Sprintf(
						`{"product":"caf/face-liveness","purpose":"login","subject":"worker-%d-%d-%d","cpf":"52998224725"}`, round, w, i))
					if err != nil {
						return // killed
					}
					a.id = opened.text("session_id")
					signed, err := s.try(t.Context(), "POST", s.urls.Sandbox+"/sdk/"+liveness, opened.text("tokens", "mobile"),
						`{"personId":"52998224725","outcome":"approve"}`)
					if err != nil {
						return
					}
					a.signed = signed.text("signedResponse")
					granted, err := s.try(t.Context(), "POST", s.urls.API+"/v1/sessions/"+a.id+"/response", key, `{"signed_response":"`+a.signed+`"}`)
					a.receipt = granted.text("receipt")
					mu.Lock()
					attempts = append(attempts, a)
					enough := len(attempts) >= 20+7*round
					mu.Unlock()
					if err != nil {
						return
					}
					if enough {
						_ = process.Process.Signal(syscall.SIGKILL) // in the middle of the others' requests
					}
				}
			})
		}
		all.Wait()
		_ = process.Wait()

		s, process = startProcess(t, dir)
		key = "Bearer " + readSecret(t, dir+"/"+serviceKeyFile)
		grants := 0
		for _, a := range attempts {
			before := s.call(t, "GET", s.urls.API+"/v1/sessions/"+a.id, key, "")
			again := s.respond(t, key, a.id, a.signed)
			if a.receipt != "" {
				grants++
				if before.text("state") != "granted" || before.text("receipt") != a.receipt {
					t.Errorf("an answered grant is %q after the restart, same receipt is %v", before.text("state"), before.text("receipt") == a.receipt)
				}
			}
			if before.text("state") == "granted" && again.status == 200 {
				t.Error("granted twice")
			}
			if third := s.respond(t, key, a.id, a.signed); third.status == 200 {
				t.Error("granted twice after the restart")
			}
		}
		if grants == 0 {
			t.Error("no grant was answered before the kill: the test showed nothing")
		}
	}
	if err := process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err != nil {
		t.Errorf("SIGINT: %v", err)
	}
}

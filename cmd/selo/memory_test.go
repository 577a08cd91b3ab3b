//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/transcript"
)

// needle is a value in one of the forms in which it could leak.
type needle struct {
	form string
	text []byte
}

// needles are a value raw, in hex and in base64, which looks different at each of three places.
func needles(value string) []needle {
	all := []needle{{"raw", []byte(value)}, {"hex", []byte(hex.EncodeToString([]byte(value)))}, {"HEX", []byte(strings.ToUpper(hex.EncodeToString([]byte(value))))}}
	for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for at := range 3 {
			text := enc.EncodeToString(append(make([]byte, at), value...))
			from := []int{0, 2, 3}[at]
			to := len(text)
			if (at+len(value))%3 != 0 {
				to-- // depends on what follows
			}
			all = append(all, needle{fmt.Sprintf("%s+%d", name, at), []byte(text[from:to])})
		}
	}
	return all
}

// found are the forms of the value that are in the haystack.
func found(haystack []byte, value string) (forms []string) {
	for _, n := range needles(value) {
		if bytes.Contains(haystack, n.text) {
			forms = append(forms, n.form)
		}
	}
	return forms
}

// memory reads what is readable and private of a process.
func memory(t *testing.T, pid int) []byte {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	var all bytes.Buffer
	const shadow, most = 512 << 20, 2 << 30 // a mapping so large is the race detector's own
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[1], "r") || !strings.HasSuffix(fields[1], "p") || strings.HasPrefix(fields[len(fields)-1], "[v") {
			continue
		}
		fromText, toText, _ := strings.Cut(fields[0], "-")
		from, err1 := strconv.ParseUint(fromText, 16, 63)
		to, err2 := strconv.ParseUint(toText, 16, 63)
		if err1 != nil || err2 != nil {
			t.Fatalf("no mapping: %s", line)
		}
		if to-from > shadow {
			continue
		}
		if all.Len()+int(to-from) > most {
			t.Fatalf("too much memory: %s", line)
		}
		chunk := make([]byte, to-from)
		n, _ := mem.ReadAt(chunk, int64(from)) // a mapping may be gone by now, or end before its end
		all.Write(chunk[:n])
		all.WriteByte(0)
	}
	return all.Bytes()
}

// kept is a writer that keeps what is written, and tells of lines.
type kept struct {
	mu    sync.Mutex
	all   bytes.Buffer
	lines chan string
}

func (k *kept) read(r io.Reader) {
	defer close(k.lines)
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		k.mu.Lock()
		k.all.WriteString(line)
		k.mu.Unlock()
		if line != "" && len(k.lines) < cap(k.lines) {
			k.lines <- line
		}
		if err != nil {
			return
		}
	}
}

func (k *kept) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.all.Bytes())
}

// Must show: the bytes of a client secret are in no file, no log and no answer of a running server. In its memory they are, as
// docs/operating.md says, and there as they are used, raw. The KEK is in none of the first either.
func TestWhereSecretsAre(t *testing.T) {
	cfg := writeDemo(t, nil)
	config := filepath.Join(cfg.dir, demoConfigFile)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "metrics_listen: 127.0.0.1:0\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := readKeyFile(filepath.Join(cfg.dir, sandboxFile))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys.AccessKeys, func(k AccessKeyConfig) bool { return slices.Equal(k.Products, []string{liveness}) })
	secret := readSecret(t, filepath.Join(cfg.dir, keys.AccessKeys[i].SecretFile))
	kek := readSecret(t, filepath.Join(cfg.dir, "kek"))
	service, operator := "Bearer "+readSecret(t, filepath.Join(cfg.dir, serviceKeyFile)), "Bearer "+readSecret(t, filepath.Join(cfg.dir, operatorKeyFile))

	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--config", config)
	cmd.Env = append(os.Environ(), asMain+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := &kept{lines: make(chan string, 100)}
	go log.read(io.TeeReader(stderr, transcript.Log()))
	var urls []string
	for len(urls) < 2 {
		line, ok := <-log.lines
		if !ok {
			t.Fatalf("it ended: %s", log.bytes())
		}
		var said struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "listening" {
			urls = append(urls, "http://"+said.Address)
		}
	}

	// Everything that the server says is searched as it came.
	client := &http.Client{Transport: &http.Transport{}} // not of the transcript: openapi.yaml has CPFs in its examples
	defer client.CloseIdleConnections()
	var answers bytes.Buffer
	call := func(want int, method, url, authorization, body string) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if want != 0 && resp.StatusCode != want {
			t.Fatalf("%s %s: status %d, want %d: %s", method, url, resp.StatusCode, want, text)
		}
		fmt.Fprintf(&answers, "%v\n%s\n", resp.Header, text)
		fields := make(map[string]any)
		_ = json.Unmarshal(text, &fields)
		fields["(status)"] = resp.StatusCode
		return fields
	}
	if call(0, "GET", urls[0]+"/readyz", "", "")["(status)"] != http.StatusOK {
		slices.Reverse(urls)
	}
	api, metrics := urls[0], urls[1]

	journey := func() string {
		t.Helper()
		opened := call(201, "POST", api+"/v1/sessions", service, `{"product":"caf/face-liveness","purpose":"login","subject":"customer-1","cpf":"52998224725"}`)
		id := opened["session_id"].(string)
		payload, err := json.Marshal(sandbox.FaceLivenessResponse{RequestID: randomHex(16), IsAlive: true, Token: "t", UserID: "u",
			ImageURL: "https://images.test/1.jpg", PersonID: "52998224725", SDKVersion: "1", IssuedAt: time.Now().Unix()})
		if err != nil {
			t.Fatal(err)
		}
		response := sandbox.Sign([]byte(secret), []byte(sandbox.HS256Header), payload)
		call(200, "POST", api+"/v1/sessions/"+id+"/response", service, `{"signed_response":"`+response+`"}`)
		call(200, "GET", api+"/v1/sessions/"+id, service, "")
		return id
	}
	session := journey()
	early := memory(t, cmd.Process.Pid) // before anybody sends the secret, below

	// A marker in every form goes where a secret might: a note is stored, and listed.
	marker := "marker-" + randomHex(8) + "-of-this-test"
	var planted []string
	for _, n := range needles(marker) {
		planted = append(planted, string(n.text))
	}
	late := transcript.Secret(randomHex(32)) // a secret that comes in by the API
	body := func(id, secret, note string) string {
		text, err := json.Marshal(map[string]any{"client_id": id, "client_secret": secret, "environment": "sandbox", "products": []string{liveness}, "note": note})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	added := "64b7f3c2a1d0e9f8b7a6c5d4"
	half := len(planted) / 2
	call(201, "POST", api+"/v1/admin/keys", operator, body(added, late, strings.Join(planted[:half], " ")))
	call(201, "POST", api+"/v1/admin/keys", operator, body("64b7f3c2a1d0e9f8b7a6c5d5", transcript.Secret(randomHex(32)), strings.Join(planted[half:], " ")))
	call(400, "POST", api+"/v1/admin/keys", operator, body("64b7f3c2a1d0e9f8b7a6c5d6", secret, "the secret of another"))
	call(400, "POST", api+"/v1/admin/keys", operator, body(secret, secret, ""))
	call(400, "POST", api+"/v1/admin/keys", operator, `{"client_secret":"`+secret+`"`)
	call(400, "POST", api+"/v1/admin/keys", operator, `{"`+secret+`":1}`)
	call(403, "POST", api+"/v1/admin/keys", service, body("64b7f3c2a1d0e9f8b7a6c5d6", secret, ""))
	call(200, "GET", api+"/v1/admin/keys", operator, "")
	call(200, "POST", api+"/v1/admin/keys/sandbox/"+added, operator, `{"state":"active"}`)
	call(200, "POST", api+"/v1/admin/keys/sandbox/"+added, operator, `{"state":"revoked","leaked":true}`)
	call(404, "POST", api+"/v1/admin/keys/sandbox/"+secret, operator, `{"state":"revoked"}`)
	for _, path := range []string{"/v1/admin/credentials?kind=service", "/v1/admin/credentials?kind=operator", "/v1/admin/trail?session=" + session, "/v1/admin/trail?session_id=" + session,
		"/v1/admin/nothing", "/.well-known/jwks.json", "/openapi.yaml", "/healthz", "/readyz", "/v1/sessions/" + session} {
		call(0, "GET", api+path, operator, "")
	}
	call(200, "GET", metrics+"/metrics", "", "")

	mem := memory(t, cmd.Process.Pid)
	places := map[string][]byte{"answers": answers.Bytes(), "standard error": log.bytes()}
	readFiles := func(when string) {
		for _, end := range []string{"", "-wal", "-shm"} {
			b, err := os.ReadFile(filepath.Join(cfg.dir, cfg.Database) + end)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			places["database"+end+when] = b
		}
	}
	readFiles("")
	// Stopped, so that all is in the one file.
	client.CloseIdleConnections()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range log.lines { // until it has closed its standard error
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	places["standard error"] = log.bytes()
	readFiles(", stopped")

	for where, text := range places {
		for what, value := range map[string]string{"the client secret": secret, "a secret that came by the API": late, "the kek": kek} {
			if forms := found(text, value); forms != nil {
				t.Errorf("%s is in %s, %v", what, where, forms)
			}
		}
	}

	// The search can find: in each kind of place what is there, and in each form.
	all := func(value string) (n int) { return len(needles(value)) }
	files := slices.Concat(places["database"], places["database-wal"])
	for where, text := range map[string][]byte{"answers": places["answers"], "database and its -wal": files, "database, stopped": places["database, stopped"], "memory": mem} {
		if forms := found(text, marker); len(forms) < all(marker) {
			t.Errorf("control: in %s the marker is only found as %v", where, forms)
		}
		if !slices.Contains(found(text, session), "raw") {
			t.Errorf("control: the session's id is not in %s", where)
		}
	}
	if !slices.Contains(found(places["standard error"], "listening"), "raw") || !bytes.Contains(places["answers"], []byte("# TYPE selo_")) {
		t.Error("control: standard error or metrics were not read")
	}
	if len(places["database-wal"]) == 0 {
		t.Error("control: there is no -wal")
	}

	// In memory, as documented.
	for when, text := range map[string][]byte{"after a journey": early, "in the end": mem} {
		if forms := found(text, secret); !slices.Equal(forms, []string{"raw"}) {
			t.Errorf("in memory, %s, the client secret is found as %v, want raw alone", when, forms)
		}
		t.Logf("%s: in %d MiB of memory the client secret is there %d times, the kek's text %d times", when, len(text)>>20,
			bytes.Count(text, []byte(secret)), bytes.Count(text, []byte(kek)))
	}
}

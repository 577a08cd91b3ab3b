package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/selo-id/selo/internal/transcript"
)

// TestScanStaged commits through a hook as docs/scan.md has it, in a real repository.
func TestScanStaged(t *testing.T) {
	dir := t.TempDir()
	git := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", asMain+"=1")
		out, err := cmd.CombinedOutput()
		transcript.Log().Write(out)
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("git %s: exit status %d (%v), want %d:\n%s", strings.Join(args, " "), code, err, want, out)
		}
		return string(out)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	secret := transcript.Secret(randomHex(24))
	git(0, "init", "-q")
	write("secret", secret)
	write(".git/hooks/pre-commit", "#!/bin/sh\nexec '"+self+"' scan --staged --secret-file secret\n")

	if out := git(0, "commit", "-q", "--allow-empty", "-m", "nothing"); !strings.Contains(out, "Nothing is staged.") {
		t.Errorf("with nothing staged it says %q", out)
	}
	write("a b.js", "const x = 'harmless'")
	write("b\n-c.env", "CAF_SECRET="+secret)
	git(0, "add", "a b.js")
	if out := git(0, "commit", "-q", "-m", "harmless; what is not staged is not scanned"); strings.TrimSpace(out) != "Nothing found in 1 staged file." {
		t.Errorf("of a harmless file it says %q", out)
	}
	git(0, "add", "b\n-c.env")
	write("b\n-c.env", "CAF_SECRET=")
	if out := git(1, "commit", "-q", "-m", "the index has the secret, though the folder has it no more"); !strings.Contains(out, "own-secret") ||
		!strings.Contains(out, "Take it out before you commit; if it was ever pushed or shipped, revoke the key.") || strings.Contains(out, "With -v") {
		t.Errorf("says %q", out)
	}
	git(0, "add", "b\n-c.env")
	git(0, "commit", "-q", "-m", "taken out")
	// What the repository says of itself does not make it scan less.
	write("d.env", "CAF_SECRET="+secret)
	git(0, "add", "d.env")
	clean := strings.TrimSpace(git(0, "hash-object", "-w", "a b.js"))
	git(0, "replace", strings.TrimSpace(git(0, "rev-parse", ":d.env")), clean)
	git(0, "config", "diff.relative", "true")
	git(0, "config", "diff.orderFile", "missing")
	git(0, "config", "core.quotePath", "true")
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := git(1, "-C", "below", "commit", "-q", "-m", "a secret in a repository that looks the other way"); !strings.Contains(out, "own-secret") {
		t.Errorf("says %q", out)
	}
	git(0, "rm", "-q", "--cached", "d.env")
	git(0, "config", "--unset", "diff.orderFile")
	git(0, "rm", "-q", "a b.js")
	git(0, "commit", "-q", "-m", "a file that is gone is not scanned")

	write("part", secret[:10])
	git(0, "add", "part")
	if err := os.RemoveAll(filepath.Join(dir, ".git", "objects")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "scan", "--staged")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asMain+"=1")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitUsage || !bytes.Contains(out, []byte("selo: --staged: ")) {
		t.Errorf("in a broken repository: exit status %d, %s", code, out)
	}
}

// TestScanDocs parses every command and every YAML file in docs/scan.md.
func TestScanDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/scan.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(text), "\\\n", "")
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^.*?\bselo (scan .*)$`).FindAllStringSubmatch(doc, -1) {
		line := m[1]
		if strings.Contains(m[0], "`selo scan") { // prose
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		line, _, _ = strings.Cut(line, " >")
		args := strings.Fields(strings.ReplaceAll(line, `"`, ""))
		n++
		parser, err := kong.New(new(commands), kong.Name("selo"), kong.Exit(func(int) {}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args); err != nil {
			t.Errorf("selo %s: %v", line, err)
		}
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	for _, m := range blocks {
		var v any
		if err := yaml.Unmarshal([]byte(m[1]), &v); err != nil {
			t.Errorf("%v in:\n%s", err, m[1])
		}
	}
	if n < 6 || len(blocks) < 3 {
		t.Errorf("%d commands and %d YAML files", n, len(blocks))
	}
}

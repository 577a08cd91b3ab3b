package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	nodeLifetime = 3 * time.Minute // of a program, whatever happens
	npmTimeout   = 5 * time.Minute
)

// startNode runs a program of a folder that has a package.json and its lock, until the test ends. Its environment has
// nothing of ours but what it needs to run, and env.
func startNode(t *testing.T, folder, program string, env ...string) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	modules, err := nodeModules(folder)
	switch {
	case err != nil && os.Getenv("CI")+os.Getenv("SELO_CI") != "":
		t.Fatal(err)
	case err != nil:
		t.Skipf("%v\nThis test needs Node.js 20 or later, npm (Debian 13: apt-get install nodejs npm) and once the network.", err)
	}
	// The modules are beside the program, where Node.js looks for them, but not in the repository.
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// Not with the context of the test, which ends before its cleanups do.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), nodeLifetime)
	cmd := exec.CommandContext(ctx, "node", program)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // ends it, as the end of this process does, whatever its cause
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
		cancel()
		if t.Failed() {
			t.Logf("%s says:\n%.4000s", program, &complaints)
		}
	})
	return stdin, bufio.NewReader(stdout)
}

// installing keeps two tests of this process from installing at once.
var installing sync.Mutex

// nodeModules returns the folder of a program's modules, at exactly the versions and hashes of its package-lock.json. They
// are installed once for this user; several processes may do it at the same time.
func nodeModules(folder string) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	version, err := exec.Command("node", "-p", "process.versions.node").Output()
	if err != nil {
		return "", fmt.Errorf("running node: %w", err)
	}
	major, _, _ := strings.Cut(string(version), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 20 {
		return "", fmt.Errorf("node is version %s, want 20 or later", bytes.TrimSpace(version))
	}

	lists := map[string][]byte{"package.json": nil, "package-lock.json": nil}
	for name := range lists {
		if lists[name], err = os.ReadFile(filepath.Join(folder, name)); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256(append(lists["package-lock.json"], lists["package.json"]...))
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a place for the modules: %w", err)
	}
	name := "selo-" + filepath.Base(folder) + "-"
	dir := filepath.Join(cache, name+hex.EncodeToString(sum[:8]))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil // whole, since it came by renaming
	}

	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(cache, name+"new-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	for name, content := range lists {
		if err := os.WriteFile(filepath.Join(temp, name), content, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), npmTimeout)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
		"--fetch-retries=1", "--fetch-retry-mintimeout=2000") // so that who is offline does not wait for long
	npm.Dir = temp
	npm.WaitDelay = time.Second // what it started may hold its output open
	if said, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, said)
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, there := os.Stat(modules); there != nil { // else another process was faster
			return "", err
		}
	}
	return modules, nil
}

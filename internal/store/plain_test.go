package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
)

// plainEnv holds the name of the one test that a copy of this test binary without the race detector runs.
const plainEnv = "SELO_STORE_TEST_PLAIN"

// inPlainCopy has the calling test run whole in such a copy when this binary has the race detector, fails with what the
// copy says, and reports whether it ran. SQLite is Go here, and twenty times slower under the race detector, which sees
// nothing in tests that do one act after the other, nor in children that are killed before they could say so. All acts,
// and what is done at the same time, stay under it: the conformance tests, several stores on one file, backups.
//
// Where there is no source to build the copy of, the test runs here, and takes its time.
func inPlainCopy(t *testing.T) (ran bool) {
	t.Helper()
	if !raceDetected() {
		return false
	}
	exe, err := plainCopy.build()
	if err != nil {
		t.Logf("no copy without the race detector: %v", err)
		return false
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), plainEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	said := string(out)
	// One that runs nothing, or is not searched for what it recorded, succeeds, too.
	if err != nil || !strings.Contains(said, "\n--- PASS: "+t.Name()+" (") || !strings.Contains(said, "\ntranscript: ") {
		t.Fatalf("without the race detector: %v\n%s", err, ofThese(said, func(line string) bool {
			return !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- PASS: ")
		}))
	}
	t.Logf("passed without the race detector; %s", ofThese(said, func(line string) bool { return strings.HasPrefix(line, "transcript: ") }))
	return true
}

// ofThese returns the lines that are wanted.
func ofThese(text string, wanted func(line string) bool) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return !wanted(line) }), "\n")
}

func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// plainCopy is built once, and removed by TestMain.
var plainCopy plainBinary

type plainBinary struct {
	once sync.Once
	dir  string
	err  error
}

func (b *plainBinary) build() (exe string, _ error) {
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "selo-store-test-plain-"); b.err != nil {
			return
		}
		cmd := exec.Command("go", "test", "-c", "-race=false", "-vet=off", "-o", filepath.Join(b.dir, "store.test"), "github.com/selo-id/selo/internal/store")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	return filepath.Join(b.dir, "store.test"), b.err
}

func (b *plainBinary) remove() error { return os.RemoveAll(b.dir) }

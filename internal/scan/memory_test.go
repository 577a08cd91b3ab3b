package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// memoryEnv has a copy of this test binary look in the file that it names, and say how much memory that took.
const memoryEnv = "SELO_SCAN_TEST_MEMORY"

// maxMemory is what a look may take at its peak, in MiB, with the program itself.
const maxMemory = 128

// TestScanMemory looks in an ordinary app, and in one with a file that is larger than what may be used, as a process of
// its own, and asks the system how much memory that had.
func TestScanMemory(t *testing.T) {
	if name := os.Getenv(memoryEnv); name != "" {
		sayMemory(t, name)
		return
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("only Linux tells how much memory a process had at its peak")
	}
	if raceDetected() {
		inPlainCopy(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, apk := range map[string]string{"an app": benchAPK(t), "files of 200 MB": largeZIP(t)} {
		cmd := exec.Command(exe, "-test.run", "^TestScanMemory$", "-test.v")
		cmd.Env = append(os.Environ(), memoryEnv+"="+apk)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, said, _ := strings.Cut(string(out), "\nVmHWM:")
		var kib int
		if _, err := fmt.Sscanf(said, "%d kB", &kib); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		t.Logf("%s: %d MiB", name, kib>>10)
		if kib>>10 > maxMemory {
			t.Errorf("%s took %d MiB, may take %d", name, kib>>10, maxMemory)
		}
	}
}

func sayMemory(t *testing.T, name string) {
	t.Helper()
	o := Options{Secrets: []Secret{{"a", textOf(1, 64, hexAlphabet)}, {"b", textOf(2, 40, mixed[:62])}, {"c", textOf(3, 24, mixed)}}}
	r, err := Scan(context.Background(), []Target{{Path: name}}, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Rule == ruleEverything && f.Outcome != "pass" {
			t.Fatalf("%s: %s", f.Rule, f.Message)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "\nVmHWM:")
	line, _, _ := strings.Cut(peak, "\n")
	fmt.Printf("\nVmHWM:%s\n", line)
}

func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// inPlainCopy has the calling test run whole in a copy of this test binary without the race detector, which keeps several
// bytes for each that is in use, and takes a minute to make what is looked in.
func inPlainCopy(t *testing.T) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "scan.test")
	out, err := exec.Command("go", "test", "-c", "-race=false", "-vet=off", "-o", exe, "github.com/selo-id/selo/internal/scan").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), exe, "-test.run", "^"+t.Name()+"$", "-test.v").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\n--- PASS: "+t.Name()+" (")) { // one that runs nothing succeeds, too
		t.Fatalf("without the race detector: %v\n%s", err, out)
	}
	t.Logf("passed without the race detector:\n%s", out)
}

// largeZIP returns the file name of a ZIP file of 300 MB and more, with three files in it that are larger than what may be
// used: two as they are, and one compressed. Most of each is zeros, which are soon looked through.
func largeZIP(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "large.apk")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	r := rand.New(rand.NewPCG(3, 4))
	block := make([]byte, 1<<20)
	for i := range len(block) / 16 {
		block[i] = byte(r.Uint32())
	}
	for i, method := range []uint16{zip.Deflate, zip.Store, zip.Store} {
		e, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("assets/%d.bin", i), Method: method})
		if err != nil {
			t.Fatal(err)
		}
		for j := range 200 - 50*min(i, 1) {
			block[j]++ // no two are the same
			if _, err := e.Write(block); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

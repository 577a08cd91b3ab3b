package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPipe: a pipe is read to its end, and a walk that waits for one is over when its context is.
func TestPipe(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", name).CombinedOutput(); err != nil {
		needTool(t, "mkfifo: %v: %s", err, out)
	}
	writer := make(chan *os.File, 1)
	open := func() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		}
		writer <- f
	}
	go func() {
		open()
		f := <-writer
		fmt.Fprint(f, "marker")
		f.Close()
	}()
	s := newSeen()
	if err := s.walker(defaultLimits(), 1).file(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	wantNoProblems(t, s)
	wantData(t, "pipe", map[string][]byte{name: []byte("marker")}, s.data)

	// There is a writer, and it does not write.
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		open()
		cancel()
	}()
	s = newSeen()
	if err := s.walker(defaultLimits(), 1).file(ctx, name); err != nil {
		t.Error(err)
	}
	wantProblem(t, s, name, context.Canceled)
	if s.told != 1 {
		t.Errorf("told %d times", s.told)
	}
	silent := <-writer

	// So it is when the wait has begun. The writer is there still.
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	stop := wakeUp(ctx, f)
	go cancel()
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	stop()
	f.Close()
	silent.Close()

	// There is no writer.
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	s = newSeen()
	if err := s.walker(defaultLimits(), 1).file(ctx, name); err != nil {
		t.Error(err)
	}
	wantProblem(t, s, name, context.Canceled)
	f, err = os.OpenFile(name, os.O_RDWR, 0) // so that nobody waits any more
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestEmptyFile: a file without a byte is visited, wherever it lies.
func TestEmptyFile(t *testing.T) {
	t.Parallel()
	for how, s := range map[string]*seen{
		"memory": walkBytes(t, "empty.apk", []byte{}), "disk": walkFile(t, "empty.apk", nil, defaultLimits()), "reader": walkReader(t, "empty.apk", nil, defaultLimits()),
	} {
		wantNoProblems(t, s)
		wantData(t, how, map[string][]byte{"empty.apk": {}}, s.data)
		if s.times["empty.apk"] != 1 {
			t.Errorf("%s: visited %d times", how, s.times["empty.apk"])
		}
	}
}

// TestProblemsCounted: of problems beyond the limit it is told how many they are.
func TestProblemsCounted(t *testing.T) {
	t.Parallel()
	l := defaultLimits()
	l.problems = 3
	entries := make([]zipEntry, 20)
	for i := range entries {
		entries[i] = zipEntry{name: fmt.Sprint(i), data: []byte("\xfd7zXZ\x00")}
	}
	s := walkLimited(t, "x.zip", makeZip(t, entries...), l)
	if got, want := fmt.Sprint(s.problems["x.zip"]), "problems: more than the limits allow: there are 17 more than those told"; got != want || s.told != 4 {
		t.Errorf("got %q, told %d", got, s.told)
	}
}

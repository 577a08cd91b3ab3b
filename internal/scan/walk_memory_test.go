package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Copies of this test binary make the inputs of TestWalkMemory, and walk through them.
const (
	walkMakeEnv = "SELO_WALK_TEST_MAKE" // a name of walkInputs, "=", and the file to write
	walkFileEnv = "SELO_WALK_TEST_FILE"
)

// TestWalkMemory: whatever the input, a process that walks through it stays below 100 MB of resident memory.
func TestWalkMemory(t *testing.T) {
	if name, file, ok := strings.Cut(os.Getenv(walkMakeEnv), "="); ok {
		if err := os.WriteFile(file, walkInputs[name](t), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if name := os.Getenv(walkFileEnv); name != "" {
		walkMeasured(t, name)
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
	for name := range walkInputs {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.zip")
			var out []byte
			for _, env := range []string{walkMakeEnv + "=" + name + "=" + file, walkFileEnv + "=" + file} {
				cmd := exec.Command(exe, "-test.run=^TestWalkMemory$", "-test.v")
				cmd.Env = append(os.Environ(), env)
				var err error
				if out, err = cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			_, said, _ := strings.Cut(string(out), "VmHWM:")
			var kib int
			if _, err := fmt.Sscanf(said, "%d kB", &kib); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			t.Logf("%.1f MB", float64(kib)*1024/1e6)
			if kib*1024 > 100e6 {
				t.Error("more than 100 MB")
			}
		})
	}
}

func walkMeasured(t *testing.T, name string) {
	t.Helper()
	w := &walker{limits: defaultLimits(), workers: 4, visit: func(e *entry) { _ = bytes.Count(e.data, []byte{1}) }, problem: func(path string, err error) { t.Log(path, err) }}
	if err := w.file(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "\n")
	t.Log("VmHWM:", peak)
}

// walkInputs make what needs the most memory, of each kind.
var walkInputs = map[string]func(testing.TB) []byte{
	"eight entries as large as is held": func(t testing.TB) []byte {
		return repeated(t, 8, zipEntry{name: "a", data: flat(), method: zipDeflated})
	},
	"stored ones": func(t testing.TB) []byte { return repeated(t, 3, zipEntry{name: "a", data: dense(47 << 20)}) },
	"a zip within, held, with as much": func(t testing.TB) []byte {
		return makeZip(t, zipEntry{name: "z", method: zipDeflated, data: repeated(t, 4, zipEntry{name: "a", data: flat(), method: zipDeflated})})
	},
	"a zip within that is as large as can": func(t testing.TB) []byte {
		return makeZip(t, zipEntry{name: "z", method: zipDeflated, data: makeZip(t, zipEntry{name: "a", data: dense(20 << 20)}, zipEntry{name: "b", data: flat(), method: zipDeflated})})
	},
	"one that is too large": func(t testing.TB) []byte {
		return makeZip(t, zipEntry{name: "z", method: zipDeflated, data: repeated(t, 4, zipEntry{name: "a", data: flat()})})
	},
	"sizes that are not so": func(t testing.TB) []byte {
		return repeated(t, 2000, zipEntry{name: "a", data: flat()[:100_000], method: zipDeflated, dir: func(h []byte) { binary.LittleEndian.PutUint32(h[24:], 48<<20) }})
	},
	"decoders with large windows, after large entries": func(t testing.TB) []byte {
		large := dense(40 << 20)
		var b bytes.Buffer
		w := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 1, LGWin: 24})
		w.Write(large)
		w.Close()
		z := zstded(t, large, zstd.WithWindowSize(8<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
		return makeZip(t, zipEntry{name: "a", data: flat(), method: zipDeflated}, zipEntry{name: "b", data: large}, zipEntry{name: "c.br", data: b.Bytes()}, zipEntry{name: "d.zst", data: z},
			zipEntry{name: "e.br", data: b.Bytes()}, zipEntry{name: "f", packed: z, data: large, method: zipZstd}, zipEntry{name: "g.gz", data: gzipped(t, flat())})
	},
	"300,000 entries, after a large one": func(t testing.TB) []byte {
		var z zipBuilder
		z.add(t, zipEntry{name: "large", data: dense(47 << 20)})
		z.add(t, zipEntry{name: "x", data: []byte("x")})
		for i := range 300_000 {
			d := bytes.Clone(z.dirs[1][:dirLen])
			d[28] = 40
			z.dirs = append(z.dirs, fmt.Appendf(d, "%040d", i))
		}
		return z.bytes()
	},
}

// dense is n bytes that hardly deflate, flat is 47 MiB that deflate well.
func dense(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b) // it never fails
	for i := range b {
		b[i] |= 0x80
	}
	return b
}

func flat() []byte { return bytes.Repeat(dense(32<<10), 47<<5) }

func repeated(t testing.TB, n int, e zipEntry) []byte {
	t.Helper()
	e.packed = e.data
	if e.method == zipDeflated {
		e.packed = deflated(t, e.data)
	}
	all := make([]zipEntry, n)
	for i := range all {
		all[i] = e
	}
	return makeZip(t, all...)
}

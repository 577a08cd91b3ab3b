package scan

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/selo-id/selo/internal/finding"
)

// TestFixtureParts puts a secret across the end of each part in which an entry is given that is too large to be held, in a
// spelling of its own.
func TestFixtureParts(t *testing.T) {
	t.Parallel()
	const size = 200 << 10
	small := defaultLimits()
	small.whole, small.window, small.overlap = 16<<10, 16<<10, 2<<10
	steps := []string{"plain", "hex", "base64", "u", "c", "reversed"}
	names := []string{"", "hex", "base64", `\u escapes`, "an array of numbers", "reversed"}

	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored %v", stored), func(t *testing.T) {
			t.Parallel()
			data := bytes.Repeat([]byte("What stands here is longer than what is held of it.\n\x00"), size/50)[:size]
			archive := func() string {
				name := filepath.Join(t.TempDir(), "app.zip")
				zipFiles(t, name, []zipped{{name: "large.bin", data: data, stored: stored}})
				return name
			}
			var ends []int
			walk := func(name string, visit func(*entry), problem func(string, error)) {
				w := &walker{limits: small, workers: 1, problem: problem, visit: visit}
				if err := w.file(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			walk(archive(), func(e *entry) {
				if end := int(e.offset) + len(e.data); e.part && end < size {
					ends = append(ends, end)
				}
			}, func(name string, err error) { t.Errorf("%s: %v", name, err) })
			slices.Sort(ends)
			if len(ends) < len(steps) {
				t.Fatalf("the entry was given in %d parts", len(ends)+1)
			}

			var plants []plant
			for i := range ends {
				plants = append(plants, plant{name: fmt.Sprintf("end_%d", i), path: "!large.bin", spelling: names[i%len(names)]})
			}
			s := newSeeds(plants)
			for i, p := range plants {
				spelt := []byte(s.secrets[p.name])
				if f := spellings[steps[i%len(steps)]]; f != nil {
					spelt = f(spelt)
				}
				copy(data[ends[i]-len(spelt)/2:], spelt)
			}
			o := &Options{Secrets: s.sought(), Now: fixtureTime}
			l := newLook(o)
			walk(archive(), l.visit, l.problem)
			r := l.report(o)
			s.found(t, r, nil)
			s.keptSecret(t, r)
			wantRules(t, r, finding.Inconclusive)
		})
	}
}

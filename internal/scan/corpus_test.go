package scan

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// TestCorpus looks in real packages, which .ci/corpus fetches into the folder that SELO_CORPUS names, for secrets that
// nobody can have put there. Nothing may be taken for proof, nor for a token of the provider's. What else is found is
// told, for a person to look at.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("SELO_CORPUS")
	if dir == "" {
		t.Skip("SELO_CORPUS names no folder; make scan-corpus makes one")
	}
	items, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w)
	}
	row("MB", "files", "MB read", "seconds", "proof", "strong", "hints", "built", "unread", "package")
	var all corpusItem
	for _, item := range items {
		t.Run(item.Name(), func(t *testing.T) {
			c := scanItem(t, filepath.Join(dir, item.Name()), randomSecrets(t))
			row(c.row(item.Name())...)
			all.add(c)
		})
	}
	row(all.row("all")...)
	_ = w.Flush() // a Builder takes anything
	t.Logf("\n%s", table.String())
	if all.size < 100e6 {
		t.Errorf("the corpus in %s has only %.0f MB", dir, all.size/1e6)
	}
	// That nothing was found says something only if what is there is found.
	if !t.Run("planted", func(t *testing.T) { testCorpusPlanted(t, dir) }) {
		t.Error("what is in the corpus is not found, so all of the above says nothing")
	}
}

// corpusItem is what came of looking in one package.
type corpusItem struct {
	size, read float64
	files      int
	took       time.Duration
	topic      [6]int // findings that are told to a person, by topic
}

func (c *corpusItem) row(name string) []any {
	return []any{
		fmt.Sprintf("%.1f", c.size/1e6), c.files, fmt.Sprintf("%.1f", c.read/1e6), fmt.Sprintf("%.1f", c.took.Seconds()),
		c.topic[1], c.topic[2], c.topic[3], c.topic[4], c.topic[5], name,
	}
}

func (c *corpusItem) add(d corpusItem) {
	c.size, c.read, c.files, c.took = c.size+d.size, c.read+d.read, c.files+d.files, c.took+d.took
	for i, n := range d.topic {
		c.topic[i] += n
	}
}

func scanItem(t *testing.T, path string, secrets []Secret) (c corpusItem) {
	t.Helper()
	c.size = sizeOf(t, path)
	r, err := Scan(context.Background(), []Target{{Path: path}}, Options{Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	c.took = r.Took
	for _, fact := range r.About {
		m := wasRead.FindStringSubmatch(fact.Value)
		if fact.Name != "Looked at" {
			continue
		}
		if m == nil {
			t.Errorf("how much was read cannot be read from %q", fact.Value)
			continue
		}
		c.files, _ = strconv.Atoi(m[1])
		c.read, _ = strconv.ParseFloat(m[2], 64)
		c.read *= 1e6
	}
	for _, f := range r.Findings {
		if f.Outcome != finding.Fail && f.Outcome != finding.Warn && f.Outcome != finding.Inconclusive {
			continue
		}
		topic := r.Rule(f.Rule).Topic
		c.topic[topic]++
		if topic <= 2 {
			t.Errorf("a false alarm: %s: %s", f.Rule, f.Message)
		} else {
			t.Logf("%s: %s", f.Rule, f.Message)
		}
	}
	return c
}

// wasRead is how a report says how much was read, if that was everything.
var wasRead = regexp.MustCompile(`^(\d+) files?, ([0-9.]+) MB unpacked$`)

func sizeOf(t *testing.T, path string) (size float64) {
	t.Helper()
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += float64(info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// randomSecrets returns a short secret, an ordinary one, and one of 64 hexadecimal digits, as access keys are.
func randomSecrets(t *testing.T) []Secret {
	t.Helper()
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	list, err := ReadSecrets("corpus", strings.NewReader(rand.Text()[:16]+"\n"+rand.Text()+"\n"+hex.EncodeToString(key[:])))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// testCorpusPlanted looks for what is in packages of the corpus as if it were a secret: in an APK within a tarball, in
// bytecode, in a bundle.
func testCorpusPlanted(t *testing.T, dir string) {
	for _, c := range []struct{ item, secret, place string }{
		{"appium-uiautomator2-server-10.6.6.tgz", "io.appium.uiautomator2.server", "!classes"},
		{"hermes-96.zip", "__SECRET_INTERNALS_DO_NOT_USE_OR_YOU_WILL_BE_FIRED", "index.android.bundle"},
	} {
		path := filepath.Join(dir, c.item)
		if _, err := os.Stat(path); err != nil {
			t.Logf("not on this machine: %s", c.item)
			continue
		}
		secrets, err := ReadSecrets("planted", strings.NewReader(c.secret))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Scan(context.Background(), []Target{{Path: path}}, Options{Secrets: secrets})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
			return f.Rule == ruleOwnSecret && f.Outcome == finding.Fail && strings.Contains(f.Place, c.place)
		}) {
			t.Errorf("%s is not found in %s in %s", c.secret, c.place, c.item)
		}
	}
}

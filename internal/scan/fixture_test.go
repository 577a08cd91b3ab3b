package scan

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// The tests of the files fixture_*_test.go build apps from the sources in testdata/fixture with the tools that others build theirs
// with, put a secret of its own into each of many places, and see that Scan finds it there. No secret is written
// anywhere: the sources have a placeholder such as @SECRET_name|hex@, and each run fills in what it has just made up, so
// that what is found is proof of the one place.

// plant is a place that has a secret of its own.
type plant struct {
	name string // in the sources: @SECRET_name@
	path string // how the path of the entry ends, where it must be found

	spelling    string // as the report calls it; "" when it is plain
	key         string // that the report must give; "" when there is none to give
	pieces      bool   // it is found in pieces only
	adjoin      bool   // unless the pieces happen to lie one behind the other
	whole       bool   // it is a string, or a word, by itself: a fingerprint finds it too
	anySpelling bool   // fingerprints do not tell
	missed      string // nothing finds it, which docs/scan.md says in these words
}

// seeds are the values of one run.
type seeds struct {
	plants  []plant
	secrets map[string]string // what is looked for, by name
	others  map[string]string // keys and values that nobody says are secrets
	tokens  map[string]string
	clean   bool // what is filled in is not what is looked for
	used    map[string]bool
}

const fixtureSources = "testdata/fixture"

// Half of the secrets are of the ones, half of the others.
const (
	letters16 = "0123456789abcdef"
	letters62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

func newSeeds(plants []plant) *seeds {
	s := &seeds{plants: plants, used: make(map[string]bool)}
	s.secrets, s.others, s.tokens = make(map[string]string), make(map[string]string), make(map[string]string)
	for _, p := range plants {
		s.secrets[p.name] = randomSecret(len(s.secrets))
	}
	return s
}

func randomSecret(i int) string {
	if i%2 == 0 {
		return randomText(32, letters16)
	}
	return randomText(40, letters62)
}

func randomText(n int, alphabet string) string {
	b := make([]byte, n)
	for i := range b {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(err) // never
		}
		b[i] = alphabet[at.Int64()]
	}
	return string(b)
}

// sought returns the secrets as they are given to Scan.
func (s *seeds) sought() []Secret {
	var out []Secret
	for _, p := range s.plants {
		out = append(out, Secret{p.name, []byte(s.secrets[p.name])})
	}
	return out
}

var placeholder = regexp.MustCompile(`@(SECRET|OTHER|TOKEN)_([a-z0-9_]+)((?:\|[a-z0-9_]+)*)@`)

// fill returns a source with the values in the place of their placeholders.
func (s *seeds) fill(source []byte) ([]byte, error) {
	var err error
	out := placeholder.ReplaceAllFunc(source, func(match []byte) []byte {
		parts := placeholder.FindSubmatch(match)
		name := string(parts[2])
		value, ok := map[string]map[string]string{"SECRET": s.secrets, "OTHER": s.others, "TOKEN": s.tokens}[string(parts[1])][name]
		if !ok {
			err = errors.Join(err, fmt.Errorf("nobody planted %s", match))
			return nil
		}
		s.used[name] = true
		if s.clean && string(parts[1]) == "SECRET" {
			value = randomSecret(len(value) / 8)
		}
		b := []byte(value)
		for step := range strings.FieldsFuncSeq(string(parts[3]), func(r rune) bool { return r == '|' }) {
			f := spellings[step]
			if f == nil {
				err = errors.Join(err, fmt.Errorf("%s: no such spelling as %s", match, step))
				return nil
			}
			b = f(b)
		}
		return b
	})
	return out, err
}

// sources copies a folder of sources to a temporary one and fills them in.
func (s *seeds) sources(t *testing.T, name string) string {
	t.Helper()
	from, to := os.DirFS(filepath.Join(fixtureSources, name)), t.TempDir()
	err := fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		}
		b, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		if b, err = s.fill(b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return os.WriteFile(filepath.Join(to, path), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// allPlanted fails for a plant that no source has a placeholder for: not to find it would prove nothing.
func (s *seeds) allPlanted(t *testing.T) {
	t.Helper()
	for _, p := range s.plants {
		if p.path != "" && !s.used[p.name] {
			t.Errorf("%s is planted nowhere", p.name)
		}
	}
}

// needsTools ends a test that cannot be run here; where it must be run, that is a failure.
func needsTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		codeTool(t, name)
	}
}

// tool runs a tool in a folder.
func tool(t *testing.T, dir, name string, args ...string) error {
	cmd := exec.CommandContext(t.Context(), codeTool(t, name), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// together runs steps of a build that do not need each other's results.
func together(t *testing.T, steps ...func() error) {
	t.Helper()
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		wg.Go(func() { errs[i] = step() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// look runs Scan and sees that no form of its report has a value of s in it.
func (s *seeds) look(t *testing.T, o Options, targets ...string) *finding.Report {
	t.Helper()
	var list []Target
	for _, path := range targets {
		list = append(list, Target{Path: path})
	}
	o.Version = "test"
	r, err := Scan(t.Context(), list, o)
	if err != nil {
		t.Fatal(err)
	}
	s.keptSecret(t, r)
	return r
}

// keptSecret fails for a report that tells a secret, a token or any other value that was planted.
func (s *seeds) keptSecret(t *testing.T, r *finding.Report) {
	t.Helper()
	forms := map[string]func(io.Writer) error{
		"text":  func(w io.Writer) error { return finding.WriteText(w, r, finding.TextOptions{Verbose: true}) },
		"JSON":  func(w io.Writer) error { return finding.WriteJSON(w, r) },
		"SARIF": func(w io.Writer) error { return finding.WriteSARIF(w, r) },
		"JUnit": func(w io.Writer) error { return finding.WriteJUnit(w, r) },
		"HTML":  func(w io.Writer) error { return finding.WriteHTML(w, r) },
	}
	for form, write := range forms {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		for _, values := range []map[string]string{s.secrets, s.others, s.tokens} {
			for name, value := range values {
				if as := leaks(b.String(), value); as != "" {
					t.Errorf("the report in %s tells %s, %s", form, name, as)
				}
			}
		}
	}
}

// leaks says in which spelling a text has a value, or half of it.
func leaks(text, value string) string {
	for _, v := range []string{value, value[:len(value)/2], value[len(value)/2:]} {
		for as, spelt := range map[string]string{
			"plainly": v,
			"in hex":  hex.EncodeToString([]byte(v)),
			"in HEX":  strings.ToUpper(hex.EncodeToString([]byte(v))),
		} {
			if strings.Contains(text, spelt) {
				return as
			}
		}
	}
	for lead := range 3 {
		b := base64.RawStdEncoding.EncodeToString([]byte("???"[:lead] + value))
		if strings.Contains(text, b[4:len(b)-4]) {
			return "in base64"
		}
	}
	return ""
}

// found compares a report with the places where secrets were planted. Each must be told once, where it is.
func (s *seeds) found(t *testing.T, r *finding.Report, rename func(plant) plant) {
	t.Helper()
	told := make(map[string][]finding.Finding)
	for _, f := range r.Findings {
		if name := quoted.FindStringSubmatch(f.Message); name != nil && f.Outcome == finding.Fail && f.Rule != ruleOwnToken {
			told[name[1]] = append(told[name[1]], f)
		}
	}
	b, err := os.ReadFile("../../docs/scan.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := strings.Join(strings.Fields(string(b)), " ")
	places, seen := 0, 0
	for _, p := range s.plants {
		if rename != nil {
			p = rename(p)
		}
		if p.path == "" {
			continue // not in this package
		}
		if p.missed != "" {
			for _, f := range told[p.name] {
				t.Errorf("%s is found, and the docs say that it is not (%s): %s", p.name, p.missed, f.Message)
			}
			if !strings.Contains(docs, p.missed) {
				t.Errorf("%s is not found, which the docs do not say: %s", p.name, p.missed)
			}
			continue
		}
		places++
		if fault := p.fault(told[p.name]); fault != "" {
			t.Errorf("%s: %s", p.name, fault)
			continue
		}
		seen++
	}
	t.Logf("recall %d/%d", seen, places)
}

// byFingerprint says of a plant whether a fingerprint finds it, which knows no spellings and no pieces.
func byFingerprint(p plant) plant {
	if p.missed == "" && p.path != "" && !p.whole {
		p.missed = "It finds the secret only where it stands as a whole string"
	}
	p.anySpelling, p.pieces = true, false
	return p
}

var quoted = regexp.MustCompile(`secret (?:with the fingerprint )?"([a-z0-9_]+)"`)

// fault says in what the findings about a plant differ from what they must be.
func (p *plant) fault(told []finding.Finding) string {
	rule := ruleOwnPieces
	if !p.pieces || p.adjoin && slices.ContainsFunc(told, func(f finding.Finding) bool { return f.Rule == ruleOwnSecret }) {
		rule = ruleOwnSecret
		// Where a program puts it together from literals, those are pieces besides.
		told = slices.DeleteFunc(slices.Clone(told), func(f finding.Finding) bool { return f.Rule == ruleOwnPieces })
	}
	if len(told) == 0 {
		return "not found"
	}
	if i := slices.IndexFunc(told, func(f finding.Finding) bool { return f.Rule != rule || !strings.HasSuffix(f.Place, p.path) }); i >= 0 {
		return fmt.Sprintf("told as %s at %s, want %s at %s only: %s", told[i].Rule, told[i].Place, rule, p.path, told[i].Message)
	}
	if len(told) > 1 {
		return fmt.Sprintf("told at %d places", len(told))
	}
	message := told[0].Message
	if p.key != "" && !strings.Contains(message, ", as "+p.key) {
		return fmt.Sprintf("told without the key %s: %s", p.key, message)
	}
	as := spelt.FindStringSubmatch(message)
	if p.pieces || p.anySpelling {
		return ""
	}
	if got := append(as, "", "")[1]; got != p.spelling {
		return fmt.Sprintf("told as %q, want %q: %s", got, p.spelling, message)
	}
	return ""
}

var spelt = regexp.MustCompile(`\((.*?)\)[.;]`)

// rules returns the rules to which a report says something of an outcome, each once.
func rulesOf(r *finding.Report, outcome finding.Outcome) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Outcome == outcome && !slices.Contains(out, f.Rule) {
			out = append(out, f.Rule)
		}
	}
	slices.Sort(out)
	return out
}

// fixtureTime is when the fixtures' tokens are looked at.
var fixtureTime = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// wantRules sees which rules of proof and of shape came to an outcome, and of hints.
func wantRules(t *testing.T, r *finding.Report, outcome finding.Outcome, want ...string) {
	t.Helper()
	got := rulesOf(r, outcome)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: rules %v, want %v\n%s", outcome, got, want, lines(r))
	}
}

// wantTold sees that one finding to a rule says all of this.
func wantTold(t *testing.T, r *finding.Report, rule, path string, parts ...string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Rule == rule && strings.HasSuffix(f.Place, path) && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(f.Message, part) }) {
			return
		}
	}
	t.Errorf("%s: nothing at %s is told with %q\n%s", rule, path, parts, lines(r))
}

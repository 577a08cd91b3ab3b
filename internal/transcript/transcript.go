// Package transcript proves, for the tests of one package, that nothing the program said contained a
// secret or a whole CPF. Only tests import it.
//
// Tests plant the secrets and people they use (Secret, CPF), and pass everything that comes out through
// it: logs (Log), errors (Error), HTTP replies (Client). Main, called from TestMain, searches it all when
// the tests are done, in the encodings in which such values leak. It also fails when nothing was planted
// or recorded, or when its own search misses a value that it puts there itself: a search that cannot find
// proves nothing.
package transcript

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// runner is a *testing.M.
type runner interface{ Run() int }

type kind string

const (
	logs    kind = "log"
	errs    kind = "error"
	replies kind = "reply"
)

var (
	mu      sync.Mutex
	said    = map[kind]*bytes.Buffer{logs: {}, errs: {}, replies: {}}
	secrets = map[string]bool{}
	people  = map[string]bool{}
)

// Secret plants a value that must not come out in any form.
func Secret[T string | []byte](value T) T {
	mu.Lock()
	defer mu.Unlock()
	secrets[string(value)] = true
	return value
}

// CPF plants the digits of a person that must not come out whole, except inside a token in a reply.
func CPF(digits string) string {
	mu.Lock()
	defer mu.Unlock()
	people[digits] = true
	return digits
}

type writer struct {
	to   kind
	also io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	mu.Lock()
	said[w.to].Write(p)
	mu.Unlock()
	if w.also != nil {
		return w.also.Write(p)
	}
	return len(p), nil
}

// Log returns a writer for everything that is logged or printed to standard error.
func Log() io.Writer { return writer{to: logs} }

// LogTo is Log that also writes to w.
func LogTo(w io.Writer) io.Writer { return writer{to: logs, also: w} }

// ReplyTo records what is written to w as a reply, such as standard output.
func ReplyTo(w io.Writer) io.Writer { return writer{to: replies, also: w} }

// Error records an error in every way that programs print one, and returns it.
func Error(err error) error {
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(said[errs], "%v\n%+v\n%#v\n%q\n", err, err, err, err)
	}
	return err
}

type transport struct{ base http.RoundTripper }

// Client returns a copy of c, or a new client, whose replies are recorded, headers and all.
func Client(c *http.Client) *http.Client {
	recorded := http.Client{}
	if c != nil {
		recorded = *c
	}
	if recorded.Transport == nil {
		recorded.Transport = http.DefaultTransport
	}
	recorded.Transport = transport{recorded.Transport}
	return &recorded
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, Error(err)
	}
	if dump, err := httputil.DumpResponse(resp, true); err == nil {
		mu.Lock()
		said[replies].Write(append(dump, '\n'))
		mu.Unlock()
	}
	return resp, nil
}

// Main runs the tests and then searches what was said. It returns the exit status.
func Main(m runner) int {
	if code := m.Run(); code != 0 {
		return code
	}
	mu.Lock()
	defer mu.Unlock()
	total := 0
	for _, b := range said {
		total += b.Len()
	}
	if filtered() {
		return 0 // -run, -list or -fuzz: not the whole run
	}
	problems := search()
	problems = append(problems, control()...)
	if total == 0 || len(secrets) == 0 || len(people) == 0 {
		problems = append(problems, fmt.Sprintf("nothing to search: %d bytes recorded, %d secrets and %d people planted", total, len(secrets), len(people)))
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "transcript:", p)
	}
	if len(problems) > 0 {
		return 1
	}
	fmt.Printf("transcript: %d bytes of logs, %d of errors, %d of replies: none of %d secrets and %d people\n",
		said[logs].Len(), said[errs].Len(), said[replies].Len(), len(secrets), len(people))
	return 0
}

// filtered reports whether the test binary was told to run only some tests.
func filtered() bool {
	return slices.ContainsFunc(os.Args[1:], func(a string) bool {
		name, value, inOne := strings.Cut(strings.TrimLeft(a, "-"), "=")
		return slices.Contains([]string{"test.run", "test.skip", "test.list", "test.fuzz", "test.fuzzworker", "test.bench"}, name) && (value != "" || !inOne)
	})
}

var aToken = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}`)

// search returns every leak found, without repeating the value.
func search() (found []string) {
	for k, b := range said {
		text := b.Bytes()
		for value := range secrets {
			for _, form := range forms(value) {
				found = append(found, report(k, "a secret", form, text)...)
			}
		}
		for digits := range people {
			for _, form := range cpfForms(digits) {
				found = append(found, report(k, "a whole CPF", form, text)...)
			}
		}
		if k != replies { // replies carry tokens, which is what they are for
			for range aToken.FindAll(text, -1) {
				found = append(found, fmt.Sprintf("a whole token in the %ss", k))
			}
		}
	}
	return found
}

type form struct{ name, text string }

func report(k kind, what string, f form, text []byte) []string {
	at := bytes.Index(text, []byte(f.text))
	if at < 0 {
		return nil
	}
	before := bytes.LastIndexByte(text[:at], '\n') + 1
	return []string{fmt.Sprintf("%s (%s) in the %ss, after %q", what, f.name, k, text[max(before, at-60):at])}
}

// forms are the encodings in which a secret is looked for.
func forms(value string) []form {
	raw := []byte(value)
	quoted := strconv.Quote(value)
	decimal := strings.Trim(fmt.Sprint(raw), "[]")
	reversed := slices.Clone(raw)
	slices.Reverse(reversed)
	return []form{
		{"raw", value},
		{"quoted", quoted[1 : len(quoted)-1]},
		{"hex", hex.EncodeToString(raw)},
		{"HEX", strings.ToUpper(hex.EncodeToString(raw))},
		{"decimal", decimal},
		{"decimal, commas", strings.ReplaceAll(decimal, " ", ", ")},
		{"base64", strings.TrimRight(base64.StdEncoding.EncodeToString(raw), "=")},
		{"base64url", base64.RawURLEncoding.EncodeToString(raw)},
		{"percent", url.QueryEscape(value)},
		{"reversed", string(reversed)},
	}
}

func cpfForms(d string) []form {
	masked := d[:3] + "." + d[3:6] + "." + d[6:9] + "-" + d[9:]
	return append([]form{{"digits", d}, {"with punctuation", masked}, {"spaced", strings.ReplaceAll(strings.ReplaceAll(masked, ".", " "), "-", " ")}},
		form{"decimal", strings.Trim(fmt.Sprint([]byte(d)), "[]")}, form{"hex", hex.EncodeToString([]byte(d))})
}

// control puts every planted value where it must be found, in every form, and reports what is missed.
func control() (missed []string) {
	for value := range secrets {
		for _, f := range forms(value) {
			if report(logs, "", f, []byte("a log line "+f.text+" goes on")) == nil {
				missed = append(missed, "positive control: a secret is not found as "+f.name)
			}
		}
	}
	for digits := range people {
		for _, f := range cpfForms(digits) {
			if report(errs, "", f, []byte("error: "+f.text)) == nil {
				missed = append(missed, "positive control: a CPF is not found as "+f.name)
			}
		}
	}
	return missed
}

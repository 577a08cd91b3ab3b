package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/scan"
)

type scanCommand struct {
	Run         scanRunCommand         `cmd:"" default:"withargs" help:"Scan packages, folders or files. Exit status: 0 nothing fails (there may be warnings), 1 something fails, 2 there is no report, 3 nothing fails, but not everything could be read. See also: selo scan fingerprint, selo scan list."`
	Fingerprint scanFingerprintCommand `cmd:"" help:"Print fingerprints of secrets, by which --fingerprints finds them where the secrets may not be."`
	List        scanListCommand        `cmd:"" help:"List every rule, and what a finding of it does."`
}

type scanRunCommand struct {
	Paths []string `arg:"" optional:"" name:"file" help:"APK, AAB, XAPK, IPA, AAR, JAR, zip, tar, gz, br, a folder, a bundle: what you ship."`

	SecretFile   []string `name:"secret-file" placeholder:"FILE" sep:"none" help:"Secrets of yours to look for, one on each line; - is standard input. Best the client secret of every access key."`
	Fingerprints []string `placeholder:"FILE" sep:"none" help:"Fingerprints of secrets to look for, where the secrets may not be; - is standard input. They find whole strings only."`
	ClientID     []string `name:"client-id" placeholder:"ID" help:"A client ID of yours. Any token that it has issued is reported, whatever else the token says."`
	Allow        string   `placeholder:"FILE" help:"Findings to live with until a day, with the reason (YAML)."`
	Staged       bool     `help:"Scan what is staged in the git repository of this folder, instead of files."`

	Timeout time.Duration `default:"30m" help:"When to stop; the report is then incomplete; default ${default}."`
	reporting
}

// Run scans and reports. It ends with 0 when nothing fails, 1 when something does, 2 when there is no report and 3 when nothing
// fails, but not everything could be read.
func (cmd *scanRunCommand) Run(ctx context.Context, std streams) error {
	options := scan.Options{Version: version(), ClientIDs: cmd.ClientID}
	if cmd.Timeout <= 0 {
		return usagef("--timeout: must be longer than nothing: 30s, 10m")
	}
	err := inputOnce(cmd.SecretFile, cmd.Fingerprints)
	if err != nil {
		return usageError{err}
	}
	if options.Secrets, err = readSecrets(cmd.SecretFile, std.in); err != nil {
		return usageError{err}
	}
	if options.Fingerprints, err = readFingerprints(cmd.Fingerprints, std.in); err != nil {
		return usageError{err}
	}
	for _, id := range cmd.ClientID {
		switch {
		case strings.ContainsFunc(id, unicode.IsSpace):
			return usagef("--client-id: has a blank in it; give the flag once for each")
		case len(id) < 8:
			return usagef("--client-id: is too short to be one")
		}
	}
	if options.Allowed, err = readAllowed(cmd.Allow); err != nil {
		return usagef("--allow: %w", err)
	}
	before, err := cmd.before()
	if err != nil {
		return err
	}
	targets, err := cmd.targets(ctx)
	if err != nil {
		return usageError{err}
	}
	if cmd.Staged && len(targets) == 0 {
		_, err := fmt.Fprintln(std.out, "Nothing is staged.")
		return err
	}
	done := func() {}
	if terminal(std.err) && os.Getenv("TERM") != "dumb" {
		options.Progress, done = scanProgress(std.err)
	}
	interrupted := ctx
	ctx, cancel := context.WithTimeout(ctx, cmd.Timeout)
	defer cancel()
	report, err := scan.Scan(ctx, targets, options)
	done()
	if interrupted.Err() != nil {
		return usagef("interrupted: there is no report")
	}
	if err != nil {
		return usageError{err}
	}
	if before != nil {
		report.Changes = finding.Compare(before, report)
	}
	hint := "With -v: why it matters and how to fix it. --format html --output FILE: the same, to attach to a ticket."
	if cmd.Staged {
		if line := cmd.nothing(report, len(targets)); line != "" {
			_, err := fmt.Fprintln(std.out, line)
			return err
		}
		if report.Count(finding.Fail) > 0 {
			hint = "Take it out before you commit; if it was ever pushed or shipped, revoke the key."
		}
	}
	return cmd.tell(std.out, report, hint)
}

// nothing is all that is said before a commit in which there is nothing to tell, "" when there is more to say or a report was
// asked for.
func (cmd *scanRunCommand) nothing(report *finding.Report, files int) string {
	if cmd.Verbose || cmd.Format+cmd.Output+cmd.Baseline != "" || report.ExitCode() != 0 || report.Count(finding.Warn) > 0 {
		return ""
	}
	line := fmt.Sprintf("Nothing found in %d staged files", files)
	if files == 1 {
		line = "Nothing found in 1 staged file"
	}
	if report.Count(finding.Skipped) > 0 {
		line += " but what is allowed"
	}
	if len(cmd.SecretFile)+len(cmd.Fingerprints) == 0 {
		line += "; no secret was given, so only tokens and telling names were looked for"
	}
	return line + "."
}

func (cmd *scanRunCommand) targets(ctx context.Context) ([]scan.Target, error) {
	if cmd.Staged {
		if len(cmd.Paths) > 0 {
			return nil, errors.New("--staged: takes no files; it scans what git commit would take")
		}
		return staged(ctx)
	}
	if len(cmd.Paths) == 0 {
		return nil, errors.New("say what to scan: selo scan app.apk (or --staged in a git repository)")
	}
	targets := make([]scan.Target, 0, len(cmd.Paths))
	for _, p := range cmd.Paths {
		targets = append(targets, scan.Target{Path: p})
	}
	return targets, nil
}

// inputOnce refuses standard input in more than one place: the second would find nothing there.
func inputOnce(lists ...[]string) error {
	n := 0
	for _, file := range slices.Concat(lists...) {
		if file == "-" {
			n++
		}
	}
	if n > 1 {
		return errors.New("standard input can be read once")
	}
	return nil
}

// readSecrets reads secrets from files, which must not be readable by mistake as something else.
func readSecrets(files []string, in io.Reader) ([]scan.Secret, error) {
	var all []scan.Secret
	for _, file := range files {
		secrets, err := readEach(file, in, scan.ReadSecrets)
		if err != nil {
			return nil, fmt.Errorf("--secret-file: %w", err)
		}
		all = append(all, secrets...)
	}
	return all, nil
}

func readFingerprints(files []string, in io.Reader) ([]scan.Fingerprint, error) {
	var all []scan.Fingerprint
	for _, file := range files {
		prints, err := readEach(file, in, scan.ReadFingerprints)
		if err != nil {
			return nil, fmt.Errorf("--fingerprints: %w", err)
		}
		all = append(all, prints...)
	}
	return all, nil
}

func readEach[T any](file string, in io.Reader, read func(string, io.Reader) ([]T, error)) ([]T, error) {
	if file == "-" {
		return read("standard input", in)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, withoutPath(err) // where a file belongs somebody may have put the secret
	}
	defer func() { _ = f.Close() }()
	return read(filepath.Base(file), f)
}

// allowFile is the YAML of --allow.
type allowFile struct {
	Allow []scan.Allowed `yaml:"allow"`
}

func readAllowed(path string) ([]scan.Allowed, error) {
	if path == "" {
		return nil, nil
	}
	file := new(allowFile)
	unknown, err := readYAML(path, file)
	if err != nil {
		return nil, withoutPath(err) // as for readEach
	}
	if faults := append(unknown, scan.CheckAllowed(file.Allow)...); len(faults) > 0 {
		return nil, fmt.Errorf("%s:\n%w", path, errors.Join(faults...))
	}
	return file.Allow, nil
}

// scanProgress shows on one line of a terminal how far a scan has come, and takes the line away when it is done. What takes
// no longer than a blink shows nothing.
func scanProgress(w io.Writer) (tell func(scan.Progress), clear func()) {
	const width = 24
	started, last := time.Now(), time.Time{}
	tell = func(p scan.Progress) {
		now := time.Now()
		if now.Sub(started) < time.Second || now.Sub(last) < 100*time.Millisecond || p.Size == 0 {
			return
		}
		last = now
		p.Read = min(p.Read, p.Size) // the tables of an archive are read twice
		full := int(p.Read * width / p.Size)
		what := ""
		if p.Trying {
			what = "  trying every string as the key of the tokens found"
		}
		fmt.Fprintf(w, "\r\x1b[K[%s%s] %d of %d MB, %d files%s", strings.Repeat("█", full), strings.Repeat("░", width-full), p.Read>>20, p.Size>>20, p.Entries, what)
	}
	return tell, func() {
		if !last.IsZero() {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}

type scanFingerprintCommand struct {
	SecretFile []string `name:"secret-file" required:"" placeholder:"FILE" sep:"none" help:"Secrets, one on each line; - is standard input."`
}

// Run prints a line for each secret.
func (cmd *scanFingerprintCommand) Run(std streams) error {
	if err := inputOnce(cmd.SecretFile); err != nil {
		return usageError{err}
	}
	secrets, err := readSecrets(cmd.SecretFile, std.in)
	if err != nil {
		return usageError{err}
	}
	for _, f := range scan.NewFingerprints(secrets) {
		if _, err := fmt.Fprintln(std.out, f); err != nil {
			return err
		}
	}
	return nil
}

type scanListCommand struct{}

// Run prints a line for each rule.
func (cmd *scanListCommand) Run(std streams) error {
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tID\tSEVERITY\tFINDING\tPROMISE")
	for _, r := range scan.Rules() {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", r.Topic, r.ID, r.Severity, consequence(r), r.Title)
	}
	return table.Flush()
}

// consequence says what a finding of a rule does.
func consequence(r finding.Rule) string {
	switch {
	case r.ID == "everything-read":
		return "incomplete"
	case r.ID == "token-with-its-key":
		return "fails or warns"
	case r.Topic <= 2:
		return "fails"
	}
	return "warns"
}

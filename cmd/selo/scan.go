package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/scan"
)

type scanCommand struct {
	Run         scanRunCommand         `cmd:"" default:"withargs" help:"Scan packages, folders or files. Exit status: 0 clean, 1 something was found, 2 there is no report, 3 not everything could be read. Beside it: selo scan fingerprint, selo scan list."`
	Fingerprint scanFingerprintCommand `cmd:"" help:"Print fingerprints of secrets, by which --fingerprints finds them where the secrets may not be."`
	List        scanListCommand        `cmd:"" help:"List every rule."`
}

type scanRunCommand struct {
	Paths []string `arg:"" optional:"" name:"file" help:"APK, AAB, XAPK, IPA, AAR, JAR, zip, tar, gz, br, a folder, a bundle: what you ship."`

	SecretFile   []string `name:"secret-file" placeholder:"FILE" sep:"none" help:"Secrets of yours to look for, one on each line; - is standard input. Best the client secret of every access key."`
	Fingerprints []string `placeholder:"FILE" sep:"none" help:"Fingerprints of secrets to look for, where the secrets may not be. They find whole strings only."`
	ClientID     []string `name:"client-id" placeholder:"ID" help:"A client ID of yours: a token of its is told whatever else it says."`
	Allow        string   `placeholder:"FILE" help:"Findings to live with until a day, with the reason (YAML)."`
	Staged       bool     `help:"Scan what is staged in the git repository of this folder, instead of files."`

	Timeout time.Duration `default:"30m" help:"When to stop; the report is then incomplete; default ${default}."`
	reporting
}

// Run scans and reports. It ends with 0 when the package is clean, 1 when something was found, 2 when there is no report and
// 3 when not everything could be read.
func (cmd *scanRunCommand) Run(ctx context.Context, std streams) error {
	options := scan.Options{Version: version(), ClientIDs: cmd.ClientID}
	var err error
	if options.Secrets, err = readSecrets(cmd.SecretFile, std.in); err != nil {
		return usageError{err}
	}
	if options.Fingerprints, err = readFingerprints(cmd.Fingerprints); err != nil {
		return usageError{err}
	}
	for _, id := range cmd.ClientID {
		if len(id) < 8 {
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
	return cmd.tell(std.out, report, "With -v: why it matters and what to do. --format html --output FILE: the same, to attach to a ticket.")
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

func readFingerprints(files []string) ([]scan.Fingerprint, error) {
	var all []scan.Fingerprint
	for _, file := range files {
		prints, err := readEach(file, nil, scan.ReadFingerprints)
		if err != nil {
			return nil, fmt.Errorf("--fingerprints: %w", err)
		}
		all = append(all, prints...)
	}
	return all, nil
}

func readEach[T any](file string, in io.Reader, read func(string, io.Reader) ([]T, error)) ([]T, error) {
	if file == "-" && in != nil {
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
		return nil, err
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
	fmt.Fprintln(table, "TOPIC\tID\tSEVERITY\tPROMISE")
	for _, r := range scan.Rules() {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", r.Topic, r.ID, r.Severity, r.Title)
	}
	return table.Flush()
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/selo-id/selo/internal/checklist"
	"github.com/selo-id/selo/internal/finding"
)

type checkCommand struct {
	Run  checkRunCommand  `cmd:"" default:"withargs" help:"Check the server that check.yaml describes. Beside it: selo check init, selo check list."`
	Init checkInitCommand `cmd:"" help:"Write a commented check.yaml to begin with."`
	List checkListCommand `cmd:"" help:"List every probe."`
}

type checkRunCommand struct {
	Config string   `default:"check.yaml" placeholder:"FILE" type:"path" help:"How to get a token and hand a response in; default ${default}. selo check init writes one."`
	Plan   bool     `help:"Print every request that would be sent and the limits it needs, and send nothing."`
	Own    []string `name:"i-own-this-target" placeholder:"HOST" sep:"none" help:"The target, where it is not this machine, is yours to attack. Once for each host."`

	Only []string `placeholder:"ID" help:"Only these probes."`
	Skip []string `placeholder:"ID=REASON" sep:"none" help:"Not this probe; the reason is in the report."`

	Timeout time.Duration `default:"30m" help:"When to give up; default ${default}."`
	reporting
}

var errTooLong = errors.New("too long")

// exitStatus ends a command that has printed all there is to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Run checks and reports. It ends with 0 when nothing is broken, 1 when a promise is, 2 when there is no report and 3 when
// something could not be found out.
func (cmd *checkRunCommand) Run(ctx context.Context, std streams) error {
	check, err := cmd.read(ctx)
	if err != nil {
		return usageError{err}
	}
	options := checklist.Options{Version: version(), Only: cmd.Only, Own: cmd.Own}
	if options.Skip, err = skips(cmd.Skip); err != nil {
		return usageError{err}
	}
	if cmd.Plan {
		plan, err := check.Plan(ctx, options)
		if err != nil {
			return usageError{err}
		}
		return plan.Write(std.out)
	}
	before, err := cmd.before()
	if err != nil {
		return err
	}
	log.SetOutput(io.Discard) // what net/http says of a strange answer quotes it
	done := func() {}
	if terminal(std.err) && os.Getenv("TERM") != "dumb" {
		options.Progress, done = progress(std.err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cmd.Timeout, errTooLong)
	defer cancel()
	report, err := check.Run(ctx, options)
	done()
	switch {
	case errors.Is(context.Cause(ctx), errTooLong):
		return usagef("the check was not done within %v, and there is no report; --timeout gives it longer", cmd.Timeout)
	case ctx.Err() != nil:
		return usagef("interrupted: there is no report")
	}
	if err != nil {
		return usageError{err}
	}
	if before != nil {
		if len(cmd.Only) > 0 { // what was not asked for has not gone
			before.Rules = slices.DeleteFunc(before.Rules, func(r finding.Rule) bool { return !slices.Contains(cmd.Only, r.ID) })
			before.Findings = slices.DeleteFunc(before.Findings, func(f finding.Finding) bool { return !slices.Contains(cmd.Only, f.Rule) })
		}
		report.Changes = finding.Compare(before, report)
	}
	return cmd.tell(std.out, report, "With -v: what was sent, what came back, and code that does it right. --format html --output FILE: the same, to attach to a ticket.")
}

func (cmd *checkRunCommand) read(ctx context.Context) (*checklist.Check, error) {
	target := new(checklist.Target)
	unknown, err := readYAML(cmd.Config, target)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: selo check init writes one to begin with", filepath.Base(cmd.Config))
	}
	if err != nil {
		return nil, err
	}
	load := checklist.New
	if cmd.Plan {
		load = checklist.NewPlan
	}
	check, err := load(ctx, target, filepath.Dir(cmd.Config))
	if len(unknown) > 0 || err != nil {
		return nil, fmt.Errorf("%s:\n%w", cmd.Config, errors.Join(append(unknown, err)...))
	}
	return check, nil
}

// skips reads ID=REASON.
func skips(all []string) (map[string]string, error) {
	m := make(map[string]string)
	for _, s := range all {
		id, reason, ok := strings.Cut(s, "=")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, errors.New("--skip: say why, as in --skip burst='the gateway limits it'")
		}
		m[id] = reason
	}
	return m, nil
}

// progress shows on one line of a terminal which probe is running, and takes the line away when it is done.
func progress(w io.Writer) (tell func(done, all int, p checklist.Probe, came *finding.Finding), clear func()) {
	const width = 24
	failed := 0
	tell = func(done, all int, p checklist.Probe, came *finding.Finding) {
		if came != nil {
			if came.Outcome == finding.Fail {
				failed++
			}
			return
		}
		full := done * width / all
		fmt.Fprintf(w, "\r\x1b[K[%s%s] %d/%d  %d failed  %s", strings.Repeat("█", full), strings.Repeat("░", width-full), done, all, failed, p.ID)
	}
	return tell, func() { fmt.Fprint(w, "\r\x1b[K") }
}

// version is that of the module, as the go command stamped it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(info.Main.Version, "(devel)")
	}
	return "(devel)"
}

type checkInitCommand struct {
	File   string `arg:"" optional:"" default:"check.yaml" type:"path" help:"File to write; default ${default}."`
	Preset string `enum:"example,selo" default:"example" placeholder:"NAME" help:"example (default): any server. selo: Selo's own API."`
}

// Run writes a file that is not there yet.
func (cmd *checkInitCommand) Run(std streams) error {
	f, err := os.OpenFile(cmd.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usagef("%s is there already, and is not written over", cmd.File)
	}
	if err != nil {
		return usageError{err}
	}
	_, err = io.WriteString(f, checklist.Preset(cmd.Preset))
	if err := errors.Join(err, f.Close()); err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintf(std.out, "Wrote %s. Make it yours, then: selo check --config %s --plan\n", cmd.File, cmd.File)
	return err
}

type checkListCommand struct{}

// Run prints a line for each probe.
func (cmd *checkListCommand) Run(std streams) error {
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tID\tSEVERITY\tPRODUCTION\tPROMISE")
	probes := checklist.Probes()
	for _, topic := range checklist.Topics() {
		for _, p := range probes {
			if p.Topic != topic.Number {
				continue
			}
			chapter, production := fmt.Sprint(p.Topic), ""
			if p.Topic == 0 {
				chapter = "extra"
			}
			if p.Production {
				production = "yes"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", chapter, p.ID, p.Severity, production, p.Title)
		}
	}
	return table.Flush()
}

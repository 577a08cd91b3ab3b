package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/selo-id/selo/internal/finding"
)

// reporting is how the commands that make a report tell it.
type reporting struct {
	Format   string `enum:"text,json,sarif,junit,html," default:"" placeholder:"FORM" help:"text, json, sarif, junit or html. Default: what the name of --output ends in (.txt, .json, .sarif, .xml, .html), else text."`
	Output   string `placeholder:"FILE" type:"path" help:"Write the report there; standard output gets the text."`
	Baseline string `placeholder:"FILE" type:"path" help:"Say what changed since this report (made with --format json)."`
	Verbose  bool   `short:"v" help:"In the text also what passed; of the rest the evidence, why it matters and how to fix it, in full."`
}

// endings are the forms that the name of --output tells.
var endings = map[string]string{"": "text", ".txt": "text", ".json": "json", ".sarif": "sarif", ".xml": "junit", ".html": "html", ".htm": "html"}

func (r *reporting) form() string {
	return cmp.Or(r.Format, endings[strings.ToLower(filepath.Ext(r.Output))])
}

// before returns the report that --baseline names, nil when it names none, and sees to it that the new one can be written.
func (r *reporting) before() (*finding.Report, error) {
	if info, err := os.Stat(r.Output); err == nil && info.IsDir() {
		return nil, usagef("--output: is a folder")
	}
	if r.form() == "" {
		return nil, usagef("--output: its name must end in .txt, .json, .sarif, .xml or .html, or --format must say what it is")
	}
	if r.Baseline == "" {
		return nil, nil
	}
	f, err := os.Open(r.Baseline)
	if err != nil {
		return nil, usagef("--baseline: %w", withoutPath(err))
	}
	defer func() { _ = f.Close() }()
	report, err := finding.ReadJSON(f)
	if err != nil {
		return nil, usagef("--baseline: %w; make one with --format json", withoutPath(err))
	}
	return report, nil
}

// tell writes a report in its form, and with --output also as text, and returns the exit status that it asks for. hint is
// for a person who sees the short text of a report that is not clean.
func (r *reporting) tell(out io.Writer, report *finding.Report, hint string) error {
	if err := r.write(out, report, hint); err != nil {
		return usageError{err}
	}
	if code := report.ExitCode(); code != 0 {
		return exitStatus(code)
	}
	return nil
}

func (r *reporting) write(out io.Writer, report *finding.Report, hint string) error {
	text := func(w io.Writer) error {
		err := finding.WriteText(w, report, finding.TextOptions{Color: terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Width: columns(w), Verbose: r.Verbose})
		if err == nil && !r.Verbose && report.ExitCode() != 0 {
			_, err = fmt.Fprintln(w, " ", hint)
		}
		return err
	}
	write := map[string]func(io.Writer) error{
		"text":  text,
		"json":  func(w io.Writer) error { return finding.WriteJSON(w, report) },
		"sarif": func(w io.Writer) error { return finding.WriteSARIF(w, report) },
		"junit": func(w io.Writer) error { return finding.WriteJUnit(w, report) },
		"html":  func(w io.Writer) error { return finding.WriteHTML(w, report) },
	}[r.form()]
	if r.Output == "" {
		return write(out)
	}
	// In one step, so that a pipeline finds the whole report or the one of before.
	f, err := os.CreateTemp(filepath.Dir(r.Output), filepath.Base(r.Output)+"-*")
	if err != nil {
		return fmt.Errorf("--output: %w", withoutPath(err))
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), r.Output)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("--output: %w", withoutPath(err)), os.Remove(f.Name()))
	}
	return text(out)
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// columns is the width of a terminal, 0 of anything else.
func columns(w any) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

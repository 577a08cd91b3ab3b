package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/selo-id/selo"
)

type explainCommand struct {
	Token      string  `arg:"" help:"A mobile token, signed response, receipt or bearer token, or the JSON that the SDK or the app puts around it; - for standard input."`
	SecretFile string  `name:"secret-file" placeholder:"FILE" type:"path" help:"File with a client secret; says whether the signature holds under it."`
	At         *string `placeholder:"RFC3339" help:"Time to judge expiry and age at; default now."`
}

// Help is shown below the flags.
func (explainCommand) Help() string {
	return `Says in plain words what a token or response is, whom it is for, when it expires, which product it is a response
of and in which shape, and everything that is wrong with it. It never shows the signature, a whole CPF or an id, and it
grants nothing: use verify for that. Without --secret-file anybody may have written what it explains.

Taken are also {"moduleName":…,"signedResponse":…} of CafSDK, the body {"signed_response":…}, an answer of the SDK
without a signed response, and a token with Bearer before it.

Exit status: 0 it could be read, 1 it could not, 2 usage.`
}

// Run explains one token.
func (cmd *explainCommand) Run(ctx context.Context, std streams) error {
	at, err := parseTime("--at", cmd.At)
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = time.Now()
	}
	var secret selo.Secret
	if cmd.SecretFile != "" {
		if secret, err = selo.ReadSecretFile(cmd.SecretFile); err != nil {
			return usagef("--secret-file: %w", withoutPath(err))
		}
		if secret.Weak() {
			fmt.Fprintf(std.err, "selo: warning: the secret is shorter than %d bytes\n", selo.WeakSecretSize)
		}
	}
	input := cmd.Token
	if input == "-" {
		text, err := io.ReadAll(io.LimitReader(std.in, 2*selo.MaxTokenSize))
		if err != nil {
			return usagef("reading standard input: %w", err)
		}
		input = strings.TrimSuffix(string(text), "\n")
	}
	return explain(ctx, std.out, input, secret, at)
}

// explain writes what it finds to out, and returns errNotGranted for what cannot be read.
func explain(ctx context.Context, out io.Writer, input string, secret selo.Secret, at time.Time) error {
	p := new(page)
	unreadable := explainInput(ctx, p, input, secret, at)
	return errors.Join(unreadable, p.writeTo(out))
}

func explainInput(ctx context.Context, p *page, input string, secret selo.Secret, at time.Time) error {
	in := unwrap(input)
	if in.form != "" {
		p.row("input", in.form)
	}
	switch {
	case in.what != "":
		p.row("what", in.what)
		if in.unsigned != nil {
			p.row("signed", "not at all: it is no token")
			p.row("claims", in.unsigned.claimNames())
		}
		return nil
	case in.fault != "":
		p.row("what", "nothing that is a token here")
		p.row("wrong", in.fault)
		return errNotGranted
	}
	e, fault := readToken(ctx, in.token, secret)
	if fault != nil {
		p.row("what", "nothing that is a token here")
		if strings.Count(in.token, ".") == 4 {
			p.row("what", "perhaps an encrypted token (JWE): it has five segments, and Selo reads none")
		}
		p.row("wrong", inWords(fault))
		return errNotGranted
	}
	e.at = at
	fits := e.fits(ctx)
	p.row("what", e.what(fits))
	p.row("signed", e.signedBy())
	p.row("for", e.who())
	if e.kind == kindReceipt {
		p.row("states", e.statement())
	}
	for _, t := range []struct{ claim, label string }{{"iat", "issued"}, {"nbf", "not before"}, {"exp", "expires"}} {
		if text := e.when(t.claim); text != "" {
			p.row(t.label, text)
		}
	}
	p.row("claims", e.claimNames())
	wrong := e.wrong()
	if e.signature == doesNotHold && !e.publicKey() && e.kind != kindSession && e.kind.judged() {
		wrong = append([]string{"its signature does not hold under the secret given (signature_invalid)"}, wrong...)
	}
	if len(wrong) > 0 {
		p.row("wrong", wrong...)
	} else if e.kind.judged() {
		p.row("wrong", "nothing that can be seen in it")
	}
	p.gap()
	for _, f := range fits {
		p.row(f.profile.Product, f.lines...)
	}
	return nil
}

// pageWidth is where lines are broken: most terminals show that much.
const pageWidth = 100

// page is blocks of rows, a label and its text each. The labels of a block have one width.
type page struct{ blocks [][]pageRow }

type pageRow struct {
	label string
	lines []string
}

// row adds a row to the last block, or replaces the lines of the one with that label.
func (p *page) row(label string, lines ...string) {
	if len(p.blocks) == 0 {
		p.gap()
	}
	last := &p.blocks[len(p.blocks)-1]
	for i := range *last {
		if (*last)[i].label == label {
			(*last)[i].lines = lines
			return
		}
	}
	*last = append(*last, pageRow{label, lines})
}

// gap begins a block.
func (p *page) gap() { p.blocks = append(p.blocks, nil) }

func (p *page) writeTo(out io.Writer) error {
	var b strings.Builder
	for i, block := range p.blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		width := 0
		for _, r := range block {
			width = max(width, len(r.label))
		}
		for _, r := range block {
			label := r.label
			for _, line := range r.lines {
				for _, part := range wrap(line, pageWidth-width-2) {
					fmt.Fprintf(&b, "%-*s  %s\n", width, label, part)
					label = ""
				}
			}
		}
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// wrap breaks a line between words. What follows the first line of an item is indented as its text is.
func wrap(line string, width int) (parts []string) {
	indent := ""
	if strings.HasPrefix(line, item) {
		indent = strings.Repeat(" ", len(item))
	}
	part := ""
	for word := range strings.SplitSeq(line, " ") {
		switch {
		case part == "":
			part = word
		case len(part)+1+len(word) > width && strings.TrimSpace(part) != "":
			parts = append(parts, part)
			part = indent + word
		default:
			part += " " + word
		}
	}
	parts = append(parts, part)
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], together, " ")
	}
	return parts
}

// together is a space at which no line is broken.
const together = "\u00a0"

// item begins a line that is one of several.
const item = "- "

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
)

type policyCommand struct {
	Test    policyTest    `cmd:"" help:"Run the table of cases beside the rules; it needs no server and no database."`
	Explain policyExplain `cmd:"" help:"Say which rule decided about a session or a request, and why."`
}

type policyTest struct {
	withConfig
}

// errRules ends policy test after it printed which cases failed.
var errRules = errors.New("a rule does not do what its case says")

// Run reads nothing but the file: rules are tested where no secret is, such as in CI.
func (cmd *policyTest) Run(std streams) error {
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	f := slices.Clone(cfg.unknown)
	all := make([]*policy.Rules, len(cfg.Apps))
	for i, a := range cfg.Apps {
		if all[i] = a.rules(&f); len(a.Rules) > 0 && len(a.RuleCases) == 0 {
			f.add(fmt.Sprintf("apps[%d].rule_cases", i), "is empty: nothing shows what the rules of app %s do", a.Name)
		}
	}
	if len(f) > 0 {
		return fmt.Errorf("configuration:\n%w", errors.Join(f...))
	}
	cases, failed := 0, 0
	for i, a := range cfg.Apps {
		for _, r := range all[i].Test() {
			cases++
			if r.OK {
				fmt.Fprintf(std.out, "ok    %s: %s\n", a.Name, r.Name)
				continue
			}
			failed++
			fmt.Fprintf(std.out, "FAIL  %s: %s: want %s, got %s\n", a.Name, r.Name, verdict(r.Want, r.WantBy), verdict(r.Got, r.By))
			for _, o := range r.Verdict.Outcomes {
				fmt.Fprintf(std.out, "        %s: %s\n", o.Rule, said(o))
			}
		}
		for _, rule := range all[i].Unused() {
			fmt.Fprintf(std.err, "app %s: no case is denied by the rule %s, so nothing shows what it is for\n", a.Name, rule)
		}
	}
	fmt.Fprintf(std.out, "%d cases, %d failed\n", cases, failed)
	if failed > 0 {
		return errRules
	}
	return nil
}

func verdict(what, by string) string {
	if by == "" {
		return what
	}
	return what + " by " + by
}

func said(o policy.Outcome) string {
	text := "allow " + o.Result
	if o.Deny {
		text = "deny " + o.Result
	}
	if o.Observe {
		text += ", only observed"
	}
	if o.Detail != "" {
		text += ": " + o.Detail
	}
	return text
}

type policyExplain struct {
	withConfig
	Session string `xor:"of" required:"" placeholder:"ID" help:"Of the session (ses_...)."`
	Request string `xor:"of" required:"" placeholder:"ID" help:"X-Request-Id of an answer; one that was refused opened no session."`
}

func (cmd *policyExplain) Run(ctx context.Context, std streams) (err error) {
	p, err := cmd.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	steps, err := p.broker.Explain(ctx, policy.LocalOperator(), cmd.Session, cmd.Request, "")
	if err != nil {
		return err
	}
	return printSteps(std.out, steps)
}

func printSteps(out io.Writer, steps []broker.Step) error {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s  %s by %s: %s", s.At.UTC().Format(time.RFC3339), s.Act, s.Caller, s.Outcome)
		for _, r := range s.Reasons {
			b.WriteString(" " + string(r))
		}
		b.WriteString("\n")
		if s.Session != "" {
			fmt.Fprintf(&b, "    session %s\n", s.Session)
		}
		if s.Note != "" && len(s.Rules) == 0 {
			fmt.Fprintf(&b, "    %s\n", s.Note)
		}
		for _, r := range s.Rules {
			fmt.Fprintf(&b, "    rule %s: %s\n", r.Name, r.Said)
			switch {
			case r.Text == "":
				b.WriteString("        the configuration has no such rule any more\n")
			case r.Changed:
				fmt.Fprintf(&b, "        had another text then; now: %s\n", r.Text)
			default:
				fmt.Fprintf(&b, "        %s\n", r.Text)
			}
		}
		if s.More > 0 {
			fmt.Fprintf(&b, "    and %d more rules, none of which denied\n", s.More)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

package checklist

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// planned is a request that a check would send.
type planned struct {
	probe  string // "" for those at the start and in between
	method string
	url    string
	user   string // "" for nobody
	what   string // of the response that it hands in
	kind   planKind
	ideal  bool
}

type planKind int

const (
	planOther planKind = iota
	planLogin
	planToken
	planSubmit
)

// Plan is all that a check would send.
type Plan struct {
	requests []planned
	rate     int
	users    []string
	burst    int
	own      []string
}

// Plan walks the whole check without sending anything: where something depends on an answer, that of a correct server is
// supposed.
func (c *Check) Plan(ctx context.Context, o Options) (*Plan, error) {
	b := c.bench
	probes, err := b.chosen(o)
	if err != nil {
		return nil, err
	}
	b.start(o.Version)
	if b.target.Environment != environmentProduction && (b.target.Callback != nil || len(b.remoteHosts()) == 0) {
		b.listener = &listener{url: "https://callback.invalid"}
	}
	p := &Plan{rate: b.rate, burst: b.burstLength, own: b.remoteHosts()}
	var mu sync.Mutex // for what is sent in parallel
	current := ""
	b.client.dry = true
	b.tell = func(r *request, kind planKind, v values, what string, ideal bool) {
		mu.Lock()
		defer mu.Unlock()
		user := v[valueUser]
		if v[valueCredential] == "" && kind != planLogin {
			user = ""
		}
		p.requests = append(p.requests, planned{current, r.method, b.redact.text(standIns.Replace(r.where())), user, what, kind, ideal})
		if user != "" && !slices.Contains(p.users, user) {
			p.users = append(p.users, user)
		}
	}
	o.Progress = func(_, _ int, probe Probe, came *finding.Finding) {
		current = probe.ID
		if came != nil {
			current = ""
		}
	}
	if _, err := b.run(ctx, o, probes); err != nil {
		return nil, err
	}
	return p, nil
}

// standIns shows the stand-ins of values in URLs.
var standIns = strings.NewReplacer("%E2%9F%A8", "⟨", "%E2%9F%A9", "⟩", "%20", " ")

// Write tells the plan: every request by probe, and then what the target must allow.
func (p *Plan) Write(w io.Writer) error {
	probe := "-"
	for i := 0; i < len(p.requests); i++ {
		r, times := p.requests[i], 1
		for i+1 < len(p.requests) && p.requests[i+1] == r {
			i, times = i+1, times+1
		}
		if r.probe != probe {
			probe = r.probe
			name := probe
			if name == "" {
				name = "(start, planted for the end, and honest journeys in between)"
			}
			if _, err := fmt.Fprintf(w, "%s\n", name); err != nil {
				return err
			}
		}
		who := r.user
		if who == "" {
			who = "nobody"
		}
		what := ""
		if r.what != "" {
			what = "   " + r.what
		}
		if times > 1 {
			what += fmt.Sprintf("   %d times", times)
		}
		if _, err := fmt.Fprintf(w, "  %-7s %s   as %s%s\n", r.method, r.url, who, what); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "\n%d requests, at most %d a second: about %v. Nothing was sent.\n\nWhat the target must allow while the check runs, or probes are inconclusive:\n\n",
		len(p.requests), p.rate, (time.Duration(len(p.requests)/p.rate+1) * time.Second)); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "user\ttoken requests\tof which refused\tresponses\tof which refused")
	for _, u := range append(slices.Clone(p.users), "") {
		var tokens, tokensRefused, responses, responsesRefused int
		for _, r := range p.requests {
			switch {
			case r.user != u || r.probe == "burst":
			case r.kind == planToken:
				tokens++
				tokensRefused += one(!r.ideal)
			case r.kind == planSubmit:
				responses++
				responsesRefused += one(!r.ideal)
			}
		}
		if u == "" {
			u = "(nobody)"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\n", u, tokens, tokensRefused, responses, responsesRefused)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var more strings.Builder
	fmt.Fprintf(&more, "\nThe burst comes last: up to %d tokens for one user, of which one at least must be refused.\n", p.burst)
	for _, host := range p.own {
		fmt.Fprintf(&more, "To send it: --i-own-this-target %s\n", host)
	}
	_, err := io.WriteString(w, more.String())
	return err
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

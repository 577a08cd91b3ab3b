package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

type doctorCommand struct {
	withConfig
	Offline bool `help:"Ask nobody on the network; the clock is not compared."`
	JSON    bool `name:"json" help:"Print JSON."`
}

// The marks of a finding. Only fail makes the exit status 1.
const (
	markOK   = "ok"
	markWarn = "warn"
	markFail = "fail"
)

// symptom is one thing that was looked at.
type symptom struct {
	Mark  string `json:"mark"`
	About string `json:"about"`
	Says  string `json:"says"`
	Fix   string `json:"fix,omitempty"`
}

// errUnwell ends doctor after it printed what is wrong.
var errUnwell = errors.New("something is wrong")

// Run looks at everything that a server stands on, changes nothing but the heartbeat of the store and the audit trail, and says what to do.
func (cmd *doctorCommand) Run(ctx context.Context, std streams) error {
	d := &doctor{}
	d.examine(ctx, cmd)
	if cmd.JSON {
		text, err := json.Marshal(struct {
			Findings []symptom `json:"findings"`
		}{d.found}, jsontext.Multiline(true))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(std.out, "%s\n", text); err != nil {
			return err
		}
	} else if err := d.print(std.out); err != nil {
		return err
	}
	if slices.ContainsFunc(d.found, func(s symptom) bool { return s.Mark == markFail }) {
		return errUnwell
	}
	return nil
}

type doctor struct{ found []symptom }

func (d *doctor) say(mark, about, says, fix string) {
	d.found = append(d.found, symptom{mark, about, says, fix})
}

func (d *doctor) print(out io.Writer) error {
	var b strings.Builder
	counts := make(map[string]int)
	for _, s := range d.found {
		counts[s.Mark]++
		fmt.Fprintf(&b, "%-4s  %s: %s\n", s.Mark, s.About, s.Says)
		if s.Fix != "" {
			fmt.Fprintf(&b, "      → %s\n", s.Fix)
		}
	}
	fmt.Fprintf(&b, "%d ok, %d to look at, %d wrong\n", counts[markOK], counts[markWarn], counts[markFail])
	_, err := io.WriteString(out, b.String())
	return err
}

func (d *doctor) examine(ctx context.Context, cmd *doctorCommand) {
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		d.say(markFail, "configuration", err.Error(), "selo.example.yaml explains every field")
		return
	}
	if _, err := os.Stat(cfg.path(cfg.Database)); cfg.Database != "" && err != nil {
		d.say(markFail, "store", "there is no database at "+cfg.Database, "is the path right? selo serve and selo key add make one")
		return
	}
	p, err := cfg.build(ctx, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			d.say(markFail, "configuration", line, "")
		}
		return
	}
	defer func() {
		if err := p.store.Close(); err != nil {
			d.say(markFail, "store", err.Error(), "")
		}
	}()
	d.say(markOK, "configuration", "is whole, and every access key and pepper opens under the kek", "")
	for _, w := range p.warnings {
		d.say(markWarn, "files", w, "")
	}
	if len(p.warnings) == 0 {
		d.say(markOK, "files", "secrets are their owner's alone", "")
	}
	d.kek(ctx, p)
	d.store(ctx, p)
	d.keys(ctx, p)
	if !cmd.Offline {
		d.clock(ctx, cfg)
	}
}

func (d *doctor) kek(ctx context.Context, p *parts) {
	if err := p.keeper.Check(ctx); err != nil {
		d.say(markFail, "kek", err.Error(), "nothing can be sealed or opened without it")
		return
	}
	d.say(markOK, "kek", "seals and opens", "")
	if len(p.keeper.IDs()) > 1 {
		d.say(markWarn, "kek", "previous_keks are still configured", "selo key rewrap, and then take them out")
	}
}

func (d *doctor) store(ctx context.Context, p *parts) {
	s, err := p.store.Diagnose(ctx)
	if err != nil {
		d.say(markFail, "store", err.Error(), "")
		return
	}
	for _, is := range []struct {
		good       bool
		says, fix  string
		mark, when string
	}{
		{s.Writable == nil, "can be written", "look at the disk and the owner of the file", markFail, fmt.Sprintf("cannot be written: %v", s.Writable)},
		{s.Integrity == "ok", "has no damage", "restore a backup", markFail, "is damaged: " + s.Integrity},
		{s.JournalMode == "wal" && s.Synchronous == "full" && s.ForeignKeys, "writes to the disk before it answers", "this is a fault of the program; report it", markFail,
			fmt.Sprintf("has journal_mode %s and synchronous %s", s.JournalMode, s.Synchronous)},
		{s.FreeBytes < 0 || s.FreeBytes > 1<<30, "has room", "make room: a full disk opens no session", markWarn, fmt.Sprintf("has %d MiB left on its disk", s.FreeBytes>>20)},
	} {
		if is.good {
			d.say(markOK, "store", is.says, "")
		} else {
			d.say(is.mark, "store", is.when, is.fix)
		}
	}
}

// keyAge is how old an active key may be before it is time for another.
const keyAge = 365 * 24 * time.Hour

func (d *doctor) keys(ctx context.Context, p *parts) {
	warnings := p.broker.Warnings()
	for _, w := range warnings {
		mark, fix := markWarn, ""
		if strings.Contains(w, "cannot be opened") {
			mark, fix = markFail, "selo key add and selo key activate"
		}
		d.say(mark, "access keys", w, fix)
	}
	all, err := p.broker.AccessKeys(ctx, policy.LocalOperator(), "")
	if err != nil {
		d.say(markFail, "access keys", err.Error(), "")
		return
	}
	for _, k := range all {
		if k.State == store.KeyActive && time.Since(k.ActivatedAt) > keyAge {
			d.say(markWarn, "access keys", fmt.Sprintf("%v is active since %s", k.ID(), date(k.ActivatedAt)), "rotate it: docs/operating.md")
		}
		if k.State != store.KeyRevoked && k.KEK != p.keeper.Current() {
			d.say(markWarn, "access keys", fmt.Sprintf("%v is sealed under a previous kek", k.ID()), "selo key rewrap")
		}
	}
	if len(warnings) == 0 {
		d.say(markOK, "access keys", "each product has one, and none has too much power", "")
	}
}

// Bounds of how far a clock may be off. A response may be dated 30 seconds ahead of ours, and mobile tokens live minutes.
const (
	clockWarn = 5 * time.Second
	clockFail = 30 * time.Second
)

// clock compares ours with those of whoever tokens and responses come from, by the Date of whatever they answer.
func (d *doctor) clock(ctx context.Context, cfg *Config) {
	var urls []string
	for _, a := range cfg.Apps {
		switch {
		case a.JWKSURL != "":
			urls = append(urls, a.JWKSURL)
		case a.JWKSFile == "":
			urls = append(urls, strings.TrimSuffix(a.Issuer, "/")+"/.well-known/openid-configuration")
		}
	}
	for _, c := range cfg.Caf {
		urls = append(urls, c.SessionURL, c.IdentityURL, c.FacesURL)
	}
	slices.Sort(urls)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, url := range slices.Compact(urls) {
		if url == "" {
			continue
		}
		shown, _, _ := strings.Cut(url, "?")
		off, err := clockOff(ctx, client, url)
		switch {
		case err != nil:
			d.say(markWarn, "network", shown+" does not answer", "is the address right, and may this machine go there?")
		case off.Abs() > clockFail:
			d.say(markFail, "clock", fmt.Sprintf("is %v off that of %s", off.Round(time.Second), shown), "have the clock set by NTP")
		case off.Abs() > clockWarn:
			d.say(markWarn, "clock", fmt.Sprintf("is %v off that of %s", off.Round(time.Second), shown), "have the clock set by NTP")
		default:
			d.say(markOK, "clock", "agrees with "+shown, "")
		}
	}
}

// clockOff is how much our clock is ahead, to a second or two.
func clockOff(ctx context.Context, client *http.Client, url string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, err
	}
	// In the middle of the exchange, and of the second that they cut off.
	ours := began.Add(time.Since(began) / 2)
	return ours.Sub(theirs.Add(500 * time.Millisecond)), nil
}

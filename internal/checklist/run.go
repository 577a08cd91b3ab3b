package checklist

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// Options are how a check is run.
type Options struct {
	Version string            // of the program, for the report and User-Agent
	Only    []string          // IDs of probes; empty is all of them
	Skip    map[string]string // IDs of probes, and why
	Own     []string          // hosts that the caller says are theirs, beside this machine
	// Progress is told of each probe before it runs, and of what came of it.
	Progress func(done, all int, p Probe, came *finding.Finding)
}

// CannotRunError says why there is no report: a wrong option, a host that nobody owns, a user who gets no token.
type CannotRunError struct{ err error }

func (e *CannotRunError) Error() string { return e.err.Error() }
func (e *CannotRunError) Unwrap() error { return e.err }

func cannotRunf(format string, args ...any) error {
	return &CannotRunError{fmt.Errorf(format, args...)}
}

// controlEvery is after how many probes of refusals an honest response must be granted again.
const controlEvery = 12

// Run sends the requests and reports. It writes nowhere. An error is a *CannotRunError, or that ctx ended.
func (c *Check) Run(ctx context.Context, o Options) (*finding.Report, error) {
	b := c.bench
	probes, err := b.chosen(o)
	if err != nil {
		return nil, err
	}
	if err := b.owned(o.Own); err != nil {
		return nil, err
	}
	b.start(o.Version)
	defer b.client.close()
	if err := b.openListener(ctx); err != nil {
		return nil, err
	}
	if b.listener != nil {
		defer b.listener.close()
	}
	return b.run(ctx, o, probes)
}

// start makes what belongs to one run.
func (b *bench) start(version string) {
	b.client = newClient(version, b.rate)
	b.client.hosts = b.origins()
	b.watch = &watch{disclosed: make(map[string]sent), tokens: func(t string) bool {
		return len(b.key.secret) > 0 && signedUnder(t, b.key.secret)
	}}
	for _, k := range []*accessKey{&b.key, b.retired, b.sandbox} {
		if k != nil && len(k.secret) >= 8 { // a shorter one is found everywhere
			b.watch.secrets = append(b.watch.secrets, encodings(k.secret)...)
			if b.watch.hidden == nil {
				b.watch.hidden = new(redactor)
			}
			b.watch.hidden.hideSecret(k.secret, "client secret")
		}
	}
	b.client.watch = b.watch
}

// openListener is for what the server under test must not fetch. Where it runs elsewhere it could not reach this machine
// but by what is described.
func (b *bench) openListener(ctx context.Context) (err error) {
	switch c := b.target.Callback; {
	case b.target.Environment == environmentProduction:
	case c != nil:
		b.listener, err = listen(ctx, c.Listen, c.URL)
	case len(b.remoteHosts()) == 0:
		b.listener, err = listen(ctx, "127.0.0.1:0", "")
	}
	if err != nil {
		return cannotRunf("callback.listen: %w", err)
	}
	return nil
}

// chosen returns the probes that are to run, those that look at everything last.
func (b *bench) chosen(o Options) ([]Probe, error) {
	all := Probes()
	known := func(id string) bool {
		return slices.ContainsFunc(all, func(p Probe) bool { return p.ID == id })
	}
	for _, id := range slices.Concat(o.Only, slices.Sorted(maps.Keys(o.Skip))) {
		if !known(id) {
			if valueName.MatchString(strings.ReplaceAll(id, "-", "_")) {
				return nil, cannotRunf("there is no probe %s; selo check list has them all", id)
			}
			return nil, cannotRunf("there is no probe of that ID; selo check list has them all")
		}
	}
	var probes []Probe
	for _, p := range all {
		if b.target.Environment == environmentProduction && !p.Production {
			continue
		}
		if len(o.Only) == 0 || slices.Contains(o.Only, p.ID) {
			probes = append(probes, p)
		}
	}
	if len(probes) == 0 {
		return nil, cannotRunf("none of these probes runs in production")
	}
	slices.SortStableFunc(probes, func(a, c Probe) int { return int(a.when) - int(c.when) })
	return probes, nil
}

// run runs probes one after the other.
func (b *bench) run(ctx context.Context, o Options, probes []Probe) (*finding.Report, error) {
	started := b.now()
	if err := b.knock(ctx); err != nil {
		return nil, err
	}
	needsGrant := false
	for _, p := range probes {
		needsGrant = needsGrant || p.grants && p.ID != honestID
	}
	if needsGrant {
		if err := b.sane(ctx); err != nil {
			return nil, err
		}
	}
	var notGranted string // why a refusal proves nothing; "" while it does
	if needsGrant {
		why, err := b.control(ctx)
		if err != nil {
			return nil, err
		}
		notGranted = why
	}
	notBegun := make(map[string]string) // why, by probe
	for _, p := range probes {
		if _, skipped := o.Skip[p.ID]; p.begin == nil || skipped || p.grants && notGranted != "" {
			continue
		}
		if err := p.begin(ctx, b); err != nil {
			why, ok := isInterrupted(err)
			if !ok {
				return nil, err
			}
			notBegun[p.ID] = why
		}
	}
	found := make(map[string]finding.Finding)
	var since []string // probes that passed since an honest response was granted
	check := func() error {
		why, err := b.control(ctx)
		if err != nil {
			return err
		}
		if why != "" {
			notGranted = "meanwhile " + why
			for _, id := range since {
				f := found[id]
				f.Outcome, f.Message = finding.Inconclusive, "it was refused, and "+notGranted+", so that proves nothing"
				found[id] = f
			}
		}
		since = nil
		return nil
	}
	var doors []string // the same, of those that ask for tokens which must not come
	checkDoors := func() error {
		defer func() { doors = nil }()
		for _, u := range b.users[:2] {
			_, err := b.open(ctx, u)
			why, interrupted := isInterrupted(err)
			switch {
			case err == nil:
			case !interrupted:
				return err
			default:
				for _, id := range doors {
					f := found[id]
					f.Outcome, f.Message = finding.Inconclusive, "no token came, and meanwhile an honest user got none ("+b.redact.text(why)+"), so that proves nothing"
					found[id] = f
				}
				return nil
			}
		}
		return nil
	}
	for i, p := range probes {
		if o.Progress != nil {
			o.Progress(i, len(probes), p, nil)
		}
		f := finding.Finding{Rule: p.ID, Place: b.base.String()}
		reason, skipped := o.Skip[p.ID]
		switch {
		case skipped:
			f.Outcome, f.Message = finding.Skipped, reason
		case p.grants && notGranted != "" && p.ID != honestID && p.when != atEnd:
			f.Outcome, f.Message = finding.Inconclusive, notGranted+", so a refusal proves nothing"
		default:
			v, err := p.attempt(ctx, b)
			if why, ok := isInterrupted(err); ok {
				v = verdict{outcome: finding.Inconclusive, message: why, evidence: v.evidence}
			} else if err != nil {
				return nil, err
			}
			f.Outcome, f.Message, f.Evidence = v.outcome, b.redact.text(v.message), v.evidence
			if v.place != "" {
				f.Place = v.place
			}
			// What looks at all that went before has seen nothing where nothing was sent, or nothing got far enough.
			why := notBegun[p.ID]
			if p.grants && p.when == atEnd && why == "" {
				why = notGranted
			}
			if f.Outcome == finding.Pass && why != "" {
				f.Outcome, f.Message = finding.Inconclusive, b.redact.text(why)+", so that nothing was seen proves nothing"
			}
		}
		found[p.ID] = f
		if p.grants && f.Outcome == finding.Pass && p.when != atEnd {
			since = append(since, p.ID)
		}
		if p.doors && f.Outcome == finding.Pass {
			doors = append(doors, p.ID)
		}
		if lastOfKind := i == len(probes)-1 || probes[i+1].when != inTurn || probes[i+1].Topic != p.Topic; len(doors) >= controlEvery/2 || len(doors) > 0 && lastOfKind {
			if err := checkDoors(); err != nil {
				return nil, err
			}
		}
		if len(since) >= controlEvery || len(since) > 0 && (i == len(probes)-1 || probes[i+1].when != inTurn) {
			if err := check(); err != nil {
				return nil, err
			}
		}
		if o.Progress != nil {
			f := found[p.ID]
			o.Progress(i+1, len(probes), p, &f)
		}
	}
	return b.report(o, started, found), nil
}

const honestID = "honest-granted"

// attempt runs a probe. One that breaks breaks nothing else.
func (p *Probe) attempt(ctx context.Context, b *bench) (v verdict, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = verdict{}, interruptedf("the probe itself broke; please report this: %.200v", r)
		}
	}()
	return p.run(ctx, b)
}

// knock gets a token for each of the first two users, without which there is nothing to check.
func (b *bench) knock(ctx context.Context) error {
	b.early = new(early)
	for i, to := range []**session{&b.early.first, &b.early.second} {
		s, err := b.open(ctx, b.users[i])
		if why, ok := isInterrupted(err); ok {
			return cannotRunf("%s", b.redact.text(why))
		}
		if err != nil {
			return err
		}
		*to = s
	}
	if b.users[0].credential == b.users[1].credential {
		return cannotRunf("the first two users have the same credential: check the door that the app comes to, not one behind which a backend speaks for everybody")
	}
	return nil
}

// sane refuses a meaning of "granted" that is true of an answer which says no itself.
func (b *bench) sane(ctx context.Context) error {
	s, err := b.open(ctx, b.users[0])
	if err == nil {
		var yes bool
		var x sent
		if yes, x, err = b.submit(ctx, handing{session: s, forged: forged{"no response at all", "selo-check"}}); err == nil && yes && x.answer.status >= 400 {
			return cannotRunf("submit.granted is true of the answer to a response that is none, which had the status %d", x.answer.status)
		}
	}
	if _, ok := isInterrupted(err); ok {
		return nil // the control will meet it again
	}
	return err
}

// control hands in an honest response. It returns why the refusals of before prove nothing, or "".
func (b *bench) control(ctx context.Context) (string, error) {
	for _, u := range b.users[:2] {
		yes, x, err := b.honest(ctx, u)
		if why, ok := isInterrupted(err); ok {
			return "an honest response could not be handed in (" + b.redact.text(why) + ")", nil
		}
		if err != nil {
			return "", err
		}
		if !yes {
			return fmt.Sprintf("an honest response of %s was not granted (the answer had the status %d)", b.redact.text(u.name), x.answer.status), nil
		}
	}
	return "", nil
}

// report puts the findings in the order of the topics.
func (b *bench) report(o Options, started time.Time, found map[string]finding.Finding) *finding.Report {
	r := &finding.Report{
		Tool: "selo check", Version: o.Version, Target: b.base.String(), Started: started.UTC().Truncate(time.Second), Took: b.now().Sub(started).Round(time.Millisecond),
		About:  b.about(o, found),
		Topics: Topics(),
	}
	for _, topic := range r.Topics {
		for _, p := range Probes() {
			if f, ok := found[p.ID]; ok && p.Topic == topic.Number {
				r.Rules = append(r.Rules, p.rule())
				r.Findings = append(r.Findings, f)
			}
		}
	}
	return r
}

// about says what a reader must know who was not there: above all what was not tried.
func (b *bench) about(o Options, found map[string]finding.Finding) []finding.Fact {
	t := b.target
	facts := []finding.Fact{{Name: "product", Value: t.Product}, {Name: "environment", Value: t.Environment}}
	add := func(name, format string, args ...any) {
		facts = append(facts, finding.Fact{Name: name, Value: b.redact.text(fmt.Sprintf(format, args...))})
	}
	if b.key.clientID != "" {
		add("access key", "%s", b.key.clientID)
	}
	add("acceptable", "tokens of %s, responses of %s", inWords(b.tokenLifetime), inWords(b.responseAge))
	all := len(Probes())
	switch n := len(found); {
	case t.Environment == environmentProduction:
		add("probes", "%d of %d: in production only the harmless ones run", n, all)
	case n < all:
		add("probes", "%d of %d: the others were not asked for", n, all)
	}
	missing := make(map[string][]string)
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if f := found[id]; f.Outcome == finding.NotApplicable {
			if what, ok := strings.CutPrefix(f.Message, "describe "); ok {
				what, _, _ = strings.Cut(what, " ")
				missing[what] = append(missing[what], id)
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(missing)) {
		add("not tried", "%s, since check.yaml does not describe %s", strings.Join(missing[what], ", "), what)
	}
	add("requests", "%d", b.client.sent)
	return facts
}

// inWords is a duration as people say it.
func inWords(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d >= unit.of && d%unit.of == 0 {
			if n := d / unit.of; n != 1 {
				return fmt.Sprintf("%d %ss", n, unit.name)
			}
			return "1 " + unit.name
		}
	}
	return d.Round(time.Second).String()
}

// rule is what a report says of a probe.
func (p Probe) rule() finding.Rule {
	r := finding.Rule{ID: p.ID, Title: p.Title, TitlePT: p.TitlePT, Topic: p.Topic, Severity: p.Severity, What: p.What, Why: p.Why, Fix: p.Fix}
	r.Snippets, r.References = p.rulePieces()
	return r
}

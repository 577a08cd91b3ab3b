package checklist

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// Probe is one thing that is tried, and what is told of it.
type Probe struct {
	ID       string // stable: --only, --skip and baselines name it
	Title    string // the promise
	TitlePT  string // in Brazilian Portuguese
	Topic    int    // of the checklist, 1 to 5; 0 is what it does not ask and good servers do
	Severity finding.Severity
	text     // by ID, from texts

	// Production says that it sends nothing that an honest app would not, or only what is refused at the door.
	Production bool

	// grants says that it proves something by a refusal, so that it needs a target that grants what is good.
	grants bool
	// doors says that it proves something by no token coming, so that it needs honest users to get theirs.
	doors bool
	when  phase
	begin func(context.Context, *bench) error // early, for what needs time
	run   func(context.Context, *bench) (verdict, error)
}

// text is what is told of a probe, beside its title.
type text struct {
	What     string   // what it does
	Why      string   // what happens to whom when the promise is broken
	Fix      string   // how to keep it
	Snippets []string // names of pieces of the servers that the tests prove right: see snippets
	Refs     []string // keys of references
}

// phase is when a probe runs.
type phase int

const (
	inTurn  phase = iota
	atEnd         // it looks at what came in all the others
	lastOne       // it uses the limits up
)

// verdict is what came of a probe. Its error beside it is an interruption: nothing was found out.
type verdict struct {
	outcome  finding.Outcome
	message  string
	place    string
	evidence []finding.Exchange
}

func passed(message string) verdict { return verdict{outcome: finding.Pass, message: message} }
func notApplicable(message string) verdict {
	return verdict{outcome: finding.NotApplicable, message: message}
}
func failed(message string) verdict { return verdict{outcome: finding.Fail, message: message} }
func warned(message string) verdict { return verdict{outcome: finding.Warn, message: message} }

// with adds an exchange as evidence.
func (v verdict) with(b *bench, x sent, expected string) verdict {
	tell := b.teller(x)
	v.evidence = append(slices.Clip(v.evidence), b.evidenceAs(tell, x, expected))
	if v.place == "" {
		v.place = tell(x.place())
	}
	return v
}

// Topics are the chapters of the checklist.
func Topics() []finding.Topic {
	return []finding.Topic{
		{Number: 1, Title: "Tokens are generated dynamically, per user, on the server", TitlePT: "Os tokens são gerados dinamicamente, por usuário, no servidor"},
		{Number: 2, Title: "Tokens are made for one CPF", TitlePT: "Os tokens são feitos para um único CPF"},
		{Number: 3, Title: "Tokens expire in reasonable time", TitlePT: "Os tokens expiram em tempo razoável"},
		{Number: 4, Title: "No tokens for unauthorised users", TitlePT: "Não há tokens para usuários não autorizados"},
		{Number: 5, Title: "Payload and signature of every response are validated on the server", TitlePT: "Payload e assinatura de toda resposta são validados no servidor"},
		{Number: 0, Title: "Beyond the checklist", TitlePT: "Além do checklist"},
	}
}

// Probes returns every probe, in the order in which they run within their phase.
func Probes() []Probe {
	all := slices.Concat(tokenProbes(), personProbes(), expiryProbes(), accessProbes(),
		signatureProbes(), decisionProbes(), contentProbes(), replayProbes(), robustnessProbes(), webhookProbes())
	texts := texts()
	for i := range all {
		all[i].text = texts[all[i].ID]
	}
	return all
}

// forging makes the responses of a probe for a session that has just been opened. Each is handed in in a session of
// its own, so how many there are must not depend on anything.
type forging func(b *bench, actor, other *user) []forged

// refuses is the run of a probe whose every response must be refused.
func refuses(forge forging) func(context.Context, *bench) (verdict, error) {
	return mustNotGrant(forge, finding.Fail)
}

// betterRefuses is the same where a grant is no hole by itself.
func betterRefuses(forge forging) func(context.Context, *bench) (verdict, error) {
	return mustNotGrant(forge, finding.Warn)
}

func mustNotGrant(forge forging, outcome finding.Outcome) func(context.Context, *bench) (verdict, error) {
	return func(ctx context.Context, b *bench) (verdict, error) {
		actor, other := b.pair()
		var granted []string
		var shown verdict // with the first that was granted, or else the first
		n := len(forge(b, actor, other))
		for i := range n {
			s, err := b.open(ctx, actor)
			if err != nil {
				return verdict{}, err
			}
			f := forge(b, actor, other)[i]
			yes, x, err := b.submit(ctx, handing{session: s, forged: f})
			if err != nil && !closedConnection(err) { // the control afterwards shows whether that was a refusal
				return verdict{}, err
			}
			if i == 0 || yes && len(granted) == 0 {
				shown = verdict{}.with(b, x, "anything but access")
			}
			if yes && len(granted) > 0 {
				granted = append(granted, strings.TrimPrefix(f.label, "signed, "))
			} else if yes {
				granted = append(granted, f.label)
			}
		}
		if len(granted) > 0 {
			shown.outcome, shown.message = outcome, "access was granted to a response that is "+strings.Join(granted, "; ")
			return shown, nil
		}
		shown.outcome, shown.message = finding.Pass, "refused"
		if n > 1 {
			shown.message = fmt.Sprintf("all %d were refused", n)
		}
		return shown, nil
	}
}

// signedOnly makes one response from the honest payload.
func signedOnly(label string, change func(b *bench, other *user, p payload) payload) forging {
	return func(b *bench, actor, other *user) []forged {
		return []forged{b.signed(label, change(b, other, b.honestPayload(actor)))}
	}
}

// eachDecision makes a response for each decision of the product and each of the changes.
func eachDecision(change func(field string, p payload) []labelled) forging {
	return func(b *bench, actor, _ *user) []forged {
		var all []forged
		for _, field := range b.shape.Decision {
			for _, l := range change(field, b.honestPayload(actor)) {
				all = append(all, b.signed(l.label, l.payload))
			}
		}
		return all
	}
}

// labelled is a payload and what it is.
type labelled struct {
	label   string
	payload payload
}

// until waits until so long after a time.
func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

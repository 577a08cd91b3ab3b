package checklist

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/selo-id/selo/internal/finding"
)

const (
	parallelPosts    = 20
	parallelSessions = 8
)

// replayProbes are those of topic 5 about using a response twice.
func replayProbes() []Probe {
	again := func(id, title, titlePT string, severity finding.Severity, second func(b *bench, u *user, p payload, first forged) []forged, elsewhere bool) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 5, Severity: severity, grants: true,
			run: func(ctx context.Context, b *bench) (verdict, error) { return usedTwice(ctx, b, second, elsewhere) }}
	}
	same := func(_ *bench, _ *user, _ payload, first forged) []forged {
		return []forged{{"the same response", first.response}}
	}
	return []Probe{
		again("replay", "A response is granted once", "Uma resposta é aceita uma única vez", finding.Critical, same, false),
		again("replay-other-session", "A used response is refused in another session", "Resposta já usada é recusada em outra sessão", finding.Critical, same, true),
		again("replay-reencoded", "A used response is refused in another encoding", "Resposta já usada é recusada em outra codificação", finding.High,
			func(_ *bench, _ *user, _ payload, first forged) []forged { return reEncoded(first.response) }, true),
		again("replay-resigned", "A used attempt is refused when it is signed again", "Tentativa já usada é recusada mesmo assinada novamente", finding.Medium,
			func(b *bench, _ *user, p payload, _ forged) []forged {
				turned := slices.Clone(p)
				slices.Reverse(turned)
				return []forged{b.signed("the same attempt, signed again in another order", turned), b.signed("the same attempt, with another time", p.set("iat", b.now().Unix()+1))}
			}, true),
		{
			ID: "replay-late", Title: "A used response is refused later, too", TitlePT: "Resposta já usada também é recusada mais tarde",
			Topic: 5, Severity: finding.Critical, grants: true, when: atEnd,
			begin: func(ctx context.Context, b *bench) error {
				u := b.early.first.user
				f := b.signed("used at the start of the check", b.honestPayload(u))
				s, err := b.open(ctx, u)
				if err != nil {
					return err
				}
				yes, _, err := b.submit(ctx, handing{session: s, forged: f, ideal: true})
				if err == nil && yes {
					b.early.used = &f
				}
				return err
			},
			run: func(ctx context.Context, b *bench) (verdict, error) {
				if b.early.used == nil {
					return verdict{}, interruptedf("the first use was not granted, so the second proves nothing")
				}
				s, err := b.open(ctx, b.early.first.user)
				if err != nil {
					return verdict{}, err
				}
				const want = "anything but access"
				yes, x, err := b.submit(ctx, handing{session: s, forged: *b.early.used})
				switch {
				case err != nil:
					return verdict{}, err
				case yes:
					return failed("a response that had been granted at the start was granted again at the end").with(b, x, want), nil
				}
				return passed("refused").with(b, x, want), nil
			},
		}, {
			ID: "replay-parallel", Title: "Of parallel posts of one response at most one is granted", TitlePT: "De envios simultâneos da mesma resposta, no máximo um é aceito",
			Topic: 5, Severity: finding.Critical, grants: true,
			run: func(ctx context.Context, b *bench) (verdict, error) {
				actor, _ := b.pair()
				s, err := b.open(ctx, actor)
				if err != nil {
					return verdict{}, err
				}
				sessions := slices.Repeat([]*session{s}, parallelPosts)
				return inParallel(ctx, b, sessions, b.signed("honest", b.honestPayload(actor)))
			},
		}, {
			ID: "replay-parallel-sessions", Title: "One response is granted at most once across parallel sessions", TitlePT: "A mesma resposta é aceita no máximo uma vez entre sessões simultâneas",
			Topic: 5, Severity: finding.High, grants: true,
			run: func(ctx context.Context, b *bench) (verdict, error) {
				actor, _ := b.pair()
				var sessions []*session
				for range parallelSessions {
					s, err := b.open(ctx, actor)
					if err != nil {
						return verdict{}, err
					}
					sessions = append(sessions, s)
				}
				return inParallel(ctx, b, sessions, b.signed("honest", b.honestPayload(actor)))
			},
		}}
}

// usedTwice has a response granted and then hands others in for the same attempt.
func usedTwice(ctx context.Context, b *bench, second func(*bench, *user, payload, forged) []forged, elsewhere bool) (verdict, error) {
	u, _ := b.pair()
	const want = "anything but access"
	p := b.honestPayload(u)
	first := b.signed("honest", p)
	s, err := b.open(ctx, u)
	if err != nil {
		return verdict{}, err
	}
	yes, x, err := b.submit(ctx, handing{session: s, forged: first, ideal: true})
	if err != nil {
		return verdict{}, err
	}
	if !yes {
		return verdict{}, interruptedf("the first use was not granted, so the second proves nothing: %s answered %d", x.request.line(), x.answer.status)
	}
	shown := passed("refused").with(b, x, "access, the first time")
	for i, f := range second(b, u, p, first) {
		if elsewhere {
			if s, err = b.open(ctx, u); err != nil {
				return verdict{}, err
			}
		}
		yes, again, err := b.submit(ctx, handing{session: s, forged: f})
		if err != nil {
			return verdict{}, err
		}
		if yes {
			return failed("access was granted twice for one attempt, the second time to "+f.label).with(b, x, "access, the first time").with(b, again, want), nil
		}
		if i == 0 {
			shown = shown.with(b, again, want)
		}
	}
	return shown, nil
}

// inParallel hands one response in in all sessions at once.
func inParallel(ctx context.Context, b *bench, sessions []*session, f forged) (verdict, error) {
	var mu sync.Mutex
	var running sync.WaitGroup
	var last sent
	var trouble error
	granted := 0
	ready := make(chan struct{})
	b.client.inBurst(true)
	defer b.client.inBurst(false)
	for i, s := range sessions {
		running.Go(func() {
			<-ready
			yes, x, err := b.submit(ctx, handing{session: s, forged: f, ideal: i == 0})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				trouble = err
			case yes:
				granted++
			}
			if err == nil && (yes || last.request == nil) {
				last = x
			}
		})
	}
	close(ready)
	running.Wait()
	const want = "one that is granted, at most"
	switch {
	case granted > 1:
		return failed(fmt.Sprintf("%d of %d parallel posts of one response were granted", granted, len(sessions))).with(b, last, want), nil
	case trouble != nil:
		return verdict{}, trouble
	case granted == 0:
		return verdict{}, interruptedf("none of %d parallel posts of an honest response was granted", len(sessions))
	}
	return passed(fmt.Sprintf("%d of %d was granted", granted, len(sessions))).with(b, last, want), nil
}

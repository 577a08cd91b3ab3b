package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/sandbox"
)

// robustnessProbes are about what a server does with what it should not have got, and what it tells of itself.
func robustnessProbes() []Probe {
	survives := func(id, title, titlePT string, severity finding.Severity, forge forging) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 0, Severity: severity, grants: true,
			run: func(ctx context.Context, b *bench) (verdict, error) { return staysUp(ctx, b, forge) }}
	}
	return []Probe{
		survives("malformed", "A malformed response is refused, and breaks nothing", "Resposta malformada é recusada e não quebra nada", finding.Medium,
			func(b *bench, _, _ *user) []forged {
				var all []forged
				for _, s := range []string{".", "..", "...", "a.b.c", "undefined", "eyJ.eyJ.sig", "%00", "\u0000\u0001", "💥.💥.💥", strings.Repeat(".", 2000), "{\"alg\":\"HS256\"}"} {
					all = append(all, forged{fmt.Sprintf("%.20q", s), s})
				}
				return all
			}),
		survives("oversize", "A response of a megabyte breaks nothing", "Resposta de um megabyte não quebra nada", finding.Medium,
			func(*bench, *user, *user) []forged {
				return []forged{{"a megabyte, signed by nobody", b64(goodHeader) + "." + strings.Repeat("A", 1<<20) + "." + b64("signature")}}
			}),
		survives("deep-nesting", "A payload of a hundred thousand levels breaks nothing", "Payload com cem mil níveis de aninhamento não quebra nada", finding.Medium,
			func(b *bench, actor, _ *user) []forged {
				deep := strings.Repeat(`[`, 100_000) + strings.Repeat(`]`, 100_000)
				p := b.honestPayload(actor).raw("selo_check", jsontext.Value(deep))
				return []forged{{"a hundred thousand levels, signed by nobody", sandbox.Sign([]byte(sandbox.NewUUID()), []byte(goodHeader), p.encode())}}
			}),
		{
			ID: "response-type", Title: "A response that is not text is refused", TitlePT: "Resposta que não é texto é recusada",
			Topic: 0, Severity: finding.High, grants: true,
			run: responseType,
		}, {
			ID: "image-not-fetched", Title: "The server does not fetch imageUrl", TitlePT: "O servidor não busca a imageUrl",
			Topic: 0, Severity: finding.High, grants: true, when: atEnd,
			begin: func(ctx context.Context, b *bench) error {
				return plant(ctx, b, func(u *user) []forged {
					p := b.honestPayload(u).set("imageUrl", b.listener.at("image"))
					stranger := b.honestPayload(u).set("imageUrl", b.listener.at("image"))
					return []forged{b.signed("signed, with imageUrl of the checker", p), signedBy("signed by nobody, with imageUrl of the checker", []byte(sandbox.NewUUID()), stranger)}
				})
			},
			run: notFetched("image", "imageUrl"),
		}, {
			ID: "keys-not-fetched", Title: "The server does not fetch keys that a response names", TitlePT: "O servidor não busca chaves indicadas pela resposta",
			Topic: 0, Severity: finding.High, grants: true, when: atEnd,
			begin: func(ctx context.Context, b *bench) error {
				return plant(ctx, b, func(u *user) []forged {
					var all []forged
					for _, alg := range []string{"HS256", "RS256"} {
						header := `{"alg":"` + alg + `","typ":"JWT","kid":"1","jku":"` + b.listener.at("keys") + `","x5u":"` + b.listener.at("keys") + `"}`
						all = append(all, forged{"signed by nobody, with jku and x5u of the checker", sandbox.Sign([]byte(sandbox.NewUUID()), []byte(header), b.honestPayload(u).encode())})
					}
					return all
				})
			},
			run: notFetched("keys", "jku or x5u"),
		}, {
			ID: "no-stack-trace", Title: "No answer reveals how the server is built", TitlePT: "Nenhuma resposta revela detalhes internos do servidor",
			Topic: 0, Severity: finding.Medium, when: atEnd, Production: true,
			run: watched(func(w *watch) *sent { return w.traces }, finding.Fail, "an answer has a stack trace, or names of what the server is built of", "an error that says nothing of the server",
				"not in any answer"),
		}, {
			ID: "no-echo", Title: "Submitted responses are not echoed", TitlePT: "A resposta enviada não é devolvida ao cliente",
			Topic: 0, Severity: finding.Low, when: atEnd, grants: true,
			run: watched(func(w *watch) *sent { return w.echoes }, finding.Fail, "an answer has the response in it that was handed in", "an answer without it", "not in any answer"),
		}, {
			ID: "no-server-error", Title: "A bad response does not cause a server error", TitlePT: "Resposta inválida não causa erro do servidor (5xx)",
			Topic: 0, Severity: finding.Low, when: atEnd, grants: true,
			run: func(_ context.Context, b *bench) (verdict, error) {
				b.watch.mu.Lock()
				defer b.watch.mu.Unlock()
				if x := b.watch.serverError; x != nil {
					return failed(fmt.Sprintf("%d responses that were handed in were answered with a status of 500 and more", b.watch.serverErrs)).with(b, *x, "a status of 400 to 499"), nil
				}
				return passed("no status of 500 and more"), nil
			},
		}, {
			ID: "refusal-status", Title: "A refusal has an error status", TitlePT: "Uma recusa tem status de erro (4xx)",
			Topic: 0, Severity: finding.Medium, when: atEnd, grants: true,
			run: func(_ context.Context, b *bench) (verdict, error) {
				b.watch.mu.Lock()
				defer b.watch.mu.Unlock()
				if x := b.watch.lenient; x != nil {
					return warned(fmt.Sprintf("%d of %d refusals had a status below 300: a client that looks at the status alone lets them in", b.watch.lenients, b.watch.refusals)).
						with(b, *x, "a status of 400 to 499"), nil
				}
				if b.watch.refusals == 0 {
					return verdict{}, interruptedf("nothing was refused, so there is no refusal to look at")
				}
				return passed(fmt.Sprintf("%d refusals, none with a status below 300", b.watch.refusals)), nil
			},
		}}
}

// staysUp hands in what must neither be granted nor break anything. That no answer comes, or one of 500, is a refusal
// as long as the server goes on afterwards; no-server-error counts the latter.
func staysUp(ctx context.Context, b *bench, forge forging) (verdict, error) {
	actor, other := b.pair()
	const want = "a refusal, and a server that goes on"
	var shown verdict
	for i, f := range forge(b, actor, other) {
		s, err := b.open(ctx, actor)
		if err != nil {
			return verdict{}, err
		}
		yes, x, err := b.submit(ctx, handing{session: s, forged: f})
		switch {
		case err != nil && !errors.As(err, new(*noAnswerError)):
			return verdict{}, err
		case err == nil && yes:
			return failed("access was granted to a response that is "+f.label).with(b, x, want), nil
		}
		if i == 0 {
			shown = passed("refused, and the server goes on").with(b, x, want)
		}
		if err == nil {
			continue
		}
		if yes, _, err := b.honest(ctx, actor); ctx.Err() != nil {
			return verdict{}, ctx.Err()
		} else if err != nil || !yes {
			return failed("after a response that is "+f.label+" the server granted nothing any more").with(b, x, want), nil
		}
	}
	return shown, nil
}

// responseType puts other JSON in the place of the response.
func responseType(ctx context.Context, b *bench) (verdict, error) {
	whole := false // the response is a JSON value of its own, and not a part of a text
	treeTexts("", b.target.Submit.Request.JSON, func(_, text string) {
		whole = whole || placeholder.FindString(text) == text && uses(text, valueResponse)
	})
	if !whole {
		return notApplicable("responses are not handed in as a value of JSON"), nil
	}
	actor, _ := b.pair()
	const want = "a refusal, with a status of 400 to 499"
	var shown verdict
	honest := string(b.honestPayload(actor).encode())
	for _, value := range []string{`null`, `true`, `1`, `{}`, `[]`, `{"$ne":null}`, `[true]`, honest, `{"isAlive":true,"isMatch":true,"isAuthorized":true}`} {
		s, err := b.open(ctx, actor)
		if err != nil {
			return verdict{}, err
		}
		const here = "selo-check-response"
		yes, x, err := b.submit(ctx, handing{session: s, forged: forged{string(cut([]byte(value), 40)) + " in the place of a text", here}, edits: []edit{replaceJSON(here, jsontext.Value(value))}})
		switch {
		case errors.As(err, new(*noAnswerError)):
			if yes, _, err := b.honest(ctx, actor); err != nil || !yes {
				return failed("after a response that is no text the server granted nothing any more").with(b, x, want), nil
			}
			if shown.outcome == "" {
				shown = passed("refused, and the server goes on")
			}
			continue
		case err != nil:
			return verdict{}, err
		case yes:
			return failed("access was granted to a response that is no text").with(b, x, want), nil
		}
		if shown.outcome == "" {
			shown = passed("refused").with(b, x, want)
		}
	}
	return shown, nil
}

// plant hands in responses that name the checker's own listener.
func plant(ctx context.Context, b *bench, forge func(*user) []forged) error {
	if b.listener == nil {
		return nil
	}
	u, _ := b.pair()
	for i := range forge(u) {
		s, err := b.open(ctx, u)
		if err != nil {
			return err
		}
		if _, _, err := b.submit(ctx, handing{session: s, forged: forge(u)[i]}); err != nil {
			return err
		}
	}
	return nil
}

// notFetched looks, at the end, whether anybody came.
func notFetched(name, what string) func(context.Context, *bench) (verdict, error) {
	return func(_ context.Context, b *bench) (verdict, error) {
		if b.listener == nil {
			return notApplicable("describe callback to have it tried: where the server under test would reach this machine"), nil
		}
		if b.listener.was(name) {
			return failed("the server fetched a URL of the attacker's choice, from " + what + " of a response"), nil
		}
		return passed("nobody came for it"), nil
	}
}

// watched tells what was seen in all answers.
func watched(seen func(*watch) *sent, outcome finding.Outcome, bad, want, good string) func(context.Context, *bench) (verdict, error) {
	return func(_ context.Context, b *bench) (verdict, error) {
		b.watch.mu.Lock()
		defer b.watch.mu.Unlock()
		if x := seen(b.watch); x != nil {
			v := verdict{outcome: outcome, message: bad}
			return v.with(b, *x, want), nil
		}
		return passed(good), nil
	}
}

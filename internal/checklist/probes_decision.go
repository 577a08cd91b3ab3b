package checklist

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/sandbox"
)

// decisionProbes are those of topic 5 about what the provider decided.
func decisionProbes() []Probe {
	refused := func(id, title, titlePT string, severity finding.Severity, forge forging) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 5, Severity: severity, grants: true, run: refuses(forge)}
	}
	written := func(values ...jsontext.Value) forging {
		return eachDecision(func(field string, p payload) []labelled {
			var all []labelled
			for _, v := range values {
				all = append(all, labelled{fmt.Sprintf("signed, with %s written %s", field, v), p.raw(field, v)})
			}
			return all
		})
	}
	return []Probe{
		refused("decision-false", "A signed refusal is not an approval", "Uma negativa assinada não é aprovação", finding.Critical, written(jsontext.Value("false"))),
		refused("decision-missing", "A response without a decision is refused", "Resposta sem decisão é recusada", finding.Critical,
			eachDecision(func(field string, p payload) []labelled {
				return []labelled{{"signed, without " + field, p.del(field)}}
			})),
		refused("decision-null", "A null decision is refused", "Decisão nula é recusada", finding.High, written(jsontext.Value("null"))),
		refused("decision-string", "A decision written as text is refused", "Decisão em texto é recusada", finding.High,
			written(jsontext.Value(`"true"`), jsontext.Value(`"false"`), jsontext.Value(`"yes"`))),
		refused("decision-number", "A decision written as a number is refused", "Decisão numérica é recusada", finding.High,
			written(jsontext.Value("1"), jsontext.Value("-1"))),
		refused("decision-object", "A decision that is an object or a list is refused", "Decisão em objeto ou lista é recusada", finding.High,
			written(jsontext.Value("{}"), jsontext.Value("[true]"), jsontext.Value(`{"value":true}`))),
		refused("decision-case", "A decision whose name differs in case is refused", "Decisão com nome em outra caixa (maiúsculas/minúsculas) é recusada", finding.High,
			eachDecision(func(field string, p payload) []labelled {
				var all []labelled
				for _, name := range []string{strings.ToLower(field), strings.ToUpper(field), strings.ToUpper(field[:1]) + field[1:]} {
					all = append(all, labelled{"signed, with " + name + " for " + field, p.rename(field, name)},
						labelled{"signed, with " + field + " false and " + name + " true", p.set(field, false).last(name, true)})
				}
				return all
			})),
		refused("decision-unicode", "A decision whose name only looks alike is refused", "Decisão com nome apenas parecido (Unicode) é recusada", finding.Medium,
			eachDecision(func(field string, p payload) []labelled {
				alike := strings.Replace(field, "s", "ſ", 1) // folds to s
				return []labelled{
					{"signed, with " + alike + " for " + field, p.rename(field, alike)},
					{"signed, with " + field + " false and " + alike + " true", p.set(field, false).last(alike, true)},
				}
			})),
		refused("decision-twice", "A decision that is there twice is refused", "Decisão duplicada é recusada", finding.Medium,
			eachDecision(func(field string, p payload) []labelled {
				return []labelled{
					{"signed, with " + field + " false and then true", p.set(field, true).first(field, false)},
					{"signed, with " + field + " true and then false", p.set(field, false).first(field, true)},
				}
			})),
		{
			ID: "decision-from-request", Title: "A decision that the client sends does not count", TitlePT: "Decisão enviada pelo cliente não conta",
			Topic: 5, Severity: finding.Critical, grants: true,
			run: decisionFromRequest,
		},
		refused("decoded-payload", "A payload without its signature is refused", "Payload enviado sem a assinatura é recusado", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				p := string(b.honestPayload(actor).encode())
				return []forged{{"the payload alone, as JSON", p}, {"the payload alone, in base64url", b64(p)}}
			}),
		refused("other-product", "Another product's response is refused", "Resposta de outro produto é recusada", finding.High, otherProducts),
		{
			ID: "other-policy", Title: "A response of another policy is refused", TitlePT: "Resposta de outra política é recusada",
			Topic: 5, Severity: finding.High, grants: true,
			run: func(ctx context.Context, b *bench) (verdict, error) {
				if b.shape.Policy == "" {
					return notApplicable("this product has no policies"), nil
				}
				return refuses(func(b *bench, actor, _ *user) []forged {
					p := b.honestPayload(actor)
					return []forged{b.signed("signed, of another policy", p.set(b.shape.Policy, "selo-check-other")), b.signed("signed, of no policy", p.del(b.shape.Policy))}
				})(ctx, b)
			},
		},
		{
			ID: "token-as-response", Title: "A mobile token is not accepted as a response", TitlePT: "O token mobile não é aceito como resposta",
			Topic: 5, Severity: finding.Critical, grants: true,
			run: tokenAsResponse,
		},
		refused("person-missing", "A response that names nobody is refused", "Resposta que não identifica ninguém é recusada", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				p := b.honestPayload(actor)
				return []forged{b.signed("signed, without "+b.shape.Subject, p.del(b.shape.Subject)), b.signed("signed, with "+b.shape.Subject+" null", p.raw(b.shape.Subject, jsontext.Value("null"))),
					b.signed("signed, with "+b.shape.Subject+" empty", p.set(b.shape.Subject, ""))}
			}),
		refused("person-type", "A person that is not text is refused", "Identificação da pessoa que não é texto é recusada", finding.Medium,
			func(b *bench, actor, other *user) []forged {
				p := b.honestPayload(actor)
				return []forged{
					b.signed("signed, with "+b.shape.Subject+" a list of two people", p.set(b.shape.Subject, []string{other.cpf.Digits(), actor.cpf.Digits()})),
					b.signed("signed, with "+b.shape.Subject+" true", p.set(b.shape.Subject, true)),
					b.signed("signed, with "+b.shape.Subject+" an object", p.raw(b.shape.Subject, jsontext.Value("{}"))),
				}
			}),
		refused("person-twice", "A response that names two people is refused", "Resposta que identifica duas pessoas é recusada", finding.Medium,
			func(b *bench, actor, other *user) []forged {
				own, others := actor.cpf.Digits(), other.cpf.Digits()
				p := b.honestPayload(actor)
				upper := strings.ToUpper(b.shape.Subject[:1]) + b.shape.Subject[1:]
				return []forged{
					b.signed("signed, about another person and then about the user", p.first(b.shape.Subject, others)),
					b.signed("signed, about the user and then about another person", p.set(b.shape.Subject, others).first(b.shape.Subject, own)),
					b.signed("signed, about another person, with the user under "+upper, p.set(b.shape.Subject, others).last(upper, own)),
				}
			}),
		refused("id-missing", "A response without its id is refused", "Resposta sem identificador é recusada", finding.Medium,
			signedOnly("signed, without its id, so that nobody could see it used twice", func(b *bench, _ *user, p payload) payload { return p.del(b.shape.IDs[0]) })),
	}
}

// tokenAsResponse hands in what the app was given. With one secret in both directions its signature is good.
func tokenAsResponse(ctx context.Context, b *bench) (verdict, error) {
	u, _ := b.pair()
	s, err := b.open(ctx, u)
	if err != nil {
		return verdict{}, err
	}
	const want = "anything but access"
	yes, x, err := b.submit(ctx, handing{session: s, forged: forged{"the mobile token of this session", s.token}})
	switch {
	case err != nil:
		return verdict{}, err
	case yes:
		return failed("access was granted for the token that the app had been given").with(b, x, want), nil
	}
	return passed("refused").with(b, x, want), nil
}

// otherProducts are approvals by the provider's other products, under the same key.
func otherProducts(b *bench, actor, _ *user) []forged {
	digits, now := actor.cpf.Digits(), b.now().Unix()
	liveness := sandbox.FaceLivenessResponse{RequestID: sandbox.NewUUID(), IsAlive: true, Token: sandbox.NewUUID(), UserID: sandbox.NewUUID(), PersonID: digits, SDKVersion: "0.0.0-selo-check", IssuedAt: now}
	all := map[string]any{
		selo.CafFaceLiveness().Product:       liveness,
		selo.CafFaceAuthentication().Product: sandbox.FaceAuthenticationResponse{FaceLivenessResponse: liveness, IsMatch: true, Message: "the face matches"},
		selo.CafSmartAuth().Product: sandbox.SmartAuthAttestation{AttemptID: sandbox.NewUUID(), PeopleID: digits, PolicyID: "selo-check", IsAuthorized: true,
			IsNewContext: true, IssuedAt: now, Expires: now + 120},
	}
	var forgeries []forged
	for _, p := range selo.Profiles() {
		if v, ok := all[p.Product]; ok && p.Product != b.profile.Product {
			forgeries = append(forgeries, b.signed("signed, by "+p.Product, parsePayload(asJSON(v))))
		}
	}
	return forgeries
}

// decisionFromRequest hands in a signed no, with a yes beside it that only the client says.
func decisionFromRequest(ctx context.Context, b *bench) (verdict, error) {
	actor, _ := b.pair()
	s, err := b.open(ctx, actor)
	if err != nil {
		return verdict{}, err
	}
	p := b.honestPayload(actor)
	var edits []edit
	for _, field := range b.shape.Decision {
		p = p.set(field, false)
		edits = append(edits, addField(field, jsontext.Value("true"), true), addQuery(field, "true"))
	}
	for _, name := range []string{"approved", "granted", "authorized", "success", "valid", "verified"} {
		edits = append(edits, addField(name, jsontext.Value("true"), true))
	}
	const want = "anything but access"
	for i, with := range [][]edit{edits, edits[:2*len(b.shape.Decision)]} {
		yes, x, err := b.submit(ctx, handing{session: s, forged: b.signed("a signed no", p), edits: with})
		if err != nil {
			return verdict{}, err
		}
		if yes {
			return failed("a signed no was granted because the request said yes").with(b, x, want), nil
		}
		if i == 1 {
			return passed("refused").with(b, x, want), nil
		}
		if s, err = b.open(ctx, actor); err != nil {
			return verdict{}, err
		}
	}
	return passed("refused"), nil
}

// contentProbes are those of topic 5 about times and the form of the payload.
func contentProbes() []Probe {
	refused := func(id, title, titlePT string, severity finding.Severity, forge forging) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 5, Severity: severity, grants: true, run: refuses(forge)}
	}
	// times makes a response for each value of a claim.
	times := func(claim string, all ...any) forging {
		return func(b *bench, actor, _ *user) []forged {
			var forgeries []forged
			for _, v := range all {
				f := b.signed(fmt.Sprintf("signed, with %s %s", claim, asJSON(v)), b.honestPayload(actor).set(claim, v))
				forgeries = append(forgeries, f)
			}
			return forgeries
		}
	}
	return []Probe{
		refused("stale", "An old response is refused", "Resposta antiga é recusada", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				old := b.responseAge + 60e9
				return []forged{
					b.signed("signed "+inWords(old)+" ago", b.payloadAt(actor, b.now().Add(-old))),
					b.signed("signed a day ago", b.payloadAt(actor, b.now().Add(-24*3600e9))),
				}
			}),
		{
			ID: "older-than-session", Title: "A response from before the session is refused", TitlePT: "Resposta anterior à sessão é recusada",
			Topic: 5, Severity: finding.Medium, grants: true,
			run: betterRefuses(func(b *bench, actor, _ *user) []forged {
				return []forged{b.signed("signed two minutes before the token was asked for", b.payloadAt(actor, b.now().Add(-120e9)))}
			}),
		},
		refused("future", "A response dated in the future is refused", "Resposta com data futura é recusada", finding.High,
			func(b *bench, actor, _ *user) []forged {
				return []forged{
					b.signed("signed ten minutes from now", b.payloadAt(actor, b.now().Add(600e9))),
					b.signed("signed an hour from now", b.payloadAt(actor, b.now().Add(3600e9))),
					b.signed("signed in ten years", b.payloadAt(actor, b.now().Add(10*365*24*3600e9))),
				}
			}),
		refused("iat-missing", "A response without its time of issue is refused", "Resposta sem data de emissão é recusada", finding.High,
			signedOnly("signed, without iat", func(_ *bench, _ *user, p payload) payload { return p.del("iat") })),
		refused("iat-odd", "An invalid time of issue is refused", "Data de emissão inválida é recusada", finding.Medium,
			func(b *bench, actor, other *user) []forged {
				now := b.now().Unix()
				return times("iat", nil, fmt.Sprint(now), "now", true, -1, 0, now*1000, []int64{now}, jsontext.Value("1e300"))(b, actor, other)
			}),
		refused("exp-past", "A response whose exp has passed is refused", "Resposta com exp vencido é recusada", finding.High,
			func(b *bench, actor, other *user) []forged { return times("exp", b.now().Unix()-600)(b, actor, other) }),
		refused("exp-odd", "An invalid exp is refused", "Um exp inválido é recusado", finding.Low,
			times("exp", nil, "never", true, -1, 0, []int{})),
		refused("nbf-future", "A response whose nbf lies ahead is refused", "Resposta com nbf no futuro é recusada", finding.Medium,
			func(b *bench, actor, other *user) []forged { return times("nbf", b.now().Unix()+3600)(b, actor, other) }),
		refused("payload-form", "A payload that is not one JSON object is refused", "Payload que não é um único objeto JSON é recusado", finding.Medium,
			func(b *bench, actor, _ *user) []forged {
				p := string(b.honestPayload(actor).encode())
				raw := func(label, text string) forged {
					return forged{label, sandbox.Sign(b.key.secret, []byte(goodHeader), []byte(text))}
				}
				return []forged{
					raw("signed, with a list as payload", "["+p+"]"), raw("signed, with something after its payload", p+"{}"),
					raw("signed, with a byte order mark", "\ufeff"+p), raw("signed, with true as payload", "true"),
					raw("signed, with its payload as a JSON text", string(asText(p))),
				}
			}),
	}
}

package checklist

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo/internal/finding"
)

// The names under which servers take a CPF from whoever asks.
var (
	cpfFields  = []string{"cpf", "peopleId", "personId", "person_id", "people_id", "document", "taxId"}
	cpfHeaders = []string{"X-CPF", "X-User-CPF", "X-People-Id", "X-Person-Id", "X-Document"}
)

// way is one manner of asking for another's token.
type way struct {
	name   string
	values values
	edits  []edit
}

// personProbes are those of topic 2.
func personProbes() []Probe {
	asks := func(id, title, titlePT string, severity finding.Severity, ways func(b *bench, actor, other *user) []way) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 2, Severity: severity,
			run: func(ctx context.Context, b *bench) (verdict, error) { return asksForAnother(ctx, b, ways) }}
	}
	return []Probe{{
		ID: "token-cpf", Title: "A token is for its user's CPF", TitlePT: "O token é emitido para o CPF do próprio usuário",
		Topic: 2, Severity: finding.Critical,
		run: tokenCPF,
	},
		asks("cpf-from-body", "A CPF in the body does not give a token for somebody else", "Um CPF no corpo da requisição não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var ways []way
				if b.tokenStepsUse("json", valueCPF) || b.tokenStepsUse("form", valueCPF) || b.tokenStepsUse("multipart", valueCPF) || b.tokenStepsUse("raw", valueCPF) {
					ways = append(ways, way{"the CPF of the request itself", values{valueCPF: other.values[valueCPF]}, nil})
				}
				var all []edit
				for i, name := range cpfFields {
					e := addField(name, asText(other.cpf.Digits()), false)
					all = append(all, e)
					if i < 3 {
						ways = append(ways, way{name, nil, []edit{e}})
					}
				}
				person := jsontext.Value(`{"cpf":"` + other.cpf.Digits() + `"}`)
				return append(ways, way{"every usual name at once", nil, all},
					way{"person.cpf", nil, []edit{addField("person", person, false)}})
			}),
		asks("cpf-masked", "A CPF in another spelling does not give a token for somebody else", "Um CPF em outro formato não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var ways []way
				spaced := " " + other.cpf.Digits() + " "
				if b.tokenStepsUse("", valueCPF) {
					ways = append(ways, way{"a masked CPF in the place of the request's own", values{valueCPF: masked(other.cpf)}, nil},
						way{"a CPF between spaces in its place", values{valueCPF: spaced}, nil})
				}
				return append(ways, way{"cpf, masked", nil, []edit{addField("cpf", asText(masked(other.cpf)), false)}},
					way{"cpf, as a number", nil, []edit{addField("cpf", jsontext.Value(strings.TrimLeft(other.cpf.Digits(), "0")), false)}})
			}),
		asks("cpf-twice", "A CPF sent twice does not give a token for somebody else", "Um CPF enviado em duplicidade não gera token para outra pessoa", finding.High,
			func(b *bench, actor, other *user) []way {
				var ways []way
				for _, name := range cpfFields[:3] {
					own, others := asText(actor.cpf.Digits()), asText(other.cpf.Digits())
					ways = append(ways,
						way{name + " twice, the other's last", nil, []edit{addField(name, own, false), addField(name, others, false)}},
						way{name + " twice, the other's first", nil, []edit{addField(name, own, true), addField(name, others, true)}})
				}
				return append(ways, way{"cpf as a list", nil, []edit{addField("cpf", jsontext.Value(`["`+other.cpf.Digits()+`","`+actor.cpf.Digits()+`"]`), false)}})
			}),
		asks("cpf-from-query", "A CPF in the query does not give a token for somebody else", "Um CPF na query string não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var ways []way
				var all []edit
				for _, name := range cpfFields {
					all = append(all, addQuery(name, other.cpf.Digits()))
				}
				return append(ways, way{"every usual name in the query", nil, all})
			}),
		asks("cpf-from-header", "A CPF in a header does not give a token for somebody else", "Um CPF em cabeçalho não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var all []edit
				for _, name := range cpfHeaders {
					all = append(all, setHeader(name, other.cpf.Digits()))
				}
				return []way{{"headers", nil, all}}
			}),
		asks("cpf-from-path", "A CPF in the path does not give a token for somebody else", "Um CPF no caminho da URL não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				if b.tokenStepsUse("url", valueCPF) {
					return []way{{"the other's CPF in the URL", values{valueCPF: other.values[valueCPF]}, nil}}
				}
				return []way{{"the other's CPF at the end of the path", nil, []edit{func(r *request) { r.url = r.url.JoinPath(other.cpf.Digits()) }}}}
			}),
		asks("user-from-request", "Naming another user does not give that user's token", "Indicar outro usuário na requisição não gera o token dele", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var ways []way
				mine := values{}
				for name, value := range other.values {
					if b.tokenStepsUse("", name) && value != actor.values[name] {
						mine[name] = value
					}
				}
				if len(mine) > 0 {
					ways = append(ways, way{"the other's values in the request, with the own credential", mine, nil})
				}
				var inBody, inHeaders []edit
				for _, name := range []string{"user", "userId", "user_id", "username", "sub", "subject", "email", "customerId"} {
					inBody = append(inBody, addField(name, asText(other.name), false))
				}
				for _, name := range identityHeaders {
					inHeaders = append(inHeaders, setHeader(name, other.name))
				}
				return append(ways, way{"the other's name in the body", nil, inBody}, way{"the other's name in headers", nil, inHeaders})
			}),
		{
			ID: "response-other-person", Title: "A response about another person is refused", TitlePT: "Resposta sobre outra pessoa é recusada",
			Topic: 2, Severity: finding.Critical, grants: true,
			run: refuses(func(b *bench, _, other *user) []forged {
				return []forged{b.signed("about another person's CPF, properly signed", b.honestPayload(other))}
			}),
		}, {
			ID: "session-other-user", Title: "A response is refused in another user's session", TitlePT: "Resposta entregue na sessão de outro usuário é recusada",
			Topic: 2, Severity: finding.Critical, grants: true,
			run: sessionOtherUser,
		}}
}

// tokenStepsUse reports whether a value stands in a part of the requests for a token.
func (b *bench) tokenStepsUse(part, name string) bool {
	for i := range b.target.Token {
		if b.target.Token[i].usesIn(part, name) {
			return true
		}
	}
	return false
}

// asksForAnother asks for a token as one user in ways that would make it another's. Where the token does not say whose it
// is, a response about the other must not be granted with it.
func asksForAnother(ctx context.Context, b *bench, ways func(b *bench, actor, other *user) []way) (verdict, error) {
	actor, other := b.pair()
	const want = "no token, or one for the CPF of the user whose credential it is"
	var shown verdict
	for _, w := range ways(b, actor, other) {
		s, err := b.ask(ctx, asking{user: actor, values: w.values, edits: w.edits})
		if err != nil {
			return verdict{}, err
		}
		shown = passed("asking for another's CPF does not get it").with(b, s.last, want)
		if s.token == "" {
			continue
		}
		switch whose := b.cpfOf(s.token); whose {
		case actor.name:
		case "":
			if b.target.Submit.Request.URL == "" {
				continue
			}
			yes, x, err := b.submit(ctx, handing{session: s, forged: b.signed("about the other user", b.honestPayload(other))})
			if err != nil {
				return verdict{}, err
			}
			if yes {
				return failed("asking with another's CPF ("+w.name+") gave a session in which a response about that person was granted").
					with(b, s.last, want).with(b, x, "anything but access"), nil
			}
		case other.name:
			return failed("one user got a token for another's CPF, by "+w.name).with(b, s.last, want), nil
		default:
			return failed("the user got a token for a CPF that is neither's, by "+w.name).with(b, s.last, want), nil
		}
	}
	return shown, nil
}

// tokenCPF wants the CPF in the token under the name that the product has for it. Without one the flow may still bind the
// session to the person on the server, which shows when another's response is refused.
func tokenCPF(ctx context.Context, b *bench) (verdict, error) {
	if b.client.dry {
		return passed(""), nil
	}
	claim := b.profile.TokenSubject
	want := "the user's CPF as " + claim
	for _, s := range []*session{b.early.first, b.early.second} {
		t := readJWT(s.token)
		switch whose := b.cpfOf(s.token); {
		case !b.target.Exchanged && t != nil && whose == s.user.name:
			if face := s.values[valueFaceToken]; face != "" && b.cpfOf(face) != s.user.name {
				return failed("the face token does not carry the user's CPF").with(b, s.last, "the user's CPF in both tokens"), nil
			}
			if t.text(claim) == "" {
				return failed("the CPF is in the token, and not as "+claim+", where the SDK looks for it").with(b, s.last, want), nil
			}
		case whose != "" && whose != s.user.name:
			return failed("the token is for somebody else's CPF").with(b, s.last, want), nil
		default:
			s, err := b.open(ctx, s.user)
			if err != nil {
				return verdict{}, err
			}
			other := b.users[0]
			if other == s.user {
				other = b.users[1]
			}
			yes, x, err := b.submit(ctx, handing{session: s, forged: b.signed("about another person", b.honestPayload(other))})
			if err != nil {
				return verdict{}, err
			}
			if yes {
				return failed("the token names no CPF, and a response about another person was granted with it").
					with(b, s.last, want).with(b, x, "anything but access"), nil
			}
			if !b.target.Exchanged {
				return warned("the token names no CPF, so the app chooses for whom the SDK runs; the server binds the session to the person itself").with(b, s.last, want), nil
			}
		}
	}
	if b.target.Exchanged {
		return passed("the provider's token names no CPF, and the server binds the session to the person itself").with(b, b.early.first.last, want), nil
	}
	return passed("it is there, as "+claim).with(b, b.early.first.last, want), nil
}

func sessionOtherUser(ctx context.Context, b *bench) (verdict, error) {
	actor, other := b.pair()
	credential, err := b.credentialOf(ctx, other)
	if err != nil {
		return verdict{}, err
	}
	s, err := b.open(ctx, actor)
	if err != nil {
		return verdict{}, err
	}
	f := b.signed("honest, about the user whose session it is", b.honestPayload(actor))
	yes, x, err := b.submit(ctx, handing{session: s, forged: f, as: values{valueCredential: credential}})
	if err != nil {
		return verdict{}, err
	}
	want := fmt.Sprintf("anything but access: the session is %s's, and the credential %s's", actor.name, other.name)
	if yes {
		return failed("another user's credential was granted access by the first one's response").with(b, x, want), nil
	}
	return passed("refused").with(b, x, want), nil
}

package checklist

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/finding"
)

// The names under which servers take a CPF from whoever asks.
var (
	cpfFields  = []string{"cpf", "peopleId", "personId", "person_id", "people_id", "document", "taxId", "documento", "numeroCpf", "numero_cpf", "cpfCliente", "cpf_cliente"}
	cpfHeaders = []string{"X-CPF", "X-User-CPF", "X-People-Id", "X-Person-Id", "X-Document", "X-Documento"}
	userFields = []string{"user", "userId", "user_id", "username", "sub", "subject", "email", "customerId", "usuario", "cliente", "idUsuario", "id_usuario", "matricula"}
)

// way is one manner of asking for another's token.
type way struct {
	name    string
	values  values
	edits   []edit
	stepsOf *user // who did the steps before the last one; nil for whoever asks
}

// bodyWays are the ways that asBody makes of one.
func (b *bench) bodyWays(name string, edits []edit) []way {
	var ways []way
	last := &b.target.Token[len(b.target.Token)-1]
	if _, list := last.JSON.([]any); list || last.Raw != "" {
		return nil
	}
	for i, edits := range b.asBody(edits) {
		ways = append(ways, way{name + []string{"", ", in a form"}[i], nil, edits, nil})
	}
	return ways
}

// beside returns a target's own names and the usual ones that are not among them: strict servers refuse a name that is
// there twice, and then nothing would be found out of any of them.
func beside(own, usual []string) []string {
	all := slices.Clone(own)
	for _, name := range usual {
		if !slices.Contains(own, name) {
			all = append(all, name)
		}
	}
	return all
}

// personProbes are those of topic 2.
func personProbes() []Probe {
	asks := func(id, title, titlePT string, severity finding.Severity, ways func(b *bench, actor, other *user) []way) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 2, Severity: severity, doors: true,
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
					ways = append(ways, way{"the CPF of the request itself", values{valueCPF: other.values[valueCPF]}, nil, nil})
				}
				var all []edit
				for i, name := range beside(b.ownNames(valueCPF), cpfFields) {
					e := addField(name, asText(other.cpf.Digits()), false)
					all = append(all, e)
					more := b.bodyWays(name, []edit{e}) // alone, for servers that refuse what they do not know
					if i >= 3 && len(more) > 1 {
						more = more[:1]
					}
					ways = append(ways, more...)
				}
				person := jsontext.Value(`{"cpf":"` + other.cpf.Digits() + `"}`)
				ways = append(ways, b.bodyWays("every usual name at once", all)...)
				return append(ways, b.bodyWays("person.cpf", []edit{addField("person", person, false)})...)
			}),
		asks("cpf-masked", "A CPF in another spelling does not give a token for somebody else", "Um CPF em outro formato não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var ways []way
				spaced := " " + other.cpf.Digits() + " "
				if b.tokenStepsUse("", valueCPF) {
					ways = append(ways, way{"a masked CPF in the place of the request's own", values{valueCPF: masked(other.cpf)}, nil, nil},
						way{"a CPF between spaces in its place", values{valueCPF: spaced}, nil, nil})
				}
				ways = append(ways, b.bodyWays("a masked cpf", []edit{addField("cpf", asText(masked(other.cpf)), false)})...)
				return append(ways, b.bodyWays("cpf, as a number", []edit{addField("cpf", jsontext.Value(strings.TrimLeft(other.cpf.Digits(), "0")), false)})...)
			}),
		asks("cpf-twice", "A CPF sent twice does not give a token for somebody else", "Um CPF enviado em duplicidade não gera token para outra pessoa", finding.High,
			func(b *bench, actor, other *user) []way {
				var ways []way
				for _, name := range cpfFields[:3] {
					own, others := asText(actor.cpf.Digits()), asText(other.cpf.Digits())
					ways = append(ways, b.bodyWays(name+" twice, the other's last", []edit{addField(name, own, false), addField(name, others, false)})...)
					ways = append(ways, b.bodyWays(name+" twice, the other's first", []edit{addField(name, own, true), addField(name, others, true)})...)
				}
				return append(ways, b.bodyWays("cpf as a list", []edit{addField("cpf", jsontext.Value(`["`+other.cpf.Digits()+`","`+actor.cpf.Digits()+`"]`), false)})...)
			}),
		asks("cpf-from-query", "A CPF in the query does not give a token for somebody else", "Um CPF na query string não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var ways []way
				var all []edit
				for _, name := range cpfFields {
					all = append(all, addQuery(name, other.cpf.Digits()))
				}
				return append(ways, way{"every usual name in the query", nil, all, nil})
			}),
		asks("cpf-from-header", "A CPF in a header does not give a token for somebody else", "Um CPF em cabeçalho não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				var all []edit
				for _, name := range cpfHeaders {
					all = append(all, setHeader(name, other.cpf.Digits()))
				}
				return []way{{"headers", nil, all, nil}}
			}),
		asks("cpf-from-path", "A CPF in the path does not give a token for somebody else", "Um CPF no caminho da URL não gera token para outra pessoa", finding.Critical,
			func(b *bench, actor, other *user) []way {
				if b.tokenStepsUse("url", valueCPF) {
					return []way{{"the other's CPF in the URL", values{valueCPF: other.values[valueCPF]}, nil, nil}}
				}
				return []way{{"the other's CPF at the end of the path", nil, []edit{func(r *request) { r.url = r.url.JoinPath(other.cpf.Digits()) }}, nil}}
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
					ways = append(ways, way{"the other's values in the request, with the own credential", mine, nil, nil})
				}
				var inBody, inHeaders []edit
				own := b.ownNames(valueUser)
				all := beside(own, userFields)
				for _, name := range all {
					inBody = append(inBody, addField(name, asText(other.name), false))
				}
				for _, name := range identityHeaders {
					inHeaders = append(inHeaders, setHeader(name, other.name))
				}
				for i, name := range all {
					more := b.bodyWays("the other's name as "+name, inBody[i:i+1])
					if i >= len(own) && len(more) > 1 {
						more = more[:1]
					}
					ways = append(ways, more...)
				}
				ways = append(ways, b.bodyWays("the other's name in the body", inBody)...)
				if len(b.target.Token) > 1 {
					ways = append(ways, way{"what the other's first requests led to", nil, nil, other})
				}
				return append(ways, way{"the other's name in headers", nil, inHeaders, nil})
			}),
		{
			ID: "response-other-person", Title: "A response about another person is refused", TitlePT: "Resposta sobre outra pessoa é recusada",
			Topic: 2, Severity: finding.Critical, grants: true,
			run: refuses(func(b *bench, actor, other *user) []forged {
				all := []forged{b.signed("about another person's CPF, properly signed", b.honestPayload(other))}
				for i, near := range alike(actor.cpf) {
					all = append(all, b.signed("about a CPF "+[]string{"with the same first eight digits", "with the same last four digits", "with the same digits in the middle"}[i],
						b.honestPayload(actor).set(b.shape.Subject, near.Digits())))
				}
				return all
			}),
		}, {
			ID: "cpf-in-submit", Title: "Whose response it is does not come from the client", TitlePT: "O cliente não diz de quem é a resposta",
			Topic: 2, Severity: finding.Critical, grants: true,
			run: cpfInSubmit,
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
	shown := notApplicable("the request for the token has a body of a kind into which nothing can be put")
	for _, w := range ways(b, actor, other) {
		s, err := b.ask(ctx, asking{user: actor, values: w.values, edits: w.edits, late: w.stepsOf != nil, stepsOf: w.stepsOf})
		if err != nil {
			return verdict{}, err
		}
		shown = passed("asking for another's CPF does not get it").with(b, s.last, want)
		if s.token == "" {
			if err := s.last.broken(); err != nil {
				return verdict{}, err
			}
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

// cpfInSubmit hands in a response about another person and says in the same request that this is who it is about.
func cpfInSubmit(ctx context.Context, b *bench) (verdict, error) {
	actor, other := b.pair()
	var inBody, inQuery, inHeaders []edit
	for _, name := range beside(b.ownNames(valueCPF), cpfFields) {
		inBody = append(inBody, addField(name, asText(other.cpf.Digits()), true))
		inQuery = append(inQuery, addQuery(name, other.cpf.Digits()))
	}
	for _, name := range cpfHeaders {
		inHeaders = append(inHeaders, setHeader(name, other.cpf.Digits()))
	}
	theirs := values{}
	for name, value := range other.values {
		if b.target.Submit.Request.usesIn("", name) {
			theirs[name] = value
		}
	}
	tries := []handing{{edits: inQuery}, {edits: inHeaders}, {edits: inBody}}
	for i := range 4 {
		tries = append(tries, handing{edits: inBody[i : i+1]})
	}
	if len(theirs) > 0 {
		tries = append(tries, handing{as: theirs})
	}
	const want = "anything but access"
	var shown verdict
	for i, h := range append([]handing{{}}, tries...) {
		s, err := b.open(ctx, actor)
		if err != nil {
			return verdict{}, err
		}
		h.session, h.forged = s, b.signed("about another person, whose CPF stands beside it", b.honestPayload(other))
		yes, x, err := b.submit(ctx, h)
		if err != nil {
			return verdict{}, err
		}
		if yes && i == 0 {
			return notApplicable("such a response is granted whatever stands beside it, which response-other-person says"), nil
		}
		if yes {
			return failed("a response about another person was granted because the request named that person").with(b, x, want), nil
		}
		shown = passed("refused").with(b, x, want)
	}
	return shown, nil
}

func sessionOtherUser(ctx context.Context, b *bench) (verdict, error) {
	actor, other := b.pair()
	if _, err := b.credentialOf(ctx, other); err != nil {
		return verdict{}, err
	}
	as := b.signedInAs(other)
	s, err := b.open(ctx, actor)
	if err != nil {
		return verdict{}, err
	}
	f := b.signed("honest, about the user whose session it is", b.honestPayload(actor))
	yes, x, err := b.submit(ctx, handing{session: s, forged: f, as: as})
	if err != nil {
		return verdict{}, err
	}
	want := fmt.Sprintf("anything but access: the session is %s's, and the credential %s's", actor.name, other.name)
	if yes {
		return failed("another user's credential was granted access by the first one's response").with(b, x, want), nil
	}
	shown := passed("refused").with(b, x, want)
	var named []edit
	for _, h := range identityHeaders {
		named = append(named, setHeader(h, actor.name))
	}
	if s, err = b.open(ctx, actor); err != nil {
		return verdict{}, err
	}
	f = b.signed("honest, about the user whose session it is", b.honestPayload(actor))
	if yes, x, err = b.submit(ctx, handing{session: s, forged: f, as: as, edits: named}); err != nil {
		return verdict{}, err
	}
	if yes {
		return failed("another user's credential, with headers that name the first one, was granted access by that one's response").with(b, x, want), nil
	}
	if !b.submitsSession() {
		return shown, nil
	}
	if s, err = b.open(ctx, actor); err != nil {
		return verdict{}, err
	}
	f = b.signed("honest, about the user whose credential it is", b.honestPayload(other))
	yes, x, err = b.submit(ctx, handing{session: s, forged: f, as: as})
	if err != nil {
		return verdict{}, err
	}
	if yes {
		return failed("one user's response was granted in the session of another").with(b, x, want), nil
	}
	return shown, nil
}

// signedInAs are all values that signing a user in led to.
func (b *bench) signedInAs(u *user) values {
	as := values{valueCredential: u.credential}
	for i := range b.target.Login {
		for name := range b.target.Login[i].Take {
			if name != valueCredential {
				as[name] = u.values[name]
			}
		}
	}
	return as
}

// submitsSession reports whether handing in a response says for which session, by a value that the requests for the token took.
func (b *bench) submitsSession() bool {
	for i := range b.target.Token {
		for name := range b.target.Token[i].Take {
			if b.target.Submit.Request.usesIn("", name) {
				return true
			}
		}
	}
	return false
}

// alike are valid CPFs that are another person's and agree with one in what people leave readable of it: the first eight digits,
// the last four, the middle six.
func alike(cpf selo.CPF) []selo.CPF {
	d := cpf.Digits()
	var found []selo.CPF
	add := func(keeps func(string) bool, make func(n int) string) {
		for n := range 100_000 {
			nine := make(n)
			other, err := selo.ParseCPF(nine + checkDigits(nine))
			if err == nil && other != cpf && keeps(other.Digits()) {
				found = append(found, other)
				return
			}
		}
	}
	add(func(o string) bool { return o[:8] == d[:8] }, func(n int) string { return d[:8] + fmt.Sprint(n%10) })
	add(func(o string) bool { return o[7:] == d[7:] }, func(n int) string { return fmt.Sprintf("%07d", n*37+1000000)[:7] + d[7:9] })
	add(func(o string) bool { return o[3:9] == d[3:9] }, func(n int) string { return fmt.Sprintf("%03d", n%1000) + d[3:9] })
	return found
}

// checkDigits are the last two digits of a CPF whose first nine are these.
func checkDigits(nine string) string {
	for n := range 100 {
		if _, err := selo.ParseCPF(fmt.Sprintf("%s%02d", nine, n)); err == nil {
			return fmt.Sprintf("%02d", n)
		}
	}
	return "00"
}

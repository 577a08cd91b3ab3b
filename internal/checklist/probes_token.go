package checklist

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/finding"
)

// early is what was done at the start.
type early struct {
	first, second *session // of the first two users
	used          *forged  // a response that was granted to the first
}

// later is how long two calls are apart of which the second must give a later exp.
const later = 2100 * time.Millisecond

// tokenProbes are those of topic 1.
func tokenProbes() []Probe {
	return []Probe{{
		ID: "token-per-user", Title: "Two users get two tokens", TitlePT: "Dois usuários recebem tokens diferentes",
		Topic: 1, Severity: finding.Critical, Production: true,
		run: func(ctx context.Context, b *bench) (verdict, error) {
			if b.early.first.token == b.early.second.token && !b.client.dry { // of one second, without a CPF?
				if err := until(ctx, b.early.second.at.Add(1100*time.Millisecond)); err != nil {
					return verdict{}, err
				}
				again, err := b.open(ctx, b.early.second.user)
				if err != nil {
					return verdict{}, err
				}
				b.early.second = again
			}
			if b.early.first.token == b.early.second.token {
				return failed("both users got the same token").with(b, b.early.second.last, "another token than the first user's"), nil
			}
			return passed("the tokens differ").with(b, b.early.second.last, "another token than the first user's"), nil
		},
	}, {
		ID: "token-per-call", Title: "Every call gives a new token", TitlePT: "Cada chamada gera um token novo",
		Topic: 1, Severity: finding.High, Production: true, when: atEnd,
		run: perCall,
	}, {
		ID: "token-key", Title: "Tokens are signed with the right access key", TitlePT: "Os tokens são assinados com a chave de acesso correta",
		Topic: 1, Severity: finding.High,
		run: tokenKey,
	}, {
		ID: "token-claims", Title: "Tokens hold no claim that the provider does not ask for", TitlePT: "Os tokens não têm claims além das que o provedor pede",
		Topic: 1, Severity: finding.Low, Production: true,
		run: tokenClaims,
	}, {
		ID: "token-claims-from-client", Title: "No claim that the client sends gets into a token", TitlePT: "Nenhuma claim enviada pelo cliente entra no token",
		Topic: 1, Severity: finding.Critical, doors: true,
		run: claimsFromClient,
	}, {
		ID: "token-no-store", Title: "Answers with tokens may not be cached", TitlePT: "Respostas com tokens não podem ser armazenadas em cache",
		Topic: 1, Severity: finding.Medium, Production: true,
		run: func(_ context.Context, b *bench) (verdict, error) {
			x := b.early.first.last
			const want = "Cache-Control: no-store"
			if x.answer.ideal == nil && !strings.Contains(strings.ToLower(strings.Join(x.answer.header.Values("Cache-Control"), ",")), "no-store") {
				return failed("the answer with the token may be stored by caches on its way").with(b, x, want), nil
			}
			return passed("Cache-Control forbids it").with(b, x, want), nil
		},
	}, {
		ID: "token-not-in-url", Title: "Tokens and credentials are not in URLs", TitlePT: "Tokens e credenciais não aparecem em URLs",
		Topic: 1, Severity: finding.Medium, Production: true, when: atEnd,
		run: tokenNotInURL,
	}, {
		ID: "secret-not-disclosed", Title: "No answer holds the client secret", TitlePT: "Nenhuma resposta contém o client secret",
		Topic: 1, Severity: finding.Critical, when: atEnd,
		run: func(_ context.Context, b *bench) (verdict, error) {
			b.watch.mu.Lock()
			defer b.watch.mu.Unlock()
			for name, x := range b.watch.disclosed {
				return failed("the client secret stands in an answer, "+name).with(b, x, "no answer with the client secret in it"), nil
			}
			return passed(fmt.Sprintf("not in %d answers, in any of %d encodings", b.watch.answers, len(encodings(make([]byte, 16))))), nil
		},
	}}
}

func perCall(ctx context.Context, b *bench) (verdict, error) {
	if !b.client.dry {
		if err := until(ctx, b.early.first.at.Add(later)); err != nil {
			return verdict{}, err
		}
	}
	now, err := b.open(ctx, b.early.first.user)
	if err != nil {
		return verdict{}, err
	}
	const want = "another token than two seconds before, with a later exp"
	before, _ := expOf(b.early.first.token)
	after, there := expOf(now.token)
	switch {
	case b.client.dry:
		return passed(""), nil
	case now.token == b.early.first.token:
		return failed("a call two seconds later got the same token").with(b, now.last, want), nil
	case there && after <= before:
		return failed("a call two seconds later got a token that does not expire later").with(b, now.last, want), nil
	}
	return passed("two calls got two tokens").with(b, now.last, want), nil
}

// expOf returns the exp of a token, when it has one that is a number.
func expOf(token string) (exp float64, there bool) {
	t := readJWT(token)
	if t == nil {
		return 0, false
	}
	return t.exp()
}

func (t *jwt) exp() (exp float64, there bool) {
	v := t.value("exp")
	if v.Kind() != '0' {
		return 0, false
	}
	exp, err := strconv.ParseFloat(string(v), 64)
	return exp, err == nil
}

func tokenKey(_ context.Context, b *bench) (verdict, error) {
	s := b.early.first
	if b.client.dry {
		return passed(""), nil
	}
	if b.target.Exchanged {
		if signedUnder(s.token, b.key.secret) {
			return failed("the app got the token that is signed with the client secret, and not the session token that is exchanged for it").
				with(b, s.last, "a session token"), nil
		}
		return passed("it is not signed with the client secret").with(b, s.last, "a session token"), nil
	}
	const want = "a token of this access key"
	for name, other := range map[string]*accessKey{"retired": b.retired, "sandbox": b.sandbox} {
		if other != nil && signedUnder(s.token, other.secret) {
			return failed("the token is signed with the "+name+" access key").with(b, s.last, want), nil
		}
	}
	t := readJWT(s.token)
	if t == nil || !signedUnder(s.token, b.key.secret) {
		return verdict{}, interruptedf("the token is not signed with the access key of check.yaml: name the right one, or say exchanged: true")
	}
	if t.text("iss") != b.key.clientID {
		return failed("iss is not the client ID of the key that signed the token").with(b, s.last, want), nil
	}
	return passed("signed with this key, and iss is its client ID").with(b, s.last, want), nil
}

func tokenClaims(_ context.Context, b *bench) (verdict, error) {
	var shown verdict
	for i, token := range b.early.first.tokens() {
		t := readJWT(token)
		if b.target.Exchanged || t == nil {
			return notApplicable("the provider made the token"), nil
		}
		subject := b.profile.TokenSubject
		if i > 0 {
			subject = selo.CafFaceLiveness().TokenSubject
		}
		var more []string
		for _, m := range t.claims {
			if !slices.Contains([]string{"iss", "exp", subject}, m.name) {
				more = append(more, string(cut([]byte(b.redact.text(m.name)), 40)))
			}
		}
		want := "iss, exp and " + subject + ", and no more"
		if len(more) > 0 {
			return warned("the token has claims that the provider does not ask for: "+strings.Join(more, ", ")).with(b, b.early.first.last, want), nil
		}
		shown = passed("it has what it needs").with(b, b.early.first.last, want)
	}
	return shown, nil
}

// claimsFromClient asks for a token with the claims of a response in the request. With one secret in both directions, a
// server that copies them signs forged responses for whoever asks.
func claimsFromClient(ctx context.Context, b *bench) (verdict, error) {
	actor, _ := b.pair()
	claims := b.honestPayload(actor)
	var all []edit
	for _, m := range claims {
		all = append(all, addField(m.name, m.value, true))
	}
	nested := func(name string) []edit { return []edit{addField(name, claims.encode(), true)} }
	const want = "no token, or one without these claims"
	var shown verdict
	for _, edits := range slices.Concat(b.asBody(all), [][]edit{nested("claims"), nested("payload")}) {
		s, err := b.ask(ctx, asking{user: actor, edits: edits})
		if err != nil {
			return verdict{}, err
		}
		shown = passed("no token has them").with(b, s.last, want)
		if t := readJWT(s.token); t != nil {
			for _, name := range b.shape.Decision {
				if t.claims.has(name) {
					return failed("the token has "+name+" as the request had it, so it passes for a response").with(b, s.last, want), nil
				}
			}
		}
	}
	return shown, nil
}

func tokenNotInURL(_ context.Context, b *bench) (verdict, error) {
	for _, s := range slices.Concat(b.target.Token, []Step{b.target.Submit.Request}, b.target.Logout) {
		for _, name := range []string{valueCredential, valueToken, valueFaceToken, valueResponse} {
			if s.usesIn("url", name) {
				return failed("a request has {{" + name + "}} in its URL, which stands in logs and histories"), nil
			}
		}
	}
	b.watch.mu.Lock()
	defer b.watch.mu.Unlock()
	if x := b.watch.urlTokens; x != nil {
		return failed("an answer has a URL with a token in it").with(b, *x, "tokens in the body of the answer"), nil
	}
	return passed("not in the requests, nor in the answers"), nil
}

// expiryProbes are those of topic 3.
func expiryProbes() []Probe {
	return []Probe{{
		ID: "token-exp", Title: "Tokens expire", TitlePT: "Os tokens expiram",
		Topic: 3, Severity: finding.Critical, Production: true,
		run: aboutExp(func(b *bench, t *jwt) (string, string) {
			return boolText(t.claims.has("exp"), "exp is there", "the token has no exp: it is good for ever")
		}),
	}, {
		ID: "token-exp-seconds", Title: "exp is a number of seconds", TitlePT: "exp é um número em segundos",
		Topic: 3, Severity: finding.High, Production: true,
		run: aboutExp(func(b *bench, t *jwt) (string, string) {
			if !t.claims.has("exp") {
				return "", ""
			}
			exp, number := t.exp()
			if !number {
				return "", "exp is no JSON number, so a reader may take the token for one without exp"
			}
			return boolText(exp < 1e11, "it is", "exp is a number of milliseconds, or of nothing that is known: as seconds it lies thousands of years ahead")
		}),
	}, {
		ID: "token-exp-reasonable", Title: "Tokens expire in reasonable time", TitlePT: "Os tokens expiram em tempo razoável",
		Topic: 3, Severity: finding.High, Production: true,
		run: aboutExp(func(b *bench, t *jwt) (string, string) {
			exp, number := t.exp()
			if !number || exp >= 1e11 {
				return "", ""
			}
			life := time.Duration((exp - float64(b.early.first.at.Unix())) * float64(time.Second)).Round(time.Second)
			if life <= 0 {
				return "", fmt.Sprintf("the token expired %s before it was asked for", inWords(-life))
			}
			return boolText(life <= b.tokenLifetime+5*time.Second, "it lives "+inWords(life),
				fmt.Sprintf("the token lives %s, and %s is the longest acceptable", inWords(life), inWords(b.tokenLifetime)))
		}),
	}, {
		ID: "token-exp-from-client", Title: "A client cannot make its token live longer", TitlePT: "O cliente não consegue prolongar a vida do token",
		Topic: 3, Severity: finding.High, doors: true,
		run: expFromClient,
	}}
}

// aboutExp judges the first user's token. judge gives the text of a pass, or of a failure, or neither.
func aboutExp(judge func(b *bench, t *jwt) (good, bad string)) func(context.Context, *bench) (verdict, error) {
	return func(_ context.Context, b *bench) (verdict, error) {
		want := "exp, a number of seconds since 1970, at most " + inWords(b.tokenLifetime) + " ahead"
		shown := notApplicable("there is no exp that could be judged")
		for _, token := range b.early.first.tokens() {
			t := readJWT(token)
			if b.target.Exchanged || t == nil {
				return notApplicable("the provider made the token, and its expiry"), nil
			}
			good, bad := judge(b, t)
			switch {
			case bad != "":
				return failed(bad).with(b, b.early.first.last, want), nil
			case good != "":
				shown = passed(good).with(b, b.early.first.last, want)
			}
		}
		return shown, nil
	}
}

// tokens are all that the app was given: of Smart Auth there are two.
func (s *session) tokens() []string {
	if face := s.values[valueFaceToken]; face != "" {
		return []string{s.token, face}
	}
	return []string{s.token}
}

func boolText(yes bool, good, bad string) (string, string) {
	if yes {
		return good, ""
	}
	return "", bad
}

func expFromClient(ctx context.Context, b *bench) (verdict, error) {
	before, there := expOf(b.early.first.token)
	if b.target.Exchanged || !there || before >= 1e11 { // milliseconds: token-exp-seconds says that
		return notApplicable("there is no exp that could be raised"), nil
	}
	usual := before - float64(b.early.first.at.Unix())
	far := b.now().Add(365 * 24 * time.Hour).Unix()
	wishes := []struct {
		name  string
		value any
	}{{"exp", far}, {"expiresIn", "365d"}, {"expires_in", 31536000}, {"ttl", 31536000}, {"lifetime", 31536000}, {"duration", 31536000}, {"expiration", far}, {"validity", 31536000}}
	var inBody, inQuery, inHeader []edit
	for _, w := range wishes {
		value := asJSON(w.value)
		inBody = append(inBody, addField(w.name, value, true))
		inQuery = append(inQuery, addQuery(w.name, strings.Trim(string(value), `"`)))
		inHeader = append(inHeader, setHeader("X-Token-"+w.name, strings.Trim(string(value), `"`)))
	}
	ways := []struct {
		name  string
		edits []edit
		body  bool
	}{{"query", inQuery, false}, {"headers", inHeader, false}, {"body", inBody, true}}
	for _, w := range wishes[:2] { // alone too, for servers that refuse what they do not know
		ways = append(ways, struct {
			name  string
			edits []edit
			body  bool
		}{w.name + " in the body", []edit{addField(w.name, asJSON(w.value), true)}, true})
	}
	const want = "no token, or one that lives as long as ever"
	actor, _ := b.pair()
	var shown verdict
	for _, way := range ways {
		all := [][]edit{way.edits}
		if way.body {
			all = b.asBody(way.edits)
		}
		for _, edits := range all {
			s, err := b.ask(ctx, asking{user: actor, edits: edits})
			if err != nil {
				return verdict{}, err
			}
			shown = passed("it cannot").with(b, s.last, want)
			if s.token == "" {
				continue
			}
			exp, there := expOf(s.token)
			if !there || exp-float64(s.at.Unix()) > usual+30 {
				return failed("a request with the wish for a longer life got it: by "+way.name).with(b, s.last, want), nil
			}
		}
	}
	return shown, nil
}

// asText is a JSON string.
func asText(s string) jsontext.Value {
	b, err := json.Marshal(s)
	if err != nil {
		return jsontext.Value(`""`)
	}
	return b
}

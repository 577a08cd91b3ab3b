package checklist

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/sandbox"
)

// accessProbes are those of topic 4.
func accessProbes() []Probe {
	closed := func(id, title, titlePT string, severity finding.Severity, production bool, doors func(ctx context.Context, b *bench, u *user) ([]door, string, error)) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 4, Severity: severity, Production: production, doors: true,
			run: func(ctx context.Context, b *bench) (verdict, error) { return staysClosed(ctx, b, doors) }}
	}
	text := func(s string) *string { return &s }
	return []Probe{
		closed("no-credentials", "No token without credentials", "Sem credenciais não há token", finding.Critical, true,
			func(context.Context, *bench, *user) ([]door, string, error) {
				return []door{{name: "no credentials"}}, "", nil
			}),
		{
			ID: "wrong-password", Title: "Nobody signs in with a wrong secret", TitlePT: "Ninguém entra com um segredo errado",
			Topic: 4, Severity: finding.Critical, doors: true,
			run: wrongPassword,
		},
		closed("garbage-credentials", "No token for made-up credentials", "Não há token para credenciais inventadas", finding.Critical, true,
			func(context.Context, *bench, *user) ([]door, string, error) {
				return []door{{name: "a random text", as: text(sandbox.NewUUID())}, {name: "a JWT of nobody", as: text(sandbox.Sign([]byte(sandbox.NewUUID()), []byte(goodHeader), []byte(`{"sub":"nobody"}`)))},
					{name: "the text undefined", as: text("undefined")}}, "", nil
			}),
		closed("expired-credentials", "No token for expired credentials", "Não há token para credenciais expiradas", finding.Critical, true,
			func(ctx context.Context, b *bench, u *user) ([]door, string, error) {
				return badDoor(ctx, b, b.expired, "expired credentials", "bad_credentials.expired")
			}),
		closed("wrong-audience", "No token for credentials of another app", "Não há token para credenciais de outro aplicativo", finding.High, true,
			func(ctx context.Context, b *bench, u *user) ([]door, string, error) {
				return badDoor(ctx, b, b.wrongAudience, "credentials for another audience", "bad_credentials.wrong_audience")
			}),
		closed("credentials-alg-none", "Unsigned credentials are refused", "Credenciais sem assinatura são recusadas", finding.Critical, false,
			jwtDoors(func(token string, t *jwt) []door {
				var all []door
				for _, none := range noneSpellings {
					all = append(all, door{name: "alg " + none, as: text(b64(string(t.header.set("alg", none).encode())) + "." + b64(string(t.claims.encode())) + ".")})
				}
				return all
			})),
		closed("credentials-edited", "Edited credentials are refused", "Credenciais alteradas são recusadas", finding.Critical, false,
			func(ctx context.Context, b *bench, u *user) ([]door, string, error) {
				credential, err := b.credentialOf(ctx, u)
				if err != nil {
					return nil, "", err
				}
				return b.editedDoors(credential, u), "", nil
			}),
		closed("credentials-weak-key", "Credentials signed with a guessable key are refused", "Credenciais assinadas com chave fácil de adivinhar são recusadas", finding.Critical, false,
			jwtDoors(func(token string, t *jwt) []door {
				var all []door
				header := []byte(t.header.set("alg", "HS256").encode())
				for _, key := range []string{"", "secret", "changeme", "your-256-bit-secret"} {
					all = append(all, door{name: "the key " + fmt.Sprintf("%q", key), as: text(sandbox.Sign([]byte(key), header, t.claims.encode()))})
				}
				return all
			})),
		closed("mobile-token-as-credential", "A mobile token is not accepted as a credential", "O token mobile não é aceito como credencial", finding.High, false,
			func(_ context.Context, b *bench, u *user) ([]door, string, error) {
				s := b.early.first
				own := payload{{"sub", asText(s.user.name)}, {"exp", asJSON(b.now().Unix() + 300)}}
				return []door{{name: "the mobile token of a user", as: text(s.token), ofUser: s.user},
					{name: "a JWT signed with the client secret", as: text(b.signed("", own).response), ofUser: s.user}}, "", nil
			}),
		{
			ID: "after-logout", Title: "No token after signing out", TitlePT: "Não há token após o logout",
			Topic: 4, Severity: finding.High, doors: true,
			run: afterLogout,
		},
		closed("identity-headers", "Headers that name a user do not authenticate", "Cabeçalhos que indicam um usuário não autenticam ninguém", finding.Critical, false,
			func(_ context.Context, b *bench, u *user) ([]door, string, error) {
				var named, local []edit
				for _, h := range identityHeaders {
					named = append(named, setHeader(h, u.name))
				}
				for _, h := range []string{"X-Forwarded-For", "X-Real-IP", "True-Client-IP", "X-Client-IP"} {
					local = append(local, setHeader(h, "127.0.0.1"))
				}
				named = append(named, setHeader("X-CPF", u.cpf.Digits()))
				return []door{{name: "headers that name a user", edits: named, ofUser: u}, {name: "headers that say that the call is local", edits: local},
					{name: "a cookie of an administrator", edits: []edit{setHeader("Cookie", "admin=true; role=admin; user="+u.name)}}}, "", nil
			}),
		closed("other-methods", "Other HTTP methods do not bypass authentication", "Outros métodos HTTP não contornam a autenticação", finding.Critical, false,
			func(_ context.Context, b *bench, u *user) ([]door, string, error) {
				var all []door
				last := &b.target.Token[len(b.target.Token)-1]
				for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
					if m != last.method() {
						all = append(all, door{name: m, edits: []edit{setMethod(m)}})
					}
				}
				return append(all, door{name: "X-HTTP-Method-Override", edits: []edit{setHeader("X-HTTP-Method-Override", http.MethodGet)}}), "", nil
			}),
		closed("other-paths", "Other spellings of the path do not bypass authentication", "Variações do caminho da URL não contornam a autenticação", finding.Critical, false,
			func(context.Context, *bench, *user) ([]door, string, error) { return pathDoors(), "", nil }),
		{
			ID: "cors", Title: "Other sites cannot use the user's credentials", TitlePT: "Outros sites não podem usar as credenciais do usuário",
			Topic: 4, Severity: finding.High, Production: true,
			run: cors,
		}, {
			ID: "submit-without-credentials", Title: "A response without credentials is refused", TitlePT: "Resposta enviada sem credenciais é recusada",
			Topic: 4, Severity: finding.High, grants: true,
			run: submitWithoutCredentials,
		}, {
			ID: "submit-bad-credentials", Title: "A response with bad credentials is refused", TitlePT: "Resposta enviada com credenciais inválidas é recusada",
			Topic: 4, Severity: finding.High, grants: true,
			run: submitBadCredentials,
		}, {
			ID: "burst", Title: "A user's tokens are limited", TitlePT: "A emissão de tokens por usuário é limitada",
			Topic: 4, Severity: finding.Medium, when: lastOne,
			run: burst,
		}}
}

// wrongPassword signs in with what is not the user's, in the place of each of their secrets.
func wrongPassword(ctx context.Context, b *bench) (verdict, error) {
	u, _ := b.pair()
	var wrong values
	for _, name := range u.secrets {
		for i := range b.target.Login {
			if b.target.Login[i].usesIn("", name) {
				wrong = wrong.with(values{name: "wrong-" + sandbox.NewUUID()})
			}
		}
	}
	if len(wrong) == 0 {
		return notApplicable("no step of login has a secret of the user"), nil
	}
	const want = "no credential"
	v := u.values.with(wrong)
	var x sent
	for i := range b.target.Login {
		var err error
		x, err = b.send(ctx, &b.target.Login[i], v, false, nil)
		switch {
		case closedConnection(err):
			return passed("refused").with(b, x, want), nil
		case err != nil:
			return verdict{}, err
		}
		v = b.taken(&b.target.Login[i], v, x.answer, u)
	}
	if v[valueCredential] == "" {
		return passed("no credential came out").with(b, x, want), nil
	}
	b.redact.hideSecret([]byte(v[valueCredential]), "credential")
	s, err := b.ask(ctx, asking{user: u, values: values{valueCredential: v[valueCredential]}})
	if err != nil {
		return verdict{}, err
	}
	if s.token != "" {
		return failed("signing in with a wrong secret gave a credential, and that a token").with(b, x, want).with(b, s.last, "no token"), nil
	}
	return passed("what came out got no token").with(b, s.last, "no token"), nil
}

func afterLogout(ctx context.Context, b *bench) (verdict, error) {
	if len(b.target.Logout) == 0 {
		return notApplicable("describe logout to have it tried"), nil
	}
	u := b.users[0]
	if u.fixed {
		return notApplicable("the credential of the first user was given, and must not be signed out"), nil
	}
	credential, v, err := b.signIn(ctx, u, values{})
	if err != nil {
		return verdict{}, err
	}
	defer u.forget() // signing in, or out, may have ended the session of before
	as := v.with(values{valueCredential: credential})
	before, err := b.ask(ctx, asking{user: u, values: as, ideal: true})
	if err != nil {
		return verdict{}, err
	}
	if before.token == "" {
		return verdict{}, interruptedf("there was no token before signing out")
	}
	for i := range b.target.Logout {
		if _, err := b.send(ctx, &b.target.Logout[i], as, true, nil); err != nil {
			return verdict{}, err
		}
	}
	s, err := b.ask(ctx, asking{user: u, values: as})
	if err != nil && !closedConnection(err) {
		return verdict{}, err
	}
	if s.token != "" {
		return failed("a token came out for a credential that had been signed out").with(b, s.last, "no token"), nil
	}
	return passed("refused").with(b, s.last, "no token"), nil
}

func cors(ctx context.Context, b *bench) (verdict, error) {
	u, _ := b.pair()
	const want = "no Access-Control-Allow-Credentials: true for an origin that is not known"
	step := &b.target.Token[len(b.target.Token)-1]
	var shown verdict
	host := b.base.Hostname()
	var starred *sent
	for _, origin := range []string{"https://attacker.example", "null", "https://" + host + ".attacker.example", "https://attacker-" + host} {
		for _, preflight := range []bool{false, true} {
			edits := []edit{setHeader("Origin", origin)}
			var x sent
			if preflight {
				method := step.method()
				edits = append(edits, setMethod(http.MethodOptions), setHeader("Access-Control-Request-Method", method),
					setHeader("Access-Control-Request-Headers", "authorization,content-type"), func(r *request) { r.body = nil })
				s, err := b.send(ctx, step, u.values, false, edits)
				if err != nil {
					return verdict{}, err
				}
				x = s
			} else {
				s, err := b.ask(ctx, asking{user: u, edits: edits, ideal: true})
				if err != nil {
					return verdict{}, err
				}
				x = s.last
			}
			if shown.outcome == "" {
				shown = passed("it does not allow them").with(b, x, want)
			}
			allowed, with := x.answer.header.Get("Access-Control-Allow-Origin"), x.answer.header.Get("Access-Control-Allow-Credentials")
			switch {
			case !strings.EqualFold(with, "true"):
			case allowed == origin:
				return failed("the web site "+origin+" may call it with the user's credentials").with(b, x, want), nil
			case allowed == "*":
				starred = &x
			}
		}
	}
	if starred != nil {
		return warned("it allows credentials for every web site; browsers refuse that pair, and somebody will mend it the wrong way").with(b, *starred, want), nil
	}
	return shown, nil
}

func submitWithoutCredentials(ctx context.Context, b *bench) (verdict, error) {
	if !b.target.Submit.Request.usesIn("", valueCredential) {
		return failed("handing in a response needs no credential"), nil
	}
	u, _ := b.pair()
	s, err := b.open(ctx, u)
	if err != nil {
		return verdict{}, err
	}
	yes, x, err := b.submit(ctx, handing{session: s, forged: b.signed("honest", b.honestPayload(u)), nobody: true})
	if err != nil && !closedConnection(err) {
		return verdict{}, err
	}
	if yes {
		return failed("access was granted without any credential").with(b, x, "anything but access"), nil
	}
	return passed("refused").with(b, x, "anything but access"), nil
}

// submitBadCredentials hands an honest response in at the doors at which no token is had either.
func submitBadCredentials(ctx context.Context, b *bench) (verdict, error) {
	if !b.target.Submit.Request.usesIn("", valueCredential) {
		return notApplicable("handing in a response needs no credential, which submit-without-credentials says"), nil
	}
	u, other := b.pair()
	credential, err := b.credentialOf(ctx, u)
	if err != nil {
		return verdict{}, err
	}
	garbage := sandbox.NewUUID()
	doors := append([]door{{name: "a random text", as: &garbage}}, b.editedDoors(credential, u)...)
	if t := readJWT(credential); t != nil {
		unsigned := b64(string(t.header.set("alg", "none").encode())) + "." + b64(string(t.claims.encode())) + "."
		weak := sandbox.Sign([]byte("secret"), t.header.set("alg", "HS256").encode(), t.claims.encode())
		doors = append(doors, door{name: "an unsigned credential", as: &unsigned}, door{name: "a credential under a guessable key", as: &weak})
	}
	var named []edit
	for _, h := range identityHeaders {
		named = append(named, setHeader(h, u.name))
	}
	doors = append(doors, door{name: "headers that name the user", edits: named})
	const want = "anything but access"
	var shown verdict
	for _, d := range doors {
		s, err := b.open(ctx, u)
		if err != nil {
			return verdict{}, err
		}
		h := handing{session: s, forged: b.signed("honest", b.honestPayload(u)), edits: d.edits, nobody: d.as == nil}
		if d.as != nil {
			h.as = values{valueCredential: *d.as}
		}
		if strings.HasPrefix(d.name, "a credential in which one user was named") { // a response that is that one's own
			h.forged = b.signed("honest, about the other user", b.honestPayload(other))
			if b.submitsSession() {
				continue
			}
		}
		yes, x, err := b.submit(ctx, h)
		if err != nil && !closedConnection(err) {
			return verdict{}, err
		}
		if yes {
			return failed("access was granted for "+d.name).with(b, x, want), nil
		}
		shown = passed("refused").with(b, x, want)
	}
	return shown, nil
}

// burst asks for many tokens at once, as one user. It comes last: whoever is limited then must not be needed any more.
func burst(ctx context.Context, b *bench) (verdict, error) {
	u := b.burst
	if _, err := b.credentialOf(ctx, u); err != nil {
		return verdict{}, err
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	var first error
	var refused sent
	tokens, refusals := 0, 0
	b.client.inBurst(true)
	defer b.client.inBurst(false)
	todo := make(chan struct{})
	for range 8 {
		running.Go(func() {
			for range todo {
				mine := &user{name: u.name, cpf: u.cpf, values: maps.Clone(u.values), credential: u.credential}
				s, err := b.ask(ctx, asking{user: mine, mayLimit: true, ideal: true})
				mu.Lock()
				switch {
				case err != nil && first == nil:
					first = err
				case err != nil:
				case s.token != "":
					tokens++
				case s.last.answer.status >= 500:
					first = interruptedf("after %d tokens the server answered %d, which is no limit", tokens, s.last.answer.status)
				default:
					refusals++
					refused = s.last
				}
				mu.Unlock()
			}
		})
	}
	for range b.burstLength {
		mu.Lock()
		done := refusals > 0 || first != nil
		mu.Unlock()
		if done || ctx.Err() != nil {
			break
		}
		todo <- struct{}{}
	}
	close(todo)
	running.Wait()
	switch {
	case b.client.dry:
		return passed(""), nil
	case first != nil && refusals == 0:
		return verdict{}, first
	case refusals == 0:
		return failed(fmt.Sprintf("%s got %d tokens in a row; limits.burst says how many are asked for, and must be above the server's limit", u.name, tokens)), nil
	}
	return passed(fmt.Sprintf("refused after %d more", tokens)).with(b, refused, "a refusal, sooner or later"), nil
}

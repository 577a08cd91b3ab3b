package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/finding"
)

// sent is a request with its answer: the stuff of evidence.
type sent struct {
	request *request
	values  values
	answer  *answer
	forged  *forged // the response that was handed in
}

// session is what the token requests of one user led to.
type session struct {
	user   *user
	values values // with what was taken on the way
	token  string // "" when none came out
	at     time.Time
	last   sent
}

// credentialOf returns the credential of a user, who signs in the first time.
func (b *bench) credentialOf(ctx context.Context, u *user) (string, error) {
	if u.credential == "" {
		credential, _, err := b.signIn(ctx, u, nil)
		if err != nil {
			return "", err
		}
		u.credential = credential
	}
	return u.credential, nil
}

// signIn signs a user in, with some values in the place of their own. What else login took is kept with the user.
func (b *bench) signIn(ctx context.Context, u *user, with values) (credential string, v values, err error) {
	v = u.values.with(with)
	var last sent
	for i := range b.target.Login {
		step := &b.target.Login[i]
		if last, err = b.send(ctx, step, v, true, nil); err != nil {
			return "", nil, err
		}
		v = b.taken(step, v, last.answer, u)
	}
	if v[valueCredential] == "" {
		return "", nil, interruptedf("signing %s in gave no credential: %s", u.name, last.without(valueCredential))
	}
	b.redact.hideSecret([]byte(v[valueCredential]), "credential of "+u.name)
	if with == nil {
		for name, value := range v {
			if name != valueCredential {
				u.values[name] = value
			}
		}
	}
	return v[valueCredential], v, nil
}

// taken returns the values with those that a step takes out of its answer.
func (b *bench) taken(s *Step, v values, a *answer, u *user) values {
	v = v.with(nil)
	for name, e := range b.takes[s] {
		switch {
		case a.ideal == nil:
			v[name] = e.take(a)
		case !*a.ideal:
			v[name] = ""
		case name == valueToken || name == valueFaceToken:
			v[name] = b.idealToken(u)
		default:
			v[name] = "⟨" + name + " of " + u.name + "⟩"
		}
	}
	return v
}

// idealToken is what a plan goes on with.
func (b *bench) idealToken(u *user) string {
	expires := b.now().Add(5 * time.Minute).Unix()
	return b.signed("", payload{{"iss", asJSON(b.key.clientID)}, {b.profile.TokenSubject, asJSON(u.cpf.Digits())}, {"exp", asJSON(expires)}}).response
}

// send sends one step. A 429 interrupts whoever sent it: what a limit refuses proves nothing.
func (b *bench) send(ctx context.Context, s *Step, v values, ideal bool, edits []edit) (sent, error) {
	return b.sendTo(ctx, s, v, ideal, edits, "", false)
}

func (b *bench) sendTo(ctx context.Context, s *Step, v values, ideal bool, edits []edit, what string, mayLimit bool) (sent, error) {
	r, err := s.build(b.base, v)
	if err != nil {
		return sent{}, &interrupted{err.Error()}
	}
	for _, e := range edits {
		e(r)
	}
	x := sent{request: r, values: v}
	if b.tell != nil {
		kind := planOther
		switch {
		case s == &b.target.Submit.Request:
			kind = planSubmit
		case len(b.target.Login) > 0 && slices.ContainsFunc(b.target.Login, func(l Step) bool { return l.URL == s.URL }):
			kind = planLogin
		case len(b.target.Token) > 0 && s == &b.target.Token[len(b.target.Token)-1]:
			kind = planToken
		}
		b.tell(r, kind, v, what, ideal)
	}
	if x.answer, err = b.client.send(ctx, r, ideal); err != nil {
		return x, err
	}
	b.watch.name(x.answer, v)
	if x.answer.status == http.StatusTooManyRequests && !mayLimit {
		after := ""
		if seconds := x.answer.header.Get("Retry-After"); seconds != "" {
			after = ", Retry-After: " + string(cut([]byte(seconds), 20))
		}
		return x, interruptedf("the target answered 429%s: its limits are too low for a check (see --plan), or there was one just now", after)
	}
	return x, nil
}

// asking is a request for a token.
type asking struct {
	user     *user
	values   values // in the place of the user's own
	nobody   bool   // without any credential
	late     bool   // the steps before the last are done honestly,
	stepsOf  *user  // by the user, or by another one
	edits    []edit // of the last request, and of those before it that have a body
	ideal    bool   // a correct server gives a token
	mayLimit bool   // a 429 is an answer like another
}

// ask asks for a token. The session is there whether or not one came out.
func (b *bench) ask(ctx context.Context, a asking) (*session, error) {
	v := a.user.values.with(nil)
	if !a.nobody {
		credential, err := b.credentialOf(ctx, a.user)
		if err != nil {
			return nil, err
		}
		v = a.user.values.with(values{valueCredential: credential})
	}
	s := &session{user: a.user, values: v.with(a.values), at: b.now()}
	if a.nobody {
		delete(s.values, valueCredential)
	}
	after := 0
	if a.late {
		if err := b.honestSteps(ctx, s, cmp.Or(a.stepsOf, a.user)); err != nil {
			return s, err
		}
		after = len(b.target.Token) - 1
	}
	for i := range b.target.Token {
		if i < after {
			continue
		}
		step, isLast := &b.target.Token[i], i == len(b.target.Token)-1
		if i > 0 && step.lacks(s.values) {
			break // the step before gave nothing to go on with
		}
		edits := a.edits
		if !isLast && step.method() == http.MethodGet {
			edits = nil
		}
		x, err := b.sendTo(ctx, step, s.values, a.ideal, edits, "", a.mayLimit)
		s.last = x
		if err != nil {
			return s, err
		}
		s.values = b.taken(step, s.values, x.answer, a.user)
		s.last.values = s.values // so that evidence knows what it must not show of the answer
		b.watch.name(x.answer, s.values)
		if isLast {
			s.token = s.values[valueToken]
		}
	}
	return s, nil
}

// honestSteps does all but the last of the requests for a token as a user, and adds what they take to the session's values.
func (b *bench) honestSteps(ctx context.Context, s *session, as *user) error {
	credential, err := b.credentialOf(ctx, as)
	if err != nil {
		return err
	}
	v := as.values.with(values{valueCredential: credential})
	for i := range b.target.Token[:len(b.target.Token)-1] {
		step := &b.target.Token[i]
		x, err := b.send(ctx, step, v, true, nil)
		if err != nil {
			return err
		}
		v = b.taken(step, v, x.answer, as)
		for name := range step.Take {
			s.values[name] = v[name]
		}
	}
	return nil
}

// broken interrupts for an answer of 500 and more: a server that is out of order lets nobody in.
func (x sent) broken() error {
	if x.answer != nil && x.answer.status >= 500 {
		return interruptedf("%s answered %d, and a server that is out of order refuses everything", x.request.line(), x.answer.status)
	}
	return nil
}

// forget has a user sign in again before the next request, unless the credential was given.
func (u *user) forget() {
	if !u.fixed {
		u.credential = ""
	}
}

// lacks reports that a value is empty which an earlier step should have taken.
func (s *Step) lacks(v values) (yes bool) {
	s.texts(func(_, text string) {
		for _, name := range names(text) {
			value, taken := v[name]
			yes = yes || taken && value == "" && !slices.Contains(given, name)
		}
	})
	return yes
}

// open asks for a token as a user, honestly, and is interrupted when none comes.
func (b *bench) open(ctx context.Context, u *user) (*session, error) {
	s, err := b.ask(ctx, asking{user: u, ideal: true})
	if err != nil {
		return nil, err
	}
	if s.token == "" {
		return nil, interruptedf("no token for %s: %s", u.name, s.last.without(valueToken))
	}
	return s, nil
}

// handing is a response that is handed in.
type handing struct {
	session *session
	forged
	as     values // in the place of the session's own, such as another user's credential
	nobody bool
	edits  []edit
	ideal  bool
}

// submit hands a response in, and reports whether access was granted.
func (b *bench) submit(ctx context.Context, h handing) (granted bool, x sent, err error) {
	v := h.session.values.with(h.as).with(values{valueResponse: h.response})
	if h.nobody {
		v = v.without(valueCredential)
	}
	x, err = b.sendTo(ctx, &b.target.Submit.Request, v, h.ideal, h.edits, h.label, false)
	x.forged = &h.forged
	if err != nil {
		return false, x, err
	}
	if x.answer.ideal != nil {
		return *x.answer.ideal, x, nil
	}
	granted = b.granted.holds(x.answer)
	b.watch.decided(x, granted)
	return granted, x, nil
}

// asBody returns edits that put something into the body of the request for a token: once, or where it has no body, and nobody
// knows what the server would read, once as JSON and once as a form.
func (b *bench) asBody(edits []edit) [][]edit {
	last := &b.target.Token[len(b.target.Token)-1]
	if last.JSON != nil || last.Form != nil || last.Multipart != nil || last.Raw != "" {
		return [][]edit{edits}
	}
	return [][]edit{edits, slices.Concat([]edit{asForm}, edits)}
}

// ownNames are the names of fields that this target has anywhere in its requests, beside those that are usual.
func (b *bench) ownNames(value string) []string {
	var all []string
	for _, s := range slices.Concat(b.target.Login, b.target.Token, []Step{b.target.Submit.Request}) {
		s.texts(func(where, text string) {
			name := where[strings.LastIndexByte(where, '.')+1:]
			if uses(text, value) && strings.ContainsRune(where, '.') && !strings.HasPrefix(where, "headers") && !slices.Contains(all, name) {
				all = append(all, name)
			}
		})
	}
	return all
}

// pair returns a user who acts and another one. All take turns but the one of the burst, where there are enough: so no user
// meets every refusal, and limits of refusals of the target are not met.
func (b *bench) pair() (actor, other *user) {
	users := b.users
	if len(users) > 2 {
		users = slices.DeleteFunc(slices.Clone(users), func(u *user) bool { return u == b.burst })
	}
	b.turns++
	return users[b.turns%len(users)], users[(b.turns+1)%len(users)]
}

// where is the URL of a request as it is sent.
func (r *request) where() string {
	if r.url.Opaque != "" {
		return r.url.Scheme + "://" + r.url.Host + r.url.Opaque
	}
	return r.url.String()
}

// without says what came instead of a value that a step takes: only names of the answer, which are no secret.
func (x sent) without(name string) string {
	text := fmt.Sprintf("%s answered %d", x.request.line(), x.answer.status)
	if x.answer.status >= 300 {
		return text
	}
	fields := ""
	if m, ok := x.answer.json().(map[string]any); ok {
		fields = "; its body has " + string(cut([]byte(strings.Join(slices.Sorted(maps.Keys(m)), ", ")), 200))
	}
	return text + ", and the expression of take." + name + " finds nothing in that" + fields
}

// line is a request in a few words.
func (r *request) line() string { return r.method + " " + r.url.Path }

// interestingHeaders are those that evidence shows of an answer.
var interestingHeaders = []string{
	"Content-Type", "Cache-Control", "Location", "Retry-After", "WWW-Authenticate", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
}

// teller returns what takes out of a text whatever is secret, here or in general.
func (b *bench) teller(x sent) func(string) string {
	hide := &redactor{hidden: slices.Clone(b.redact.hidden), odd: b.redact.odd} // with what belongs to this request alone
	for name, value := range x.values {
		switch name {
		case valueUser, valueProduct, valuePolicy, valueCPF:
		case valueResponse:
			hide.hide(value, "signed response")
		case valueToken, valueFaceToken:
			hide.hide(value, "mobile token")
			for part := range strings.SplitSeq(value, ".") { // taken together from parts, maybe
				if len(part) >= 16 {
					hide.hide(part, "part of a mobile token")
				}
			}
		case valueCredential:
			hide.hide(value, "credential")
		default:
			hide.hide(value, name)
		}
	}
	return hide.text
}

// evidence tells a request and its answer without anything that is secret.
func (b *bench) evidence(x sent, expected string) finding.Exchange {
	return b.evidenceAs(b.teller(x), x, expected)
}

func (b *bench) evidenceAs(tell func(string) string, x sent, expected string) finding.Exchange {
	var request strings.Builder
	where := x.request.url.EscapedPath()
	if x.request.url.Opaque != "" {
		where = x.request.url.Opaque
	}
	if q := x.request.url.RawQuery; q != "" {
		where += "?" + q
	}
	fmt.Fprintf(&request, "%s %s\n", x.request.method, where)
	for _, name := range sortedHeaders(x.request.header) {
		fmt.Fprintf(&request, "%s: %s\n", name, strings.Join(x.request.header[name], ", "))
	}
	if len(x.request.body) > 0 {
		fmt.Fprintf(&request, "\n%s\n", tell(string(x.request.body)))
	}
	told := cut([]byte(tell(request.String())), 1500)
	if x.forged != nil {
		told = append(told, "\n⟨signed response⟩: "+b.describe(*x.forged)...)
	}

	var answer strings.Builder
	if a := x.answer; a == nil {
		answer.WriteString("none")
	} else {
		fmt.Fprintf(&answer, "%d %s\n", a.status, http.StatusText(a.status))
		for _, name := range interestingHeaders {
			if v := a.header.Get(name); v != "" {
				fmt.Fprintf(&answer, "%s: %s\n", name, v)
			}
		}
		if len(a.body) > 0 {
			fmt.Fprintf(&answer, "\n%s", start(a.body, tell))
		}
	}
	return finding.Exchange{Request: string(told), Answer: string(cut([]byte(tell(answer.String())), 1000)), Expected: expected}
}

// start redacts the beginning of a body. What is cut off before it was redacted may end in half a secret, which is then cut
// off as well.
func start(body []byte, redact func(string) string) string {
	const most, longest = 64 << 10, 8 << 10
	if len(body) <= most {
		return redact(string(body))
	}
	text := redact(string(body[:most]))
	return text[:max(0, len(text)-longest)]
}

func sortedHeaders(h http.Header) []string {
	var all []string
	for name := range h {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// place is where a finding is told to be.
func (x sent) place() string {
	if x.request == nil {
		return ""
	}
	return x.request.url.Scheme + "://" + x.request.url.Host + x.request.url.EscapedPath()
}

// cpfOf says whose CPF a token carries: the user's name, "" for none, "?" for somebody else or for two people.
func (b *bench) cpfOf(token string) string {
	t := readJWT(token)
	if t == nil {
		return ""
	}
	whose := ""
	for _, m := range t.claims {
		cpf, err := selo.ParseCPF(strings.Trim(string(m.value), `"`))
		if err != nil {
			continue
		}
		name := "?"
		for _, u := range b.users {
			if u.cpf == cpf {
				name = u.name
			}
		}
		if whose != "" && whose != name {
			return "?" // two people
		}
		whose = name
	}
	return whose
}

// isInterrupted tells what a probe could not find out from the end of the whole check.
func isInterrupted(err error) (why string, yes bool) {
	var i *interrupted
	if errors.As(err, &i) {
		return i.why, true
	}
	return "", false
}

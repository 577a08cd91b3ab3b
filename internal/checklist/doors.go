package checklist

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// identityHeaders are those in which proxies tell servers who is calling. Whoever can reach the server directly can send
// them too.
var identityHeaders = []string{
	"X-User", "X-User-Id", "X-Username", "X-Forwarded-User", "X-Auth-Request-User", "X-Remote-User", "X-Authenticated-User", "X-Consumer-Username",
	"X-Usuario", "X-Cliente",
}

// door is a manner of asking for a token that must not be let in.
type door struct {
	name   string
	as     *string // the credential; nil for none
	edits  []edit
	ofUser *user
	late   bool // the steps before the last are done honestly
}

// staysClosed asks for a token at doors of which none may open. doors gives a reason where there are none.
func staysClosed(ctx context.Context, b *bench, doors func(context.Context, *bench, *user) ([]door, string, error)) (verdict, error) {
	u, _ := b.pair()
	all, reason, err := doors(ctx, b, u)
	if err != nil {
		return verdict{}, err
	}
	if reason != "" {
		return notApplicable(reason), nil
	}
	if len(b.target.Token) > 1 { // each of the requests must look who is asking
		for _, d := range slices.Clone(all) {
			d.late, d.name = true, d.name+", in the last request"
			all = append(all, d)
		}
	}
	const want = "no token"
	var shown verdict
	for _, d := range all {
		who := u
		if d.ofUser != nil {
			who = d.ofUser
		}
		a := asking{user: who, nobody: d.as == nil, edits: d.edits, late: d.late}
		if d.as != nil {
			a.values = values{valueCredential: *d.as}
		}
		s, err := b.ask(ctx, a)
		if err != nil && !closedConnection(err) {
			return verdict{}, err
		}
		if shown.outcome == "" {
			shown = passed("refused").with(b, s.last, want)
		}
		if err := s.last.broken(); err != nil {
			return verdict{}, err
		}
		if s.token != "" || b.holdsToken(s.last.answer) {
			return failed("a token came out for "+d.name).with(b, s.last, want), nil
		}
	}
	return shown, nil
}

// holdsToken reports whether a token of the access key stands anywhere in an answer.
func (b *bench) holdsToken(a *answer) bool {
	if a == nil || len(b.key.secret) == 0 {
		return false
	}
	text := string(a.body)
	for _, values := range a.header {
		text += "\n" + strings.Join(values, "\n")
	}
	return slices.ContainsFunc(anyJWT.FindAllString(text, 16), func(t string) bool { return signedUnder(t, b.key.secret) })
}

func badDoor(ctx context.Context, b *bench, c *badCredential, name, field string) ([]door, string, error) {
	if c == nil {
		return nil, "describe " + field + " to have it tried", nil
	}
	credential := c.credential
	if c.with != nil {
		made, _, err := b.signIn(ctx, b.users[0], c.with)
		if err != nil {
			return nil, "", err
		}
		b.users[0].forget() // where only the latest sign-in counts
		credential = made
	}
	return []door{{name: name, as: &credential, ofUser: b.users[0]}}, "", nil
}

// jwtDoors are made from a user's credential, where this is a JWT.
func jwtDoors(make func(token string, t *jwt) []door) func(context.Context, *bench, *user) ([]door, string, error) {
	return func(ctx context.Context, b *bench, u *user) ([]door, string, error) {
		credential, err := b.credentialOf(ctx, u)
		if err != nil {
			return nil, "", err
		}
		t := readJWT(credential)
		if b.client.dry {
			t = readJWT(b.idealToken(u))
		}
		if t == nil {
			return nil, "credentials here are no JWT", nil
		}
		return make(credential, t), "", nil
	}
}

// editedDoors are credentials that somebody made of a good one: of a JWT, with another payload under its signature; of anything
// else, with a character changed, and with another user named where the first one is, as it is or under base64 or hex.
func (b *bench) editedDoors(credential string, u *user) []door {
	var all []door
	if t := readJWT(credential); t != nil {
		header, body, signature := segments(credential)
		for name, text := range map[string]string{
			"another payload under the same signature": header + "." + b64(string(t.claims.set("exp", 4102444800).set("selo_check", true).encode())) + "." + signature,
			"no signature": header + "." + body + ".",
		} {
			all = append(all, door{name: name, as: &text})
		}
		return all
	}
	middle := len(credential) / 2
	changed := credential[:middle] + string("ab"[one(credential[middle] == 'a')]) + credential[middle+1:]
	all = append(all, door{name: "a credential with one character changed", as: &changed})
	other := b.users[0]
	if other == u {
		other = b.users[1]
	}
	for _, form := range []struct {
		name   string
		decode func(string) ([]byte, error)
		encode func([]byte) string
	}{
		{"as it is", func(s string) ([]byte, error) { return []byte(s), nil }, func(b []byte) string { return string(b) }},
		{"under percent-encoding", func(s string) ([]byte, error) { t, err := url.QueryUnescape(s); return []byte(t), err }, func(b []byte) string { return url.QueryEscape(string(b)) }},
		{"under base64", base64.StdEncoding.DecodeString, base64.StdEncoding.EncodeToString},
		{"under base64", base64.RawStdEncoding.DecodeString, base64.RawStdEncoding.EncodeToString},
		{"under base64url", base64.RawURLEncoding.DecodeString, base64.RawURLEncoding.EncodeToString},
		{"under hex", hex.DecodeString, hex.EncodeToString},
	} {
		plain, err := form.decode(credential)
		if err != nil {
			continue
		}
		swapped := string(plain)
		for _, pair := range [][2]string{{u.cpf.Digits(), other.cpf.Digits()}, {masked(u.cpf), masked(other.cpf)}, {u.name, other.name}} {
			swapped = strings.ReplaceAll(swapped, pair[0], pair[1])
		}
		if swapped != string(plain) {
			text := form.encode([]byte(swapped))
			all = append(all, door{name: "a credential in which one user was named instead of another, " + form.name, as: &text})
		}
	}
	return all
}

func pathDoors() []door {
	spell := func(name string, change func(path string) string) door {
		return door{name: name, edits: []edit{func(r *request) {
			path := change("/" + strings.TrimPrefix(r.url.EscapedPath(), "/"))
			if strings.HasPrefix(path, "//") {
				r.url.Path, r.url.RawPath = path, ""
				return
			}
			r.url.Opaque = path
		}}}
	}
	lastSlash := func(p string) int { return strings.LastIndexByte(p, '/') }
	return []door{
		spell("a slash more or less at the end", func(p string) string {
			if less, ok := strings.CutSuffix(p, "/"); ok && less != "" {
				return less
			}
			return p + "/"
		}),
		spell("two slashes at the front", func(p string) string { return "/" + p }),
		spell("a dot segment", func(p string) string { i := lastSlash(p); return p[:i] + "/." + p[i:] }),
		spell("an encoded letter", func(p string) string {
			if i := lastSlash(strings.TrimRight(p, "/")) + 1; i < len(p) {
				return p[:i] + fmt.Sprintf("%%%02X", p[i]) + p[i+1:]
			}
			return p + "%2F"
		}),
		spell("upper case", strings.ToUpper),
		spell("a path parameter", func(p string) string { return p + ";a=b" }),
		spell("an ending", func(p string) string { return p + ".json" }),
		{name: "X-Original-URL", edits: []edit{func(r *request) {
			r.header.Set("X-Original-URL", r.url.Path)
			r.header.Set("X-Rewrite-URL", r.url.Path)
			r.url.Path, r.url.RawPath = "/", ""
		}}},
	}
}

package checklist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/selo-id/selo"
)

const (
	shapeNative = "native"
	shapeWeb    = "web-2d"

	maxSource      = 16 << 10 // bytes of a secret, a credential
	commandTimeout = 20 * time.Second
)

// bench is a target with everything loaded, as probes use it.
type bench struct {
	target  *Target
	dir     string // of check.yaml, which its paths are relative to
	dry     bool   // for a plan: nothing is read
	base    *url.URL
	profile *selo.Profile
	shape   selo.Shape

	key              accessKey
	retired, sandbox *accessKey // nil when not described
	users            []*user
	burst            *user
	expired          *badCredential
	wrongAudience    *badCredential
	webhookSecret    []byte

	takes             map[*Step]map[string]*expression
	granted           *expression
	accepted, acted   *expression
	tokenLifetime     time.Duration
	responseAge       time.Duration
	rate, burstLength int

	client   *client
	redact   *redactor
	watch    *watch
	listener *listener // what the server under test must not fetch from
	now      func() time.Time
	turns    int
	tell     func(r *request, kind planKind, v values, what string, ideal bool) // nil but in a plan

	early *early // what was asked for at the start, to be compared at the end
}

// accessKey is an access key with its secret as the bytes that forging needs.
type accessKey struct {
	clientID string
	secret   []byte
}

// user is a test user.
type user struct {
	name       string
	cpf        selo.CPF
	values     values   // by name, without credential
	secrets    []string // the names of those that are secret
	credential string   // "" until signed in
	fixed      bool     // the credential was given, so it must not be signed out
}

type badCredential struct {
	credential string
	with       values
}

// Faults are mistakes in a check.yaml, all of them at once. Each names its field.
type Faults []error

func (f *Faults) add(field, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

// Check is a target that can be checked.
type Check struct{ bench *bench }

// New checks a description and loads the secrets that it names; paths are relative to dir. It sends nothing.
func New(ctx context.Context, t *Target, dir string) (*Check, error) {
	return newCheck(ctx, t, dir, false)
}

// NewPlan is New for a Plan alone: it reads no secret and runs no command.
func NewPlan(ctx context.Context, t *Target, dir string) (*Check, error) {
	return newCheck(ctx, t, dir, true)
}

func newCheck(ctx context.Context, t *Target, dir string, dry bool) (*Check, error) {
	b := &bench{target: t, dir: dir, dry: dry, redact: new(redactor), now: time.Now, takes: make(map[*Step]map[string]*expression)}
	var f Faults
	b.load(ctx, &f)
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return &Check{b}, nil
}

func (b *bench) load(ctx context.Context, f *Faults) {
	t := b.target
	base, err := url.Parse(t.Target)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		f.add("target", "must be the base URL of the server, such as https://staging.example.com")
		return
	}
	b.base = base
	if t.Environment != environmentStaging && t.Environment != environmentProduction {
		f.add("environment", "must be staging or production; in production only the harmless probes run")
	}
	b.loadProduct(f)
	if t.Key != nil {
		b.key = b.loadKey(f, "key", t.Key)
	} else if t.Environment != environmentProduction {
		f.add("key", "is required: the checker signs responses as the provider would, with the access key under test")
	}
	for field, k := range map[string]*Key{"other_keys.retired": t.OtherKeys.Retired, "other_keys.sandbox": t.OtherKeys.Sandbox} {
		if k == nil {
			continue
		}
		other := b.loadKey(f, field, k)
		if t.Key != nil && bytes.Equal(other.secret, b.key.secret) {
			f.add(field, "is the access key under test itself")
		}
		if k == t.OtherKeys.Retired {
			b.retired = &other
		} else {
			b.sandbox = &other
		}
	}
	b.loadUsers(ctx, f)
	b.loadSteps(f)
	b.loadBad(ctx, f)
	b.loadWebhook(f)
	b.loadLimits(f)
	if c := t.Callback; c != nil {
		if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			f.add("callback.url", "must be an http or https URL at which the server under test would reach callback.listen")
		}
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			f.add("callback.listen", "must be host:port")
		}
	}
}

func (b *bench) loadProduct(f *Faults) {
	t := b.target
	p, err := selo.LookupProfile(t.Product)
	if err != nil {
		f.add("product", "must be caf/face-liveness, caf/face-authentication or caf/smart-auth")
		return
	}
	if len(p.Shapes) == 0 {
		f.add("product", "%s has no signed response, so there is nothing to check of it", t.Product)
		return
	}
	b.profile, b.shape = p, p.Shapes[0]
	switch web := slices.IndexFunc(p.Shapes, func(s selo.Shape) bool { return s.Name == shapeWeb }); {
	case t.Shape == "" || t.Shape == p.Shapes[0].Name:
	case t.Shape == shapeWeb && web >= 0:
		b.shape = p.Shapes[web]
	default:
		f.add("shape", "must be left out, or for caf/face-liveness be native or web-2d; other shapes carry no time or no person, so no server can grant them by themselves")
	}
	for name := range t.Response {
		if slices.Contains(slices.Concat(b.shape.Decision, b.shape.IDs, []string{b.shape.Subject, b.shape.Policy, "iat", "exp", "iss"}), name) {
			f.add("response."+name, "is what probes change; only other claims stand here")
		}
	}
	if (b.shape.Policy != "") != (t.PolicyID != "") {
		f.add("policy_id", "is required for caf/smart-auth, and for nothing else")
	}
}

func (b *bench) loadKey(f *Faults, field string, k *Key) accessKey {
	id := k.ClientID
	if k.ClientIDEnv != "" {
		id = os.Getenv(k.ClientIDEnv)
	}
	if b.dry && id == "" && k.ClientIDEnv != "" {
		id = "⟨" + field + ".client_id⟩"
	}
	if id == "" || k.ClientID != "" && k.ClientIDEnv != "" {
		switch {
		case k.ClientIDEnv != "" && k.ClientID == "":
			f.add(field+".client_id_env", "the environment has no such variable%s", named(k.ClientIDEnv))
		default:
			f.add(field+".client_id", "is required, or client_id_env: the name of a variable that has it")
		}
	}
	secret := b.loadText(context.Background(), f, field, Source{File: k.SecretFile, Env: k.SecretEnv}, "secret_file", "secret_env")
	if secret != "" {
		b.redact.hideSecret([]byte(secret), "client secret")
	}
	return accessKey{id, []byte(secret)}
}

// loadText reads a secret text and its trailing line break off it. What goes wrong is told without what was read, and
// without the path or name, where somebody may have pasted the secret itself.
func (b *bench) loadText(ctx context.Context, f *Faults, field string, s Source, fileField, envField string) string {
	n := 0
	for _, there := range []bool{s.File != "", s.Env != "", len(s.Command) > 0} {
		if there {
			n++
		}
	}
	if n != 1 {
		f.add(field, "needs exactly one of %s", strings.Trim(strings.Join([]string{fileField, envField, map[bool]string{true: "command"}[fileField == "file"]}, ", "), ", "))
		return ""
	}
	var text []byte
	switch {
	case b.dry:
		return "⟨" + field + "⟩"
	case s.File != "":
		path := s.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(b.dir, path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			f.add(field+"."+fileField, "%v%s", err, shortPath(s.File))
			return ""
		}
		text = data
	case s.Env != "":
		value, ok := os.LookupEnv(s.Env)
		if !ok || value == "" {
			f.add(field+"."+envField, "the environment has no such variable%s", named(s.Env))
			return ""
		}
		text = []byte(value)
	default:
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...) //nolint:gosec // running it is what the field is for
		cmd.Dir, cmd.WaitDelay = b.dir, time.Second
		out, err := cmd.Output()
		if err != nil {
			why := "did not run"
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				why = fmt.Sprintf("ended with status %d", exit.ExitCode())
			}
			f.add(field+".command", "%s", why)
			return ""
		}
		text = out
	}
	text = bytes.TrimRight(text, "\r\n")
	switch {
	case len(text) == 0:
		f.add(field, "is empty")
	case len(text) > maxSource:
		f.add(field, "is longer than %d bytes", maxSource)
		return ""
	}
	return string(text)
}

// shortPath repeats a path that reads like one.
func shortPath(path string) string {
	if len(path) <= 80 && filePath.MatchString(path) {
		return ": " + path
	}
	return ""
}

// filePath is of words of at most 20 letters, which no secret is.
var filePath = regexp.MustCompile(`^(?:\.{0,2}/)?(?:[A-Za-z]{1,20}[-_./])*[A-Za-z]{1,20}$`)

// named repeats the name of a variable that has the form of one, and not what may be a secret in its place.
func named(variable string) string {
	if envName.MatchString(variable) {
		return ": " + variable
	}
	return ""
}

var envName = regexp.MustCompile(`^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$`)

var valueName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`)

// given are the names of values that users cannot have for themselves.
var given = []string{valueUser, valueCPF, valueCredential, valueToken, valueFaceToken, valueResponse, valueProduct, valuePolicy, valueUUID, valueEvent, valueSignature}

func (b *bench) loadUsers(ctx context.Context, f *Faults) {
	t := b.target
	if len(t.Users) < 2 {
		f.add("users", "at least two are required: most of what can go wrong is one user being taken for another")
	}
	for i, u := range t.Users {
		field := fmt.Sprintf("users[%d]", i)
		if u.Name == "" {
			f.add(field+".name", "is required")
		}
		cpf, err := selo.ParseCPF(u.CPF)
		if err != nil {
			f.add(field+".cpf", "must be a CPF with correct check digits, in quotes")
		}
		one := &user{name: u.Name, cpf: cpf, values: values{valueUser: u.Name, valueCPF: u.CPF, valueProduct: t.Product, valuePolicy: t.PolicyID}}
		for _, name := range slices.Sorted(maps.Keys(u.Values)) {
			b.loadName(f, field+".values."+name, name, one.values)
			one.values[name] = u.Values[name]
		}
		for _, name := range slices.Sorted(maps.Keys(u.Secrets)) {
			at := field + ".secrets." + name
			b.loadName(f, at, name, one.values)
			one.values[name] = b.loadText(ctx, f, at, u.Secrets[name], "file", "env")
			b.redact.hideSecret([]byte(one.values[name]), name+" of "+u.Name)
			one.secrets = append(one.secrets, name)
		}
		if u.Credential != nil {
			one.credential, one.fixed = b.loadText(ctx, f, field+".credential", *u.Credential, "file", "env"), true
			b.redact.hideSecret([]byte(one.credential), "credential of "+u.Name)
		} else if len(t.Login) == 0 {
			f.add(field+".credential", "is required where there are no steps of login")
		}
		for _, other := range b.users {
			switch {
			case other.name == one.name:
				f.add(field+".name", "is another user's")
			case err == nil && other.cpf == one.cpf:
				f.add(field+".cpf", "is another user's")
			case one.credential != "" && other.credential == one.credential:
				f.add(field+".credential", "is another user's: check the door that the app comes to, not one behind which a backend speaks for everybody")
			}
		}
		if err == nil {
			b.redact.hideCPF(cpf, u.Name)
		}
		b.users = append(b.users, one)
	}
}

func (b *bench) loadName(f *Faults, field, name string, taken values) {
	_, twice := taken[name]
	switch {
	case !valueName.MatchString(name):
		f.add(field, "a name has lower-case letters, digits and _")
	case slices.Contains(given, name) || twice:
		f.add(field, "this name is taken")
	}
}

func (b *bench) loadBad(ctx context.Context, f *Faults) {
	load := func(field string, c *BadCredential) *badCredential {
		if c == nil {
			return nil
		}
		s := Source{c.File, c.Env, c.Command}
		if len(c.With) > 0 {
			if s.File != "" || s.Env != "" || len(s.Command) > 0 || len(b.target.Login) == 0 {
				f.add(field+".with", "is for login to make the credential, and there must be no other source")
			}
			return &badCredential{with: c.With}
		}
		credential := b.loadText(ctx, f, field, s, "file", "env")
		b.redact.hideSecret([]byte(credential), "bad credential")
		return &badCredential{credential: credential}
	}
	b.expired = load("bad_credentials.expired", b.target.BadCredentials.Expired)
	b.wrongAudience = load("bad_credentials.wrong_audience", b.target.BadCredentials.WrongAudience)
}

func (b *bench) loadWebhook(f *Faults) {
	w := b.target.Webhook
	if w == nil {
		return
	}
	secret := b.loadText(context.Background(), f, "webhook", Source{File: w.SecretFile, Env: w.SecretEnv}, "secret_file", "secret_env")
	b.webhookSecret = []byte(secret)
	b.redact.hideSecret([]byte(secret), "webhook secret")
	env, err := expressionEnv()
	if err != nil {
		f.add("expressions", "%v", err)
		return
	}
	b.loadFlow(f, env, "webhook.request", []Step{w.Request}, []string{valueEvent, valueSignature, valueUUID})
	if strings.TrimSpace(w.Request.Raw) != "{{event}}" || !w.Request.usesIn("headers", valueSignature) {
		f.add("webhook.request", `must have raw: "{{event}}", and {{signature}} in a header, such as %s`, selo.WebhookSignatureHeader)
	}
	if b.accepted, err = compile(env, w.Accepted, cel.BoolType); err != nil {
		f.add("webhook.accepted", "%v; for example status == 200", err)
	}
	if w.Acted != "" {
		if b.acted, err = compile(env, w.Acted, cel.BoolType); err != nil {
			f.add("webhook.acted", "%v", err)
		}
	}
}

func (b *bench) loadLimits(f *Faults) {
	l := b.target.Limits
	duration := func(field, text string, usual, least, most time.Duration) time.Duration {
		if text == "" {
			return usual
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			f.add("limits."+field, "must be a duration from %v to %v, such as %v", least, most, usual)
		}
		return d
	}
	number := func(field string, n, usual, most int) int {
		if n < 0 || n > most {
			f.add("limits."+field, "must be a number from 1 to %d", most)
		}
		if n == 0 {
			return usual
		}
		return n
	}
	b.tokenLifetime = duration("token_lifetime", l.TokenLifetime, defaultTokenLifetime, time.Second, 24*time.Hour)
	b.responseAge = duration("response_age", l.ResponseAge, defaultResponseAge, time.Second, 24*time.Hour)
	rate := defaultRate
	if len(b.remoteHosts()) == 0 {
		rate = defaultLoopbackRate
	}
	b.rate = number("rate", l.Rate, rate, maxRate)
	b.burstLength = number("burst", l.Burst, defaultBurst, maxBurst)
	if l.Burst > 0 && l.Burst < minBurst {
		f.add("limits.burst", "must be %d at least: a limit that nobody could live with is no sign of one", minBurst)
	}
	if len(b.users) > 0 {
		b.burst = b.users[len(b.users)-1]
		if i := slices.IndexFunc(b.users, func(u *user) bool { return u.name == l.BurstUser }); i >= 0 {
			b.burst = b.users[i]
		} else if l.BurstUser != "" {
			f.add("limits.burst_user", "is none of the users")
		}
	}
}

package policy

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

// App is one mobile app: the identity provider whose users may ask, and how its tokens name them.
type App struct {
	// Name identifies the app in records and receipts: 1 to 64 of a-z, 0-9 and "-", unique among apps.
	Name string
	// Issuer is the exact iss of the bearer tokens. Compared byte for byte: a trailing slash matters.
	Issuer string
	// Audience is a value of their aud. The pair (Issuer, Audience) is unique among apps.
	Audience string
	// JWKSURL is where the issuer publishes its keys: HTTPS, or HTTP if the host is localhost or a
	// loopback address. Fetched when first needed. At most one of JWKSURL and JWKSFile is set; with neither
	// the URL is discovered (OpenID Connect Discovery), for which Issuer must be such a URL too.
	JWKSURL string
	// JWKSFile is a file with the same document, read once, by New.
	JWKSFile string
	// CPFClaim says where the user's CPF is, as Claim.Path does: the name of a top-level claim, or a JSON
	// pointer such as /identity/documents/cpf. Empty means "cpf".
	CPFClaim string
	// AuthorizedParties are the clients whose tokens the app takes, exactly as azp or client_id names them.
	// Empty takes the tokens of every client that the issuer gives the Audience.
	AuthorizedParties []string
	// Claims are more claims for rules, by the name that rules know them by: a-z, then at most 63 of a-z,
	// 0-9 and "_", and none of StandardClaims.
	Claims map[string]Claim
	// Introspection says what tokens are that are no JWTs. Nil refuses them.
	Introspection *Introspection
}

// Config is what New needs. The zero value authenticates nobody.
type Config struct {
	Apps []App
	// Previous is what this configuration replaces, or nil. Keys that it fetched and that are needed still
	// are taken over, so that a reload while an issuer is down locks nobody out; they keep its HTTPClient, Now
	// and Log. It may be used on.
	Previous *Authenticator
	// HTTPClient fetches keys and introspects tokens. Nil means a client of our own, which uses no proxy. Of a
	// client that is given only the Transport is used: redirects, cookies and the time limit are always ours.
	HTTPClient *http.Client
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Log gets what is worth knowing and is nobody's error, such as a failed refresh of keys while the
	// last good ones still serve. Nil discards it.
	Log *slog.Logger
}

// Kind is a kind of caller.
type Kind string

// The kinds of caller.
const (
	KindEndUser  Kind = "end_user"
	KindService  Kind = "service"
	KindOperator Kind = "operator"
)

// Caller is who is asking, verified.
type Caller struct {
	Kind Kind
	// App is the name of the app that the caller belongs to; empty for an operator.
	App string
	// Issuer is the issuer of that app's users.
	Issuer string
	// Name is the name of the service or operator; empty for an end user.
	Name string
	// Subject is the end user. Zero for a service, which says in each request whom it speaks for.
	Subject selo.Subject
	// CPF is the end user's, from the verified token. Zero when the token has no CPF claim, and for a
	// service.
	CPF selo.CPF
	// CPFFault says why the token's CPF claim is no CPF; nil when it is one, or is absent. The caller is
	// who they are all the same, and is refused by name where a CPF is needed.
	CPFFault *selo.Error
	// Claims are the standard claims that the token has and the ones that App.Claims names, of the Go types
	// that go with ClaimType. The map may be changed, the lists in it may not. Nil when there are none.
	Claims map[string]any
	// Scopes is what a service or operator may do. Empty for an end user.
	Scopes []string
	// MapSubjects says that a service is trusted to speak for the subjects of its app's issuer, so that a session
	// it opens and one the user opens are the same subject's. Otherwise its subjects are its own, in the namespace
	// "service:NAME", and it can neither see nor supersede what the issuer's users do.
	MapSubjects bool
}

// Has reports whether the caller was given a scope. An end user has none: what a user may do follows from
// being the subject, not from a scope.
func (c *Caller) Has(scope string) bool { return slices.Contains(c.Scopes, scope) }

// SubjectIssuer is the issuer of every subject that this caller may name: the app's issuer for an end user
// and for a service trusted with it, otherwise the service's own namespace, "service:NAME". No app can
// have an issuer of that form.
func (c *Caller) SubjectIssuer() string {
	if c.Kind == KindService && !c.MapSubjects {
		return serviceNamespace + c.Name
	}
	return c.Issuer
}

// serviceNamespace begins the issuer of subjects that are only some service's.
const serviceNamespace = "service:"

const (
	maxName = 64
	// maxScheme is the length of "Bearer ", the most that a credential may be longer than a token.
	maxScheme = len("Bearer ")
)

// Authenticator turns credentials into callers. It may be used by many goroutines.
type Authenticator struct {
	apps    []*app
	remotes []*remoteKeys // of the apps, each once
	opaque  *introspector // nil: no opaque tokens
	cache   cache
	store   *store.Store // nil before UseStore
	now     func() time.Time
	log     *slog.Logger

	usedMu sync.Mutex
	used   map[string]time.Time // credential to its last use, not yet written
}

// app is an App that was checked, with its issuer's keys.
type app struct {
	App
	keys   keySource
	places []place
}

// New checks the whole configuration and reports every mistake in it at once. Keys in files are read here
// and must be good; keys at URLs are not asked for until a token needs them. ctx is for this call only.
func New(ctx context.Context, c Config) (*Authenticator, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	client := newClient(c.HTTPClient, 0) // one fetch in ten minutes needs no idle connection
	a := &Authenticator{now: c.Now, log: c.Log, used: make(map[string]time.Time)}
	var errs []error

	byName := make(map[string]*app)
	byTarget := make(map[[2]string]string)
	for _, configured := range c.Apps {
		one, wrong := checkApp(configured)
		errs = append(errs, wrong...)
		if one.JWKSFile == "" {
			one.keys = a.remote(c.Previous, &remoteKeys{origin: origin{one.Issuer, one.JWKSURL}, client: client, now: c.Now, log: c.Log})
		} else {
			keys, err := readKeyFile(ctx, one.JWKSFile, one.Name, c.Log)
			if err != nil {
				errs = append(errs, fmt.Errorf("app %q: %w", one.Name, err))
			}
			one.keys = keys
		}
		if byName[one.Name] != nil {
			errs = append(errs, fmt.Errorf("app %q: there are two of this name", one.Name))
		}
		byName[one.Name] = one
		target := [2]string{one.Issuer, one.Audience}
		if other, taken := byTarget[target]; taken && one.Issuer != "" && one.Audience != "" {
			errs = append(errs, fmt.Errorf("app %q: has the issuer and audience of app %q", one.Name, other))
		}
		byTarget[target] = one.Name
		a.apps = append(a.apps, one)
	}

	var err error
	if a.opaque, err = newIntrospector(a.apps, newClient(c.HTTPClient, maxIntrospections), c.Now); err != nil {
		errs = append(errs, err)
	}
	if err = errors.Join(errs...); err != nil {
		return nil, err
	}
	return a, nil
}

// checkApp returns an app without keys, and every mistake in its configuration.
func checkApp(c App) (*app, []error) {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("app %q: "+format, append([]any{c.Name}, args...)...))
	}
	if !isName(c.Name) {
		wrong("name must be 1 to %d of a-z, 0-9 and -", maxName)
	}
	switch {
	case !isText(c.Issuer):
		wrong("issuer must be 1 to %d bytes without control characters", maxText)
	case strings.HasPrefix(c.Issuer, serviceNamespace):
		wrong("issuer must not begin with %q, where services have their own subjects", serviceNamespace)
	}
	if !isText(c.Audience) {
		wrong("audience must be 1 to %d bytes without control characters", maxText)
	}
	switch {
	case c.JWKSURL == "" && c.JWKSFile == "":
		if err := checkDiscovery(c.Issuer); err != nil {
			wrong("%w", err)
		}
	case c.JWKSURL != "" && c.JWKSFile != "":
		wrong("only one of jwks_url and jwks_file may be set")
	case c.JWKSURL != "":
		if err := checkKeyURL(c.JWKSURL); err != nil {
			errs = append(errs, fmt.Errorf("app %q: jwks_url %w", c.Name, err))
		}
	}
	c.AuthorizedParties = slices.Clone(c.AuthorizedParties)
	for i, party := range c.AuthorizedParties {
		switch {
		case !isText(party):
			wrong("authorized_parties[%d] must be 1 to %d bytes without control characters", i, maxText)
		case slices.Contains(c.AuthorizedParties[:i], party):
			wrong("authorized_parties[%d] is there twice", i)
		}
	}
	if c.Introspection != nil {
		for _, err := range c.Introspection.check() {
			wrong("%w", err)
		}
	}
	c.CPFClaim = cmp.Or(c.CPFClaim, "cpf")
	places, mistakes := checkPlaces(&c)
	for _, err := range mistakes {
		wrong("%w", err)
	}
	return &app{App: c, places: places}, errs
}

// UseStore says where the credentials of services and operators are. Until then nobody has one: it must come before
// the first request.
func (a *Authenticator) UseStore(s *store.Store) { a.store = s }

// AuthenticateCertificate says which service shows this client certificate, on a request without an
// Authorization header. TLS has verified it against our certificate authorities. It returns the caller or a
// *selo.Error, never both.
func (a *Authenticator) AuthenticateCertificate(ctx context.Context, cert *x509.Certificate) (*Caller, error) {
	if a.store == nil {
		return nil, unauthenticated("client certificate", "is of no service")
	}
	caller, refused := a.certificate(ctx, cert)
	if refused != nil {
		return nil, refused
	}
	return caller, nil
}

// Authenticate says who sends this value of the Authorization header. The request must have had exactly
// one: of two, the one that we read need not be the one that a proxy before us judged. It returns the
// caller or a *selo.Error, never both.
//
// It may wait for the issuer, at most 5 seconds for its keys and as long for an introspection; ctx ends the
// waiting but not the fetch, which other requests share.
func (a *Authenticator) Authenticate(ctx context.Context, authorization string) (*Caller, error) {
	caller, refused := a.authenticate(ctx, authorization)
	if refused != nil {
		return nil, refused // not returned directly: a nil *selo.Error is no nil error
	}
	return caller, nil
}

func (a *Authenticator) authenticate(ctx context.Context, authorization string) (*Caller, *selo.Error) {
	if authorization == "" {
		return nil, unauthenticated("", "is missing; want Bearer and a token or an API key")
	}
	if len(authorization) > maxScheme+selo.MaxTokenSize {
		return nil, unauthenticated("", fmt.Sprintf("is longer than %d bytes", maxScheme+selo.MaxTokenSize))
	}
	scheme, credential, _ := strings.Cut(authorization, " ")
	if !asciiEqualFold(scheme, "bearer") {
		return nil, unauthenticated("", "want the scheme Bearer")
	}
	if a.opaque.isOpaque(credential) {
		return a.token(ctx, credential, true)
	}
	// Before anything looks at it: no second space, comma, line break, padding or byte beyond ASCII.
	if credential == "" || strings.ContainsFunc(credential, func(r rune) bool { return !isBase64URL(r) && r != '.' }) {
		return nil, unauthenticated("", "want Bearer, one space, and a token or an API key with nothing around it")
	}
	if strings.HasPrefix(credential, apiKeyPrefix) {
		return a.apiKey(ctx, credential)
	}
	return a.token(ctx, credential, false)
}

// unavailable refuses because of something that is not the caller's fault, and that the caller is not told.
func unavailable(detail string, cause error) *selo.Error {
	e := unauthenticated("", detail)
	e.Err = cause
	return e
}

// hasPassed is said of the exp of a token that was verified, and of nothing else.
const hasPassed = "has passed"

// Expired reports whether Authenticate refused a genuine token because its time is over: that is no attack, and
// happens to every user.
func Expired(err error) bool {
	var e *selo.Error
	return errors.As(err, &e) && e.Reason == selo.ReasonCallerUnauthenticated && e.Field == "exp" && e.Detail == hasPassed
}

// unauthenticated refuses for the sake of one claim or header parameter, or of the whole credential.
func unauthenticated(field, detail string) *selo.Error {
	return &selo.Error{
		Reason: selo.ReasonCallerUnauthenticated,
		Field:  cmp.Or(field, "authorization"),
		Detail: detail,
	}
}

// asciiEqualFold is strings.EqualFold without Unicode's other letters that fold to ours, such as U+017F.
func asciiEqualFold(s, lower string) bool {
	return len(s) == len(lower) && strings.EqualFold(s, lower)
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
	})
}

// maxText bounds what names somebody: subjects from tokens, issuers and audiences from the configuration.
const maxText = 255

func isText(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

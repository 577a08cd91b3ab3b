package policy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

// The scopes of a service. There are no others.
const (
	ScopeSessionsOpen = "sessions:open" // open sessions and post responses for the app's users
	ScopeSessionsRead = "sessions:read" // read the state and the receipt of the app's sessions
)

// The scopes of an operator, each with everything that those before it may do. None opens a session.
const (
	ScopeViewer   = "viewer"   // look: at credentials, and at why a session was opened or refused
	ScopeOperator = "operator" // revoke the credential of a service
	ScopeAdmin    = "admin"    // add credentials, and revoke those of operators
)

// Scopes returns the scopes that a kind of credential may have.
func Scopes(kind store.CredentialKind) []string {
	if kind == store.CredentialOperator {
		return []string{ScopeViewer, ScopeOperator, ScopeAdmin}
	}
	return []string{ScopeSessionsOpen, ScopeSessionsRead}
}

// An API key is a prefix that tells it from a JWT and lets secret scanners find one that was committed by
// accident, 260 random bits, and a checksum by which a scanner, or a typing mistake, can be told without
// asking anybody: as a regular expression, selo_(sk|op)_[A-Z2-7]{52}[0-9a-f]{8}.
const (
	apiKeyPrefix   = "selo_"
	servicePrefix  = "selo_sk_"
	operatorPrefix = "selo_op_"
)

var apiKeyForm = regexp.MustCompile(`^selo_(?:sk|op)_[A-Z2-7]{52}[0-9a-f]{8}$`)

// NewAPIKey makes an API key. It is shown once, to whoever asked for it; only its hash is kept.
func NewAPIKey(kind store.CredentialKind) string {
	prefix := servicePrefix
	if kind == store.CredentialOperator {
		prefix = operatorPrefix
	}
	key := prefix + rand.Text() + rand.Text()
	return key + checksum(key)
}

// checksum is the CRC-32 (IEEE) of everything before it, in lower-case hex.
func checksum(key string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(key))) }

func isAPIKey(key string) bool {
	return apiKeyForm.MatchString(key) && checksum(key[:len(key)-8]) == key[len(key)-8:]
}

func isBase64URL(r rune) bool {
	return 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// HashAPIKey returns the SHA-256 of an API key, all that is kept of it, and the name by which its credential
// is listed and revoked. A plain hash is enough, because 260 random bits cannot be guessed however fast it
// is. The error does not repeat the key.
func HashAPIKey(key string) (hash []byte, id string, _ error) {
	if !isAPIKey(key) {
		return nil, "", &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "api key",
			Detail: "must be selo_sk_ or selo_op_, 52 of A-Z and 2-7, and a checksum; part of it is missing or mistyped"}
	}
	sum := sha256.Sum256([]byte(key))
	return sum[:], hex.EncodeToString(sum[:6]), nil
}

// apiKey authenticates whoever has an API key. The store is asked each time, so a key that was revoked
// is refused from that moment on, wherever that was done.
func (a *Authenticator) apiKey(ctx context.Context, key string) (*Caller, *selo.Error) {
	hash, _, err := HashAPIKey(key)
	if err != nil {
		return nil, unauthenticated("", "is not a whole API key")
	}
	if a.store == nil {
		return nil, unauthenticated("", "nobody has this API key")
	}
	ctx, cancel := lookingUp(ctx)
	defer cancel()
	c, err := a.store.FindCredential(ctx, hash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, unauthenticated("", "nobody has this API key")
	case err != nil:
		return nil, cannotLook(err)
	}
	if (c.Kind == store.CredentialOperator) != strings.HasPrefix(key, operatorPrefix) {
		return nil, unauthenticated("", "nobody has this API key")
	}
	if why := a.ended(c); why != "" {
		return nil, unauthenticated("", "is an API key that "+why)
	}
	return a.holder(c)
}

// certificate authenticates the service that shows a client certificate, which TLS has verified already:
// that it is of our certificate authority and that its holder has the key. Exactly one credential must be of
// one of its names.
func (a *Authenticator) certificate(ctx context.Context, cert *x509.Certificate) (*Caller, *selo.Error) {
	names := CertificateNames(cert)
	if len(names) == 0 {
		return nil, unauthenticated("client certificate", "has no DNS name and no URI")
	}
	ctx, cancel := lookingUp(ctx)
	defer cancel()
	found, err := a.store.FindCertificate(ctx, names)
	if err != nil {
		return nil, cannotLook(err)
	}
	found = slices.DeleteFunc(found, func(c *store.Credential) bool { return a.ended(c) != "" })
	if len(found) != 1 {
		return nil, unauthenticated("client certificate", "has a DNS name or URI of no service, or of several")
	}
	return a.holder(found[0])
}

// CertificateNames are the names of a certificate that a credential may be for: its DNS names and URIs, as
// dns:NAME and uri:URI. Its subject is not looked at.
func CertificateNames(cert *x509.Certificate) (names []string) {
	for _, name := range cert.DNSNames {
		names = append(names, "dns:"+strings.ToLower(name))
	}
	for _, uri := range cert.URIs {
		names = append(names, "uri:"+uri.String())
	}
	return names
}

// lookingUp is the context of a question to the store: a caller who leaves must still be on record as who they are.
func lookingUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
}

// lookupTimeout bounds a question to the store.
const lookupTimeout = 2 * time.Second

func cannotLook(err error) *selo.Error {
	e := unauthenticated("", "cannot be looked up now")
	e.Err = fmt.Errorf("looking up a credential: %w", err)
	return e
}

// ended says why a credential is none any more, or "".
func (a *Authenticator) ended(c *store.Credential) string {
	switch {
	case !c.RevokedAt.IsZero():
		return "was revoked"
	case !c.ExpiresAt.IsZero() && !a.now().Before(c.ExpiresAt):
		return "has expired"
	}
	return ""
}

// holder makes the caller of a credential, and notes its use.
func (a *Authenticator) holder(c *store.Credential) (*Caller, *selo.Error) {
	caller := &Caller{Name: c.Name, Scopes: c.Scopes}
	switch c.Kind {
	case store.CredentialOperator:
		caller.Kind, caller.Scopes = KindOperator, operatorScopes(c.Scopes)
	case store.CredentialService:
		one := slices.IndexFunc(a.apps, func(one *app) bool { return one.Name == c.App })
		if one < 0 {
			return nil, unauthenticated("", "is of a service whose app is not configured any more")
		}
		caller.Kind, caller.App, caller.Issuer, caller.MapSubjects = KindService, c.App, a.apps[one].Issuer, c.MapSubjects
	default:
		return nil, unauthenticated("", "is of a kind that is not known")
	}
	a.usedMu.Lock()
	defer a.usedMu.Unlock()
	a.used[c.ID] = a.now()
	return caller, nil
}

// Run writes when credentials were used last, every few seconds until ctx ends, and once more then.
func (a *Authenticator) Run(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.writeUses(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			a.writeUses(last)
			return
		}
	}
}

func (a *Authenticator) writeUses(ctx context.Context) {
	a.usedMu.Lock()
	used := maps.Clone(a.used)
	clear(a.used)
	a.usedMu.Unlock()
	if len(used) == 0 {
		return
	}
	if err := a.store.CredentialsUsed(ctx, used); err != nil {
		a.log.WarnContext(ctx, "when credentials were used last is not written yet", "error", err)
		a.usedMu.Lock()
		defer a.usedMu.Unlock()
		for id, at := range used {
			if at.After(a.used[id]) {
				a.used[id] = at
			}
		}
	}
}

// operatorScopes adds what the scopes of an operator contain.
func operatorScopes(given []string) []string {
	all := Scopes(store.CredentialOperator)
	most := -1
	for _, scope := range given {
		most = max(most, slices.Index(all, scope))
	}
	return all[:most+1]
}

// LocalOperator is whoever may run a command of this program beside its database, which is everything that an
// administrator could be given.
func LocalOperator() *Caller {
	return &Caller{Kind: KindOperator, Name: "local", Scopes: Scopes(store.CredentialOperator)}
}

package policy

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/selo-id/selo"
)

// The scopes a Service can have. There are no others.
const (
	ScopeSessionsOpen = "sessions:open" // open sessions and post responses for the app's users
	ScopeSessionsRead = "sessions:read" // read the state and the receipt of the app's sessions
)

const (
	// apiKeyPrefix tells an API key from a JWT, which cannot begin so, and lets secret scanners find one
	// that was committed by accident.
	apiKeyPrefix = "selo_sk_"

	minAPIKeyRest = 32
	maxAPIKeyRest = 256
)

// Service is a customer's backend, which authenticates with an API key.
type Service struct {
	// Name identifies the service in records: 1 to 64 of a-z, 0-9 and "-", unique among services.
	Name string
	// App is the name of the one app whose users it may speak for.
	App string
	// KeySHA256 is the SHA-256 of the API key, 32 bytes, as HashAPIKey returns it; unique. The key itself
	// is never stored. A plain hash is enough because NewAPIKey makes 256 random bits, which cannot be
	// guessed however fast the hash is. Trap: "echo KEY | sha256sum" hashes a line break too.
	KeySHA256 []byte
	// Scopes is what it may do: at least one of ScopeSessionsOpen and ScopeSessionsRead.
	Scopes []string
	// MapSubjects trusts the service to speak for the subjects of its app's issuer, so that a session it
	// opens and one the user opens are the same subject's. Otherwise its subjects are its own, in the
	// namespace "service:NAME", and it can neither see nor supersede what the issuer's users do.
	MapSubjects bool
}

// service is a Service that was checked, with its app resolved.
type service struct {
	hash   [sha256.Size]byte
	caller Caller
}

// NewAPIKey makes an API key of 256 random bits: selo_sk_ and 43 characters of base64url. It is shown to
// the operator once; only its hash is kept.
func NewAPIKey() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("making API key: %w", err)
	}
	return apiKeyPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// HashAPIKey checks that key has the shape of an API key (selo_sk_ followed by 32 to 256 of A-Z, a-z, 0-9,
// "_" and "-") and returns its SHA-256 for Service.KeySHA256. The error is a *selo.Error with
// selo.ReasonRequestInvalid and does not repeat the key.
func HashAPIKey(key string) ([]byte, error) {
	if !isAPIKey(key) {
		return nil, &selo.Error{
			Reason: selo.ReasonRequestInvalid,
			Field:  "api key",
			Detail: fmt.Sprintf("must be %s followed by %d to %d of A-Z, a-z, 0-9, _ and -", apiKeyPrefix, minAPIKeyRest, maxAPIKeyRest),
		}
	}
	sum := sha256.Sum256([]byte(key))
	return sum[:], nil
}

func isAPIKey(key string) bool {
	rest, ok := strings.CutPrefix(key, apiKeyPrefix)
	if !ok || len(rest) < minAPIKeyRest || len(rest) > maxAPIKeyRest {
		return false
	}
	return !strings.ContainsFunc(rest, func(r rune) bool { return !isBase64URL(r) })
}

func isBase64URL(r rune) bool {
	return 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// service finds the service that has this API key. Every service is compared, in constant time, so that
// the time taken says neither whether a key came close nor which service it belongs to.
func (a *Authenticator) service(key string) (*Caller, *selo.Error) {
	if !isAPIKey(key) {
		return nil, unauthenticated("", "is not a whole API key")
	}
	sum := sha256.Sum256([]byte(key))
	found := -1
	for i := range a.services {
		equal := subtle.ConstantTimeCompare(sum[:], a.services[i].hash[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return nil, unauthenticated("", "no service has this API key")
	}
	caller := a.services[found].caller
	caller.Scopes = slices.Clone(caller.Scopes)
	return &caller, nil
}

// checkService returns s ready for use, or every mistake in it.
func checkService(s Service, apps map[string]*app) (service, []error) {
	var out service
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("service %q: "+format, append([]any{s.Name}, args...)...))
	}
	if !isName(s.Name) {
		wrong("name must be 1 to %d of a-z, 0-9 and -", maxName)
	}
	owner := apps[s.App]
	if owner == nil {
		wrong("there is no app %q", s.App)
	} else {
		out.caller.Issuer = owner.Issuer
	}
	if len(s.KeySHA256) != sha256.Size {
		wrong("key_sha256 must be the %d bytes of a SHA-256, not %d", sha256.Size, len(s.KeySHA256))
	} else {
		copy(out.hash[:], s.KeySHA256)
	}
	if len(s.Scopes) == 0 {
		wrong("scopes must name at least one of %s and %s", ScopeSessionsOpen, ScopeSessionsRead)
	}
	for i, scope := range s.Scopes {
		switch {
		case scope != ScopeSessionsOpen && scope != ScopeSessionsRead:
			wrong("scopes[%d] is unknown; there are %s and %s", i, ScopeSessionsOpen, ScopeSessionsRead)
		case slices.Contains(s.Scopes[:i], scope):
			wrong("scopes[%d] is there twice", i)
		}
	}
	out.caller.Kind = KindService
	out.caller.App = s.App
	out.caller.Name = s.Name
	out.caller.Scopes = slices.Clone(s.Scopes)
	out.caller.MapSubjects = s.MapSubjects
	return out, errs
}

// Package keyring holds the access keys of the provider and the peppers of our pseudonyms, and chooses
// which one may be used for what.
//
// They are in the store, sealed under a key-encryption key (package seal). Open unseals them, and Refresh follows
// what other processes change. NewRing and NewPeppers make fixed ones.
//
// An access key mints only while it is active. A retiring key still verifies the sessions that it minted,
// until its date; a revoked one does nothing. For a product the least powerful key is chosen: the one that
// is activated for the fewest products. Sandbox and production keys never stand in for each other.
package keyring

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/selo-id/selo"
)

// State of an access key.
type State string

// The states, in the order a key goes through them.
const (
	Prepared State = "prepared" // known, not used yet
	Active   State = "active"   // mints and verifies
	Retiring State = "retiring" // verifies what it minted, until a date
	Revoked  State = "revoked"  // does nothing
)

// Key is an access key with what the provider's console says of it.
type Key struct {
	selo.AccessKey
	Products []string  // that it is activated for
	State    State     // "" is Active
	Until    time.Time // from when a retiring key stops; required for Retiring only

	Name         string    // for people
	SharedReason string    // why it is for more than one product
	ActivatedAt  time.Time // among equals the newest mints
}

// Ring is a set of access keys. It is safe for concurrent use.
type Ring struct {
	now    atomic.Pointer[[]Key] // of this moment; never changed in place
	source *source               // nil: the set is fixed
}

func (r *Ring) keys() []Key { return *r.now.Load() }

// All returns the keys of this moment.
func (r *Ring) All() []Key { return slices.Clone(r.keys()) }

// NewRing checks the keys and reports every contradiction at once.
func NewRing(keys []Key) (*Ring, error) {
	var errs []error
	keys = slices.Clone(keys)
	seen := make(map[string]bool)
	for i := range keys {
		k := &keys[i]
		bad := func(format string, args ...any) {
			// By number: in a configuration with mistakes, what stands for the client ID may be the secret.
			errs = append(errs, fmt.Errorf("access_keys[%d].%s", i, fmt.Sprintf(format, args...)))
		}
		if k.State == "" {
			k.State = Active
		}
		if k.ClientID == "" || len(k.ClientID) > 256 || strings.ContainsFunc(k.ClientID, func(c rune) bool { return c <= ' ' || c > '~' }) {
			bad("client_id: must be 1 to 256 visible ASCII characters")
		}
		if seen[k.ClientID] {
			bad("client_id: is listed twice")
		}
		seen[k.ClientID] = true
		if k.Secret.IsZero() {
			bad("secret: is missing")
		}
		for j := range keys[:i] {
			// Between environments it would make what the sandbox signs good in production.
			if !k.Secret.IsZero() && k.Secret.Equal(keys[j].Secret) {
				bad("secret: is that of access_keys[%d]; every key has its own", j)
			}
		}
		if k.Environment != selo.EnvironmentProduction && k.Environment != selo.EnvironmentSandbox {
			bad("environment: must be production or sandbox")
		}
		if len(k.Products) == 0 {
			bad("products: list what the provider activated this key for")
		}
		for j, p := range k.Products {
			if _, err := selo.LookupProfile(p); err != nil {
				bad("products[%d]: %v", j, err)
			}
			if slices.Contains(k.Products[:j], p) {
				bad("products[%d]: is listed twice", j)
			}
		}
		switch k.State {
		case Prepared, Active, Revoked:
			if !k.Until.IsZero() {
				bad("until: is only for a retiring key")
			}
		case Retiring:
			if k.Until.IsZero() {
				bad("until: a retiring key needs the date at which it stops")
			}
		default:
			bad("state: must be prepared, active, retiring or revoked")
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	r := &Ring{}
	r.now.Store(&keys)
	return r, nil
}

// ForMint returns the active key of the environment that is activated for the fewest products and covers
// this one; among equals the one activated last, so that a new key takes over from the one before. With declared, which
// are the products that the app may run, a key that can do more than those is refused, and so is one for several products
// that does not say why it is shared; nil takes them. The error is an *selo.Error with ReasonKeyUnavailable.
func (r *Ring) ForMint(env selo.Environment, product string, declared []string) (selo.AccessKey, error) {
	var best *Key
	tooMuch := ""
	keys := r.keys()
	for i := range keys {
		k := &keys[i]
		if k.State != Active || k.Environment != env || !slices.Contains(k.Products, product) {
			continue
		}
		if why := k.tooPowerful(declared); why != "" {
			tooMuch = "; access key " + k.label() + " " + why + ", which strict_keys does not allow"
			continue
		}
		if best == nil || len(k.Products) < len(best.Products) ||
			len(k.Products) == len(best.Products) && !k.ActivatedAt.Before(best.ActivatedAt) {
			best = k
		}
	}
	if best == nil {
		return selo.AccessKey{}, &selo.Error{Reason: selo.ReasonKeyUnavailable, Field: "product",
			Detail: fmt.Sprintf("no active %s access key is activated for %s%s", env, product, tooMuch)}
	}
	return best.AccessKey, nil
}

// tooPowerful says what is wrong with minting with a key for an app that may run the declared products, or "".
func (k *Key) tooPowerful(declared []string) string {
	if declared == nil {
		return ""
	}
	for _, p := range k.Products {
		if !slices.Contains(declared, p) {
			return "is also activated for " + p + ", which the app does not run"
		}
	}
	if len(k.Products) > 1 && k.SharedReason == "" {
		return fmt.Sprintf("is activated for %d products without a reason", len(k.Products))
	}
	return ""
}

// Again returns the key that minted a token, if it may still mint it: the same token once more, for a reply that
// got lost. The error is an *selo.Error with ReasonKeyUnavailable.
func (r *Ring) Again(env selo.Environment, clientID, product string) (selo.AccessKey, error) {
	keys := r.keys()
	for i := range keys {
		k := &keys[i]
		if k.ClientID == clientID && k.Environment == env && k.State == Active && slices.Contains(k.Products, product) {
			return k.AccessKey, nil
		}
	}
	return selo.AccessKey{}, &selo.Error{Reason: selo.ReasonKeyUnavailable, Detail: "the access key that made this session no longer mints; open a new one"}
}

// ForVerify returns the key that minted a session, if it may still verify responses of the product. The error is an *selo.Error
// with ReasonKeyRevoked.
func (r *Ring) ForVerify(env selo.Environment, clientID, product string, now time.Time) (selo.AccessKey, error) {
	keys := r.keys()
	for i := range keys {
		k := &keys[i]
		if k.ClientID != clientID || k.Environment != env || !slices.Contains(k.Products, product) {
			continue
		}
		if k.State == Active || k.State == Retiring && now.Before(k.Until) {
			return k.AccessKey, nil
		}
	}
	return selo.AccessKey{}, &selo.Error{Reason: selo.ReasonKeyRevoked, Detail: "the access key that made this session may no longer verify"}
}

// Environment returns the environment of the access key that has this secret, or "" when none has.
func (r *Ring) Environment(s selo.Secret) selo.Environment {
	for _, k := range r.keys() {
		if k.Secret.Equal(s) {
			return k.Environment
		}
	}
	return ""
}

// label names a key for people. A client ID that does not look like one may be the secret, by mistake.
func (k *Key) label() string {
	switch {
	case cafClientID.MatchString(k.ClientID):
		return k.ClientID
	case k.Name != "":
		return "named " + k.Name
	}
	return "(hidden, since its client ID is not of Caf's form)"
}

// LooksLikeClientID reports whether a text has the form of Caf's client IDs.
func LooksLikeClientID(text string) bool { return cafClientID.MatchString(text) }

// cafClientID is what all client IDs looked like that were seen; Caf does not promise it.
var cafClientID = regexp.MustCompile(`^[0-9a-f]{24}$`)

// warnBefore is how long before a retiring key stops it is warned of.
const warnBefore = 7 * 24 * time.Hour

// Warnings says what works at a time and should not stay so.
func (r *Ring) Warnings(now time.Time) []string {
	var all []string
	for _, k := range r.keys() {
		warn := func(format string, args ...any) {
			all = append(all, fmt.Sprintf("access key %s (%s): ", k.label(), k.Environment)+fmt.Sprintf(format, args...))
		}
		if k.State == Revoked {
			continue
		}
		if k.Secret.Weak() {
			warn("the secret is shorter than %d bytes; ask the provider for a new one", selo.WeakSecretSize)
		}
		if !cafClientID.MatchString(k.ClientID) {
			warn("the client ID does not look like Caf's, 24 of 0-9 and a-f; it is in every token, so make sure that it is not the secret")
		}
		if len(k.Products) > 1 {
			reason := "without a reason"
			if k.SharedReason != "" {
				reason = "because: " + k.SharedReason
			}
			warn("is activated for %d products, %s; one key per product limits what a leak costs", len(k.Products), reason)
		}
		if k.State == Retiring {
			switch left := k.Until.Sub(now); {
			case left <= 0:
				warn("has retired since %s; revoke it", k.Until.UTC().Format(time.RFC3339))
			case left < warnBefore:
				warn("stops verifying at %s", k.Until.UTC().Format(time.RFC3339))
			}
		}
	}
	return all
}

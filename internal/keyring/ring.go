// Package keyring holds the access keys of the provider and the peppers of our pseudonyms, and chooses
// which one may be used for what.
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
}

// Ring is a fixed set of access keys.
type Ring struct {
	keys []Key
}

// NewRing checks the keys and reports every contradiction at once.
func NewRing(keys []Key) (*Ring, error) {
	var errs []error
	r := &Ring{keys: slices.Clone(keys)}
	seen := make(map[string]bool)
	for i := range r.keys {
		k := &r.keys[i]
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
		for j := range r.keys[:i] {
			// Between environments it would make what the sandbox signs good in production.
			if !k.Secret.IsZero() && k.Secret.Equal(r.keys[j].Secret) {
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
	return r, nil
}

// ForMint returns the active key of the environment that is activated for the fewest products and covers
// this one; among equals, the one listed last, so that a new key takes over from the one above it. The
// error is an *selo.Error with ReasonKeyUnavailable.
func (r *Ring) ForMint(env selo.Environment, product string) (selo.AccessKey, error) {
	var best *Key
	for i := range r.keys {
		k := &r.keys[i]
		if k.State == Active && k.Environment == env && slices.Contains(k.Products, product) &&
			(best == nil || len(k.Products) <= len(best.Products)) {
			best = k
		}
	}
	if best == nil {
		return selo.AccessKey{}, &selo.Error{Reason: selo.ReasonKeyUnavailable, Field: "product",
			Detail: fmt.Sprintf("no active %s access key is activated for %s", env, product)}
	}
	return best.AccessKey, nil
}

// Again returns the key that minted a token, if it may still mint it: the same token once more, for a reply that
// got lost. The error is an *selo.Error with ReasonKeyUnavailable.
func (r *Ring) Again(env selo.Environment, clientID, product string) (selo.AccessKey, error) {
	for i := range r.keys {
		k := &r.keys[i]
		if k.ClientID == clientID && k.Environment == env && k.State == Active && slices.Contains(k.Products, product) {
			return k.AccessKey, nil
		}
	}
	return selo.AccessKey{}, &selo.Error{Reason: selo.ReasonKeyUnavailable, Detail: "the access key that made this session no longer mints; open a new one"}
}

// ForVerify returns the key that minted a session, if it may still verify responses of the product. The error is an *selo.Error
// with ReasonKeyRevoked.
func (r *Ring) ForVerify(env selo.Environment, clientID, product string, now time.Time) (selo.AccessKey, error) {
	for i := range r.keys {
		k := &r.keys[i]
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
	for _, k := range r.keys {
		if k.Secret.Equal(s) {
			return k.Environment
		}
	}
	return ""
}

// cafClientID is what all client IDs looked like that were seen; Caf does not promise it.
var cafClientID = regexp.MustCompile(`^[0-9a-f]{24}$`)

// Warnings says what works and should not stay so.
func (r *Ring) Warnings() []string {
	var all []string
	for i, k := range r.keys {
		if k.State == Revoked {
			continue
		}
		if k.Secret.Weak() {
			all = append(all, fmt.Sprintf("access_keys[%d].secret_file: the secret is shorter than %d bytes; ask the provider for a new one", i, selo.WeakSecretSize))
		}
		if !cafClientID.MatchString(k.ClientID) {
			all = append(all, fmt.Sprintf("access_keys[%d].client_id: does not look like Caf's, 24 of 0-9 and a-f; it is in every token, so make sure that it is not the secret", i))
		}
		if len(k.Products) > 1 {
			all = append(all, fmt.Sprintf("access_keys[%d].products: the key is activated for %d; one key per product limits what a leak costs", i, len(k.Products)))
		}
	}
	return all
}

package policy

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selo-id/selo"
)

const (
	// maxCached is how many verified tokens are remembered.
	maxCached = 8192
	// jwtFor and opaqueFor are how long: a JWT cannot be withdrawn but with its key, which is asked for each
	// time, while an opaque token can be at any time.
	jwtFor    = time.Minute
	opaqueFor = 10 * time.Second
	// recogniseFor is how long an opaque token without exp is recognised.
	recogniseFor = 15 * time.Minute
)

// verified is a token that was found good, and what has to hold for it to be so still.
type verified struct {
	caller *Caller   // nobody else's: what is given out is a copy
	at     time.Time // by which its claims were judged
	exp    time.Time // zero: none
	keys   keySource // of a JWT; nil for an opaque token
	kid    string
	key    publicKey
}

// current reports whether the times allow it. Neither nbf nor iat is looked at again: they were behind at, or
// ahead by no more than the skew, and now is not before at.
func (v *verified) current(now time.Time) bool {
	life := jwtFor
	if v.keys == nil {
		life = opaqueFor
	}
	age := now.Sub(v.at)
	return age >= 0 && age < life && (v.exp.IsZero() || now.Before(v.exp))
}

// recognised reports whether the token was found good before and can still be: to be let past a throttle takes less
// than to be let in.
func (v *verified) recognised(now time.Time) bool {
	until := v.exp
	if until.IsZero() {
		until = v.at.Add(recogniseFor)
	}
	return now.Before(until)
}

// cache remembers verified tokens by their SHA-256, in two generations: when the young one has half of what
// may be there it becomes the old one, and the old one is dropped. Refusals are not remembered.
type cache struct {
	mu           sync.Mutex
	young, old   map[[sha256.Size]byte]*verified
	hits, misses atomic.Uint64
}

func (c *cache) get(sum [sha256.Size]byte) *verified {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.young[sum]; v != nil {
		return v
	}
	return c.old[sum]
}

func (c *cache) put(sum [sha256.Size]byte, v *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= maxCached/2 {
		c.young, c.old = nil, c.young
	}
	if c.young == nil {
		c.young = make(map[[sha256.Size]byte]*verified)
	}
	delete(c.old, sum)
	c.young[sum] = v
}

func (c *cache) drop(sum [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, sum)
	delete(c.old, sum)
}

// CacheStats returns how many tokens were answered from the cache of verified tokens, how many were not, good
// ones or not, and how many are in it, those included that it would no longer answer for.
func (a *Authenticator) CacheStats() (hits, misses uint64, entries int) {
	c := &a.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits.Load(), c.misses.Load(), len(c.young) + len(c.old)
}

// token authenticates the user of a bearer token, from the cache if it can.
func (a *Authenticator) token(ctx context.Context, token string, opaque bool) (*Caller, *selo.Error) {
	sum := sha256.Sum256([]byte(token))
	v := a.cache.get(sum)
	if v != nil && a.stillGood(ctx, v) {
		a.cache.hits.Add(1)
		return v.caller.clone(), nil
	}
	a.cache.misses.Add(1)
	var refused *selo.Error
	if opaque {
		v, refused = a.opaque.ask(ctx, sum, token)
	} else {
		v, refused = a.endUser(ctx, token)
	}
	if refused != nil {
		if refused.Err == nil { // the token is at fault, for good
			a.cache.drop(sum)
		}
		return nil, refused
	}
	a.cache.put(sum, v)
	return v.caller.clone(), nil
}

// stillGood asks for the key of a JWT again, as if to verify it with that: a token is remembered no longer than
// its key, and the set that has the key is kept fresh.
func (a *Authenticator) stillGood(ctx context.Context, v *verified) bool {
	if !v.current(a.now()) {
		return false
	}
	if v.keys == nil {
		return true
	}
	key, refused := v.keys.find(ctx, v.kid)
	return refused == nil && key.equal(v.key)
}

// Recognise reports whether this credential is known to be somebody's without verifying anything and without asking
// anybody outside: an API key, or a token that was verified before and has not expired. It says who may pass a
// throttle; whether they are let in Authenticate says.
func (a *Authenticator) Recognise(ctx context.Context, authorization string) bool {
	scheme, credential, _ := strings.Cut(authorization, " ")
	if len(authorization) > maxScheme+selo.MaxTokenSize || !asciiEqualFold(scheme, "bearer") {
		return false
	}
	if strings.HasPrefix(credential, apiKeyPrefix) {
		_, refused := a.apiKey(ctx, credential)
		return refused == nil
	}
	v := a.cache.get(sha256.Sum256([]byte(credential)))
	if v == nil || !v.recognised(a.now()) {
		return false
	}
	if v.keys == nil {
		return true
	}
	key, ok := v.keys.peek(v.kid)
	return ok && key.equal(v.key)
}

// clone makes a copy that its receiver may change, but for what the lists among the claims hold.
func (c *Caller) clone() *Caller {
	out := *c
	out.Scopes = slices.Clone(c.Scopes)
	out.Claims = maps.Clone(c.Claims)
	if c.CPFFault != nil {
		fault := *c.CPFFault
		out.CPFFault = &fault
	}
	return &out
}

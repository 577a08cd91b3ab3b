package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/selo-id/selo"
)

// origin is where keys are published, by whom. A set is for one issuer, even if two name the same URL.
type origin struct {
	issuer string
	url    string // empty: discovered
}

// String is for logs and metrics, so without a query, where some gateways want a key.
func (o origin) String() string {
	if o.url == "" {
		return o.issuer
	}
	shown, _, _ := strings.Cut(o.url, "?")
	return shown
}

// remoteKeys is the keys of an origin, fetched when needed, by one fetch at a time that every request which
// cannot be answered without it waits for. Several apps, and the Authenticators before and after a reload of
// the configuration, share them.
type remoteKeys struct {
	origin
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	// What discovery found, and when. Only the fetch that is running looks at them.
	jwksURI      string
	discoveredAt time.Time

	mu        sync.Mutex
	set       *keySet       // the last good one; nil before the first
	fetchedAt time.Time     // when the fetch of set began
	triedAt   time.Time     // when the last fetch began
	failedAt  time.Time     // when the last fetch ended, if it failed
	failure   error         // why the last fetch failed; nil if it did not
	flight    chan struct{} // closed when the fetch that is running ends; nil when none is
	fetches   uint64        // that began
	failures  uint64
}

// remote returns the keys of an origin: those that another app has, those that the Authenticator before had, or
// these, which are new.
func (a *Authenticator) remote(previous *Authenticator, k *remoteKeys) *remoteKeys {
	same := func(other *remoteKeys) bool { return other.origin == k.origin }
	if i := slices.IndexFunc(a.remotes, same); i >= 0 {
		return a.remotes[i]
	}
	if previous != nil {
		if i := slices.IndexFunc(previous.remotes, same); i >= 0 {
			k = previous.remotes[i]
		}
	}
	a.remotes = append(a.remotes, k)
	return k
}

func (k *remoteKeys) find(ctx context.Context, kid string) (publicKey, *selo.Error) {
	key, wait, refused := k.look(ctx, kid, true)
	if wait == nil {
		return key, refused
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return publicKey{}, noKeys(ctx.Err())
	}
	key, _, refused = k.look(ctx, kid, false)
	return key, refused
}

func (k *remoteKeys) peek(kid string) (publicKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, _ := k.usable(k.now())
	return set.pick(kid)
}

// usable returns the set unless it is too old, and its age. The caller holds the lock.
func (k *remoteKeys) usable(now time.Time) (*keySet, time.Duration) {
	age := now.Sub(k.fetchedAt)
	if k.set == nil || age >= lastGoodFor {
		return nil, age
	}
	return k.set, age
}

// look answers from what is there, and starts a fetch if it may and one is due. If the key is not there and
// a fetch is running it returns what to wait for instead.
func (k *remoteKeys) look(ctx context.Context, kid string, mayFetch bool) (_ publicKey, wait <-chan struct{}, _ *selo.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	set, age := k.usable(now)
	key, ok := set.pick(kid)
	fresh := set != nil && age < refreshAfter

	if mayFetch && (!fresh || !ok) {
		due := k.failure == nil || now.Sub(k.failedAt) >= retryAfter
		if fresh {
			due = now.Sub(k.triedAt) >= unknownKeyAfter
		}
		if due && k.flight == nil {
			k.flight = make(chan struct{})
			k.triedAt = now
			k.fetches++
			// Not cancelled with the request that happened to come first: others wait for it too.
			go k.fetch(context.WithoutCancel(ctx), now)
		}
		if k.flight != nil && !ok {
			return publicKey{}, k.flight, nil
		}
	}
	switch {
	case ok:
		return key, nil, nil
	case set == nil || k.failure != nil:
		return publicKey{}, nil, noKeys(k.failure)
	}
	return publicKey{}, nil, noSuchKey(kid)
}

// errTooOld is the cause when no fetch failed and yet nothing young enough is there: the clock jumped.
var errTooOld = errors.New("what was fetched is too old by the clock")

func noKeys(cause error) *selo.Error {
	if cause == nil {
		cause = errTooOld
	}
	return unavailable("the issuer's keys are not available", fmt.Errorf("fetching the issuer's keys: %w", cause))
}

// fetch replaces the set, or notes why it could not. What it gets is also believed when it holds no usable
// key: an issuer that withdraws all its keys means it.
func (k *remoteKeys) fetch(ctx context.Context, began time.Time) {
	set, err := k.get(ctx)

	k.mu.Lock()
	before, lastGood := k.set, k.fetchedAt
	k.mu.Unlock()
	// Outside the lock, which a slow log must not hold; nobody else changes the set meanwhile.
	log := k.log.With("url", k.String())
	switch {
	case err != nil && before != nil:
		// Nobody else reports it while the last good set serves.
		log.WarnContext(ctx, "refreshing the issuer's keys failed", "last_good", lastGood, "error", err)
	case err == nil && len(set.keys) == 0:
		log.WarnContext(ctx, "the issuer publishes no usable key")
		logIgnored(ctx, log, set)
	case err == nil && (before == nil || !slices.EqualFunc(before.ignored, set.ignored, sameText)):
		logIgnored(ctx, log, set)
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.failure, k.failedAt = err, k.now()
		k.failures++
	} else {
		k.failure, k.set, k.fetchedAt = nil, set, began
	}
	close(k.flight)
	k.flight = nil
}

func sameText(a, b error) bool { return a.Error() == b.Error() }

// get is one fetch. A URL that was discovered is forgotten when it gives no set: it may have moved.
func (k *remoteKeys) get(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	from := k.url
	if from == "" {
		var err error
		if from, err = k.discover(ctx); err != nil {
			return nil, err
		}
	}
	document, err := download(ctx, k.client, from, "application/jwk-set+json, application/json")
	if err != nil {
		k.jwksURI = ""
		return nil, err
	}
	set, err := parseKeySet(document)
	if err != nil {
		k.jwksURI = ""
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return set, nil
}

// KeyStats is how the keys of one issuer that are fetched fare.
type KeyStats struct {
	// Source is the URL of the keys, or the issuer if that is discovered, as configured.
	Source string
	// Usable is whether there is a set with a key in it that is young enough.
	Usable bool
	// Age is the time since the last good set was fetched; zero before the first.
	Age time.Duration
	// Failing is whether the last fetch failed.
	Failing bool
	// Fetches and Failures count those that began and those that failed.
	Fetches, Failures uint64
}

// Keys returns how each issuer whose keys are fetched fares, in the order of the configuration.
func (a *Authenticator) Keys() []KeyStats {
	all := make([]KeyStats, 0, len(a.remotes))
	for _, k := range a.remotes {
		all = append(all, k.stats())
	}
	return all
}

func (k *remoteKeys) stats() KeyStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := KeyStats{Source: k.String(), Failing: k.failure != nil, Fetches: k.fetches, Failures: k.failures}
	if k.set != nil {
		var set *keySet
		set, s.Age = k.usable(k.now())
		s.Usable = set != nil && len(set.keys) > 0
	}
	return s
}

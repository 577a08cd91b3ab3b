package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/selo-id/selo"
)

const (
	// fetchTimeout bounds one fetch of keys, and so the longest that a request waits for one.
	fetchTimeout = 5 * time.Second
	// refreshAfter is the age at which a set is fetched again, and so the longest that a withdrawn key
	// lives while its issuer answers.
	refreshAfter = 10 * time.Minute
	// lastGoodFor is the age at which a set that could not be refreshed is used no more.
	lastGoodFor = time.Hour
	// retryAfter is the least time between the end of a fetch that failed and the next.
	retryAfter = 5 * time.Second
	// unknownKeyAfter is the least time since the last fetch before a key id that is not in a fresh set
	// causes another. Anybody can send such an id; it is also what a rotated key looks like at first.
	unknownKeyAfter = 30 * time.Second

	maxKeySetSize     = 256 << 10
	maxResponseHeader = 64 << 10
)

// keySource holds the keys of one app's issuer.
type keySource interface {
	// find returns the key with this id, or the only one when the id is empty.
	find(ctx context.Context, kid string) (publicKey, *selo.Error)
}

// find makes a set that never changes, one read from a file, a keySource.
func (s *keySet) find(_ context.Context, kid string) (publicKey, *selo.Error) {
	key, ok := s.pick(kid)
	if !ok {
		return publicKey{}, noSuchKey(kid)
	}
	return key, nil
}

func noSuchKey(kid string) *selo.Error {
	if kid == "" {
		return unauthenticated("kid", "is missing, and the issuer does not have exactly one key")
	}
	return unauthenticated("kid", "names no usable key of the issuer")
}

// readKeyFile reads a set that must hold at least one usable key.
func readKeyFile(ctx context.Context, path, app string, log *slog.Logger) (*keySet, error) {
	f, err := os.Open(path)
	if err != nil {
		// Without the path: a secret may stand where it belongs.
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("reading jwks_file: %w", err)
	}
	defer func() { _ = f.Close() }()
	document, err := readBounded(f)
	if err != nil {
		return nil, fmt.Errorf("reading jwks_file: %w", err)
	}
	set, err := parseKeySet(document)
	if err != nil {
		return nil, fmt.Errorf("jwks_file: %w", err)
	}
	if len(set.keys) == 0 {
		return nil, errors.Join(append([]error{errors.New("jwks_file: holds no usable key")}, set.ignored...)...)
	}
	logIgnored(ctx, log, app, set)
	return set, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxKeySetSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeySetSize {
		return nil, fmt.Errorf("longer than %d bytes", maxKeySetSize)
	}
	return b, nil
}

func logIgnored(ctx context.Context, log *slog.Logger, app string, set *keySet) {
	for _, why := range set.ignored {
		log.InfoContext(ctx, "ignoring a key of the issuer", "app", app, "reason", why.Error())
	}
}

// remoteKeys is the keys at a URL, fetched when needed, by one fetch at a time that every request which
// needs it waits for.
type remoteKeys struct {
	app, url string
	client   *http.Client
	now      func() time.Time
	log      *slog.Logger

	mu        sync.Mutex
	set       *keySet       // the last good one; nil before the first
	fetchedAt time.Time     // when the fetch of set began
	triedAt   time.Time     // when the last fetch began
	failedAt  time.Time     // when the last fetch ended, if it failed
	failure   error         // why the last fetch failed; nil if it did not
	flight    chan struct{} // closed when the fetch that is running ends; nil when none is
}

func (k *remoteKeys) find(ctx context.Context, kid string) (publicKey, *selo.Error) {
	key, wait, refused := k.look(ctx, kid, true)
	if wait == nil {
		return key, refused
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return publicKey{}, unavailable(ctx.Err())
	}
	key, _, refused = k.look(ctx, kid, false)
	return key, refused
}

// look answers from what is there. If it may start a fetch and one is due, or one is running, and waiting
// for it can make a difference, it returns what to wait for instead.
func (k *remoteKeys) look(ctx context.Context, kid string, mayFetch bool) (_ publicKey, wait <-chan struct{}, _ *selo.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	set, age := k.set, now.Sub(k.fetchedAt)
	if age >= lastGoodFor {
		set = nil
	}
	key, ok := set.pick(kid)
	fresh := set != nil && age < refreshAfter

	if mayFetch && (!fresh || !ok) {
		due := k.failure == nil || now.Sub(k.failedAt) >= retryAfter
		if fresh {
			due = now.Sub(k.triedAt) >= unknownKeyAfter
		}
		// While an issuer fails, requests that the last good set can answer are not made to wait again
		// and again for it to time out.
		matters := !ok || k.failure == nil
		if due && k.flight == nil {
			k.flight = make(chan struct{})
			k.triedAt = now
			// Not cancelled with the request that happened to come first: others wait for it too.
			go k.fetch(context.WithoutCancel(ctx), now)
		}
		if k.flight != nil && matters {
			return publicKey{}, k.flight, nil
		}
	}
	switch {
	case ok:
		return key, nil, nil
	case set == nil || k.failure != nil:
		return publicKey{}, nil, unavailable(k.failure)
	}
	return publicKey{}, nil, noSuchKey(kid)
}

// errTooOld is the cause when no fetch failed and yet nothing young enough is there: the clock jumped.
var errTooOld = errors.New("what was fetched is too old by the clock")

// unavailable refuses because of something that is not the caller's fault, and that the caller is not told.
func unavailable(cause error) *selo.Error {
	if cause == nil {
		cause = errTooOld
	}
	e := unauthenticated("", "the issuer's keys are not available")
	e.Err = fmt.Errorf("fetching the issuer's keys: %w", cause)
	return e
}

// fetch replaces the set, or notes why it could not. What it gets is also believed when it holds no usable
// key: an issuer that withdraws all its keys means it.
func (k *remoteKeys) fetch(ctx context.Context, began time.Time) {
	set, err := k.get(ctx)

	k.mu.Lock()
	before, lastGood := k.set, k.fetchedAt
	k.mu.Unlock()
	// Outside the lock, which a slow log must not hold; nobody else changes the set meanwhile.
	switch {
	case err != nil && before != nil:
		// Nobody else reports it while the last good set serves.
		k.log.WarnContext(ctx, "refreshing the issuer's keys failed", "app", k.app, "url", k.url,
			"last_good", lastGood, "error", err)
	case err == nil && len(set.keys) == 0:
		k.log.WarnContext(ctx, "the issuer publishes no usable key", "app", k.app, "url", k.url)
		logIgnored(ctx, k.log, k.app, set)
	case err == nil && (before == nil || !slices.EqualFunc(before.ignored, set.ignored, sameText)):
		logIgnored(ctx, k.log, k.app, set)
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.failure, k.failedAt = err, k.now()
	} else {
		k.failure, k.set, k.fetchedAt = nil, set, began
	}
	close(k.flight)
	k.flight = nil
}

func sameText(a, b error) bool { return a.Error() == b.Error() }

func (k *remoteKeys) get(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d, want 200", k.url, resp.StatusCode)
	}
	document, err := readBounded(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.url, err)
	}
	set, err := parseKeySet(document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.url, err)
	}
	return set, nil
}

// newClient makes a client that goes where it is told and nowhere else.
func newClient(given *http.Client) *http.Client {
	c := &http.Client{
		// A redirect is answered like any other status that is not 200. Following one would let whoever
		// controls a page of the issuer's host move the keys to another host, or off HTTPS.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if given != nil {
		c.Transport = given.Transport
	}
	if c.Transport == nil {
		// Unlike http.DefaultTransport it does not obey HTTP_PROXY and its kin: whoever sets the
		// environment should not choose who answers. One fetch in ten minutes needs no idle connection.
		c.Transport = &http.Transport{
			Proxy:                  nil,
			DisableKeepAlives:      true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxResponseHeader,
		}
	}
	return c
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

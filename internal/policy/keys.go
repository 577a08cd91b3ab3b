package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/selo-id/selo"
)

const (
	// fetchTimeout bounds one fetch of keys, and so the longest that a request waits for one.
	fetchTimeout = 5 * time.Second
	// refreshAfter is the age at which the next request for a key has the set fetched again. The request is
	// answered from the set that is there, so that a withdrawn key lives until the end of that fetch.
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
	// peek is find without asking the issuer, now or in the background.
	peek(kid string) (publicKey, bool)
}

// find makes a set that never changes, one read from a file, a keySource.
func (s *keySet) find(_ context.Context, kid string) (publicKey, *selo.Error) {
	key, ok := s.pick(kid)
	if !ok {
		return publicKey{}, noSuchKey(kid)
	}
	return key, nil
}

func (s *keySet) peek(kid string) (publicKey, bool) { return s.pick(kid) }

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
	document, err := readBounded(f, maxKeySetSize)
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
	logIgnored(ctx, log.With("app", app), set)
	return set, nil
}

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &tooLongError{limit}
	}
	return b, nil
}

func logIgnored(ctx context.Context, log *slog.Logger, set *keySet) {
	for _, why := range set.ignored {
		log.InfoContext(ctx, "ignoring a key of the issuer", "reason", why.Error())
	}
}

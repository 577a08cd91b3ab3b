package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/selo-id/selo"
)

// KeyState is what an access key may do. States follow each other in their order; revoked is final.
type KeyState string

// The states.
const (
	KeyPrepared KeyState = "prepared"
	KeyActive   KeyState = "active"
	KeyRetiring KeyState = "retiring" // still verifies, until a date
	KeyRevoked  KeyState = "revoked"
)

// KeyID names an access key: a provider may issue the same client ID in both environments.
type KeyID struct {
	ClientID    string
	Environment selo.Environment
}

func (id KeyID) String() string { return fmt.Sprintf("%s (%s)", id.ClientID, id.Environment) }

// AccessKey is what the provider issued, with its secret sealed before it came here.
type AccessKey struct {
	ClientID     string
	Environment  selo.Environment // never ""
	Name, Note   string
	Products     []string // that it is activated for; sorted
	SharedReason string   // why it is for more than one
	State        KeyState
	Sealed       []byte
	KEK          string // ID of the key-encryption key that opens Sealed
	// Fingerprint is a keyed hash of the secret, at least 16 bytes. Keys of all times have different ones, so that
	// one secret is never two keys'.
	Fingerprint []byte

	CreatedAt   time.Time
	ActivatedAt time.Time // zero: never
	RetireUntil time.Time // from here on a retiring key verifies no more; zero: it was never retired
	RevokedAt   time.Time // zero: never
	LastUsedAt  time.Time // zero: never
	Leaked      bool      // it was revoked because somebody else has the secret
}

// ID returns what names the key.
func (k AccessKey) ID() KeyID { return KeyID{k.ClientID, k.Environment} }

// AddKey records a new access key, with its audit row. It may be prepared, active or retiring, with the times of that
// state. It fails with ErrKeyConflict, and writes nothing, when its client ID in its environment or its fingerprint was
// ever there before.
func (s *Store) AddKey(ctx context.Context, k AccessKey, row Audit) error {
	if err := k.check(); err != nil {
		return fmt.Errorf("adding access key %v: %w", k.ID(), err)
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		others, err := scanKeys(tx.QueryContext(ctx, selectKey+` WHERE (client_id = ? AND environment = ?) OR fingerprint = ?`+keyOrder,
			k.ClientID, string(k.Environment), k.Fingerprint))
		if err != nil {
			return err
		}
		if len(others) > 0 {
			o := others[0]
			what := "there is one with this client ID, " + string(o.State)
			if o.ID() != k.ID() {
				what = fmt.Sprintf("its secret is that of access key %v, %s", o.ID(), o.State)
			}
			return fmt.Errorf("adding access key %v: %w: %s", k.ID(), ErrKeyConflict, what)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO access_keys (client_id, environment, name, note, products, shared_reason, state, sealed, kek, fingerprint,
			created_at, activated_at, retire_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ClientID, string(k.Environment), k.Name, k.Note, strings.Join(k.Products, " "), k.SharedReason, string(k.State), k.Sealed, k.KEK, k.Fingerprint,
			k.CreatedAt.UnixMicro(), toMicro(k.ActivatedAt), toMicro(k.RetireUntil)); err != nil {
			return fmt.Errorf("inserting access key: %w", err)
		}
		row.At = k.CreatedAt
		return insertKeyAudit(ctx, tx, &k, "added", row)
	})
}

// check reports what would not come back as it was added, or could not be in its state.
func (k AccessKey) check() error {
	spaced := func(s string) bool { return s == "" || strings.ContainsFunc(s, unicode.IsSpace) }
	switch {
	case spaced(k.ClientID):
		return errors.New("its client ID is empty or has a space in it")
	case k.Environment != selo.EnvironmentProduction && k.Environment != selo.EnvironmentSandbox:
		return fmt.Errorf("%q is no environment", k.Environment)
	case len(k.Products) == 0 || slices.ContainsFunc(k.Products, spaced):
		return errors.New("it has no product, or one that is empty or has a space in it")
	case !slices.IsSorted(k.Products) || len(slices.Compact(slices.Clone(k.Products))) < len(k.Products):
		return errors.New("its products are not sorted, or one is there twice")
	case len(k.Sealed) == 0 || k.KEK == "":
		return errors.New("it has no sealed secret, or no key-encryption key")
	case len(k.Fingerprint) < 16:
		return errors.New("its fingerprint is too short to be its own")
	case k.CreatedAt.IsZero() || !k.RevokedAt.IsZero() || !k.LastUsedAt.IsZero() || k.Leaked:
		return errors.New("a new access key has a time of creation, and is neither revoked nor leaked nor used")
	}
	switch k.State {
	case KeyPrepared, KeyActive:
		if (k.State == KeyActive) == k.ActivatedAt.IsZero() || !k.RetireUntil.IsZero() {
			return fmt.Errorf("the times are not those of one that is %s", k.State)
		}
	case KeyRetiring:
		if k.ActivatedAt.IsZero() || !k.RetireUntil.After(k.CreatedAt) {
			return errors.New("a retiring access key was active, and retires until a time to come")
		}
	default:
		return fmt.Errorf("a new access key is not %q", k.State)
	}
	return nil
}

// insertKeyAudit writes the row of an act on an access key.
func insertKeyAudit(ctx context.Context, tx *sql.Tx, k *AccessKey, outcome string, row Audit) error {
	about := fmt.Sprintf("access key %v, products %s", k.ID(), strings.Join(k.Products, " "))
	row.Act, row.Outcome, row.Note = "key", outcome, joinNotes(about, row.Note)
	return insertAudit(ctx, tx, row)
}

// Keys returns all access keys, also revoked ones, oldest first, and the generation that they are of.
func (s *Store) Keys(ctx context.Context) (all []*AccessKey, generation int64, err error) {
	err = s.look(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, selectGeneration).Scan(&generation); err != nil {
			return fmt.Errorf("reading generation: %w", err)
		}
		all, err = scanKeys(tx.QueryContext(ctx, selectKey+keyOrder))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return all, generation, nil
}

// Generation returns a number that grows with every change to an access key or a sealed pepper, by any process. Last uses
// do not count.
func (s *Store) Generation(ctx context.Context) (generation int64, err error) {
	if err := s.read.QueryRowContext(ctx, selectGeneration).Scan(&generation); err != nil {
		return 0, fmt.Errorf("reading generation: %w", err)
	}
	return generation, nil
}

// KeyChange gives an access key its next state.
type KeyChange struct {
	ClientID    string
	Environment selo.Environment
	To          KeyState
	At          time.Time
	RetireUntil time.Time // with KeyRetiring only, and after At
	Leaked      bool      // with KeyRevoked only
}

// ChangeKey takes an access key from prepared to active, from active to retiring, or from any state to revoked, with its
// audit row, and returns it as it then is. Another change is ErrKeyState, with a message that says what the key may
// become. One that is in the state already stays as it is, which is no error and leaves no row, but for this:
//
//   - A revoked key may be called leaked later; it stays so.
//   - A retiring key may be given an earlier date, not a later one, which is ErrKeyState: whoever relies on the key to
//     be gone by its date must not be disappointed, and of two operators at once the stricter one is right whoever is first.
func (s *Store) ChangeKey(ctx context.Context, c KeyChange, row Audit) (*AccessKey, error) {
	var k *AccessKey
	id := KeyID{c.ClientID, c.Environment}
	err := s.act(ctx, func(tx *sql.Tx) (err error) {
		if k, err = findKey(ctx, tx, id); err != nil {
			return err
		}
		outcome, err := k.change(c)
		if err != nil || outcome == "" {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE access_keys SET state = ?, activated_at = ?, retire_until = ?, revoked_at = ?, leaked = ? WHERE client_id = ? AND environment = ?`,
			string(k.State), toMicro(k.ActivatedAt), toMicro(k.RetireUntil), toMicro(k.RevokedAt), k.Leaked, k.ClientID, string(k.Environment)); err != nil {
			return fmt.Errorf("updating access key: %w", err)
		}
		switch outcome {
		case "retiring":
			row.Note = joinNotes("until "+k.RetireUntil.Format(time.RFC3339Nano), row.Note)
		case "revoked":
			if k.Leaked {
				row.Note = joinNotes("leaked", row.Note)
			}
		}
		row.At = c.At
		return insertKeyAudit(ctx, tx, k, outcome, row)
	})
	if err != nil {
		return nil, fmt.Errorf("changing access key %v: %w", id, err)
	}
	return k, nil
}

// change makes the key what it is after c, and returns the outcome for the trail: "" when that is what it was before.
func (k *AccessKey) change(c KeyChange) (outcome string, _ error) {
	at, until := time.UnixMicro(c.At.UnixMicro()).UTC(), time.UnixMicro(c.RetireUntil.UnixMicro()).UTC() // as they will be stored
	switch {
	case c.At.IsZero():
		return "", errors.New("a change has a time")
	case c.Leaked && c.To != KeyRevoked:
		return "", errors.New("a leaked access key is revoked")
	case (c.To == KeyRetiring) == c.RetireUntil.IsZero():
		return "", errors.New("a retiring access key has a date until which it verifies, and others have none")
	case c.To == KeyRetiring && k.State == KeyRetiring && until.Equal(k.RetireUntil):
		return "", nil
	case c.To == KeyRetiring && !until.After(at):
		return "", errors.New("an access key retires until a date to come; to end it now, revoke it")

	case c.To == KeyActive && k.State == KeyPrepared:
		k.ActivatedAt = at
	case c.To == KeyRetiring && (k.State == KeyActive || k.State == KeyRetiring && until.Before(k.RetireUntil)):
		k.RetireUntil = until
	case c.To == KeyRevoked && k.State == KeyRevoked && c.Leaked && !k.Leaked:
		k.Leaked = true
		return "leaked", nil
	case c.To == KeyRevoked && k.State != KeyRevoked:
		k.RevokedAt, k.Leaked = at, c.Leaked
	case c.To == k.State && c.To != KeyRetiring:
		return "", nil
	default:
		return "", fmt.Errorf("%w: %s", ErrKeyState, k.mayBecome(c.To))
	}
	k.State = c.To
	return string(c.To), nil
}

// keyEnded reports whether an access key of the session is revoked, or retired, at a time. An act reads it in its own
// transaction, so that after a revocation there is no grant, and no session, of that key: whoever began the act before has
// perhaps waited for the provider, or for the lock. A key that is not here is one of a fixed set.
func keyEnded(ctx context.Context, tx *sql.Tx, n *Session, at time.Time) (ended bool, _ error) {
	for _, clientID := range n.Keys {
		err := tx.QueryRowContext(ctx, `SELECT true FROM access_keys WHERE client_id = ? AND environment = ? AND (state = 'revoked' OR state = 'retiring' AND retire_until <= ?)`,
			clientID, string(n.Environment), at.UnixMicro()).Scan(&ended)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, fmt.Errorf("looking up access key: %w", err)
		}
		if ended {
			return true, nil
		}
	}
	return false, nil
}

// mayBecome says what a key is, and what it may become other than to.
func (k *AccessKey) mayBecome(to KeyState) string {
	next := map[KeyState]string{
		KeyPrepared: "it may become active or revoked",
		KeyActive:   "it may become retiring or revoked",
		KeyRetiring: "its date may be brought forward, and it may become revoked",
		KeyRevoked:  "which is final",
	}[k.State]
	is := string(k.State)
	if k.State == KeyRetiring {
		is += " until " + k.RetireUntil.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("it is %s and cannot become %s: %s", is, to, next)
}

// RewrapKey puts after, sealed under kek, in the place of before, with its audit row: both are the same secret, which
// the caller must have made sure of. It fails with ErrChanged, and writes nothing, when the sealed secret is not before
// any more. Row.At is given by the caller.
func (s *Store) RewrapKey(ctx context.Context, clientID string, env selo.Environment, before, after []byte, kek string, row Audit) error {
	id := KeyID{clientID, env}
	if len(after) == 0 || kek == "" || row.At.IsZero() {
		return fmt.Errorf("rewrapping access key %v: there is no sealed secret, no key-encryption key, or no time", id)
	}
	err := s.act(ctx, func(tx *sql.Tx) error {
		k, err := findKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if !bytes.Equal(k.Sealed, before) {
			return ErrChanged
		}
		if _, err := tx.ExecContext(ctx, `UPDATE access_keys SET sealed = ?, kek = ? WHERE client_id = ? AND environment = ?`,
			after, kek, clientID, string(env)); err != nil {
			return fmt.Errorf("updating access key: %w", err)
		}
		row.Note = joinNotes("from "+k.KEK+" to "+kek, row.Note)
		return insertKeyAudit(ctx, tx, k, "rewrapped", row)
	})
	if err != nil {
		return fmt.Errorf("rewrapping access key %v: %w", id, err)
	}
	return nil
}

// KeysUsed records when access keys were last used. A time before the one on record changes nothing, nor does a key that
// is not there. The generation stays.
func (s *Store) KeysUsed(ctx context.Context, used map[KeyID]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		for id, at := range used {
			if _, err := tx.ExecContext(ctx, `UPDATE access_keys SET last_used_at = ?1 WHERE client_id = ?2 AND environment = ?3
				AND (last_used_at IS NULL OR last_used_at < ?1)`, at.UnixMicro(), id.ClientID, string(id.Environment)); err != nil {
				return fmt.Errorf("recording use of access key: %w", err)
			}
		}
		return nil
	})
}

const (
	selectGeneration = `SELECT count FROM key_generation`
	selectKey        = `SELECT client_id, environment, name, note, products, shared_reason, state, sealed, kek, fingerprint,
		created_at, activated_at, retire_until, revoked_at, last_used_at, leaked FROM access_keys`
	keyOrder = ` ORDER BY created_at, client_id, environment`
)

func findKey(ctx context.Context, tx *sql.Tx, id KeyID) (*AccessKey, error) {
	all, err := scanKeys(tx.QueryContext(ctx, selectKey+` WHERE client_id = ? AND environment = ?`, id.ClientID, string(id.Environment)))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNotFound
	}
	return all[0], nil
}

func scanKeys(rows *sql.Rows, err error) (all []*AccessKey, _ error) {
	if err != nil {
		return nil, fmt.Errorf("reading access keys: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			k                                          AccessKey
			products                                   string
			created, activated, retire, revoked, using sql.NullInt64
		)
		if err := rows.Scan(&k.ClientID, &k.Environment, &k.Name, &k.Note, &products, &k.SharedReason, &k.State, &k.Sealed, &k.KEK, &k.Fingerprint,
			&created, &activated, &retire, &revoked, &using, &k.Leaked); err != nil {
			return nil, fmt.Errorf("reading access key: %w", err)
		}
		k.Products = strings.Fields(products)
		k.CreatedAt, k.ActivatedAt, k.RetireUntil, k.RevokedAt, k.LastUsedAt = fromMicro(created), fromMicro(activated), fromMicro(retire), fromMicro(revoked), fromMicro(using)
		all = append(all, &k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading access keys: %w", err)
	}
	return all, nil
}

package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// CredentialKind is whose a credential is.
type CredentialKind string

// The kinds.
const (
	CredentialService  CredentialKind = "service"
	CredentialOperator CredentialKind = "operator"
)

// Credential is what a service or an operator is known by: the hash of an API key, or the name in a client certificate.
// All but its last use and its revocation is as it was added, for good.
type Credential struct {
	ID          string // names it in lists; unique; chosen by the caller of AddCredential
	Kind        CredentialKind
	Name        string // of the service or operator, who may have several at a time, so that one can be replaced
	App         string // of a service; "" for operators
	Scopes      []string
	MapSubjects bool   // of a service: it speaks of its app's issuer's subjects, not of its own
	KeyHash     []byte // SHA-256 of the API key; empty for a certificate
	Certificate string // SAN of a client certificate, "dns:NAME" or "uri:URI", compared byte by byte; "" for an API key

	CreatedAt  time.Time
	ExpiresAt  time.Time // from here on it is expired; zero: never
	RevokedAt  time.Time // zero: never
	LastUsedAt time.Time // zero: never
}

// AddCredential records a new credential, with its audit row. It fails with ErrCredentialConflict, and writes nothing,
// when the ID or the key was ever there before, when the certificate is that of another credential which is neither
// revoked nor expired, and when its service has, or had, another app or other subjects: the sessions of a service
// are its app's, and one by the same name must not come to see them.
func (s *Store) AddCredential(ctx context.Context, c Credential, row Audit) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("adding credential %s: %w", c.ID, err)
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		if err := conflict(ctx, tx, c); err != nil {
			return fmt.Errorf("adding credential %s: %w", c.ID, err)
		}
		expires := sql.NullInt64{Int64: c.ExpiresAt.UnixMicro(), Valid: !c.ExpiresAt.IsZero()}
		if _, err := tx.ExecContext(ctx, `INSERT INTO credentials (id, kind, name, app, scopes, map_subjects, key_hash, certificate, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.ID, string(c.Kind), c.Name, c.App, strings.Join(c.Scopes, " "), c.MapSubjects,
			orEmpty(c.KeyHash), c.Certificate, c.CreatedAt.UnixMicro(), expires); err != nil {
			return fmt.Errorf("inserting credential: %w", err)
		}
		return insertCredentialAudit(ctx, tx, &c, "added", c.CreatedAt, row)
	})
}

// check reports what would not come back as it was added, or be known by nothing.
func (c Credential) check() error {
	spaced := func(scope string) bool { return scope == "" || strings.ContainsFunc(scope, unicode.IsSpace) }
	switch {
	case c.ID == "" || c.Name == "":
		return errors.New("it has no ID or no name")
	case c.Kind != CredentialService && c.Kind != CredentialOperator:
		return fmt.Errorf("%q is no kind of credential", c.Kind)
	case c.Kind == CredentialService && c.App == "":
		return errors.New("a service has an app")
	case c.Kind == CredentialOperator && (c.App != "" || c.MapSubjects):
		return errors.New("an operator has neither an app nor subjects")
	case slices.ContainsFunc(c.Scopes, spaced):
		return errors.New("a scope is empty or has a space in it")
	case len(c.KeyHash) == 0 && c.Certificate == "" || len(c.KeyHash) > 0 && c.Certificate != "":
		return errors.New("it has either the hash of a key or a certificate")
	case len(c.KeyHash) > 0 && len(c.KeyHash) != 32:
		return errors.New("the hash of a key is 32 bytes")
	case c.Certificate != "" && !strings.HasPrefix(c.Certificate, "dns:") && !strings.HasPrefix(c.Certificate, "uri:"):
		return errors.New("a certificate is dns:NAME or uri:URI")
	case c.CreatedAt.IsZero() || !c.RevokedAt.IsZero() || !c.LastUsedAt.IsZero():
		return errors.New("a new credential has a time of creation, and none of revocation or use")
	case !c.ExpiresAt.IsZero() && !c.CreatedAt.Before(c.ExpiresAt):
		return errors.New("it expires before it is created")
	}
	return nil
}

func conflict(ctx context.Context, tx *sql.Tx, c Credential) error {
	others, err := scanCredentials(tx.QueryContext(ctx, selectCredential+` WHERE id = ?1 OR (key_hash = ?2 AND key_hash <> x'')
		OR (certificate = ?3 AND certificate <> '') OR (kind = ?4 AND name = ?5)`+inOrder,
		c.ID, orEmpty(c.KeyHash), c.Certificate, string(c.Kind), c.Name))
	if err != nil {
		return err
	}
	for _, o := range others {
		what := ""
		switch {
		case o.ID == c.ID:
			what = "there is one with this ID"
		case len(c.KeyHash) > 0 && bytes.Equal(o.KeyHash, c.KeyHash):
			what = "its key is, or was, that of credential " + o.ID
		case c.Certificate != "" && o.Certificate == c.Certificate && o.RevokedAt.IsZero() && (o.ExpiresAt.IsZero() || c.CreatedAt.Before(o.ExpiresAt)):
			what = "its certificate " + c.Certificate + " is that of credential " + o.ID + ", which is neither revoked nor expired"
		case o.Kind == c.Kind && o.Name == c.Name && o.App != c.App:
			what = "the service " + c.Name + " is of app " + o.App + " by credential " + o.ID + ", and stays so"
		case o.Kind == c.Kind && o.Name == c.Name && o.MapSubjects != c.MapSubjects:
			what = fmt.Sprintf("the service %s has map_subjects %v by credential %s, and keeps it", c.Name, o.MapSubjects, o.ID)
		default:
			continue
		}
		return fmt.Errorf("%w: %s", ErrCredentialConflict, what)
	}
	return nil
}

// insertCredentialAudit writes the row of an act on a credential, which is never named by its key.
func insertCredentialAudit(ctx context.Context, tx *sql.Tx, c *Credential, outcome string, at time.Time, row Audit) error {
	about := fmt.Sprintf("%s %s, credential %s", c.Kind, c.Name, c.ID)
	if len(c.Scopes) > 0 {
		about += ", scopes " + strings.Join(c.Scopes, " ")
	}
	row.At, row.Act, row.Outcome, row.App, row.Note = at, "credential", outcome, c.App, joinNotes(about, row.Note)
	return insertAudit(ctx, tx, row)
}

// Credentials returns all credentials of a kind, also those that are revoked or expired, oldest first.
func (s *Store) Credentials(ctx context.Context, kind CredentialKind) ([]*Credential, error) {
	return scanCredentials(s.read.QueryContext(ctx, selectCredential+` WHERE kind = ?`+inOrder, string(kind)))
}

// RevokeCredential revokes a credential for good, with its audit row, and returns it as it then is; or it fails with
// ErrNotFound. One that is revoked already stays as it is, which is no error and leaves no row.
func (s *Store) RevokeCredential(ctx context.Context, kind CredentialKind, id string, at time.Time, row Audit) (*Credential, error) {
	var c *Credential
	err := s.act(ctx, func(tx *sql.Tx) (err error) {
		c, err = oneCredential(scanCredentials(tx.QueryContext(ctx, selectCredential+` WHERE kind = ? AND id = ?`, string(kind), id)))
		if err != nil {
			return fmt.Errorf("revoking %s credential %s: %w", kind, id, err)
		}
		if !c.RevokedAt.IsZero() {
			return nil
		}
		c.RevokedAt = time.UnixMicro(at.UnixMicro()).UTC()
		if _, err := tx.ExecContext(ctx, `UPDATE credentials SET revoked_at = ? WHERE id = ?`, at.UnixMicro(), id); err != nil {
			return fmt.Errorf("revoking credential: %w", err)
		}
		return insertCredentialAudit(ctx, tx, c, "revoked", at, row)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// FindCredential returns the credential of an API key by its hash, or ErrNotFound. It may be revoked or expired: that is
// for the caller to judge.
func (s *Store) FindCredential(ctx context.Context, keyHash []byte) (*Credential, error) {
	return oneCredential(scanCredentials(s.read.QueryContext(ctx, selectCredential+` WHERE key_hash = ? AND key_hash <> x''`, orEmpty(keyHash))))
}

// FindCertificate returns the credentials with one of the names in a client certificate, oldest first; none is no
// error. They may be revoked or expired, and more than one may be neither, for different names or after a clock
// went back: that is for the caller to judge.
func (s *Store) FindCertificate(ctx context.Context, names []string) ([]*Credential, error) {
	if len(names) == 0 {
		return nil, nil
	}
	in, args := inClause(names)
	return scanCredentials(s.read.QueryContext(ctx, selectCredential+` WHERE certificate IN `+in+` AND certificate <> ''`+inOrder, args...))
}

// CredentialsUsed records when credentials were last used, by their IDs. A time before the one on record changes
// nothing, nor does an ID that is not there.
func (s *Store) CredentialsUsed(ctx context.Context, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(used)) {
			if _, err := tx.ExecContext(ctx, `UPDATE credentials SET last_used_at = ?1 WHERE id = ?2 AND (last_used_at IS NULL OR last_used_at < ?1)`,
				used[id].UnixMicro(), id); err != nil {
				return fmt.Errorf("recording use of credential: %w", err)
			}
		}
		return nil
	})
}

const (
	selectCredential = `SELECT id, kind, name, app, scopes, map_subjects, key_hash, certificate, created_at, expires_at, revoked_at, last_used_at FROM credentials`
	inOrder          = ` ORDER BY created_at, id`
)

func scanCredentials(rows *sql.Rows, err error) (all []*Credential, _ error) {
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			c                               Credential
			scopes                          string
			created, expires, revoked, used sql.NullInt64
		)
		if err := rows.Scan(&c.ID, &c.Kind, &c.Name, &c.App, &scopes, &c.MapSubjects, &c.KeyHash, &c.Certificate,
			&created, &expires, &revoked, &used); err != nil {
			return nil, fmt.Errorf("reading credential: %w", err)
		}
		if scopes != "" {
			c.Scopes = strings.Split(scopes, " ")
		}
		c.KeyHash = orNil(c.KeyHash)
		c.CreatedAt, c.ExpiresAt, c.RevokedAt, c.LastUsedAt = fromMicro(created), fromMicro(expires), fromMicro(revoked), fromMicro(used)
		all = append(all, &c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return all, nil
}

func oneCredential(all []*Credential, err error) (*Credential, error) {
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNotFound
	}
	return all[0], nil
}

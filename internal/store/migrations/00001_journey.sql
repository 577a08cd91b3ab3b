-- +goose Up

-- Times are microseconds since 1970, UTC. Pseudonyms are HMAC-SHA256 under the pepper of pepper_version.

CREATE TABLE peppers (
    version    INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL -- of the pepper, so that another file under the same version is noticed
) STRICT;

CREATE TABLE sessions (
    id               TEXT PRIMARY KEY,
    app              TEXT NOT NULL,
    product          TEXT NOT NULL,
    purpose          TEXT NOT NULL,
    environment      TEXT NOT NULL,
    service          TEXT NOT NULL, -- the service that opened it, '' when the end user did
    subject_issuer   TEXT NOT NULL,
    subject          BLOB NOT NULL, -- pseudonym of (issuer, sub)
    subject_sealed   BLOB NOT NULL, -- sub itself, for receipts: some issuers use the CPF
    cpf              BLOB NOT NULL, -- pseudonym
    pepper_version   INTEGER NOT NULL REFERENCES peppers (version),
    assurance        TEXT NOT NULL, -- required by the purpose
    opened_at        INTEGER NOT NULL,
    token_expires_at INTEGER NOT NULL,
    respond_by       INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    attempts         INTEGER NOT NULL DEFAULT 0,
    state            TEXT NOT NULL DEFAULT 'open'
                     CHECK (state IN ('open', 'granted', 'denied', 'expired', 'superseded')),
    ended_at         INTEGER,       -- when the state stopped being open
    reasons          TEXT NOT NULL DEFAULT '', -- of a denial, separated by spaces
    proved           TEXT NOT NULL DEFAULT '', -- assurance of a grant
    receipt_id       TEXT NOT NULL DEFAULT '',
    CHECK ((state = 'open') = (ended_at IS NULL)),
    CHECK ((state = 'granted') = (receipt_id <> ''))
) STRICT;

CREATE INDEX sessions_by_subject ON sessions (subject, app, opened_at);

-- Opening supersedes.
CREATE UNIQUE INDEX sessions_open ON sessions (subject, app, product) WHERE state = 'open';

-- A terminal state never changes, whatever the program above believes.
-- +goose StatementBegin
CREATE TRIGGER sessions_terminal BEFORE UPDATE ON sessions WHEN old.state <> 'open'
BEGIN
    SELECT raise(ABORT, 'a session that has ended does not change');
END;
-- +goose StatementEnd

-- REPLACE is an update that fires no trigger but this.
-- +goose StatementBegin
CREATE TRIGGER sessions_once BEFORE INSERT ON sessions WHEN EXISTS (SELECT 1 FROM sessions WHERE id = new.id)
BEGIN
    SELECT raise(ABORT, 'a session is never replaced');
END;
-- +goose StatementEnd

CREATE TABLE session_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    role       TEXT NOT NULL,
    client_id  TEXT NOT NULL,
    PRIMARY KEY (session_id, role)
) STRICT, WITHOUT ROWID;

CREATE TABLE consumed_ids (
    provider    TEXT NOT NULL,
    environment TEXT NOT NULL,
    field       TEXT NOT NULL,
    value       BLOB NOT NULL, -- SHA-256
    session_id  TEXT NOT NULL REFERENCES sessions (id),
    consumed_at INTEGER NOT NULL,
    PRIMARY KEY (provider, environment, field, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    act            TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    reasons        TEXT NOT NULL, -- separated by spaces
    session_id     TEXT NOT NULL, -- '' or '(unknown)' when there is none, hence no reference
    caller_kind    TEXT NOT NULL,
    service        TEXT NOT NULL,
    app            TEXT NOT NULL,
    product        TEXT NOT NULL,
    purpose        TEXT NOT NULL,
    subject_issuer TEXT NOT NULL,
    subject        BLOB NOT NULL,
    cpf            BLOB NOT NULL,
    pepper_version INTEGER NOT NULL,
    client_ids     TEXT NOT NULL, -- role=client_id, separated by spaces
    request_id     TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_session ON audit (session_id);

-- +goose StatementBegin
CREATE TRIGGER audit_append_only_update BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'audit rows are never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_append_only_delete BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'audit rows are never deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_append_only_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = new.id)
BEGIN
    SELECT raise(ABORT, 'audit rows are never replaced');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER consumed_ids_once BEFORE INSERT ON consumed_ids
WHEN EXISTS (SELECT 1 FROM consumed_ids WHERE provider = new.provider AND environment = new.environment
             AND field = new.field AND value = new.value)
BEGIN
    SELECT raise(ABORT, 'an id is used once');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER consumed_ids_kept_update BEFORE UPDATE ON consumed_ids
BEGIN
    SELECT raise(ABORT, 'a used id stays used');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER consumed_ids_kept_delete BEFORE DELETE ON consumed_ids
BEGIN
    SELECT raise(ABORT, 'a used id stays used');
END;
-- +goose StatementEnd

-- Written by the readiness check, which has to write something to know that it can.
CREATE TABLE heartbeat (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;

CREATE TABLE unauthenticated_refusals (
    minute INTEGER NOT NULL, -- minutes since 1970
    reason TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (minute, reason)
) STRICT, WITHOUT ROWID;

-- +goose Up

-- A session opened without a CPF, by somebody who has yet to show who they are.
ALTER TABLE sessions ADD COLUMN sign_up INTEGER NOT NULL DEFAULT 0 CHECK (sign_up IN (0, 1));

-- +goose StatementBegin
CREATE TRIGGER sessions_cpf BEFORE INSERT ON sessions WHEN new.cpf = x'' AND new.sign_up = 0
BEGIN
    SELECT raise(ABORT, 'a session without a CPF is a sign-up');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_cpf_kept BEFORE UPDATE OF cpf, sign_up ON sessions WHEN new.cpf IS NOT old.cpf OR new.sign_up IS NOT old.sign_up
BEGIN
    SELECT raise(ABORT, 'whom a session is about does not change');
END;
-- +goose StatementEnd

CREATE INDEX sessions_by_cpf ON sessions (cpf, environment, opened_at);

ALTER TABLE reservations ADD COLUMN product TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN environment TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN cpf BLOB NOT NULL DEFAULT x'';

CREATE INDEX reservations_by_cpf ON reservations (cpf, environment, opened_at);

-- How many sessions were opened in each short time, for limits too large to count rows for.
CREATE TABLE usage (
    key    TEXT NOT NULL,    -- what is limited
    width  INTEGER NOT NULL, -- of a bucket, in microseconds
    bucket INTEGER NOT NULL, -- begins at bucket * width
    count  INTEGER NOT NULL CHECK (count >= 0),
    until  INTEGER NOT NULL, -- from then on no limit counts it
    PRIMARY KEY (key, width, bucket)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_by_until ON usage (until);

-- Where a reservation was counted, so that it can be taken off there.
CREATE TABLE reservation_usage (
    session_id TEXT NOT NULL REFERENCES reservations (session_id) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    width      INTEGER NOT NULL,
    bucket     INTEGER NOT NULL,
    PRIMARY KEY (session_id, key, width)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_request ON audit (request_id);

-- Without rowid: REPLACE could put a row in the place of another by its rowid.
CREATE TABLE credentials (
    id           TEXT PRIMARY KEY CHECK (id <> ''),
    kind         TEXT NOT NULL CHECK (kind IN ('service', 'operator')),
    name         TEXT NOT NULL CHECK (name <> ''),
    app          TEXT NOT NULL, -- of a service
    scopes       TEXT NOT NULL, -- separated by spaces
    map_subjects INTEGER NOT NULL CHECK (map_subjects IN (0, 1)),
    key_hash     BLOB NOT NULL, -- SHA-256 of an API key
    certificate  TEXT NOT NULL, -- name in a client certificate
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    CHECK ((kind = 'service') = (app <> '')),
    CHECK (kind = 'service' OR map_subjects = 0),
    CHECK ((length(key_hash) = 32 AND certificate = '') OR (key_hash = x'' AND certificate <> ''))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX credentials_by_key ON credentials (key_hash) WHERE key_hash <> x'';
CREATE INDEX credentials_by_certificate ON credentials (certificate) WHERE certificate <> '';
CREATE INDEX credentials_by_name ON credentials (kind, name);

-- +goose StatementBegin
CREATE TRIGGER credentials_once BEFORE INSERT ON credentials
WHEN EXISTS (SELECT 1 FROM credentials WHERE id = new.id)
    OR EXISTS (SELECT 1 FROM credentials WHERE key_hash = new.key_hash AND key_hash <> x'')
BEGIN
    SELECT raise(ABORT, 'a credential is never replaced');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER credentials_kept_update BEFORE UPDATE ON credentials
WHEN new.id IS NOT old.id OR new.kind IS NOT old.kind OR new.name IS NOT old.name OR new.app IS NOT old.app
    OR new.scopes IS NOT old.scopes OR new.map_subjects IS NOT old.map_subjects OR new.key_hash IS NOT old.key_hash
    OR new.certificate IS NOT old.certificate OR new.created_at IS NOT old.created_at OR new.expires_at IS NOT old.expires_at
BEGIN
    SELECT raise(ABORT, 'what a credential is never changes');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER credentials_revoked BEFORE UPDATE ON credentials
WHEN old.revoked_at IS NOT NULL AND new.revoked_at IS NOT old.revoked_at
BEGIN
    SELECT raise(ABORT, 'a revoked credential stays revoked');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER credentials_kept_delete BEFORE DELETE ON credentials
BEGIN
    SELECT raise(ABORT, 'credentials are never deleted');
END;
-- +goose StatementEnd

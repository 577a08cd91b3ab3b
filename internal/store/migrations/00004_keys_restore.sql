-- +goose Up

-- Without rowid: REPLACE could put a row in the place of another by its rowid.
CREATE TABLE access_keys (
    client_id     TEXT NOT NULL CHECK (client_id <> ''),
    environment   TEXT NOT NULL CHECK (environment IN ('production', 'sandbox')),
    name          TEXT NOT NULL,
    note          TEXT NOT NULL,
    products      TEXT NOT NULL, -- separated by spaces
    shared_reason TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('prepared', 'active', 'retiring', 'revoked')),
    sealed        BLOB NOT NULL CHECK (sealed <> x''), -- the secret, as it was sealed before it came here
    kek           TEXT NOT NULL CHECK (kek <> ''),     -- the key-encryption key that opens it
    fingerprint   BLOB NOT NULL UNIQUE CHECK (length(fingerprint) >= 16),
    created_at    INTEGER NOT NULL,
    activated_at  INTEGER,
    retire_until  INTEGER,
    revoked_at    INTEGER,
    last_used_at  INTEGER,
    leaked        INTEGER NOT NULL DEFAULT 0 CHECK (leaked IN (0, 1)),
    PRIMARY KEY (client_id, environment),
    CHECK (state <> 'prepared' OR activated_at IS NULL),
    CHECK (state NOT IN ('active', 'retiring') OR activated_at IS NOT NULL),
    CHECK (state <> 'retiring' OR retire_until IS NOT NULL),
    CHECK (state NOT IN ('prepared', 'active') OR retire_until IS NULL),
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL)),
    CHECK (leaked = 0 OR state = 'revoked')
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER access_keys_once BEFORE INSERT ON access_keys
WHEN EXISTS (SELECT 1 FROM access_keys WHERE client_id = new.client_id AND environment = new.environment)
    OR EXISTS (SELECT 1 FROM access_keys WHERE fingerprint = new.fingerprint)
BEGIN
    SELECT raise(ABORT, 'an access key is never replaced');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER access_keys_kept_update BEFORE UPDATE ON access_keys
WHEN new.client_id IS NOT old.client_id OR new.environment IS NOT old.environment OR new.fingerprint IS NOT old.fingerprint
    OR new.created_at IS NOT old.created_at OR (old.activated_at IS NOT NULL AND new.activated_at IS NOT old.activated_at)
BEGIN
    SELECT raise(ABORT, 'what an access key is never changes');
END;
-- +goose StatementEnd

-- A date of retirement is only brought forward.
-- +goose StatementBegin
CREATE TRIGGER access_keys_forward BEFORE UPDATE ON access_keys
WHEN instr('prepared active retiring revoked', new.state) < instr('prepared active retiring revoked', old.state)
    OR (old.retire_until IS NOT NULL AND (new.retire_until IS NULL OR new.retire_until > old.retire_until))
    OR new.leaked < old.leaked
BEGIN
    SELECT raise(ABORT, 'an access key never goes back');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER access_keys_revoked BEFORE UPDATE ON access_keys
WHEN old.revoked_at IS NOT NULL AND new.revoked_at IS NOT old.revoked_at
BEGIN
    SELECT raise(ABORT, 'a revoked access key stays revoked');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER access_keys_kept_delete BEFORE DELETE ON access_keys
BEGIN
    SELECT raise(ABORT, 'access keys are never deleted');
END;
-- +goose StatementEnd

CREATE TABLE pepper_seals (
    version    INTEGER PRIMARY KEY,
    sealed     BLOB NOT NULL CHECK (sealed <> x''),
    kek        TEXT NOT NULL CHECK (kek <> ''),
    created_at INTEGER NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER pepper_seals_once BEFORE INSERT ON pepper_seals WHEN EXISTS (SELECT 1 FROM pepper_seals WHERE version = new.version)
BEGIN
    SELECT raise(ABORT, 'a pepper is never replaced');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER pepper_seals_kept_update BEFORE UPDATE ON pepper_seals
WHEN new.version IS NOT old.version OR new.created_at IS NOT old.created_at
BEGIN
    SELECT raise(ABORT, 'a pepper keeps its version');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER pepper_seals_kept_delete BEFORE DELETE ON pepper_seals
BEGIN
    SELECT raise(ABORT, 'peppers are never deleted');
END;
-- +goose StatementEnd

-- How often access keys and peppers have changed. Triggers count, so that no writer can forget to.
CREATE TABLE key_generation (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO key_generation (id, count) VALUES (1, 0);

-- +goose StatementBegin
CREATE TRIGGER key_generation_grows BEFORE UPDATE ON key_generation WHEN new.count <= old.count
BEGIN
    SELECT raise(ABORT, 'the generation only grows');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER key_generation_kept BEFORE DELETE ON key_generation
BEGIN
    SELECT raise(ABORT, 'the generation only grows');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER key_generation_once BEFORE INSERT ON key_generation
BEGIN
    SELECT raise(ABORT, 'the generation only grows');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER access_keys_added AFTER INSERT ON access_keys
BEGIN
    UPDATE key_generation SET count = count + 1;
END;
-- +goose StatementEnd

-- All but last_used_at.
-- +goose StatementBegin
CREATE TRIGGER access_keys_changed AFTER UPDATE OF name, note, products, shared_reason, state, sealed, kek, activated_at, retire_until, revoked_at, leaked ON access_keys
BEGIN
    UPDATE key_generation SET count = count + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER pepper_seals_added AFTER INSERT ON pepper_seals
BEGIN
    UPDATE key_generation SET count = count + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER pepper_seals_changed AFTER UPDATE ON pepper_seals
BEGIN
    UPDATE key_generation SET count = count + 1;
END;
-- +goose StatementEnd

-- When this database came back from a backup: what was used up after that was made is not known here.
CREATE TABLE restores (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    backup_at INTEGER -- of the newest audit row in the backup
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER restores_append_only_update BEFORE UPDATE ON restores
BEGIN
    SELECT raise(ABORT, 'a restore stays on record');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER restores_append_only_delete BEFORE DELETE ON restores
BEGIN
    SELECT raise(ABORT, 'a restore stays on record');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER restores_append_only_replace BEFORE INSERT ON restores WHEN EXISTS (SELECT 1 FROM restores WHERE id = new.id)
BEGIN
    SELECT raise(ABORT, 'a restore stays on record');
END;
-- +goose StatementEnd

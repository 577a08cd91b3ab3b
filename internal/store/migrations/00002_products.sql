-- +goose Up

ALTER TABLE sessions ADD COLUMN policy_id TEXT NOT NULL DEFAULT ''; -- the provider policy that must be run
ALTER TABLE audit ADD COLUMN note TEXT NOT NULL DEFAULT ''; -- what else is known, in words of ours

-- A session whose token the provider is being asked for. It counts towards the limit and is no session yet.
CREATE TABLE reservations (
    session_id TEXT PRIMARY KEY,
    app        TEXT NOT NULL,
    subject    BLOB NOT NULL,
    opened_at  INTEGER NOT NULL,
    until      INTEGER NOT NULL -- from then on it counts no more
) STRICT, WITHOUT ROWID;

CREATE INDEX reservations_by_subject ON reservations (subject, app, opened_at);

-- Requests that may be sent again: what they were, and what came of them.
CREATE TABLE idempotency (
    id         BLOB PRIMARY KEY, -- keyed hash of the caller and their key
    request    BLOB NOT NULL,    -- keyed hash of the request
    session_id TEXT NOT NULL,    -- of a session or, until it is open, of a reservation
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_until ON idempotency (until);

-- A token that the provider made, sealed, for a repeat of the request that got it; gone with the session.
CREATE TABLE session_tokens (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    sealed     BLOB NOT NULL,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER session_tokens_end AFTER UPDATE OF state ON sessions WHEN new.state <> 'open'
BEGIN
    DELETE FROM session_tokens WHERE session_id = new.id;
END;
-- +goose StatementEnd

-- What the provider said by itself, each event once.
CREATE TABLE webhook_events (
    webhook     TEXT NOT NULL,
    event       BLOB NOT NULL, -- SHA-256 of its id
    type        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    verdict     TEXT NOT NULL CHECK (verdict IN ('', 'approved', 'refused')),
    PRIMARY KEY (webhook, event)
) STRICT, WITHOUT ROWID;

-- The ids of attempts in it, as in consumed_ids.
CREATE TABLE webhook_event_ids (
    provider    TEXT NOT NULL,
    environment TEXT NOT NULL,
    field       TEXT NOT NULL,
    value       BLOB NOT NULL, -- SHA-256
    webhook     TEXT NOT NULL,
    event       BLOB NOT NULL,
    PRIMARY KEY (provider, environment, field, value, webhook, event),
    FOREIGN KEY (webhook, event) REFERENCES webhook_events (webhook, event)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER webhook_events_once BEFORE INSERT ON webhook_events
WHEN EXISTS (SELECT 1 FROM webhook_events WHERE webhook = new.webhook AND event = new.event)
BEGIN
    SELECT raise(ABORT, 'an event is recorded once');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER webhook_events_kept_update BEFORE UPDATE ON webhook_events
BEGIN
    SELECT raise(ABORT, 'an event is never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER webhook_events_kept_delete BEFORE DELETE ON webhook_events
BEGIN
    SELECT raise(ABORT, 'an event is never deleted');
END;
-- +goose StatementEnd

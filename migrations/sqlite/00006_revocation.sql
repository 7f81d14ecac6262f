-- +goose Up
-- What others are told of revoked certificates, and the switch that stops issuing.

-- The newest revocation list of each authority, as the very bytes that were signed,
-- with the certificate that it verifies by. authority_id is 'root' for the root's,
-- which the ceremony signs.
CREATE TABLE revocation_lists (
    authority_id      TEXT PRIMARY KEY,
    issuer            BLOB NOT NULL,
    number            INTEGER NOT NULL,
    list              BLOB NOT NULL,
    entries           INTEGER NOT NULL,
    this_update       INTEGER NOT NULL,
    next_update       INTEGER NOT NULL
) STRICT;

-- What goes into a list.
CREATE INDEX certificates_revoked ON certificates (authority_id, not_after) WHERE revoked_at <> 0;

-- What a device has in force, beside the thousands that it had: a renewal ends the one
-- before by it.
CREATE INDEX certificates_live ON certificates (device_id) WHERE revoked_at = 0;

-- Whether certificates are issued: exactly one row. stop_id names the stop in force,
-- empty while there is none; approval_id is the request to start again.
CREATE TABLE issuing (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    stop_id           TEXT NOT NULL DEFAULT '',
    stopped_at        INTEGER NOT NULL DEFAULT 0,
    stopped_by        TEXT NOT NULL DEFAULT '',
    reason            TEXT NOT NULL DEFAULT '',
    approval_id       TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO issuing (id) VALUES (1);

-- The certificate whose key signed a recovery, where that one is not on record: it was
-- issued after the backup that the database came from. signed_by is the one on record
-- in its place. Empty otherwise.
ALTER TABLE identity_requests ADD COLUMN lost TEXT NOT NULL DEFAULT '';

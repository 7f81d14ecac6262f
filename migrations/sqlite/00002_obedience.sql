-- +goose Up
-- Commands, and the renewal of certificates.

-- A device's next certificate, valid beside the present one until it is first used.
ALTER TABLE device_counters ADD COLUMN next_fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE device_counters ADD COLUMN next_until INTEGER NOT NULL DEFAULT 0;

-- The first counter accepted under boot_id. A heartbeat of another boot below it was
-- sent before that boot began, one from it on by a second agent of one identity.
ALTER TABLE device_counters ADD COLUMN boot_first INTEGER NOT NULL DEFAULT 0;

-- SHA-256 of the public key: no key is certified for a device twice.
ALTER TABLE certificates ADD COLUMN key_digest TEXT NOT NULL DEFAULT '';
CREATE INDEX certificates_key ON certificates (key_digest) WHERE key_digest <> '';

-- Wishes of devices for a certificate of another key, while their own is valid
-- (renewal) or after it expired (recovery). The request itself is kept where it is
-- still needed: when a person decides first.
CREATE TABLE identity_requests (
    id                TEXT PRIMARY KEY,
    device_id         TEXT NOT NULL REFERENCES devices (device_id),
    kind              TEXT NOT NULL,
    state             TEXT NOT NULL,
    csr               BLOB NOT NULL,
    csr_digest        TEXT NOT NULL,
    key_digest        TEXT NOT NULL UNIQUE,
    key_code          TEXT NOT NULL,
    signed_by         TEXT NOT NULL,
    approval_id       TEXT NOT NULL DEFAULT '',
    fingerprint       TEXT NOT NULL DEFAULT '',
    source            TEXT NOT NULL,
    reason            TEXT NOT NULL DEFAULT '',
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    decided_at        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX identity_requests_open ON identity_requests (device_id) WHERE state IN ('pending', 'approved', 'issued');
CREATE INDEX identity_requests_due ON identity_requests (expires_at) WHERE state IN ('pending', 'approved', 'issued');

-- What devices are to do, as the very bytes that are signed; envelope is empty
-- until they are. queued is how many of the targets, by position, had their
-- device's pending flag raised; ending is why the command is being brought to an
-- end, empty while it is not.
CREATE TABLE commands (
    id                TEXT PRIMARY KEY,
    state             TEXT NOT NULL,
    kind              TEXT NOT NULL,
    reason            TEXT NOT NULL,
    statement         BLOB NOT NULL,
    digest            TEXT NOT NULL,
    envelope          BLOB NOT NULL,
    targets           INTEGER NOT NULL,
    requested_by      TEXT NOT NULL,
    approval_id       TEXT NOT NULL DEFAULT '',
    queued            INTEGER NOT NULL DEFAULT 0,
    ending            TEXT NOT NULL DEFAULT '',
    ended_by          TEXT NOT NULL DEFAULT '',
    ended_reason      TEXT NOT NULL DEFAULT '',
    not_before        INTEGER NOT NULL,
    not_after         INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    signed_at         INTEGER NOT NULL DEFAULT 0,
    closed_at         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX commands_state ON commands (state, not_after);
CREATE INDEX commands_created ON commands (created_at, id);

CREATE TABLE command_targets (
    command_id        TEXT NOT NULL REFERENCES commands (id),
    device_id         TEXT NOT NULL REFERENCES devices (device_id),
    enrollment_id     TEXT NOT NULL,
    position          INTEGER NOT NULL,
    state             TEXT NOT NULL,
    reason            TEXT NOT NULL DEFAULT '',
    deliveries        INTEGER NOT NULL DEFAULT 0,
    delivered_at      INTEGER NOT NULL DEFAULT 0,
    acknowledged_at   INTEGER NOT NULL DEFAULT 0,
    closed_at         INTEGER NOT NULL DEFAULT 0,
    result            BLOB NOT NULL,
    PRIMARY KEY (command_id, device_id)
) STRICT;
-- The order of the statement's tree.
CREATE UNIQUE INDEX command_targets_position ON command_targets (command_id, position);
-- What a device is given, what its pending flag rests on, and what ends with it.
CREATE INDEX command_targets_device ON command_targets (device_id) WHERE state IN ('queued', 'delivered', 'acknowledged');
-- What is not over yet.
CREATE INDEX command_targets_open ON command_targets (command_id) WHERE state IN ('queued', 'delivered', 'acknowledged');

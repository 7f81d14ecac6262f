-- +goose Up
-- Devices that come with a certificate of another authority than ours.

-- An enrollment may rest on such a certificate in place of a token: csr holds it then,
-- in DER, authority_id is the authority that issued it, and key_digest the SHA-256 of
-- its public key. Both are empty otherwise. SQLite drops no constraint of a column, so
-- the table is made anew; nothing refers to it.
CREATE TABLE enrollments_anew (
    id                TEXT PRIMARY KEY,
    token_id          TEXT REFERENCES enroll_tokens (id),
    device_id         TEXT NOT NULL,
    state             TEXT NOT NULL,
    csr               BLOB NOT NULL,
    csr_digest        TEXT NOT NULL,
    key_code          TEXT NOT NULL,
    facts             TEXT NOT NULL,
    source            TEXT NOT NULL,
    approval_id       TEXT NOT NULL,
    fingerprint       TEXT NOT NULL DEFAULT '',
    reason            TEXT NOT NULL DEFAULT '',
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    decided_at        INTEGER NOT NULL DEFAULT 0,
    key_digest        TEXT NOT NULL DEFAULT '',
    authority_id      TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO enrollments_anew (id, token_id, device_id, state, csr, csr_digest, key_code, facts, source, approval_id, fingerprint, reason, created_at, expires_at, decided_at)
    SELECT id, token_id, device_id, state, csr, csr_digest, key_code, facts, source, approval_id, fingerprint, reason, created_at, expires_at, decided_at FROM enrollments;
DROP TABLE enrollments;
ALTER TABLE enrollments_anew RENAME TO enrollments;
CREATE INDEX enrollments_state ON enrollments (state, created_at);
CREATE INDEX enrollments_device ON enrollments (device_id, state);
CREATE INDEX enrollments_key ON enrollments (key_digest, created_at) WHERE key_digest <> '';

-- One key waits for one review, whatever it calls itself.
CREATE UNIQUE INDEX enrollments_pending_key ON enrollments (key_digest) WHERE key_digest <> '' AND state = 'pending';

-- The authority of the certificate that csr holds, where the device goes over to one
-- that was issued elsewhere. Empty otherwise.
ALTER TABLE identity_requests ADD COLUMN authority_id TEXT NOT NULL DEFAULT '';
CREATE INDEX identity_requests_elsewhere ON identity_requests (device_id, decided_at) WHERE authority_id <> '';

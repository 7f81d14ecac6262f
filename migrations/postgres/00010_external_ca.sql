-- +goose Up
-- Devices that come with a certificate of another authority than ours.

-- An enrollment may rest on such a certificate in place of a token: csr holds it then,
-- in DER, authority_id is the authority that issued it, and key_digest the SHA-256 of
-- its public key. Both are empty otherwise.
ALTER TABLE enrollments ALTER COLUMN token_id DROP NOT NULL;
ALTER TABLE enrollments ADD COLUMN key_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE enrollments ADD COLUMN authority_id TEXT NOT NULL DEFAULT '';
CREATE INDEX enrollments_key ON enrollments (key_digest, created_at) WHERE key_digest <> '';

-- One key waits for one review, whatever it calls itself.
CREATE UNIQUE INDEX enrollments_pending_key ON enrollments (key_digest) WHERE key_digest <> '' AND state = 'pending';

-- The authority of the certificate that csr holds, where the device goes over to one
-- that was issued elsewhere. Empty otherwise.
ALTER TABLE identity_requests ADD COLUMN authority_id TEXT NOT NULL DEFAULT '';
CREATE INDEX identity_requests_elsewhere ON identity_requests (device_id, decided_at) WHERE authority_id <> '';

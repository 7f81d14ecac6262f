-- +goose Up
-- What the TPMs of devices prove, and what it is compared with.

-- Challenges, by the SHA-256 of their nonces. A device has one open (used_at = 0), and
-- those that it used until their time is over.
CREATE TABLE attestation_challenges (
    id                TEXT PRIMARY KEY,
    device_id         TEXT NOT NULL,
    enrollment_id     TEXT NOT NULL,
    fingerprint       TEXT NOT NULL,
    epoch             TEXT NOT NULL,
    tpm               TEXT NOT NULL,
    maker             TEXT NOT NULL,
    attestation_key   BLOB NOT NULL,
    secret_digest     TEXT NOT NULL,
    pcrs              TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    used_at           INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX attestation_challenges_device ON attestation_challenges (device_id);

-- Which TPM a device has, since its first genuine evidence: tpm is the SHA-256 of its
-- endorsement key.
CREATE TABLE attestation_tpms (
    device_id         TEXT PRIMARY KEY,
    enrollment_id     TEXT NOT NULL,
    tpm               TEXT NOT NULL,
    maker             TEXT NOT NULL,
    since             INTEGER NOT NULL
) STRICT;
CREATE INDEX attestation_tpms_tpm ON attestation_tpms (tpm);

-- What became of the last evidence of each device.
CREATE TABLE attestation_results (
    device_id         TEXT PRIMARY KEY,
    enrollment_id     TEXT NOT NULL,
    key_digest        TEXT NOT NULL,
    verdict           TEXT NOT NULL,
    reasons           TEXT NOT NULL,
    pcr_values        TEXT NOT NULL,
    hardware_bound    INTEGER NOT NULL,
    baseline          TEXT NOT NULL,
    resets            INTEGER NOT NULL,
    policy            INTEGER NOT NULL,
    judged_at         INTEGER NOT NULL,
    proven_at         INTEGER NOT NULL,
    valid_until       INTEGER NOT NULL
) STRICT;

-- Baselines: reference values with a time and a cause. A version of a name is there
-- once.
CREATE TABLE attestation_baselines (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    version           INTEGER NOT NULL,
    state             TEXT NOT NULL,
    label             TEXT NOT NULL,
    pcr_values        TEXT NOT NULL,
    hardware_bound    INTEGER NOT NULL,
    not_before        INTEGER NOT NULL,
    not_after         INTEGER NOT NULL,
    overlap           INTEGER NOT NULL,
    cause_kind        TEXT NOT NULL,
    cause_ref         TEXT NOT NULL,
    cause_text        TEXT NOT NULL,
    proposed_by       TEXT NOT NULL,
    approval_id       TEXT NOT NULL,
    reason            TEXT NOT NULL DEFAULT '',
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    decided_at        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, version)
) STRICT;
CREATE INDEX attestation_baselines_active ON attestation_baselines (state, not_after);

-- The number of the policy in force: exactly one row. It rises with every change of
-- the baselines in force.
CREATE TABLE attestation_policy (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    number            INTEGER NOT NULL,
    changed_at        INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO attestation_policy (id, number) VALUES (1, 1);

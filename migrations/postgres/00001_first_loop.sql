-- +goose Up
-- The first loop: instance, audit, people, certificates, enrollment, devices, trust, approvals.
-- Times are microseconds since 1970 in UTC; zero means never.

-- What is true of this database as a whole; exactly one row.
CREATE TABLE instance (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    fleet_id          TEXT NOT NULL,
    profile           TEXT NOT NULL,
    epoch             TEXT NOT NULL,
    mark              BIGINT NOT NULL DEFAULT 0,
    behind_since      BIGINT NOT NULL DEFAULT 0,
    behind_reason     TEXT NOT NULL DEFAULT '',
    created_at        BIGINT NOT NULL
);

CREATE TABLE audit_entries (
    id                TEXT PRIMARY KEY,
    at                BIGINT NOT NULL,
    actor_kind        TEXT NOT NULL,
    actor_id          TEXT NOT NULL,
    action            TEXT NOT NULL,
    object_kind       TEXT NOT NULL,
    object_id         TEXT NOT NULL,
    source            TEXT NOT NULL,
    request_id        TEXT NOT NULL,
    result            TEXT NOT NULL,
    reason            TEXT NOT NULL,
    details           TEXT NOT NULL,
    salts             BYTEA NOT NULL,
    entry             BYTEA NOT NULL
);
CREATE INDEX audit_entries_at ON audit_entries (at, id);
CREATE INDEX audit_entries_object ON audit_entries (object_kind, object_id, at);
CREATE INDEX audit_entries_actor ON audit_entries (actor_id, at);

CREATE TABLE accounts (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    person            TEXT NOT NULL,
    role              TEXT NOT NULL,
    grants            TEXT NOT NULL DEFAULT '[]',
    password_hash     TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    created_by        TEXT NOT NULL,
    password_at       BIGINT NOT NULL,
    signed_in_at      BIGINT NOT NULL DEFAULT 0,
    disabled_at       BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE sessions (
    id                TEXT PRIMARY KEY,
    secret_hash       BYTEA NOT NULL UNIQUE,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    epoch             TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    seen_at           BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    source            TEXT NOT NULL,
    agent             TEXT NOT NULL,
    revoked_at        BIGINT NOT NULL DEFAULT 0,
    revoked_by        TEXT NOT NULL DEFAULT ''
);
CREATE INDEX sessions_account ON sessions (account_id);

-- Certificate authorities; the key is sealed under the key-encryption key kek_id.
CREATE TABLE authorities (
    id                TEXT PRIMARY KEY,
    kind              TEXT NOT NULL,
    state             TEXT NOT NULL,
    certificate       BYTEA NOT NULL,
    public_key        BYTEA NOT NULL,
    kek_id            TEXT NOT NULL,
    sealed_key        BYTEA NOT NULL,
    created_at        BIGINT NOT NULL
);
CREATE UNIQUE INDEX authorities_active ON authorities (kind) WHERE state = 'active';

CREATE TABLE certificates (
    fingerprint       TEXT PRIMARY KEY,
    serial            TEXT NOT NULL UNIQUE,
    kind              TEXT NOT NULL,
    device_id         TEXT NOT NULL,
    enrollment_id     TEXT NOT NULL,
    authority_id      TEXT NOT NULL REFERENCES authorities (id),
    der               BYTEA NOT NULL,
    not_before        BIGINT NOT NULL,
    not_after         BIGINT NOT NULL,
    issued_at         BIGINT NOT NULL,
    revoked_at        BIGINT NOT NULL DEFAULT 0,
    revoked_reason    TEXT NOT NULL DEFAULT ''
);
CREATE INDEX certificates_device ON certificates (device_id, issued_at);
CREATE INDEX certificates_expiry ON certificates (not_after);

-- Fleet roots and policy bundles, as the very bytes that were signed.
CREATE TABLE fleet_documents (
    kind              TEXT NOT NULL,
    version           BIGINT NOT NULL,
    digest            TEXT NOT NULL,
    envelope          BYTEA NOT NULL,
    installed_at      BIGINT NOT NULL,
    PRIMARY KEY (kind, version)
);

CREATE TABLE enroll_tokens (
    id                TEXT PRIMARY KEY,
    hash              BYTEA NOT NULL UNIQUE,
    note              TEXT NOT NULL,
    max_uses          BIGINT NOT NULL CHECK (max_uses >= 1),
    uses              BIGINT NOT NULL DEFAULT 0 CHECK (uses <= max_uses),
    created_by        TEXT NOT NULL,
    created_person    TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    revoked_at        BIGINT NOT NULL DEFAULT 0,
    revoked_by        TEXT NOT NULL DEFAULT '',
    last_used_at      BIGINT NOT NULL DEFAULT 0,
    last_used_by      TEXT NOT NULL DEFAULT '',
    device_name       TEXT NOT NULL,
    owner             TEXT NOT NULL,
    labels            TEXT NOT NULL,
    sensitive         BOOLEAN NOT NULL
);

CREATE TABLE enrollments (
    id                TEXT PRIMARY KEY,
    token_id          TEXT NOT NULL REFERENCES enroll_tokens (id),
    device_id         TEXT NOT NULL,
    state             TEXT NOT NULL,
    csr               BYTEA NOT NULL,
    csr_digest        TEXT NOT NULL,
    key_code          TEXT NOT NULL,
    facts             TEXT NOT NULL,
    source            TEXT NOT NULL,
    approval_id       TEXT NOT NULL,
    fingerprint       TEXT NOT NULL DEFAULT '',
    reason            TEXT NOT NULL DEFAULT '',
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    decided_at        BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX enrollments_state ON enrollments (state, created_at);
CREATE INDEX enrollments_device ON enrollments (device_id, state);

CREATE TABLE enroll_windows (
    id                TEXT PRIMARY KEY,
    opened_by         TEXT NOT NULL,
    reason            TEXT NOT NULL,
    opened_at         BIGINT NOT NULL,
    closes_at         BIGINT NOT NULL,
    closed_by         TEXT NOT NULL DEFAULT ''
);

CREATE TABLE devices (
    device_id         TEXT PRIMARY KEY,
    enrollment_id     TEXT NOT NULL UNIQUE,
    state             TEXT NOT NULL,
    state_reason      TEXT NOT NULL DEFAULT '',
    state_by          TEXT NOT NULL DEFAULT '',
    state_at          BIGINT NOT NULL,
    held_reason       TEXT NOT NULL DEFAULT '',
    name              TEXT NOT NULL,
    owner             TEXT NOT NULL,
    sensitive         BOOLEAN NOT NULL,
    key_code          TEXT NOT NULL,
    agent_version     TEXT NOT NULL DEFAULT '',
    policy_version    BIGINT NOT NULL DEFAULT 0,
    root_version      BIGINT NOT NULL DEFAULT 0,
    first_use         BOOLEAN NOT NULL DEFAULT FALSE,
    facts             TEXT NOT NULL DEFAULT '{}',
    enrolled_at       BIGINT NOT NULL
);
CREATE INDEX devices_state ON devices (state, device_id);

CREATE TABLE device_labels (
    device_id         TEXT NOT NULL REFERENCES devices (device_id),
    key               TEXT NOT NULL,
    value             TEXT NOT NULL,
    PRIMARY KEY (device_id, key)
);
CREATE INDEX device_labels_value ON device_labels (key, value);

-- The hot row: one update a heartbeat. Nothing that changes is indexed.
-- gate: 0 open, 1 suspended, 2 held, 3 revoked or retired.
CREATE TABLE device_counters (
    device_id         TEXT PRIMARY KEY REFERENCES devices (device_id),
    enrollment_id     TEXT NOT NULL,
    fingerprint       TEXT NOT NULL,
    gate              INTEGER NOT NULL,
    refused           INTEGER NOT NULL DEFAULT 0,
    pending           INTEGER NOT NULL DEFAULT 0,
    counter           BIGINT NOT NULL DEFAULT 0,
    seen_at           BIGINT NOT NULL DEFAULT 0,
    epoch             TEXT NOT NULL,
    boot_id           TEXT NOT NULL DEFAULT '',
    said              TEXT NOT NULL DEFAULT ''
) WITH (fillfactor = 70);

CREATE TABLE trust_verdicts (
    device_id         TEXT PRIMARY KEY REFERENCES devices (device_id),
    verdict           TEXT NOT NULL,
    reasons           TEXT NOT NULL,
    evaluated_at      BIGINT NOT NULL,
    holds_until       BIGINT NOT NULL
);
CREATE INDEX trust_verdicts_lapse ON trust_verdicts (holds_until) WHERE holds_until > 0;

CREATE TABLE approvals (
    id                TEXT PRIMARY KEY,
    kind              TEXT NOT NULL,
    subject_id        TEXT NOT NULL,
    action            BYTEA NOT NULL,
    digest            TEXT NOT NULL,
    required          INTEGER NOT NULL CHECK (required >= 1),
    requester         TEXT NOT NULL,
    excluded          TEXT NOT NULL,
    state             TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    closed_at         BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX approvals_state ON approvals (state, created_at);

CREATE TABLE approval_votes (
    approval_id       TEXT NOT NULL REFERENCES approvals (id),
    person            TEXT NOT NULL,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    approve           BOOLEAN NOT NULL,
    reason            TEXT NOT NULL,
    at                BIGINT NOT NULL,
    PRIMARY KEY (approval_id, person)
);

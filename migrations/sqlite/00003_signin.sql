-- +goose Up
-- How people prove who they are, and what acts without a person.

-- password_once: 0 a password of the person's own, 1 a one-time password that is not
-- used yet, 2 one that is used: only setting a password of one's own is left. A
-- one-time password of another epoch than once_epoch is void: it may have been used.
ALTER TABLE accounts ADD COLUMN password_once INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN once_epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN must_passkey INTEGER NOT NULL DEFAULT 0;

-- via: console (a cookie) or program (a bearer token). stage: what a sign-in still
-- misses. full_at: when it was complete. told_from: the sign-in before, from which on
-- its person is told what happened.
ALTER TABLE sessions ADD COLUMN via TEXT NOT NULL DEFAULT 'program';
ALTER TABLE sessions ADD COLUMN stage TEXT NOT NULL DEFAULT 'full';
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';
ALTER TABLE sessions ADD COLUMN full_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN told_from INTEGER NOT NULL DEFAULT 0;

-- The secret of a code generator, sealed under kek_id. No code of a step up to
-- last_step is taken any more. confirmed_at 0: not in use yet.
CREATE TABLE account_totp (
    account_id        TEXT PRIMARY KEY REFERENCES accounts (id),
    kek_id            TEXT NOT NULL,
    sealed_secret     BLOB NOT NULL,
    last_step         INTEGER NOT NULL DEFAULT 0,
    created_at        INTEGER NOT NULL,
    confirmed_at      INTEGER NOT NULL DEFAULT 0
);

-- A code of another epoch is void: it may have been used.
CREATE TABLE recovery_codes (
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    code_hash         BLOB NOT NULL,
    epoch             TEXT NOT NULL,
    used_at           INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, code_hash)
);

-- id is the credential's, base64url.
CREATE TABLE passkeys (
    id                TEXT PRIMARY KEY,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    name              TEXT NOT NULL,
    credential        BLOB NOT NULL,
    sign_count        INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    used_at           INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX passkeys_account ON passkeys (account_id);

-- A challenge is removed by its first use. account_id and session_id are those of
-- whoever registers, empty for a sign-in.
CREATE TABLE passkey_challenges (
    id                TEXT PRIMARY KEY,
    purpose           TEXT NOT NULL,
    account_id        TEXT NOT NULL,
    session_id        TEXT NOT NULL,
    data              BLOB NOT NULL,
    expires_at        INTEGER NOT NULL
);
CREATE INDEX passkey_challenges_expiry ON passkey_challenges (expires_at);

-- What the owner of an account is told at the next sign-in.
CREATE TABLE account_notices (
    id                TEXT PRIMARY KEY,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    at                INTEGER NOT NULL,
    kind              TEXT NOT NULL,
    detail            TEXT NOT NULL,
    source            TEXT NOT NULL
);
CREATE INDEX account_notices_account ON account_notices (account_id, at);

-- Attempts, counted as the generic cell rate algorithm does: due is when the count
-- is empty again. subject is an id, an address or the MAC of a name, never a name.
CREATE TABLE attempt_counts (
    scope             TEXT NOT NULL,
    subject           TEXT NOT NULL,
    due               INTEGER NOT NULL,
    failures          INTEGER NOT NULL,
    changed_at        INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
);
CREATE INDEX attempt_counts_changed ON attempt_counts (changed_at);

-- Where an account signed in from before: its attempts from there are counted apart.
CREATE TABLE known_sources (
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    source            TEXT NOT NULL,
    seen_at           INTEGER NOT NULL,
    PRIMARY KEY (account_id, source)
);

CREATE TABLE invitations (
    id                TEXT PRIMARY KEY,
    secret_hash       BLOB NOT NULL UNIQUE,
    name              TEXT NOT NULL,
    person            TEXT NOT NULL,
    role              TEXT NOT NULL,
    grants            TEXT NOT NULL,
    inviter_id        TEXT NOT NULL REFERENCES accounts (id),
    epoch             TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    closed_at         INTEGER NOT NULL DEFAULT 0,
    closed_by         TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX invitations_open ON invitations (name) WHERE closed_at = 0;

-- Machines that call the API. permissions is a JSON list.
CREATE TABLE api_tokens (
    id                TEXT PRIMARY KEY,
    secret_hash       BLOB NOT NULL UNIQUE,
    name              TEXT NOT NULL,
    permissions       TEXT NOT NULL,
    maker_id          TEXT NOT NULL REFERENCES accounts (id),
    epoch             TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    used_at           INTEGER NOT NULL DEFAULT 0,
    revoked_at        INTEGER NOT NULL DEFAULT 0,
    revoked_by        TEXT NOT NULL DEFAULT ''
);

-- The way in when every other is lost: two codes, kept by two people, good once and
-- only together.
CREATE TABLE break_glass (
    id                TEXT PRIMARY KEY,
    first_hash        BLOB NOT NULL UNIQUE,
    second_hash       BLOB NOT NULL UNIQUE,
    first_keeper      TEXT NOT NULL,
    second_keeper     TEXT NOT NULL,
    epoch             TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    closed_at         INTEGER NOT NULL DEFAULT 0,
    closed_by         TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX break_glass_open ON break_glass ((closed_at = 0)) WHERE closed_at = 0;

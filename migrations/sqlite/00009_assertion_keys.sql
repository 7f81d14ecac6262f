-- +goose Up
-- Public keys of what is asserted to other systems. Which of them signs is a rule of the
-- times at which they were published; retired_at is 0 for those that were not retired.
CREATE TABLE assertion_keys (
    id                TEXT PRIMARY KEY,
    purpose           TEXT NOT NULL,
    public_key        BLOB NOT NULL UNIQUE,
    published_at      INTEGER NOT NULL,
    retired_at        INTEGER NOT NULL DEFAULT 0
) STRICT;

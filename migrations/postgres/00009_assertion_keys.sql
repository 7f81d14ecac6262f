-- +goose Up
-- Public keys of what is asserted to other systems. Which of them signs is a rule of the
-- times at which they were published; retired_at is 0 for those that were not retired.
CREATE TABLE assertion_keys (
    id                TEXT PRIMARY KEY,
    purpose           TEXT NOT NULL,
    public_key        BYTEA NOT NULL UNIQUE,
    published_at      BIGINT NOT NULL,
    retired_at        BIGINT NOT NULL DEFAULT 0
);

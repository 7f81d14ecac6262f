-- +goose Up
-- How far the revocation lists of other authorities had come, by where they are had from,
-- and which of these authorities are revoked. Neither goes back.
CREATE TABLE outside_lists (
    source            TEXT NOT NULL,
    authority         TEXT NOT NULL,
    number            TEXT NOT NULL,
    this_update       INTEGER NOT NULL,
    PRIMARY KEY (source, authority)
) STRICT;

CREATE TABLE outside_fallen (
    fingerprint       TEXT PRIMARY KEY,
    reason            INTEGER NOT NULL,
    found_at          INTEGER NOT NULL
) STRICT;

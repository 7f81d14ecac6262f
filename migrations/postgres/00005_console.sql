-- +goose Up
-- What the console shows of a large fleet without counting it.

-- Heartbeats by stretches of ten minutes, added up beside the heartbeats
-- themselves; the newest stretch may lack the last seconds.
CREATE TABLE heartbeat_counts (
    at                BIGINT PRIMARY KEY,
    accepted          BIGINT NOT NULL,
    refused           BIGINT NOT NULL
);

-- Devices by verdict, in the order of a list, and how many there are of each.
CREATE INDEX trust_verdicts_verdict ON trust_verdicts (verdict, device_id, holds_until);

-- Verdicts of a clock that was ahead.
CREATE INDEX trust_verdicts_evaluated ON trust_verdicts (evaluated_at);

-- Devices by the version of their agent.
CREATE INDEX devices_version ON devices (agent_version, device_id);

-- What the search of a list looks in. Trigrams find a piece of it without reading every
-- device; a database whose owner may not have the extension does read them all.
ALTER TABLE devices ADD COLUMN search_text TEXT NOT NULL
    GENERATED ALWAYS AS (lower(device_id || chr(10) || name || chr(10) || owner)) STORED;
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX devices_search ON devices USING gin (search_text gin_trgm_ops);
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN NULL;
END $$;
-- +goose StatementEnd

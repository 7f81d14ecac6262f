-- +goose Up
-- What the console shows of a large fleet without counting it.

-- Heartbeats by stretches of ten minutes, added up beside the heartbeats
-- themselves; the newest stretch may lack the last seconds.
CREATE TABLE heartbeat_counts (
    at                INTEGER PRIMARY KEY,
    accepted          INTEGER NOT NULL,
    refused           INTEGER NOT NULL
) STRICT;

-- Devices by verdict, in the order of a list, and how many there are of each.
CREATE INDEX trust_verdicts_verdict ON trust_verdicts (verdict, device_id, holds_until);

-- Verdicts of a clock that was ahead.
CREATE INDEX trust_verdicts_evaluated ON trust_verdicts (evaluated_at);

-- Devices by the version of their agent.
CREATE INDEX devices_version ON devices (agent_version, device_id);

-- What the search of a list looks in.
ALTER TABLE devices ADD COLUMN search_text TEXT NOT NULL
    GENERATED ALWAYS AS (lower(device_id || char(10) || name || char(10) || owner)) VIRTUAL;

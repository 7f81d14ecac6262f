-- +goose Up
-- The approval engine: what the rules of voting are is also said here, where no
-- program can forget it.

-- Who asked, with what words, by which number of people, and when what was approved
-- takes effect (0: at once).
ALTER TABLE approvals ADD COLUMN requester_account TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN path TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX approvals_subject ON approvals (kind, subject_id);
CREATE INDEX approvals_due ON approvals (due_at) WHERE state = 'approved';
CREATE UNIQUE INDEX approvals_parties ON approvals (id, requester, excluded);

-- A vote repeats whose request it is about: nobody decides on what they asked for,
-- nobody approves what they made it possible to ask, and nobody votes twice, by
-- one account or by two. struck_at is when a vote stopped counting.
CREATE TABLE approval_ballots (
    approval_id       TEXT NOT NULL,
    person            TEXT NOT NULL CHECK (person <> ''),
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    requester         TEXT NOT NULL,
    excluded          TEXT NOT NULL,
    approve           INTEGER NOT NULL,
    reason            TEXT NOT NULL CHECK (reason <> ''),
    at                INTEGER NOT NULL,
    struck_at         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (approval_id, person),
    UNIQUE (approval_id, account_id),
    FOREIGN KEY (approval_id, requester, excluded) REFERENCES approvals (id, requester, excluded),
    CHECK (person <> requester),
    CHECK (person <> excluded OR NOT approve)
) STRICT;
INSERT INTO approval_ballots (approval_id, person, account_id, requester, excluded, approve, reason, at)
    SELECT v.approval_id, v.person, v.account_id, a.requester, a.excluded, v.approve, v.reason, v.at
    FROM approval_votes AS v JOIN approvals AS a ON a.id = v.approval_id;
DROP TABLE approval_votes;
ALTER TABLE approval_ballots RENAME TO approval_votes;

-- How many people a path needs, and since when. A setting raises it; only an
-- approved request lowers it.
CREATE TABLE approval_quorums (
    path              TEXT PRIMARY KEY,
    people            INTEGER NOT NULL CHECK (people >= 0),
    since             INTEGER NOT NULL,
    approval_id       TEXT NOT NULL DEFAULT ''
) STRICT;

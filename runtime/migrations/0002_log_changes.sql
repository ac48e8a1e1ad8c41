-- Numbers the changes of operations, so that who follows the log misses none: each transaction that writes operations
-- takes its numbers from the one row of log_changes first, which puts writers in line. And tells whose operations are
-- under way, so that those of a process that died can be told from those of one that lives.

CREATE TABLE log_changes (
    id TEXT PRIMARY KEY NOT NULL,
    last_change BIGINT NOT NULL
);
INSERT INTO log_changes (id, last_change) VALUES ('operations', 0);

CREATE TABLE log_writers (
    id TEXT PRIMARY KEY NOT NULL,
    seen_at_ms BIGINT NOT NULL
);

ALTER TABLE operations ADD COLUMN change BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operations ADD COLUMN writer TEXT;
-- Grows at its end only, which costs little.
CREATE INDEX operations_change ON operations (change);
-- Operations that end soon are written once, at their end, and never get in here.
CREATE INDEX operations_running ON operations (id) WHERE state = 'running';

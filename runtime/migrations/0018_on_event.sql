-- On-event functions that run in the background wait in the queue of actions.
ALTER TABLE actions ADD COLUMN kind TEXT NOT NULL DEFAULT 'action' CHECK (kind IN ('action', 'on-event'));

-- What a connection will be once the functions that are asked about it have taken it: made (`creation`), or made again (`override`).
-- Null when nobody is being asked. One that is to be created does not count before.
ALTER TABLE connections ADD COLUMN validation TEXT CHECK (validation IN ('creation', 'override'));
-- When whoever asks must have an answer; after that his process is dead.
ALTER TABLE connections ADD COLUMN validation_until_ms BIGINT;
CREATE INDEX connections_validating ON connections (validation_until_ms) WHERE validation IS NOT NULL;

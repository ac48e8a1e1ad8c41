-- Connections and integrations that were deleted, which stay for a while with nothing in them that is secret. Reading and writing
-- is in src/store/deletions.rs and src/store/purge.rs.

-- Null for those that live. What is deleted gives its name free: connection_id and unique_key become '#' and the key of the row,
-- which no name can be, and what they were is kept beside them.
ALTER TABLE connections ADD COLUMN deleted_at_ms BIGINT;
ALTER TABLE connections ADD COLUMN former_id TEXT;
-- When the sealed columns of a deleted connection were emptied.
ALTER TABLE connections ADD COLUMN wiped_at_ms BIGINT;
CREATE INDEX connections_deleted ON connections (deleted_at_ms, connection_key) WHERE deleted_at_ms IS NOT NULL;
CREATE INDEX connections_to_wipe ON connections (connection_key) WHERE deleted_at_ms IS NOT NULL AND wiped_at_ms IS NULL;

ALTER TABLE integrations ADD COLUMN deleted_at_ms BIGINT;
ALTER TABLE integrations ADD COLUMN former_key TEXT;
CREATE INDEX integrations_deleted ON integrations (deleted_at_ms, id) WHERE deleted_at_ms IS NOT NULL;

-- Tokens of deleted connections that their providers have still to be told of. Without a foreign key: the connection may be purged
-- before its provider has answered.
CREATE TABLE revocations (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- For the log.
    provider_config_key TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- Sealed JSON: the requests that are left to be made, tokens included.
    requests BLOB NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    due_at_ms BIGINT NOT NULL,
    -- Somebody makes them until then; null when nobody does.
    lease_until_ms BIGINT,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX revocations_due ON revocations (due_at_ms, id);

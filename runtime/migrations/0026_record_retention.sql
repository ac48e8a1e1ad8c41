-- Retention of records. Reading and writing is in src/store/records/retention.rs.

-- Up to and with this change all payloads of the model were emptied for their age: none before it is looked at again.
ALTER TABLE record_models ADD COLUMN pruned_until_us BIGINT NOT NULL DEFAULT 0;

-- Work of which one process at a time does a share. The code is in src/store/upkeep.rs.
CREATE TABLE upkeep (
    name TEXT PRIMARY KEY NOT NULL,
    -- Grows with each lease; what is done under an earlier one is refused.
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

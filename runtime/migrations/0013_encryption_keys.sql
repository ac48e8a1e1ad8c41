-- Which encryption key seals and which ones still open, by the ids that sealed values carry. The keys themselves are never in
-- the database. Reading and writing is in src/store/encryption_keys.rs.
CREATE TABLE encryption_keys (
    version BIGINT PRIMARY KEY NOT NULL,
    key_id TEXT NOT NULL UNIQUE,
    -- waiting until every process has it, then sealing, then opening only, then retired.
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sealing', 'opening', 'retired')),
    created_at_ms BIGINT NOT NULL,
    -- When the last value was found to be sealed with a later key.
    emptied_at_ms BIGINT
);

-- What the processes that live say of themselves.
CREATE TABLE encryption_key_holders (
    process TEXT PRIMARY KEY NOT NULL,
    -- JSON: the ids of the keys it has.
    key_ids TEXT NOT NULL,
    sealing_with TEXT NOT NULL,
    seen_at_ms BIGINT NOT NULL
);

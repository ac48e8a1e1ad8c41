-- Passes over everything the provider has, at whose end is deleted what was not seen. See src/store/records/tracking.rs.

-- The change before the last one: who writes learns whether somebody else wrote meanwhile.
ALTER TABLE record_models ADD COLUMN before_us BIGINT NOT NULL DEFAULT 0;
-- Since when a pass is on.
ALTER TABLE record_models ADD COLUMN tracking_since_us BIGINT;

-- Records that the pass has seen and that have not changed since it began: of those that have, their time of change tells.
CREATE TABLE record_sightings (
    connection_key TEXT NOT NULL,
    model TEXT NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (connection_key, model, external_id),
    FOREIGN KEY (connection_key, model) REFERENCES record_models (connection_key, model) ON DELETE CASCADE
);

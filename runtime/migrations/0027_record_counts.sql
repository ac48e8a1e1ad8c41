-- Records of a model that are not deleted. Whatever writes records keeps it, in the same transaction: how many there are is asked
-- whenever somebody looks how a sync is doing. See src/store/records/counts.rs.
ALTER TABLE record_models ADD COLUMN record_count BIGINT NOT NULL DEFAULT 0;
UPDATE record_models SET record_count = (SELECT COUNT(*) FROM records r WHERE r.connection_key = record_models.connection_key
    AND r.model = record_models.model AND r.deleted_at_us IS NULL);

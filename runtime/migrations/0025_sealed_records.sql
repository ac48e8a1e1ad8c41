-- Records whose payloads are sealed. Reading and writing is in src/store/records/sealing.rs.

-- The payload, sealed; `data` is then `{"id":…}` and the hash is keyed. Empty once the payload was pruned. Null: `data` is the payload.
ALTER TABLE records ADD COLUMN sealed BLOB;

-- Which payloads the model may have; `sealing` while those in clear are sealed, unless somebody writes more of them meanwhile.
ALTER TABLE record_models ADD COLUMN payloads TEXT NOT NULL DEFAULT 'clear'
    CHECK (payloads IN ('none', 'clear', 'mixed', 'sealing', 'sealed'));
-- Grows with each beginning of sealing, so that only the last one to begin says that all are sealed.
ALTER TABLE record_models ADD COLUMN sealing_pass BIGINT NOT NULL DEFAULT 0;

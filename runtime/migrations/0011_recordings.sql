-- What recorded runs asked and were told. The recording is sealed: it holds data of the customers' customers, and goes with the
-- connection it is of.

CREATE TABLE recordings (
    run_id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    connection_key TEXT NOT NULL REFERENCES connections (connection_key) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX recordings_age ON recordings (created_at_ms);
CREATE INDEX recordings_of_connection ON recordings (connection_key);

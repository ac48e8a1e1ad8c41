-- What recorded runs asked and were told. The recording is sealed: it holds data of the customers' customers.

CREATE TABLE recordings (
    run_id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    integration TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX recordings_age ON recordings (created_at_ms);

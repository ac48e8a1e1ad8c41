-- What a customer's back end lets a browser do for half an hour. Reading and writing is in src/store/connect_sessions.rs.
CREATE TABLE connect_sessions (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- Of the token, which is kept nowhere.
    sha256 BLOB NOT NULL UNIQUE,
    -- Sealed JSON: for whom, which integrations, and defaults, which may hold secrets.
    details BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX connect_sessions_expiry ON connect_sessions (expires_at_ms);

-- Where webhooks about the connection go instead of to the environment's URLs; null for those.
ALTER TABLE connections ADD COLUMN webhook_url_override TEXT;
-- From when on the credentials are tried again; null when that is not done for them.
ALTER TABLE connections ADD COLUMN verify_due_at_ms BIGINT;
CREATE INDEX connections_verify_due ON connections (verify_due_at_ms, connection_key) WHERE verify_due_at_ms IS NOT NULL;

-- OAuth clients that registered themselves (RFC 7591), one for each integration, authorization server and redirect URI. Connections
-- keep the client that they were authorized with; this is the one that the next authorization takes. Reading and writing is in
-- src/store/oauth_clients.rs.
CREATE TABLE oauth_clients (
    -- SHA-256, in base64url, of what it is registered for.
    client_key TEXT PRIMARY KEY NOT NULL,
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    -- Sealed JSON: id, secret, and how it shows who it is. None until it is registered, and after the provider said that it does
    -- not know it.
    details BLOB,
    -- SHA-256, in base64url, of the client's id.
    client_id_hash TEXT,
    registered_at_ms BIGINT,
    -- When the provider stops taking its secret; none when never.
    expires_at_ms BIGINT,
    -- Who registers holds a lease; each has a number that is larger than the one before.
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE INDEX oauth_clients_of_integration ON oauth_clients (integration_id, registered_at_ms);

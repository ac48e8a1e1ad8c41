-- Authorizations under way: a customer was sent to a provider and has not come back yet. Reading and writing is in
-- src/store/authorizations.rs.
CREATE TABLE authorizations (
    -- SHA-256, in base64url, of the `state` that the customer comes back with, which is kept nowhere.
    state_hash TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- Sealed JSON: for which connect session and integration, the PKCE verifier, and the client if it is not the integration's.
    details BLOB NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX authorizations_expiry ON authorizations (expires_at_ms);

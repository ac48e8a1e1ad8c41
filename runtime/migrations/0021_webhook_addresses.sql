-- Where the provider sends the webhooks of one connection, and the secrets that they are signed with.
CREATE TABLE webhook_addresses (
    connection_key TEXT PRIMARY KEY NOT NULL REFERENCES connections (connection_key) ON DELETE CASCADE,
    integration_id TEXT NOT NULL,
    -- SHA-256 of the last part of the address, in base64url.
    token_hash TEXT NOT NULL,
    -- That part and the secrets, JSON.
    sealed BLOB NOT NULL
);
CREATE UNIQUE INDEX webhook_addresses_by_token ON webhook_addresses (token_hash);
CREATE INDEX webhook_addresses_of_integration ON webhook_addresses (integration_id);

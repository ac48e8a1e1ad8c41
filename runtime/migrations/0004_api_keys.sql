-- What an API key may do. Keys that are there may go on doing everything.

ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '["environment:*"]';
ALTER TABLE api_keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE api_keys ADD COLUMN last_used_at_ms BIGINT;

-- Webhooks to the customer's application: what it wants to hear of, what is to be sent, and how its addresses answer. Reading and
-- writing is in src/store/webhooks/. An environment without a row wants the defaults and has no address.

CREATE TABLE webhook_settings (
    environment_id TEXT PRIMARY KEY NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    primary_url TEXT,
    secondary_url TEXT,
    -- JSON: which of them are sent.
    kinds TEXT NOT NULL,
    -- Sealed JSON: the keys that sign, each from when on.
    signing_keys BLOB NOT NULL,
    updated_at_ms BIGINT NOT NULL
);

-- The outbox: a row for each announcement and address, written in the transaction of what it announces. Rows outlive the
-- connection they are about, hence no foreign key to it.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY NOT NULL,
    -- The same for all addresses of one announcement.
    event_id TEXT NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('connection_create', 'connection_refresh', 'sync', 'async_action', 'forward')),
    -- Whose address it is.
    slot TEXT NOT NULL CHECK (slot IN ('primary', 'secondary', 'override')),
    url TEXT NOT NULL,
    -- A hash of the URL, which can be longer than what an index takes.
    target TEXT NOT NULL,
    -- What is about one thing goes to one target in the order of the ids.
    line TEXT NOT NULL,
    provider_config_key TEXT,
    connection_id TEXT,
    -- Sealed JSON: the body, and headers that are passed on.
    content BLOB NOT NULL,
    operation_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    created_at_ms BIGINT NOT NULL,
    -- When it was written or sent anew by hand: from then on its attempts and its age count.
    queued_at_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at_ms BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    attempted_at_ms BIGINT,
    -- What was wrong with the last attempt.
    problem TEXT,
    ended_at_ms BIGINT
);
CREATE INDEX webhooks_due ON webhooks (due_at_ms, id) WHERE state = 'pending';
CREATE INDEX webhooks_lines ON webhooks (line, target, id) WHERE state = 'pending';
CREATE INDEX webhooks_newest ON webhooks (environment_id, state, id);
CREATE INDEX webhooks_ended ON webhooks (state, ended_at_ms) WHERE state <> 'pending';

-- Addresses that have failed, or asked for time. One that is not here is well.
CREATE TABLE webhook_targets (
    target TEXT PRIMARY KEY NOT NULL,
    -- Attempts that failed, one after the other.
    failures BIGINT NOT NULL,
    -- Nothing is sent there before.
    closed_until_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL
);

-- Records are looked up by id and listed in order of change. Without statistics Postgres takes connection, model and id for no
-- more selective than connection and model, and looked up ids in the index of changes, where it read the whole model for each. A partial
-- index serves only statements that say its condition: `sequence >= 0` is true of every record, and said by those that list.
DROP INDEX records_changes;
CREATE UNIQUE INDEX records_changes ON records (connection_key, model, modified_at_us, sequence) WHERE sequence >= 0;

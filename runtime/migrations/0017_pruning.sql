-- When a record's payload was emptied; its hash stays, so that changes of it are still told.
ALTER TABLE records ADD COLUMN pruned_at_us BIGINT;

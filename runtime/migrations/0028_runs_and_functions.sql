-- Runs of on-event functions are in the history of runs. What a column may hold cannot be changed in both databases, so that both columns
-- are made anew; actions, which are most, are the default.
ALTER TABLE runs ADD COLUMN function_kind TEXT NOT NULL DEFAULT 'action' CHECK (function_kind IN ('action', 'sync', 'on-event'));
UPDATE runs SET function_kind = kind WHERE kind <> 'action';
ALTER TABLE runs DROP COLUMN kind;
ALTER TABLE runs RENAME COLUMN function_kind TO kind;
ALTER TABLE runs ADD COLUMN occasion TEXT NOT NULL DEFAULT 'api' CHECK (occasion IN ('api', 'schedule', 'event'));
UPDATE runs SET occasion = triggered_by WHERE triggered_by <> 'api';
ALTER TABLE runs DROP COLUMN triggered_by;
ALTER TABLE runs RENAME COLUMN occasion TO triggered_by;

-- Since when a function is not run, whatever asks for it; null when it is.
ALTER TABLE functions ADD COLUMN disabled_at_ms BIGINT;

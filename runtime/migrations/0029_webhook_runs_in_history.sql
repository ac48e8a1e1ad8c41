-- Runs for providers' webhooks are in the history of runs. As in 0028, a column whose words change is made anew.
ALTER TABLE runs ADD COLUMN occasion TEXT NOT NULL DEFAULT 'api' CHECK (occasion IN ('api', 'schedule', 'event', 'webhook'));
UPDATE runs SET occasion = triggered_by WHERE triggered_by <> 'api';
ALTER TABLE runs DROP COLUMN triggered_by;
ALTER TABLE runs RENAME COLUMN occasion TO triggered_by;

-- Since when a version is one that was tried and given up: going back passes it over.
ALTER TABLE function_versions ADD COLUMN given_up_at_ms BIGINT;

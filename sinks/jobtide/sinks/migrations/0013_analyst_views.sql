-- What analysts may ask: named by what it is, each thing once, without the columns that only the writer needs. `POST /v1/query` reads
-- nothing else, always with the rows of one tenant where the caller is confined to it.
CREATE OR REPLACE VIEW analyst_executions AS SELECT * FROM executions;

CREATE OR REPLACE VIEW analyst_failed_executions AS
SELECT * EXCEPT (list, batch) FROM listed_executions
WHERE list = 'trouble' AND batch = '' AND NOT (outcome = '' AND enqueued_at IS NULL AND started_at IS NULL);

CREATE OR REPLACE VIEW analyst_rollups AS SELECT * FROM rollups;

CREATE OR REPLACE VIEW analyst_rollup_hours AS SELECT * FROM rollup_hours;

CREATE OR REPLACE VIEW analyst_events AS
SELECT
  tenant, environment, system, queue, job_class, job_id, attempt, type, time, reported_at, event_id, epoch, lane, seq, worker_id, enqueued_at, started_at,
  run_at, duration_us, error_class, error_message, error_backtrace, backfill, data, source, ingested_at
FROM job_events FINAL;

CREATE OR REPLACE VIEW analyst_workers AS SELECT * FROM worker_snapshots FINAL;

CREATE OR REPLACE VIEW analyst_deploys AS SELECT * FROM deploys FINAL;

CREATE OR REPLACE VIEW analyst_queue_states AS SELECT * FROM queue_states FINAL;

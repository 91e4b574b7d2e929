// The counts of a pg-boss queue for queue.snapshot: one statement that elects and counts.
//
// Elected is the session that gets the advisory lock of this interval's number. It keeps the lock past its turn, so that
// nobody else has the same interval, and gives back its older ones at the next: nothing is created, nothing piles up.

import { count } from "./bounds.js";
import { crc32 } from "./lanes.js";
import { usOf } from "./moments.js";
import type { Counts } from "./snapshots.js";

/** Undefined once pg-boss has been stopped. */
export type Sql = (sql: string, values?: unknown[]) => Promise<{ rows: Record<string, unknown>[] } | undefined>;

export async function countsOfBoss(run: Sql, schema: string, queue: string, intervalMs: number): Promise<Counts | undefined> {
  const key = crc32(`jobtide/${schema}/${queue}`) & 0x7fffffff;
  const turn = Math.floor(Date.now() / intervalMs) & 0x7fffffff;
  const elected = await run(
    `WITH old AS MATERIALIZED (
       SELECT pg_advisory_unlock($1::int, objid::int) FROM pg_locks
       WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid::bigint = $1::bigint AND objsubid = 2 AND objid::bigint < $2::bigint - 1
     ), held AS MATERIALIZED (
       SELECT count(*) AS held FROM pg_locks
       WHERE locktype = 'advisory' AND classid::bigint = $1::bigint AND objsubid = 2 AND objid::bigint = $2::bigint
     )
     SELECT (SELECT count(*) FROM old) AS given, CASE WHEN (SELECT held FROM held) = 0 THEN pg_try_advisory_lock($1::int, $2::int) ELSE false END AS mine`,
    [key, turn],
  );
  if (elected?.rows[0]?.["mine"] !== true) return undefined;
  const counted = await run(
    `SELECT count(*) FILTER (WHERE state < 'active' AND start_after <= now()) AS ready,
            count(*) FILTER (WHERE state = 'created' AND start_after > now()) AS scheduled,
            count(*) FILTER (WHERE state = 'retry' AND start_after > now()) AS retry,
            count(*) FILTER (WHERE state = 'active') AS running,
            count(*) FILTER (WHERE state = 'failed') AS dead,
            min(greatest(created_on, start_after)) FILTER (WHERE state < 'active' AND start_after <= now()) AS oldest
     FROM ${schemaName(schema)}.job WHERE name = $1`,
    [queue],
  );
  if (!counted) return undefined;
  const found = counted.rows[0] ?? {};
  return {
    ready: count(found["ready"]) ?? 0, scheduled: count(found["scheduled"]), retry: count(found["retry"]),
    running: count(found["running"]), dead: count(found["dead"]), oldestReadyUs: usOf(found["oldest"]),
  };
}

/** pg-boss puts the schema's name into its SQL as it is, and so takes none that would need quotes. */
export function schemaName(schema: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(schema)) return schema;
  throw new Error(`schema ${schema} needs quotes`);
}

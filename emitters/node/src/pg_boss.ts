// pg-boss 10: `watchBoss(boss)` before `boss.send(…)` and `boss.work(…)`.
//
// pg-boss's jobs have no names: their class is the queue's name. `work` is asked for its metadata (`includeMetadata`), which
// has the attempt and what follows a failed one. Jobs of `schedule` are made inside pg-boss: their start tells of them.

import { randomUUID } from "node:crypto";
import type { Emitter } from "./emitter.js";
import { guarded } from "./guard.js";
import type { Job, Run } from "./jobs.js";
import { clock, usOf } from "./moments.js";
import { takeWorkerName } from "./naming.js";
import { countsOfBoss, schemaName, type Sql } from "./pg_boss_counts.js";
import { emitter as current } from "./process.js";
import { Snapshots } from "./snapshots.js";
import type { Worker } from "./workers.js";

const SYSTEM = "pg_boss";
const LOOKS = 40;
const LOOK_MS = 50;

interface BossJob {
  id: string;
  name: string;
  data?: unknown;
  retryCount?: number;
  retryLimit?: number;
  retryDelay?: number;
  retryBackoff?: boolean;
  priority?: number;
  expireInSeconds?: number | string;
  createdOn?: unknown;
  startAfter?: unknown;
  state?: string;
}

interface Inserted {
  id?: string;
  name: string;
  data?: unknown;
  startAfter?: unknown;
  priority?: number;
}

type Handler = (jobs: BossJob[], ...more: unknown[]) => Promise<unknown>;
type Send = (...args: unknown[]) => Promise<string | null>;

interface PgBoss {
  send: Send;
  sendAfter: Send;
  sendThrottled: Send;
  sendDebounced: Send;
  insert(jobs: Inserted[], options?: unknown): Promise<string[] | null>;
  work(name: string, ...args: unknown[]): Promise<string>;
  cancel(name: string, id: string | string[], ...more: unknown[]): Promise<unknown>;
  stop(options?: unknown): Promise<unknown>;
  getJobById(name: string, id: string): Promise<BossJob | null>;
  getDb(): { executeSql: Sql };
}

interface Watched {
  emitter: Emitter;
  boss: PgBoss;
  schema: string;
  workers: Map<string, { worker: Worker; release: () => void; snapshots: Snapshots | undefined; concurrency: number }>;
}

/** Watches a PgBoss; returns it. `schema` is pg-boss's own option, where it is not the default. */
export function watchBoss<B extends object>(boss: B, { schema = "pgboss" } = {}): B {
  attach(boss as unknown as PgBoss, schema);
  return boss;
}

const attach = guarded("pg_boss.watch_boss", (boss: PgBoss, schema: string) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const watched: Watched = { emitter, boss, schema, workers: new Map() };
  for (const method of ["send", "sendAfter", "sendThrottled", "sendDebounced"] as const) {
    const original = boss[method];
    boss[method] = async (...args) => {
      const sentUs = clock.wallUs();
      const id = await original(...args);
      sent(watched, method, args, id, sentUs);
      return id;
    };
  }
  const { insert, work, cancel, stop } = boss;
  boss.insert = async (jobs, options) => {
    const sentUs = clock.wallUs();
    const identified = inserting(jobs) ?? jobs;
    const result = await insert(identified, options);
    void inserted(watched, identified, sentUs);
    return result;
  };
  boss.work = (name, ...args) => work(name, ...(working(watched, name, args) ?? args));
  boss.cancel = async (name, id, ...more) => {
    const result = await cancel(name, id, ...more);
    void cancelled(watched, name, id);
    return result;
  };
  boss.stop = async function (options) {
    stopping(watched);
    const result = await stop.call(this, options);
    await ended(watched);
    return result;
  };
});

interface Facts {
  id: unknown;
  data?: unknown;
  priority?: number | undefined;
  retryLimit?: number | undefined;
}

function named({ emitter }: Watched, queue: string, job: Facts, attempt: number): Job {
  return emitter.job(SYSTEM, queue, queue, job.id, attempt, {
    max_attempts: job.retryLimit === undefined ? undefined : job.retryLimit + 1,
    priority: job.priority || undefined,
    args_preview: emitter.settings.args === "" ? undefined : emitter.argsPreview(queue, job.data),
  });
}

/** send(name, data, options) or send({ name, data, options }); sendAfter has the time at the end. */
const sent = guarded("pg_boss.sent", (watched: Watched, method: string, args: unknown[], id: string | null, sentUs: number) => {
  if (id === null) return; // throttled: nothing was added
  const [first] = args as [string | { name: string; data?: unknown; options?: Record<string, unknown> }];
  const [name, data, options] = typeof first === "object" ? [first.name, first.data, first.options] : [first, args[1], args[2] as Record<string, unknown> | undefined];
  const after = method === "sendAfter" ? args[3] : options?.["startAfter"];
  tell(watched, name, { id, data, priority: options?.["priority"] as number | undefined }, after, sentUs);
});

/** pg-boss's insert tells no ids: jobs without one get one here. */
const inserting = guarded("pg_boss.inserting", (jobs: Inserted[]) => jobs.map((job) => ({ ...job, id: job.id ?? randomUUID() })));

/** Nor does it tell which were there already, or throttled: what stands in the table is told. */
const inserted = guarded("pg_boss.inserted", async (watched: Watched, jobs: Inserted[], sentUs: number) => {
  const stored = await watched.boss.getDb().executeSql(
    `SELECT id FROM ${schemaName(watched.schema)}.job WHERE id = ANY($1::uuid[]) AND name = ANY($2::text[]) AND created_on > now() - interval '1 minute'`,
    [jobs.map((job) => job.id), [...new Set(jobs.map((job) => job.name))]],
  );
  const there = new Set(stored?.rows.map((row) => row["id"]));
  for (const job of jobs) if (there.has(job.id)) tell(watched, job.name, { id: job.id, data: job.data, priority: job.priority }, job.startAfter, sentUs);
});

function tell(watched: Watched, queue: string, job: Facts, after: unknown, sentUs: number): void {
  const attempt = named(watched, queue, { id: job.id, data: job.data, priority: job.priority }, 1);
  const runAtUs = typeof after === "number" || (typeof after === "string" && /^\d+$/.test(after)) ? sentUs + Number(after) * 1_000_000 : usOf(after);
  if (runAtUs === undefined || runAtUs <= sentUs) watched.emitter.jobEnqueued(attempt, sentUs);
  else watched.emitter.jobScheduled(attempt, runAtUs, sentUs);
}

/** The arguments of `work` with the handler wrapped and the metadata asked for. */
const working = guarded("pg_boss.working", (watched: Watched, queue: string, args: unknown[]): unknown[] | undefined => {
  const handler = args.at(-1) as Handler;
  if (typeof handler !== "function") return undefined; // pg-boss says what is wrong
  const options = args.length > 1 ? (args[0] as { batchSize?: number }) : {};
  const worker = workerOf(watched, queue, options?.batchSize ?? 1);
  const wrapped: Handler = async (jobs, ...more) => {
    const runs = started(watched, worker, jobs);
    try {
      const result = await handler(jobs, ...more);
      if (runs) finished(watched, runs, jobs);
      return result;
    } catch (error) {
      if (runs) failed(watched, runs, jobs, error);
      throw error;
    }
  };
  return [{ ...options, includeMetadata: true }, wrapped];
});

/** One worker a queue, however often `work` is called for it. */
function workerOf(watched: Watched, queue: string, batchSize: number): Worker {
  const known = watched.workers.get(queue);
  if (known) known.concurrency += batchSize;
  if (known) return known.worker;
  const { name, release } = takeWorkerName(queue);
  const worker = watched.emitter.worker({ system: SYSTEM, workerId: name, queues: [queue], concurrency: () => watched.workers.get(queue)?.concurrency ?? 0 });
  watched.workers.set(queue, { worker, release, snapshots: watchCounts(watched, queue), concurrency: batchSize });
  return worker;
}

const watchCounts = guarded("pg_boss.watch_counts", ({ emitter, boss, schema }: Watched, queue: string) =>
  new Snapshots(emitter, SYSTEM, queue, () => countsOfBoss((sql, values) => boss.getDb().executeSql(sql, values), schema, queue, emitter.settings.snapshot_ms)),
);

const started = guarded("pg_boss.started", (watched: Watched, worker: Worker, jobs: BossJob[]) =>
  jobs.map((job) => {
    const attempt = (job.retryCount ?? 0) + 1;
    const createdUs = usOf(job.createdOn);
    const afterUs = usOf(job.startAfter);
    const runAtUs = afterUs !== undefined && (createdUs === undefined || afterUs > createdUs) ? afterUs : undefined;
    return worker.begin(named(watched, job.name, job, attempt), attempt === 1 ? createdUs : undefined, runAtUs);
  }),
);

/** A handler that outlives its time has failed already, as far as pg-boss is concerned. */
const finished = guarded("pg_boss.finished", (watched: Watched, runs: Run[], jobs: BossJob[]) => {
  const limitMs = Math.max(1, ...jobs.map((job) => Number(job.expireInSeconds) || 0)) * 1000;
  for (const run of runs) run.bodyReturned();
  const [first] = runs;
  const limited = jobs.some((job) => job.expireInSeconds !== undefined);
  if (first && limited && (first.endedUs as number) - first.startedUs > limitMs * 1000)
    failed(watched, runs, jobs, new Error(`handler execution exceeded ${limitMs}ms`));
  else for (const run of runs) run.finished();
});

const failed = guarded("pg_boss.failed", (watched: Watched, runs: Run[], jobs: BossJob[], thrown: unknown) => {
  const { emitter } = watched;
  const error = emitter.error(thrown);
  runs.forEach((run, index) => {
    const job = jobs[index] as BossJob;
    const more = { worker_id: run.workerId };
    run.failed(error);
    if ((job.retryCount ?? 0) >= (job.retryLimit ?? 0)) emitter.jobDead(run.job, error, more, run.endedUs);
    else if (!job.retryBackoff) emitter.jobRetryScheduled(run.job, retryUs(run, job, 1), { error, ...more }, run.endedUs);
    else void backedOff(watched, run, job, { error, ...more });
  });
});

function retryUs(run: Run, job: BossJob, factor: number): number {
  return Math.round((run.endedUs ?? clock.wallUs()) + (job.retryDelay ?? 0) * factor * 1_000_000);
}

/** With back-off there is chance in the time of the next attempt: read it, in the background, once pg-boss has stored it. */
const backedOff = guarded("pg_boss.backed_off", async ({ emitter, boss }: Watched, run: Run, job: BossJob, more: object) => {
  let runAtUs = retryUs(run, job, 2 ** Math.min(16, (job.retryCount ?? 0) + 1) / 2); // the least it can be
  try {
    for (let look = 0; look < LOOKS; look++) {
      const stored = await boss.getJobById(run.job.queue, run.job.id);
      if (stored?.state === "retry") runAtUs = usOf(stored.startAfter) ?? runAtUs;
      if (stored?.state !== "active" || (stored.retryCount ?? 0) + 1 > run.job.attempt) break;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref());
    }
  } finally {
    emitter.jobRetryScheduled(run.job, runAtUs, more, run.endedUs); // also where pg-boss was stopped meanwhile
  }
});

const cancelled = guarded("pg_boss.cancelled", async (watched: Watched, queue: string, id: string | string[]) => {
  for (const one of [id].flat()) {
    const job = await watched.boss.getJobById(queue, one);
    if (job?.state === "cancelled") watched.emitter.jobCancelled(named(watched, queue, job, (job.retryCount ?? 0) + 1), "cancelled");
  }
});

const stopping = guarded("pg_boss.stopping", ({ workers }: Watched) => {
  for (const { worker, snapshots } of workers.values()) {
    worker.stopping();
    snapshots?.stop();
  }
});

const ended = guarded("pg_boss.stopped", async ({ emitter, workers }: Watched) => {
  for (const { worker, release } of workers.values()) {
    release();
    await emitter.endWorker(worker);
  }
  workers.clear();
  await emitter.flush();
});

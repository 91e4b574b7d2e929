// Bee-Queue: `watchQueue(queue)` before `queue.createJob(…)` and `queue.process(…)`. One Queue both adds and works.
//
// Bee-Queue's jobs have no names: their class is the queue's name. An attempt is one more than the stack traces the job
// carries. A stalled job runs again as the same attempt, which the stream counts once.

import type { Emitter } from "./emitter.js";
import { guarded } from "./guard.js";
import type { Job, Run } from "./jobs.js";
import { clock } from "./moments.js";
import { takeWorkerName } from "./naming.js";
import { emitter as current } from "./process.js";
import { countsOf, type Eval, type Layout } from "./redis_counts.js";
import { Snapshots } from "./snapshots.js";
import type { Worker } from "./workers.js";

const SYSTEM = "bee_queue";
const LAYOUT: Layout = { ready: ["waiting"], oldest: "waiting", scheduled: "delayed", dead: "failed", running: "active", job: "json", paused: "none" };

interface BeeJob {
  id: string | null;
  data?: unknown;
  options: { timestamp?: number; delay?: number; retries?: number; stacktraces?: string[] };
  _save(evalScript: unknown): Promise<BeeJob>;
  status?: string;
  computeDelay(): number;
  reportProgress(progress: unknown, callback?: unknown): Promise<unknown>;
}

interface NodeRedis {
  connected?: boolean;
  eval(...args: unknown[]): unknown;
}

interface BeeQueue {
  name: string;
  client: NodeRedis | null;
  concurrency?: number;
  handler?: (job: BeeJob) => Promise<unknown>;
  createJob(data: unknown): BeeJob;
  process(...args: unknown[]): unknown;
  getJob?(id: string): Promise<BeeJob | null>;
  removeJob?(id: string, ...more: unknown[]): Promise<unknown>;
  close(...args: unknown[]): Promise<unknown>;
  toKey(type: string): string;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

interface Watched {
  emitter: Emitter;
  queue: BeeQueue;
  worker: Worker | undefined;
  release: () => void;
  runs: WeakMap<BeeJob, { run: Run; delayMs: number }>;
}

/** Watches a Queue; returns it. */
export function watchQueue<Q extends object>(queue: Q): Q {
  attach(queue as unknown as BeeQueue);
  return queue;
}

const attach = guarded("bee_queue.watch_queue", (queue: BeeQueue) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const watched: Watched = { emitter, queue, worker: undefined, release: () => undefined, runs: new WeakMap() };
  const { createJob, process: work, removeJob, close } = queue;
  queue.createJob = function (data) {
    const job = createJob.call(this, data);
    created(watched, job);
    return job;
  };
  queue.process = function (...args) {
    const result = work.apply(this, args);
    working(watched);
    return result;
  };
  if (removeJob)
    queue.removeJob = function (id, ...more) {
      const before = lookUp(queue, id);
      const removing = removeJob.call(this, id, ...more);
      removing.then(() => cancelled(watched, before), () => undefined);
      return removing;
    };
  queue.on("succeeded", (job: BeeJob) => succeeded(watched, job));
  queue.on("retrying", (job: BeeJob, error: unknown) => retrying(watched, job, error));
  queue.on("failed:fatal", (job: BeeJob, error: unknown) => failed(watched, job, error));
  const snapshots = watchCounts(emitter, queue);
  queue.close = function (...args) {
    snapshots?.stop();
    stopping(watched);
    const closing = close.apply(this, args);
    // With a callback the promise is nobody's: a second one of ours would be an unhandled rejection.
    if (typeof args.at(-1) === "function") return void closing.then(() => ended(watched), () => ended(watched)), closing;
    return closing.then(async (closed) => {
      await ended(watched);
      return closed;
    });
  };
});

const watchCounts = guarded("bee_queue.watch_counts", (emitter: Emitter, queue: BeeQueue) =>
  new Snapshots(emitter, SYSTEM, queue.name, async (leaseMs) => {
    const { client } = queue;
    if (!client || client.connected === false) return undefined;
    return countsOf(evalWith(client), queue.toKey(""), LAYOUT, emitter.ring.epoch, leaseMs);
  }),
);

function evalWith(client: NodeRedis): Eval {
  return (script, keys, args) =>
    new Promise((resolve, reject) => client.eval(script, keys.length, ...keys, ...args, (error: Error | null, found: unknown) => (error ? reject(error) : resolve(found))));
}

function named({ emitter, queue }: Watched, job: BeeJob, attempt: number): Job {
  const { retries = 0, stacktraces = [] } = job.options;
  return emitter.job(SYSTEM, queue.name, queue.name, job.id, attempt, {
    max_attempts: stacktraces.length + retries + 1,
    args_preview: emitter.settings.args === "" ? undefined : emitter.argsPreview(queue.name, job.data),
  });
}

/** Bee-Queue's delay is the time itself, in ms. */
function runAtOf(job: BeeJob): number | undefined {
  return job.options.delay ? Math.round(job.options.delay * 1000) : undefined;
}

const created = guarded("bee_queue.created", (watched: Watched, job: BeeJob) => {
  const { _save } = job;
  job._save = async function (evalScript) {
    const savedUs = clock.wallUs();
    const saved = await _save.call(this, evalScript);
    added(watched, job, savedUs);
    return saved;
  };
});

const added = guarded("bee_queue.added", (watched: Watched, job: BeeJob, savedUs: number) => {
  if (job.id === null) return; // an id that was there already: nothing was added
  const attempt = named(watched, job, 1);
  const runAtUs = runAtOf(job);
  if (runAtUs === undefined) watched.emitter.jobEnqueued(attempt, savedUs);
  else watched.emitter.jobScheduled(attempt, runAtUs, savedUs);
});

/** Reads a job before it is removed: Redis answers in the order of the commands. Nobody waits for it. */
const lookUp = guarded("bee_queue.removing", (queue: BeeQueue, id: string) => {
  const found = queue.getJob?.(id);
  found?.catch(() => undefined);
  return found;
});

const cancelled = guarded("bee_queue.removed", async (watched: Watched, before: Promise<BeeJob | null> | undefined) => {
  const job = await before;
  if (job && job.status !== "succeeded" && job.status !== "failed")
    watched.emitter.jobCancelled(named(watched, job, (job.options.stacktraces?.length ?? 0) + 1), "removed");
});

const working = guarded("bee_queue.working", (watched: Watched) => {
  const { emitter, queue } = watched;
  const { handler } = queue;
  if (!handler) return;
  const { name, release } = takeWorkerName(queue.name);
  watched.release = release;
  watched.worker = emitter.worker({ system: SYSTEM, workerId: name, queues: [queue.name], concurrency: () => queue.concurrency ?? 1 });
  queue.handler = async (job) => {
    const run = started(watched, job);
    try {
      const result = await handler(job);
      if (run) returned(run);
      return result;
    } catch (error) {
      if (run) returned(run, { error });
      throw error;
    }
  };
});

const started = guarded("bee_queue.started", (watched: Watched, job: BeeJob) => {
  const attempt = (job.options.stacktraces?.length ?? 0) + 1;
  const enqueuedUs = attempt === 1 && job.options.timestamp !== undefined ? job.options.timestamp * 1000 : undefined;
  const run = watched.worker?.begin(named(watched, job, attempt), enqueuedUs, attempt === 1 ? runAtOf(job) : undefined);
  if (!run) return undefined;
  const held = { run, delayMs: 0 };
  watched.runs.set(job, held);
  const { computeDelay, reportProgress } = job;
  job.computeDelay = function () {
    return (held.delayMs = computeDelay.call(this));
  };
  job.reportProgress = function (progress, callback) {
    progressed(run, progress);
    return reportProgress.call(this, progress, callback);
  };
  return run;
});

const returned = guarded("bee_queue.returned", (run: Run, threw?: { error: unknown }) => run.bodyReturned(threw));

const progressed = guarded("bee_queue.progress", (run: Run, progress: unknown) => {
  if (typeof progress === "number") run.progress(progress / 100);
});

const succeeded = guarded("bee_queue.succeeded", (watched: Watched, job: BeeJob) => runOf(watched, job, 1).run.finished());

const retrying = guarded("bee_queue.retrying", (watched: Watched, job: BeeJob, thrown: unknown) => {
  const { run, delayMs } = runOf(watched, job, 0);
  const error = watched.emitter.error(thrown);
  run.failed(error);
  const more = { error, ...(watched.worker ? { worker_id: watched.worker.id } : {}) };
  watched.emitter.jobRetryScheduled(run.job, (run.endedUs ?? clock.wallUs()) + Math.round(Math.max(0, delayMs) * 1000), more);
});

const failed = guarded("bee_queue.failed", (watched: Watched, job: BeeJob, thrown: unknown) => {
  const { run } = runOf(watched, job, 0);
  const error = watched.emitter.error(thrown);
  run.failed(error);
  watched.emitter.jobDead(run.job, error, watched.worker ? { worker_id: watched.worker.id } : {});
});

/** The run of a job; `more` is what has to be added to its stack traces to have the attempt, where the start was not seen. */
function runOf(watched: Watched, job: BeeJob, more: number): { run: Run; delayMs: number } {
  const held = watched.runs.get(job);
  watched.runs.delete(job);
  const attempt = (job.options.stacktraces?.length ?? 0) + more;
  return held ?? { run: watched.emitter.runOf(named(watched, job, attempt), watched.worker?.id ?? "unknown", clock.wallUs()), delayMs: 0 };
}

const stopping = guarded("bee_queue.stopping", ({ worker }: Watched) => worker?.stopping());

const ended = guarded("bee_queue.closed", async (watched: Watched) => {
  const { worker, emitter } = watched;
  watched.worker = undefined;
  watched.release();
  if (worker) await emitter.endWorker(worker);
  else await emitter.flush();
});

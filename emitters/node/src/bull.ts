// Bull (3 and 4): `watchQueue(queue)` before `queue.process(…)` and `queue.add(…)`. One Queue both adds and works.
//
// Bull counts failures, not starts: a stalled job runs again as the same attempt, which the stream counts once. Where a
// custom back-off strategy decides, the time of a retry is read from the delayed set.

import { attempt as bounded } from "./bounds.js";
import type { Emitter } from "./emitter.js";
import { guarded } from "./guard.js";
import type { Job, Run } from "./jobs.js";
import { clock } from "./moments.js";
import { takeWorkerName } from "./naming.js";
import { emitter as current } from "./process.js";
import { countsOf, type Layout } from "./redis_counts.js";
import { Snapshots } from "./snapshots.js";
import { Told } from "./told.js";
import type { Worker } from "./workers.js";

const SYSTEM = "bull";
const LAYOUT: Layout = {
  ready: ["wait", "paused"], oldest: "wait", scheduled: "delayed", dead: "failed", running: "active", job: "hash", paused: "meta-key",
};
const STALLED = "job stalled more than allowable limit";

interface BullJob {
  id: string | number;
  name: string;
  data?: unknown;
  opts: { attempts?: number; delay?: number; priority?: number; jobId?: unknown; repeat?: unknown; debounce?: unknown; backoff?: { type?: string; delay?: number } };
  timestamp: number;
  attemptsMade: number;
  processedOn?: number;
  finishedOn?: number;
}

interface Redis {
  status: string;
  eval(script: string, keys: number, ...args: unknown[]): Promise<unknown>;
  zscore(key: string, member: string): Promise<string | null>;
}

interface BullQueue {
  name: string;
  client: Redis;
  handlers: Record<string, (job: BullJob, ...more: unknown[]) => Promise<unknown>>;
  add(...args: unknown[]): Promise<BullJob>;
  addBulk?(...args: unknown[]): Promise<BullJob[]>;
  setHandler(name: string, handler: unknown): void;
  start(concurrency: number, name: string): Promise<unknown>;
  nextRepeatableJob?(...args: unknown[]): Promise<BullJob | undefined>;
  getJob(id: string | number): Promise<BullJob | null>;
  pause(isLocal?: boolean, ...more: unknown[]): Promise<unknown>;
  resume(isLocal?: boolean): Promise<unknown>;
  close(...args: unknown[]): Promise<unknown>;
  toKey(type: string): string;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

interface Watched {
  emitter: Emitter;
  queue: BullQueue;
  told: Told;
  worker: Worker | undefined;
  concurrency: number;
  release: () => void;
  runs: WeakMap<BullJob, Run>;
}

/** Watches a Queue; returns it. */
export function watchQueue<Q extends object>(queue: Q): Q {
  attach(queue as unknown as BullQueue);
  return queue;
}

const attach = guarded("bull.watch_queue", (queue: BullQueue) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const watched: Watched = { emitter, queue, told: new Told(), worker: undefined, concurrency: 0, release: () => undefined, runs: new WeakMap() };
  aroundAdding(watched);
  aroundWorking(watched);
  aroundLife(watched);
});

function aroundAdding(watched: Watched): void {
  const { emitter, queue } = watched;
  const { add, addBulk, nextRepeatableJob } = queue;
  queue.add = async function (...args) {
    const addedUs = clock.wallUs();
    const job = await add.apply(this, args);
    added(watched, job, addedUs);
    return job;
  };
  if (addBulk)
    queue.addBulk = async function (...args) {
      const addedUs = clock.wallUs();
      const jobs = await addBulk.apply(this, args);
      for (const job of jobs) added(watched, job, addedUs);
      return jobs;
    };
  if (nextRepeatableJob)
    queue.nextRepeatableJob = async function (...args) {
      const job = await nextRepeatableJob.apply(this, args);
      repeated(emitter, queue, job);
      return job;
    };
}

function aroundWorking(watched: Watched): void {
  const { queue } = watched;
  const { setHandler, start } = queue;
  queue.setHandler = function (name, handler) {
    setHandler.call(this, name, handler);
    handling(watched, name);
  };
  queue.start = function (concurrency, name) {
    working(watched, concurrency);
    return start.call(this, concurrency, name);
  };
  queue.on("completed", (job: BullJob) => completed(watched, job));
  queue.on("failed", (job: BullJob | null, error: unknown) => failed(watched, job, error));
  queue.on("progress", (job: BullJob, progress: unknown) => progressed(watched, job, progress));
  queue.on("removed", (job: BullJob) => removed(watched, job));
}

function aroundLife(watched: Watched): void {
  const { emitter, queue } = watched;
  const { pause, resume, close } = queue;
  queue.pause = async function (isLocal, ...more) {
    const result = await pause.call(this, isLocal, ...more);
    if (!isLocal) paused(emitter, queue.name, "queue.paused.v1");
    return result;
  };
  queue.resume = async function (isLocal) {
    const result = await resume.call(this, isLocal);
    if (!isLocal) paused(emitter, queue.name, "queue.resumed.v1");
    return result;
  };
  const snapshots = watchCounts(emitter, queue);
  queue.close = async function (...args) {
    snapshots?.stop();
    stopping(watched);
    const closed = await close.apply(this, args);
    await ended(watched);
    return closed;
  };
}

const watchCounts = guarded("bull.watch_counts", (emitter: Emitter, queue: BullQueue) => new Snapshots(emitter, SYSTEM, queue.name, async (leaseMs) => {
  const { client } = queue;
  if (client.status !== "ready") return undefined;
  return countsOf((script, keys, args) => client.eval(script, keys.length, ...keys, ...args), queue.toKey(""), LAYOUT, emitter.ring.epoch, leaseMs);
}));

function named({ emitter, queue }: Pick<Watched, "emitter" | "queue">, job: BullJob, attempt: number): Job {
  const jobClass = job.name === "__default__" ? queue.name : job.name;
  return emitter.job(SYSTEM, queue.name, jobClass, job.id, attempt, {
    max_attempts: job.opts.attempts || 1,
    priority: job.opts.priority || undefined,
    args_preview: emitter.settings.args === "" ? undefined : emitter.argsPreview(jobClass, job.data),
  });
}

function waitOf(job: BullJob): { enqueuedUs: number; runAtUs?: number } {
  const delay = job.opts.delay ?? 0;
  const enqueuedUs = job.timestamp * 1000;
  return delay > 0 ? { enqueuedUs, runAtUs: Math.round((job.timestamp + delay) * 1000) } : { enqueuedUs };
}

const added = guarded("bull.added", (watched: Watched, job: BullJob, addedUs: number) => {
  if (job.opts.repeat) return; // told where the iteration is made
  if (job.opts.jobId === undefined && job.opts.debounce === undefined) tell(watched.emitter, watched.queue, job, addedUs);
  else void addedUnlessThere(watched, job, addedUs);
});

const addedUnlessThere = guarded("bull.added_again", async ({ emitter, queue, told }: Watched, job: BullJob, addedUs: number) => {
  const stored = await queue.getJob(job.id);
  if ((!stored || stored.timestamp === job.timestamp) && told.isNew(job.id, job.timestamp)) tell(emitter, queue, job, addedUs);
});

const repeated = guarded("bull.repeated", (emitter: Emitter, queue: BullQueue, job: BullJob | undefined) => {
  if (job?.id !== undefined) tell(emitter, queue, job, job.timestamp * 1000);
});

function tell(emitter: Emitter, queue: BullQueue, job: BullJob, addedUs: number): void {
  const attempt = named({ emitter, queue }, job, 1);
  const { enqueuedUs, runAtUs } = waitOf(job);
  const atUs = Math.abs(addedUs - enqueuedUs) < 50_000 ? addedUs : enqueuedUs;
  if (runAtUs === undefined) emitter.jobEnqueued(attempt, atUs);
  else emitter.jobScheduled(attempt, runAtUs, atUs);
}

/** Bull has made a function of a job and a promise of every kind of handler: that one is wrapped. */
const handling = guarded("bull.handling", (watched: Watched, name: string) => {
  const original = watched.queue.handlers[name];
  if (!original) return;
  watched.queue.handlers[name] = async (job, ...more) => {
    const run = started(watched, job);
    try {
      const result = await original(job, ...more);
      if (run) returned(run);
      return result;
    } catch (error) {
      if (run) returned(run, { error });
      throw error;
    }
  };
});

const working = guarded("bull.working", (watched: Watched, concurrency: number) => {
  watched.concurrency += concurrency;
  if (watched.worker) return;
  const { name, release } = takeWorkerName(watched.queue.name);
  watched.release = release;
  watched.worker = watched.emitter.worker({ system: SYSTEM, workerId: name, queues: [watched.queue.name], concurrency: () => watched.concurrency });
});

const started = guarded("bull.started", (watched: Watched, job: BullJob) => {
  const attempt = bounded(job.attemptsMade + 1);
  const { enqueuedUs, runAtUs } = attempt === 1 ? waitOf(job) : {};
  const run = watched.worker?.begin(named(watched, job, attempt), enqueuedUs, runAtUs);
  if (run) watched.runs.set(job, run);
  return run;
});

const returned = guarded("bull.returned", (run: Run, threw?: { error: unknown }) => run.bodyReturned(threw));

const completed = guarded("bull.completed", (watched: Watched, job: BullJob) => runOf(watched, job, job.attemptsMade + 1).finished());

const failed = guarded("bull.failed", (watched: Watched, job: BullJob | null, thrown: unknown) => {
  if (!job) return;
  const { emitter, worker } = watched;
  const stalled = (thrown as { message?: unknown } | null)?.message === STALLED;
  const run = runOf(watched, job, stalled ? job.attemptsMade + 1 : job.attemptsMade);
  const error = stalled ? { class: "Stalled", message: STALLED } : emitter.error(thrown);
  const more = worker ? { worker_id: worker.id } : {};
  run.failed(error);
  if (job.finishedOn || stalled) return emitter.jobDead(run.job, error, more);
  void retries(watched, job, run, { error, ...more });
});

function runOf(watched: Watched, job: BullJob, attempt: number): Run {
  const run = watched.runs.get(job);
  watched.runs.delete(job);
  return run ?? watched.emitter.runOf(named(watched, job, bounded(attempt)), watched.worker?.id ?? "unknown", (job.processedOn ?? Date.now()) * 1000);
}

const retries = guarded("bull.retries", async ({ emitter, queue }: Watched, job: BullJob, run: Run, more: object) => {
  const { type, delay = 0 } = job.opts.backoff ?? {};
  const endedUs = run.endedUs ?? clock.wallUs();
  let delayMs: number | undefined = 0;
  if (type === "fixed") delayMs = delay;
  else if (type === "exponential") delayMs = Math.round((2 ** job.attemptsMade - 1) * delay);
  else if (type !== undefined) delayMs = undefined;
  // Bull packs the time and the id into one score.
  const score = delayMs === undefined ? await queue.client.zscore(queue.toKey("delayed"), String(job.id)) : null;
  const runAtUs = score === null ? endedUs + (delayMs ?? 0) * 1000 : Math.floor(Number(score) / 4096) * 1000;
  emitter.jobRetryScheduled(run.job, runAtUs, more, endedUs);
});

const progressed = guarded("bull.progress", ({ runs }: Watched, job: BullJob, progress: unknown) => {
  if (typeof progress === "number") runs.get(job)?.progress(progress / 100);
});

const removed = guarded("bull.removed", (watched: Watched, job: BullJob) => {
  if (typeof job === "object" && job !== null && !job.finishedOn) watched.emitter.jobCancelled(named(watched, job, bounded(job.attemptsMade + 1)), "removed");
});

const paused = guarded("bull.paused", (emitter: Emitter, queue: string, type: string) => {
  emitter.emit(type, { system: SYSTEM, queue }, { partitionkey: `${emitter.settings.tenant}/${SYSTEM}/q/${queue}`, subject: queue });
});

const stopping = guarded("bull.stopping", ({ worker }: Watched) => worker?.stopping());

const ended = guarded("bull.closed", async (watched: Watched) => {
  const { worker, emitter } = watched;
  watched.worker = undefined;
  watched.release();
  if (worker) await emitter.endWorker(worker);
  else await emitter.flush();
});

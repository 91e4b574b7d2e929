// Hooks on a BullMQ Worker: each attempt from its start to its outcome, stalls, progress, and the worker's own life.
//
// Started and run time come from around the processor, outcomes from the worker's events, after Redis has them. Not from
// QueueEvents: that stream is capped, and every process would read all of it.

import type { Emitter } from "../emitter.js";
import { guarded } from "../guard.js";
import type { Run } from "../jobs.js";
import { clock } from "../moments.js";
import { takeWorkerName } from "../naming.js";
import { emitter as current } from "../process.js";
import type { Worker } from "../workers.js";
import { attemptOf, named, SYSTEM, waitOf } from "./attempts.js";
import { watchCounts } from "./counts.js";
import { schedulerAdded } from "./queues.js";
import type { BullJob, BullWorker } from "./shapes.js";

const RATE_LIMITED = "bullmq:rateLimitExceeded";
const WAITS = ["waiting", "prioritized", "paused"]; // a job in any other state has begun again since it stalled
const PUT_OFF = ["DelayedError", "WaitingError", "WaitingChildrenError"];

/** A worker that is watched, and the runs of the jobs it holds. */
interface Watched {
  emitter: Emitter;
  source: BullWorker;
  worker: Worker;
  runs: WeakMap<BullJob, Run>;
}

/** Watches a Worker; returns it. */
export function watchWorker<W extends object>(worker: W): W {
  attach(worker as unknown as BullWorker);
  return worker;
}

const attach = guarded("bullmq.watch_worker", (source: BullWorker) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const { name, release } = takeWorkerName(source.name);
  const worker = emitter.worker({
    system: SYSTEM, workerId: name, queues: [source.name], concurrency: () => source.concurrency, tag: source.opts?.name,
  });
  const watched: Watched = { emitter, source, worker, runs: new WeakMap() };
  aroundProcessor(watched);
  aroundSchedulers(watched);
  source.on("completed", (job: BullJob) => completed(watched, job));
  source.on("failed", (job: BullJob | undefined, error: unknown) => failed(watched, job, error));
  source.on("progress", (job: BullJob, progress: unknown) => progressed(watched, job, progress));
  source.on("stalled", (jobId: string) => void stalled(watched, jobId));
  source.on("closing", () => stopping(watched));
  const counts = watchCounts(emitter, source);
  const { close } = source;
  source.close = async function (...args) {
    counts?.stop();
    const closed = await close.apply(this, args);
    await ended(watched, release);
    return closed;
  };
});

function aroundProcessor(watched: Watched): void {
  const method = watched.source.callProcessJob ? "callProcessJob" : "processFn";
  const original = watched.source[method];
  if (!original) return; // a worker without a processor: jobs are fetched by hand
  watched.source[method] = async function (this: unknown, job: BullJob, ...more) {
    const run = started(watched, job);
    try {
      const result = await original.call(this, job, ...more);
      if (run) returned(run);
      return result;
    } catch (error) {
      if (run) threw(watched, job, run, error);
      throw error;
    }
  };
}

/** A job that belongs to a scheduler adds the next one of it while it starts. */
function aroundSchedulers({ emitter, source }: Watched): void {
  if (!source.jobScheduler) return;
  void source.jobScheduler.then((scheduler) => {
    const { upsertJobScheduler } = scheduler;
    scheduler.upsertJobScheduler = async function (...args) {
      const job = await upsertJobScheduler.apply(this, args);
      schedulerAdded(emitter, source.name, job);
      return job;
    };
  }, () => undefined);
}

const started = guarded("bullmq.started", (watched: Watched, job: BullJob) => {
  const attempt = attemptOf(job);
  const { enqueuedUs, runAtUs } = attempt === 1 ? waitOf(job) : {};
  const run = watched.worker.begin(named(watched.emitter, watched.source.name, job, attempt), enqueuedUs, runAtUs);
  watched.runs.set(job, run);
  return run;
});

const returned = guarded("bullmq.returned", (run: Run) => run.bodyReturned());

/** Errors by which a job is put off, not failed: BullMQ has put it back already and says nothing of it. */
const threw = guarded("bullmq.threw", (watched: Watched, job: BullJob, run: Run, error: unknown) => {
  run.bodyReturned({ error });
  const { name, message } = (error ?? {}) as { name?: string; message?: string };
  if (message !== RATE_LIMITED && !PUT_OFF.includes(name ?? "")) return;
  run.discarded(message === RATE_LIMITED ? "rate limited" : name === "WaitingChildrenError" ? "waits for its children" : "put off");
  if (name === "WaitingChildrenError") return;
  const delay = name === "DelayedError" ? (job.delay ?? 0) : 0;
  watched.emitter.jobRetryScheduled(run.job, (run.endedUs ?? clock.wallUs()) + Math.round(delay * 1000), { worker_id: watched.worker.id });
});

const completed = guarded("bullmq.completed", (watched: Watched, job: BullJob) => runOf(watched, job).finished());

const failed = guarded("bullmq.failed", (watched: Watched, job: BullJob | undefined, thrown: unknown) => {
  if (!job) return;
  const { emitter, worker } = watched;
  const run = runOf(watched, job);
  const error = emitter.error(thrown);
  run.failed(error);
  if (job.finishedOn) emitter.jobDead(run.job, error, { worker_id: worker.id });
  else emitter.jobRetryScheduled(run.job, (run.endedUs ?? clock.wallUs()) + Math.round((job.delay ?? 0) * 1000), { error, worker_id: worker.id });
});

/** The run of a job, or one for a job whose processor was not called: it failed before, or the hook did. */
function runOf({ emitter, source, worker, runs }: Watched, job: BullJob): Run {
  const run = runs.get(job);
  runs.delete(job);
  return run ?? emitter.runOf(named(emitter, source.name, job, attemptOf(job)), worker.id, (job.processedOn ?? Date.now()) * 1000);
}

const progressed = guarded("bullmq.progress", ({ runs }: Watched, job: BullJob, progress: unknown) => {
  const facts = typeof progress === "object" && progress !== null ? (progress as Record<string, unknown>) : { percent: progress };
  const percent = facts["percent"] ?? facts["percentage"] ?? facts["progress"];
  const step = facts["step"];
  if (typeof percent === "number") runs.get(job)?.progress(percent / 100, typeof step === "string" ? step : undefined);
});

/** A job whose worker let its lock run out: put back by BullMQ. Which attempt that was, Redis tells, if it stands still. */
const stalled = guarded("bullmq.stalled", async ({ emitter, source }: Watched, jobId: string) => {
  for (let tries = 0; tries < 5; tries++) {
    const before = await source.Job.fromId(source, jobId);
    const state = await before?.getState?.();
    const job = await source.Job.fromId(source, jobId);
    if (!job || !before) return;
    if (job.attemptsStarted !== before.attemptsStarted) continue; // it began again meanwhile
    const attempt = (job.attemptsStarted ?? job.attemptsMade + 1) - (WAITS.includes(state ?? "") ? 0 : 1);
    if (attempt < 1) return;
    const error = { class: "Stalled", message: "its worker let the lock run out: gone, or its event loop was blocked" };
    const run = emitter.runOf(named(emitter, source.name, job, attempt), job.processedBy ?? "unknown", (job.processedOn ?? Date.now()) * 1000);
    run.failed(error);
    return emitter.jobRetryScheduled(run.job, clock.wallUs(), { error });
  }
});

const stopping = guarded("bullmq.stopping", ({ worker }: Watched) => worker.stopping());

const ended = guarded("bullmq.closed", async ({ emitter, worker }: Watched, release: () => void) => {
  release();
  await emitter.endWorker(worker);
});

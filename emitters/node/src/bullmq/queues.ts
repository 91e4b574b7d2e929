// Hooks on a BullMQ Queue and FlowProducer: what is put in, taken out, paused.
//
// The app's call goes through untouched and first; what it resolves to is looked at afterwards. An id that the app chose may
// belong to a job that was there already (BullMQ then adds nothing): such a job is read again before it is told.

import { emitter as current } from "../process.js";
import type { Emitter } from "../emitter.js";
import { guarded } from "../guard.js";
import { clock } from "../moments.js";
import { named, SYSTEM, waitOf } from "./attempts.js";
import type { BullFlowProducer, BullJob, BullQueue, FlowNode } from "./shapes.js";
import { watchCounts } from "./counts.js";
import { Told } from "../told.js";

/** Watches a Queue; returns it. */
export function watchQueue<Q extends object>(queue: Q): Q {
  attachQueue(queue as unknown as BullQueue);
  return queue;
}

/** Watches a FlowProducer; returns it. */
export function watchFlowProducer<F extends object>(producer: F): F {
  attachFlow(producer as unknown as BullFlowProducer);
  return producer;
}

const attachQueue = guarded("bullmq.watch_queue", (queue: BullQueue) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const told = new Told();
  const { add, addBulk, upsertJobScheduler, remove, close } = queue;
  queue.add = async function (...args) {
    const addedUs = clock.wallUs();
    const job = await add.apply(this, args);
    added(emitter, queue, told, job, addedUs);
    return job;
  };
  queue.addBulk = async function (...args) {
    const addedUs = clock.wallUs();
    const jobs = await addBulk.apply(this, args);
    addedMany(emitter, queue, told, jobs, addedUs);
    return jobs;
  };
  if (upsertJobScheduler)
    queue.upsertJobScheduler = async function (...args) {
      const job = await upsertJobScheduler.apply(this, args);
      scheduled(emitter, queue.name, job);
      return job;
    };
  if (remove)
    queue.remove = async function (jobId, ...more) {
      const before = lookUp(queue, jobId);
      const removed = await remove.call(this, jobId, ...more);
      if (removed) void cancelled(emitter, queue, before);
      return removed;
    };
  const counts = watchCounts(emitter, queue);
  queue.close = async function (...args) {
    counts?.stop();
    return close.apply(this, args);
  };
  queue.on("removed", (job: BullJob | string) => removedObject(emitter, queue, job));
  queue.on("paused", () => paused(emitter, queue.name, "queue.paused.v1"));
  queue.on("resumed", () => paused(emitter, queue.name, "queue.resumed.v1"));
});

const added = guarded("bullmq.added", (emitter: Emitter, queue: BullQueue, told: Told, job: BullJob, addedUs: number) => {
  const { jobId, deduplication, debounce } = job.opts ?? {};
  if (jobId === undefined && deduplication === undefined && debounce === undefined) tell(emitter, queue.name, job, addedUs);
  else void addedUnlessThere(emitter, queue, told, job, addedUs);
});

const addedMany = guarded("bullmq.added_bulk", (emitter: Emitter, queue: BullQueue, told: Told, jobs: BullJob[], addedUs: number) => {
  for (const job of jobs) added(emitter, queue, told, job, addedUs);
});

/** A job with an id of the app's: what is stored under it tells by its time whether it is this one. */
const addedUnlessThere = guarded("bullmq.added_again", async (emitter: Emitter, queue: BullQueue, told: Told, job: BullJob, addedUs: number) => {
  const stored = await queue.Job.fromId(queue, job.id as string);
  if ((stored === undefined || stored.timestamp === job.timestamp) && told.isNew(job.id, job.timestamp)) tell(emitter, queue.name, job, addedUs);
});

const scheduled = guarded("bullmq.scheduler", (emitter: Emitter, queue: string, job: BullJob | undefined) => {
  if (job) tell(emitter, queue, job, undefined);
});
export { scheduled as schedulerAdded };

/** The first attempt waits, or will be eligible later. */
function tell(emitter: Emitter, queue: string, job: BullJob, addedUs: number | undefined): void {
  const attempt = named(emitter, queue, job, 1);
  const { enqueuedUs, runAtUs } = waitOf(job);
  // BullMQ's own time is that of the call, in whole ms; ours is finer, unless the app set one.
  const atUs = addedUs !== undefined && Math.abs(addedUs - job.timestamp * 1000) < 50_000 ? addedUs : enqueuedUs;
  if (runAtUs === undefined) emitter.jobEnqueued(attempt, atUs);
  else emitter.jobScheduled(attempt, runAtUs, atUs);
}

/** Reads a job before it is removed: Redis answers in the order of the commands. Nobody waits for it. */
const lookUp = guarded("bullmq.removing", (queue: BullQueue, jobId: string) => {
  const found = queue.Job.fromId(queue, jobId);
  found.catch(() => undefined);
  return found;
});

const cancelled = guarded("bullmq.removed", async (emitter: Emitter, queue: BullQueue, before: Promise<BullJob | undefined> | undefined) => {
  const job = await before;
  if (job) tellCancelled(emitter, queue.name, job);
});

/** `job.remove()` hands the job over; `queue.remove(id)` only its id, which the wrapper above has looked up. */
const removedObject = guarded("bullmq.removed_object", (emitter: Emitter, queue: BullQueue, job: BullJob | string) => {
  if (typeof job === "object" && job !== null) tellCancelled(emitter, queue.name, job);
});

function tellCancelled(emitter: Emitter, queue: string, job: BullJob): void {
  if (!job.finishedOn) emitter.jobCancelled(named(emitter, queue, job, (job.attemptsStarted ?? job.attemptsMade) + 1), "removed");
}

const paused = guarded("bullmq.paused", (emitter: Emitter, queue: string, type: string) => {
  emitter.emit(type, { system: SYSTEM, queue }, { partitionkey: `${emitter.settings.tenant}/${SYSTEM}/q/${queue}`, subject: queue });
});

const attachFlow = guarded("bullmq.watch_flow_producer", (producer: BullFlowProducer) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const { add, addBulk } = producer;
  producer.add = async function (...args) {
    const tree = await add.apply(this, args);
    flowAdded(emitter, [tree]);
    return tree;
  };
  producer.addBulk = async function (...args) {
    const trees = await addBulk.apply(this, args);
    flowAdded(emitter, trees);
    return trees;
  };
});

const flowAdded = guarded("bullmq.flow", (emitter: Emitter, trees: FlowNode[]) => {
  for (const { job, children } of trees) {
    tell(emitter, job.queueName ?? "unknown", job, undefined);
    if (children) flowAdded(emitter, children);
  }
});

// A BullMQ job as the contract knows it: which attempt, since when it waits, from when it may run.
//
// An attempt is a start (`attemptsStarted`, which survives stalls and put-off jobs), not a failure (`attemptsMade`). BullMQ
// keeps when a job was added and for how long it was put off at first; of a retry the stream knows from the event before.

import { attempt as bounded } from "../bounds.js";
import type { Emitter } from "../emitter.js";
import type { Job } from "../jobs.js";
import { carried } from "./metadata.js";
import type { BullJob } from "./shapes.js";

export const SYSTEM = "bullmq";

/** The attempt that a worker holds, or that failed just now. */
export function attemptOf(job: BullJob): number {
  return bounded(job.attemptsStarted || job.attemptsMade + 1);
}

export function named(emitter: Emitter, queue: string, job: BullJob, attempt: number): Job {
  const { opts } = job;
  return emitter.job(SYSTEM, queue, job.name, job.id, attempt, {
    max_attempts: opts?.attempts || 1,
    priority: opts?.priority || undefined,
    parent_job_id: job.parent?.id ?? (job.parentKey ? job.parentKey.slice(job.parentKey.lastIndexOf(":") + 1) : undefined),
    args_preview: emitter.settings.args === "" ? undefined : emitter.argsPreview(job.name, job.data),
    traceparent: opts?.telemetry?.metadata === undefined ? undefined : carried(opts.telemetry.metadata).traceparent,
  });
}

/** When a job was added, and when it may run if it was put off: of its first attempt. */
export function waitOf(job: BullJob): { enqueuedUs?: number; runAtUs?: number } {
  const delay = job.opts?.delay ?? 0;
  const enqueuedUs = carried(job.opts?.telemetry?.metadata).enqueuedUs ?? job.timestamp * 1000;
  if (!(delay > 0)) return { enqueuedUs };
  return { enqueuedUs, runAtUs: Math.round((job.timestamp + delay) * 1000) };
}

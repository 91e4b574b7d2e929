// Agenda (5 and 6): `watchAgenda(agenda)` before jobs are created and `agenda.start()`.
//
// A job that recurs keeps one id in Agenda: each of its runs is a job here, `id@time`. Agenda runs its listeners inside the
// job's own try: one that throws would fail the job, so that every one of ours is guarded.

import type { Emitter } from "./emitter.js";
import { guarded } from "./guard.js";
import type { Job, Run } from "./jobs.js";
import { clock, usOf } from "./moments.js";
import { takeWorkerName } from "./naming.js";
import { emitter as current } from "./process.js";
import type { Worker } from "./workers.js";

const SYSTEM = "agenda";
const QUEUE = "agenda"; // Agenda has one collection for all jobs
const SOON_MS = 5; // a run that far ahead is "now"
const MAX_RECURRING = 10_000;

interface AgendaJob {
  attrs: {
    _id?: unknown;
    name: string;
    data?: unknown;
    nextRunAt?: Date | null;
    lastRunAt?: Date;
    failCount?: number | null;
    priority?: number;
    repeatInterval?: unknown;
    repeatAt?: unknown;
  };
  save(...args: unknown[]): Promise<unknown>;
  touch?(progress?: unknown): Promise<unknown>;
}

interface Agenda {
  attrs?: { maxConcurrency?: number; name?: string };
  definitions?: Record<string, unknown>;
  create(name: string, data?: unknown): AgendaJob;
  start(...args: unknown[]): Promise<unknown>;
  stop(...args: unknown[]): Promise<unknown>;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

interface Watched {
  emitter: Emitter;
  agenda: Agenda;
  worker: Worker | undefined;
  release: () => void;
  runs: WeakMap<AgendaJob, Run>;
  /** Recurring jobs that failed and will be tried again: Agenda's id to ours. */
  retried: Map<string, string>;
}

/** Watches an Agenda; returns it. */
export function watchAgenda<A extends object>(agenda: A): A {
  attach(agenda as unknown as Agenda);
  return agenda;
}

const attach = guarded("agenda.watch_agenda", (agenda: Agenda) => {
  const emitter = current();
  if (!emitter.enabled) return;
  const watched: Watched = { emitter, agenda, worker: undefined, release: () => undefined, runs: new WeakMap(), retried: new Map() };
  const { create, start, stop } = agenda;
  agenda.create = function (name, data) {
    const job = create.call(this, name, data);
    created(watched, job);
    return job;
  };
  agenda.start = function (...args) {
    working(watched);
    return start.apply(this, args);
  };
  agenda.stop = async function (...args) {
    stopping(watched);
    const stopped = await stop.apply(this, args);
    await ended(watched);
    return stopped;
  };
  // Told by another process through Agenda's notifications: no job, only its facts. That process tells of it itself.
  const here = (job: AgendaJob | undefined): job is AgendaJob => typeof job?.attrs === "object";
  agenda.on("start", (job: AgendaJob) => here(job) && started(watched, job));
  agenda.on("success", (job: AgendaJob) => here(job) && succeeded(watched, job));
  agenda.on("fail", (error: unknown, job: AgendaJob) => here(job) && failed(watched, job, error));
  agenda.on("retry", (job: AgendaJob) => here(job) && retrying(job));
  agenda.on("complete", (job: AgendaJob) => here(job) && completed(watched, job));
});

function recurs(job: AgendaJob): boolean {
  return Boolean(job.attrs.repeatInterval || job.attrs.repeatAt);
}

function named({ emitter }: Watched, job: AgendaJob, id: string, attempt: number): Job {
  const { name, priority, data } = job.attrs;
  return emitter.job(SYSTEM, QUEUE, name, id, attempt, {
    priority: priority || undefined,
    args_preview: emitter.settings.args === "" ? undefined : emitter.argsPreview(name, data),
  });
}

const created = guarded("agenda.created", (watched: Watched, job: AgendaJob) => {
  const { save } = job;
  let told = false;
  job.save = async function (...args) {
    const savedUs = clock.wallUs();
    const saved = await save.apply(this, args);
    if (!told) added(watched, job, savedUs);
    told = true;
    return saved;
  };
});

/** Once: a later save changes a job, it adds none. The runs of a job that recurs are told by their starts. */
const added = guarded("agenda.added", (watched: Watched, job: AgendaJob, savedUs: number) => {
  if (recurs(job) || job.attrs._id === undefined) return;
  const attempt = named(watched, job, String(job.attrs._id), 1);
  const runAtUs = usOf(job.attrs.nextRunAt);
  if (runAtUs === undefined || runAtUs <= savedUs + SOON_MS * 1000) watched.emitter.jobEnqueued(attempt, savedUs);
  else watched.emitter.jobScheduled(attempt, runAtUs, savedUs);
});

const working = guarded("agenda.working", (watched: Watched) => {
  if (watched.worker) return;
  const { emitter, agenda } = watched;
  const { name, release } = takeWorkerName(QUEUE);
  watched.release = release;
  watched.worker = emitter.worker({ system: SYSTEM, workerId: name, queues: [QUEUE], concurrency: () => agenda.attrs?.maxConcurrency ?? 20, tag: agenda.attrs?.name });
});

const started = guarded("agenda.started", (watched: Watched, job: AgendaJob) => {
  const run = watched.worker?.begin(named(watched, job, idOf(watched, job), (job.attrs.failCount || 0) + 1), undefined, undefined);
  if (!run) return;
  watched.runs.set(job, run);
  const { touch } = job;
  if (touch)
    job.touch = async function (progress) {
      progressed(run, progress);
      return touch.call(this, progress);
    };
});

const progressed = guarded("agenda.progress", (run: Run, progress: unknown) => {
  if (typeof progress === "number") run.progress(progress / 100);
});

function idOf({ retried }: Watched, job: AgendaJob): string {
  const id = String(job.attrs._id);
  if (!recurs(job)) return id;
  const before = job.attrs.failCount ? retried.get(id) : undefined;
  retried.delete(id);
  return before ?? `${id}@${(job.attrs.lastRunAt ?? new Date()).toISOString()}`;
}

const succeeded = guarded("agenda.succeeded", (watched: Watched, job: AgendaJob) => {
  watched.runs.get(job)?.finished();
});

const failed = guarded("agenda.failed", (watched: Watched, job: AgendaJob, thrown: unknown) => {
  const run = watched.runs.get(job);
  if (!run) return;
  const error = watched.emitter.error(thrown);
  run.failed(error);
  pending.set(job, error);
});

/** Errors of failed runs until Agenda has decided, which it has when the run is complete: another try, or none. */
const pending = new WeakMap<AgendaJob, ReturnType<Emitter["error"]>>();

const completed = guarded("agenda.completed", (watched: Watched, job: AgendaJob) => {
  const run = watched.runs.get(job);
  const error = pending.get(job);
  watched.runs.delete(job);
  if (!run || !error) return;
  const { emitter, retried } = watched;
  const more = { worker_id: run.workerId };
  const again = usOf(job.attrs.nextRunAt);
  if (again === undefined || (recurs(job) && !retryAsked.has(job))) return emitter.jobDead(run.job, error, more, run.endedUs);
  if (recurs(job) && retried.size < MAX_RECURRING) retried.set(String(job.attrs._id), run.job.id);
  emitter.jobRetryScheduled(run.job, again, { error, ...more }, run.endedUs);
});

/** Recurring jobs whose next run is a retry, not their next turn. */
const retryAsked = new WeakSet<AgendaJob>();

const retrying = guarded("agenda.retrying", (job: AgendaJob) => void retryAsked.add(job));

const stopping = guarded("agenda.stopping", ({ worker }: Watched) => worker?.stopping());

const ended = guarded("agenda.stopped", async (watched: Watched) => {
  const { worker, emitter } = watched;
  watched.worker = undefined;
  watched.release();
  if (worker) await emitter.endWorker(worker);
  else await emitter.flush();
});

// Attempts of jobs: what an event says of one, and the run of one while a worker holds it.
//
// Says what each event carries, not how it is sent (`emitter`) nor when a backend reaches that point (the hooks). Times
// are whole µs since the epoch; without `atUs` an event happens now.

import * as bounds from "./bounds.js";
import { guarded } from "./guard.js";
import { laneOf } from "./lanes.js";
import { clock, textOf } from "./moments.js";
import { Rank } from "./ring.js";

/** Optional data of the contract that all events of an attempt say. */
export interface JobMore {
  max_attempts?: number | undefined;
  priority?: number | undefined;
  parent_job_id?: string | undefined;
  batch_id?: string | undefined;
  expected_ms?: number | undefined;
  args_preview?: string | undefined;
  labels?: Record<string, string> | undefined;
  /** W3C trace context; goes into the event's own attributes. */
  traceparent?: string | undefined;
}

/** One attempt of one job, named once for all its events. */
export class Job {
  readonly key: string;
  readonly lane: number;
  readonly idText: string;
  readonly keyText: string;

  constructor(
    readonly queue: string,
    readonly id: string,
    readonly attempt: number,
    prefix: string,
    /** The beginning of `data`, as JSON without the closing brace. */
    readonly facts: string,
    /** Attributes of the event itself, as JSON members with a comma behind each. */
    readonly attributes: string,
  ) {
    this.key = prefix + id;
    this.lane = laneOf(this.key);
    this.idText = bounds.quoted(id);
    this.keyText = bounds.quoted(this.key);
  }
}

/** What a run needs of the emitter. */
export interface Putter {
  put(job: Job, type: string, rank: Rank, more: object | undefined, atUs: number | undefined): void;
}

/** An attempt that a worker holds: knows when it began, on both clocks, and ends at most once. */
export class Run {
  ended = false;
  onEnd: ((run: Run, failed: boolean) => void) | undefined;
  endedUs: number | undefined;
  private threw: { error: unknown } | undefined;
  private endedMs = 0;
  private readonly beganMs: number;

  constructor(
    private readonly emitter: Putter,
    readonly job: Job,
    readonly workerId: string,
    readonly startedUs: number,
    elapsedMs = 0,
  ) {
    this.beganMs = clock.monotonicMs() - elapsedMs;
  }

  /** Takes the time now, for an outcome that is only known later (a result has to be stored first). `threw` is what it threw. */
  bodyReturned(threw?: { error: unknown }): void {
    if (this.endedUs !== undefined) return;
    this.threw = threw;
    this.endedMs = clock.monotonicMs();
    this.endedUs = clock.wallUs();
  }

  /** The process ends before its backend has said what it made of a body that returned: that is the outcome then. */
  endReturned(errorOf: (thrown: unknown) => bounds.ErrorFacts): void {
    if (this.ended || this.endedUs === undefined) return;
    if (this.threw) this.failed(errorOf(this.threw.error));
    else this.finished();
  }

  /** The attempt succeeded. */
  finished(): void {
    end(this, "job.finished.v1", undefined);
  }

  /** The attempt threw; whether another follows is said by jobRetryScheduled or jobDead. */
  failed(error: bounds.ErrorFacts): void {
    end(this, "job.failed.v1", { error });
  }

  /** Somebody stopped it while it ran. */
  cancelled(reason: string): void {
    end(this, "job.cancelled.v1", { reason: bounds.name(reason) });
  }

  /** It ended without success or failure: the job asked to be put off, or to be ignored. */
  discarded(reason: string): void {
    end(this, "job.discarded.v1", { reason: bounds.name(reason) });
  }

  /** How far it is, 0 to 1, and in which step. */
  progress(ratio: number, step?: string): void {
    sayProgress(this, ratio, step);
  }

  /** Used by the guarded functions below. */
  say(type: string, rank: Rank, more: object, atUs?: number): void {
    this.emitter.put(this.job, type, rank, { worker_id: this.workerId, ...more }, atUs);
  }

  /** Used by the guarded functions below. */
  finish(type: string, more: object | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.bodyReturned();
    const duration_ms = bounds.milliseconds(this.endedMs - this.beganMs);
    this.say(type, Rank.END, { started_at: textOf(this.startedUs), duration_ms, ...more }, this.endedUs);
    this.onEnd?.(this, type === "job.failed.v1");
  }
}

const end = guarded("run.end", (run: Run, type: string, more: object | undefined) => run.finish(type, more));

const sayProgress = guarded("run.progress", (run: Run, ratio: number, step?: string) => {
  const progress = Math.min(Math.max(Number(ratio) || 0, 0), 1);
  run.say("job.progress.v1", Rank.BEAT, step === undefined ? { progress } : { progress, step: bounds.name(step) });
});

// A worker as the stream sees it: online, a heartbeat with what it holds every ten seconds, stopping, offline.
//
// The backend's hook says what the worker is and begins its runs; the flusher's timer calls `beat`. A step that comes
// before the first contact with Kafka waits here, because only then the number of partitions is known.

import { hostname } from "node:os";
import { equalSlices, workerSlices } from "./broadcasts.js";
import * as bounds from "./bounds.js";
import type { Beating } from "./flusher.js";
import { guarded } from "./guard.js";
import { Run, type Job, type Putter } from "./jobs.js";
import { crc32 } from "./lanes.js";
import { clock, textOf } from "./moments.js";
import { Rank } from "./ring.js";
import type { Settings } from "./settings.js";

export interface Where {
  partitionkey: string;
  lane?: number;
  subject?: string;
  atUs?: number;
  rank?: Rank;
  attributes?: Record<string, string | boolean>;
}

/** What a worker needs of the emitter. */
export interface Broadcaster extends Putter {
  readonly settings: Settings;
  readonly partitions: number | undefined;
  readonly connected: boolean;
  wake(): void;
  emit(type: string, data: Record<string, unknown>, where: Where): void;
}

export interface WorkerFacts {
  system: string;
  workerId: string;
  queues: string[];
  /** How many jobs it runs at once; a function where that can change. */
  concurrency: number | (() => number);
  version?: string;
  tag?: string | undefined;
}

/** One worker of one backend. */
export class Worker implements Beating {
  readonly wantsReach = true;
  readonly id: string;
  readonly running = new Set<Run>();
  private processed = 0;
  private failed = 0;
  private stoppingSaid = false;
  private nextMs = 0;
  private steps: [kind: string, status: string, atUs: number][] = [];
  private cpu = { wallMs: clock.monotonicMs(), used: process.cpuUsage() };
  private readonly key: string;
  private readonly fixed: Record<string, unknown> & { tenant: string; system: string };

  constructor(
    private readonly emitter: Broadcaster,
    private readonly facts: WorkerFacts,
  ) {
    const { settings } = emitter;
    this.id = bounds.name(facts.workerId);
    this.fixed = {
      tenant: settings.tenant, environment: settings.environment, system: facts.system, worker_id: this.id,
      hostname: bounds.name(hostname()), pid: process.pid, queues: facts.queues.slice(0, 64).map((queue) => bounds.name(queue)),
      interval_ms: settings.heartbeat_ms, version: bounds.name(facts.version ?? "", 128),
    };
    if (facts.tag) this.fixed["tag"] = bounds.name(facts.tag);
    this.key = `${settings.tenant}/${facts.system}/w/${this.id}`;
    this.step("online", "idle");
  }

  /** The worker begins an attempt. The run that it returns ends it, and is held until then. */
  begin(job: Job, enqueuedUs: number | undefined, runAtUs: number | undefined, atUs?: number): Run {
    const run = new Run(this.emitter, job, this.id, atUs ?? clock.wallUs());
    run.onEnd = (ended, failed) => {
      this.running.delete(ended);
      this.processed += 1;
      if (failed) this.failed += 1;
    };
    this.running.add(run);
    sayStarted(run, enqueuedUs, runAtUs);
    return run;
  }

  /** The worker takes no more jobs. */
  stopping(): void {
    if (this.stoppingSaid) return;
    this.stoppingSaid = true;
    this.step("stopping", "stopping");
    this.nextMs = 0;
    this.emitter.wake();
  }

  /** Says what is due at the monotonic time `nowMs`; returns when to come again. */
  beat(nowMs: number): number {
    if (!this.emitter.connected) return nowMs + 1_000;
    this.saySteps();
    if (nowMs >= this.nextMs) {
      this.nextMs = nowMs + this.emitter.settings.heartbeat_ms;
      this.say("worker.heartbeat.v1", Rank.BEAT, this.usage(nowMs), clock.wallUs());
    }
    return this.nextMs;
  }

  /** The process ends: see `Run.endReturned`. */
  endReturned(errorOf: (thrown: unknown) => bounds.ErrorFacts): void {
    for (const run of [...this.running]) run.endReturned(errorOf);
  }

  /** The worker is gone. */
  end(): void {
    this.step("offline", "offline");
    if (this.emitter.connected) this.saySteps();
  }

  private step(kind: string, status: string): void {
    this.steps.push([`worker.${kind}.v1`, status, clock.wallUs()]);
  }

  private saySteps(): void {
    for (const [type, status, atUs] of this.steps.splice(0)) {
      this.say(type, Rank.END, { status }, atUs);
      if (type === "worker.online.v1") this.markDeploy(atUs);
    }
  }

  private say(type: string, rank: Rank, more: Record<string, unknown>, atUs: number): void {
    const held = Array.from(this.running, (run) => ({
      queue: run.job.queue, job_id: run.job.id, attempt: run.job.attempt, started_at: textOf(run.startedUs),
    }));
    const { concurrency } = this.facts;
    const status = this.stoppingSaid ? "stopping" : held.length > 0 ? "busy" : "idle";
    const counts = { concurrency: typeof concurrency === "function" ? concurrency() : concurrency, processed: this.processed, failed: this.failed };
    for (const { lane, data } of workerSlices({ ...this.fixed, ...counts, status, ...more }, held, this.emitter.partitions))
      this.emitter.emit(type, data, { partitionkey: this.key, lane, subject: this.id, atUs, rank });
  }

  /** The release that runs here. All workers of a release say it with one id, so that it is counted once. */
  private markDeploy(atUs: number): void {
    const { tenant, environment, release } = this.emitter.settings;
    if (release === "") return;
    const hex = (text: string) => crc32(text).toString(16).padStart(8, "0");
    const id = `deploy-${hex(tenant + environment)}-${hex(release)}`;
    for (const { lane, data } of equalSlices({ release: bounds.name(release) }, this.emitter.partitions))
      this.emitter.emit("deploy.marked.v1", data, { partitionkey: tenant, lane, subject: release, atUs, rank: Rank.END, attributes: { id } });
  }

  /** Memory and processor time of this process. */
  private usage(nowMs: number): Record<string, number> {
    const before = this.cpu;
    this.cpu = { wallMs: nowMs, used: process.cpuUsage() };
    const usedUs = this.cpu.used.user + this.cpu.used.system - before.used.user - before.used.system;
    const passedMs = nowMs - before.wallMs;
    const rss_bytes = process.memoryUsage.rss();
    return passedMs > 0 ? { rss_bytes, cpu_percent: Math.round(Math.max(0, usedUs / passedMs)) / 10 } : { rss_bytes };
  }
}

const sayStarted = guarded("emitter.job_started", (run: Run, enqueuedUs: number | undefined, runAtUs: number | undefined) => {
  const more: Record<string, string> = {};
  if (enqueuedUs !== undefined) more["enqueued_at"] = textOf(enqueuedUs);
  if (runAtUs !== undefined) more["run_at"] = textOf(runAtUs);
  run.say("job.started.v1", Rank.STEP, more, run.startedUs);
});

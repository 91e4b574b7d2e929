// The emitter of a process: builds events, numbers them, buffers them.
//
// `put` is the hot path: one event to text, a number, a place in the ring; timers deliver (`flusher`). No method throws or
// waits but `flush` and `close`, which say so. Tests and apps make one through `configure` (`process`).

import { hostname } from "node:os";
import { previewOf } from "./args.js";
import * as bounds from "./bounds.js";
import { Flusher } from "./flusher.js";
import { guarded, Site, sites } from "./guard.js";
import { Job, Run, type JobMore } from "./jobs.js";
import { laneOf } from "./lanes.js";
import { clock, textOf } from "./moments.js";
import { OffSwitch } from "./off_switch.js";
import { Rank, Ring } from "./ring.js";
import { isActive, type Settings } from "./settings.js";
import { fitted, needsFitting } from "./sizes.js";
import { Statistics } from "./statistics.js";
import { Stores } from "./stores.js";
import { transportOf, type Transport } from "./transports/index.js";
import { Worker, type Where, type WorkerFacts } from "./workers.js";

const MAX_SERIES = 4096;
const SPILL_ABOVE = 0.9; // of the ring: the loop does not turn, or delivery is far behind

const site = new Site("emitter.put", () => undefined);
sites.set(site.name, site);

export class Emitter {
  enabled: boolean;
  truncated = 0;
  /** Set when the process was told to end. */
  ending = false;
  readonly ring: Ring;
  private readonly flusher: Flusher;
  private readonly statistics: Statistics;
  private readonly stores: Stores | undefined;
  private readonly workers = new Set<Worker>();
  private readonly series = new Map<string, { facts: string; prefix: string }>();
  private readonly sourceText: string;
  private readonly offSwitch: OffSwitch | undefined;
  private settledOrder = 0;

  constructor(
    readonly settings: Settings,
    makeTransport?: () => Transport,
  ) {
    this.enabled = !settings.disabled && (isActive(settings) || makeTransport !== undefined);
    this.offSwitch = settings.off_file ? new OffSwitch(settings.off_file) : undefined;
    this.ring = new Ring(settings.queue_events, settings.queue_bytes);
    this.stores = this.enabled && settings.spool_dir ? new Stores(settings, this.ring.epoch, () => this.wake()) : undefined;
    const open = makeTransport ? async () => makeTransport() : () => transportOf(settings);
    this.flusher = new Flusher(this.ring, open, settings.linger_ms, this.stores);
    this.statistics = new Statistics(this);
    this.flusher.beats.add(this.statistics);
    if (this.stores) this.flusher.beats.add(this.stores);
    this.sourceText = bounds.quoted(settings.source || `/${hostname()}/${process.pid}`.replace(/[^A-Za-z0-9._~:/@%+-]/g, "-").slice(0, 256));
  }

  get partitions(): number | undefined {
    return this.flusher.partitions;
  }

  get connected(): boolean {
    return this.flusher.connected;
  }

  get spooled(): number {
    return this.stores?.written ?? 0;
  }

  /** Names an attempt. `more` is optional data of the contract: max_attempts, priority, parent_job_id, … */
  job(system: string, queue: string, jobClass: string, jobId: unknown, attempt = 1, more?: JobMore): Job {
    const key = `${system}\n${queue}\n${jobClass}`;
    const { facts, prefix } = this.series.get(key) ?? this.newSeries(key, system, queue, jobClass);
    const id = bounds.name(jobId);
    const number = bounds.attempt(attempt);
    let text = `${facts},"job_id":${bounds.quoted(id)},"attempt":${number}`;
    let attributes = "";
    if (more) {
      const { traceparent, ...members } = more;
      const extra = JSON.stringify(members);
      if (extra.length > 2) text += `,${extra.slice(1, -1)}`;
      if (traceparent) attributes = `"traceparent":${bounds.quoted(traceparent)},`;
    }
    return new Job(bounds.name(queue), id, number, prefix, text, attributes);
  }

  /** Takes one event of a job. The hot path: what fails here is counted, never thrown. */
  put(job: Job, type: string, rank: Rank, more: object | undefined, atUs: number | undefined): void {
    if (!this.enabled || this.offSwitch?.off) return;
    try {
      const extra = more === undefined ? "" : JSON.stringify(more);
      const data = extra.length > 2 ? `${job.facts},${extra.slice(1, -1)}` : job.facts;
      const time = textOf(atUs ?? clock.wallUs());
      this.accept(
        `{"type":"${type}","specversion":"1.0","source":${this.sourceText},"subject":${job.idText},"time":"${time}","partitionkey":${job.keyText},${job.attributes}"data":{${data}}}`,
        job.lane,
        rank,
      );
    } catch (error) {
      site.failed(error);
    }
  }

  /** The attempt waits for a worker from now on. */
  jobEnqueued(job: Job, atUs?: number): void {
    this.put(job, "job.enqueued.v1", Rank.STEP, undefined, atUs);
  }

  /** The attempt was asked for, to start not before `runAtUs`. */
  jobScheduled(job: Job, runAtUs: number, atUs?: number): void {
    say(this, job, "job.scheduled.v1", Rank.STEP, () => ({ run_at: textOf(runAtUs) }), atUs);
  }

  /** Somebody begins the attempt. Returns the run, which ends it. For workers with heartbeats: `worker(…).begin`. */
  jobStarted(job: Job, workerId: string, times: { atUs?: number; enqueuedAtUs?: number; runAtUs?: number } = {}): Run {
    const run = new Run(this, job, bounds.name(workerId), times.atUs ?? clock.wallUs());
    const { enqueuedAtUs, runAtUs } = times;
    const text = (us: number | undefined) => (us === undefined ? undefined : textOf(us));
    say(this, job, "job.started.v1", Rank.STEP, () => ({ worker_id: run.workerId, enqueued_at: text(enqueuedAtUs), run_at: text(runAtUs) }), run.startedUs);
    return run;
  }

  /** An attempt whose worker is gone, or whose start was not seen, so that it can be ended. Only the wall clock knows how long it took. */
  runOf(job: Job, workerId: string, startedUs: number): Run {
    return new Run(this, job, bounds.name(workerId), startedUs, Math.max(0, clock.wallUs() - startedUs) / 1000);
  }

  /** The job gets another attempt, `job.attempt` + 1, not before `runAtUs`. */
  jobRetryScheduled(job: Job, runAtUs: number, more: object = {}, atUs?: number): void {
    say(this, job, "job.retry_scheduled.v1", Rank.END, () => ({ run_at: textOf(runAtUs), ...more }), atUs);
  }

  /** The job gets no other attempt by itself. */
  jobDead(job: Job, error: bounds.ErrorFacts, more: object = {}, atUs?: number): void {
    say(this, job, "job.dead.v1", Rank.END, () => ({ error, ...more }), atUs);
  }

  /** Somebody stopped the attempt before it was finished. */
  jobCancelled(job: Job, reason: string, atUs?: number): void {
    say(this, job, "job.cancelled.v1", Rank.END, () => ({ reason: bounds.name(reason) }), atUs);
  }

  /** The attempt was thrown away without an outcome. */
  jobDiscarded(job: Job, reason: string, atUs?: number): void {
    say(this, job, "job.discarded.v1", Rank.END, () => ({ reason: bounds.name(reason) }), atUs);
  }

  /** What was thrown, as `error` data, with as much as the settings `error_detail` and `error_masking` let out. */
  error(thrown: unknown): bounds.ErrorFacts {
    return errorOf(thrown, this.settings.error_detail, this.settings.error_masking) ?? { class: "Unknown" };
  }

  /** `args_preview` of a job's arguments, if the setting `args` names its class. */
  argsPreview(jobClass: string, args: unknown): string | undefined {
    return preview(this.settings, jobClass, args);
  }

  /**
   * Any event of the contract: `type` is "queue.snapshot.v1" and the like, `where.attributes` are CloudEvents extensions
   * (traceparent, backfill). Tenant and environment come from the settings unless `data` has them.
   */
  emit(type: string, data: Record<string, unknown>, where: Where): void {
    if (!this.enabled || this.offSwitch?.off) return;
    try {
      const { id, ...attributes } = where.attributes ?? {};
      const head = { type, ...(id === undefined ? {} : { id }), specversion: "1.0" };
      const { tenant, environment } = this.settings;
      const event = {
        ...head, subject: bounds.name(where.subject ?? where.partitionkey, 300), time: textOf(where.atUs ?? clock.wallUs()),
        partitionkey: where.partitionkey, ...attributes, data: { tenant, environment, ...data },
      };
      const raw = `${JSON.stringify(event).slice(0, -1)},"source":${this.sourceText}}`;
      this.accept(raw, where.lane ?? laneOf(where.partitionkey), where.rank ?? Rank.STEP);
    } catch (error) {
      site.failed(error);
    }
  }

  /** This process has a worker: online now, heartbeats from now on. */
  worker(facts: WorkerFacts): Worker {
    const worker = new Worker(this, facts);
    this.workers.add(worker);
    if (this.enabled) this.flusher.beats.add(worker);
    if (this.enabled) this.wake();
    return worker;
  }

  /** The worker is gone, the process may go on: offline, the statistics after the last one, and a flush. Waits at most `flush_timeout_ms`. */
  async endWorker(worker: Worker): Promise<void> {
    this.workers.delete(worker);
    this.flusher.beats.delete(worker);
    if (!this.enabled) return;
    if (this.connected) worker.end();
    const reached = await this.flush();
    if (this.workers.size > 0 || !reached || !this.connected) return;
    this.statistics.say(this.ending); // the app may end by process.exit as soon as its last worker has closed
    await this.flush();
  }

  /** Has something done again and again, in the background. */
  beats(beating: import("./flusher.js").Beating, on: boolean): void {
    if (!this.enabled) return;
    if (on) this.flusher.beats.add(beating);
    else this.flusher.beats.delete(beating);
    if (on) this.wake();
  }

  wake(): void {
    this.flusher.wake();
  }

  /**
   * Waits until everything emitted so far is acknowledged or on disk. False when that did not happen in time, or when delivery is known to
   * fail: at once with a spool, after one more try without. For places where a process ends hard; never needed elsewhere.
   */
  async flush(timeoutMs = this.settings.flush_timeout_ms): Promise<boolean> {
    return this.enabled ? this.flusher.flush(timeoutMs) : true;
  }

  /** The last words of a process that has nothing more to do, and a flush; the emitter stays usable. */
  async settle(timeoutMs = this.settings.flush_timeout_ms): Promise<void> {
    if (!this.enabled || this.ring.lastOrder === this.settledOrder) return; // once for the same events: this comes again
    const reached = (await this.flush(timeoutMs)) && this.connected;
    if (reached) this.statistics.say(this.workers.size === 0);
    if (reached) await this.flush(timeoutMs);
    this.settledOrder = this.ring.lastOrder;
  }

  /** The clean end: offline, the last statistics, a flush. Waits at most `timeoutMs`; what could not be sent goes to the spool. */
  async close(timeoutMs = this.settings.flush_timeout_ms): Promise<void> {
    if (!this.enabled) return;
    const deadline = clock.monotonicMs() + timeoutMs;
    this.flusher.beats.clear();
    const reached = await this.flush(timeoutMs);
    this.endReturned();
    if (reached && this.connected) {
      this.lastWords();
      await this.flush(Math.max(0, deadline - clock.monotonicMs()));
    }
    this.enabled = false;
    this.flusher.spill(true);
    await this.flusher.stop();
  }

  /**
   * The end of a process by a signal that nobody else listens to. While jobs run there is no clean end to tell: they run on until
   * the signal takes effect, which the caller sends in the same turn that this resolves in.
   */
  async endBySignal(timeoutMs = this.settings.flush_timeout_ms): Promise<void> {
    if (!this.enabled) return;
    if (![...this.workers].some((worker) => worker.running.size > 0)) return this.close(timeoutMs);
    const deadline = clock.monotonicMs() + timeoutMs;
    while ((await this.flush(Math.max(0, deadline - clock.monotonicMs()))) && !this.flusher.idle && clock.monotonicMs() < deadline);
    this.endReturned();
    this.flusher.spill(true);
  }

  /** The end of a process that does not wait: what is in memory goes to disk, if there is a spool. */
  abandon(): void {
    if (!this.enabled || !this.stores || (this.ring.lastOrder === 0 && this.workers.size === 0)) return;
    this.endReturned();
    if (this.connected) this.lastWords();
    this.flusher.spill(true);
  }

  private endReturned(): void {
    for (const worker of this.workers) worker.endReturned((thrown) => this.error(thrown));
  }

  private lastWords(): void {
    for (const worker of this.workers) worker.end();
    this.workers.clear();
    this.statistics.say(true);
  }

  private accept(raw: string, lane: number, rank: Rank): void {
    this.ring.put(needsFitting(raw) ? fitted(raw, () => (this.truncated += 1)) : raw, lane, rank);
    if (!this.flusher.awake) this.flusher.wake();
    if (this.stores && this.ring.filled > SPILL_ABOVE) this.flusher.spill(false);
  }

  /** What all jobs of a class in a queue say, and how their keys begin; kept for the next ones. */
  private newSeries(key: string, system: string, queue: string, jobClass: string): { facts: string; prefix: string } {
    const { tenant, environment } = this.settings;
    const names = { tenant, environment, system: bounds.name(system, 32), queue: bounds.name(queue), job_class: bounds.name(jobClass) };
    const made = { facts: JSON.stringify(names).slice(1, -1), prefix: `${tenant}/${names.system}/` };
    if (this.series.size >= MAX_SERIES) this.series.clear();
    this.series.set(key, made);
    return made;
  }
}

const say = guarded("emitter.say", (emitter: Emitter, job: Job, type: string, rank: Rank, more: () => object, atUs: number | undefined) =>
  emitter.put(job, type, rank, more(), atUs),
);
const errorOf = guarded("emitter.error", bounds.errorOf);
const preview = guarded("emitter.args", previewOf);

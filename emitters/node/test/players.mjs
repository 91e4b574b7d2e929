// Stand for the backends in the mapping vectors: call each hook as its backend does, with what the vector hands over.
// That the real backends hand over just these things is what `bullmq.test` and `backends.test` show.
import { watchAgenda } from "@jobtide/emitter/agenda";
import { watchQueue as watchBee } from "@jobtide/emitter/bee-queue";
import { watchQueue as watchBull } from "@jobtide/emitter/bull";
import { watchQueue, watchWorker } from "@jobtide/emitter/bullmq";
import { watchBoss } from "@jobtide/emitter/pg-boss";

/** What was thrown, as a vector says it. */
function errorOf(facts) {
  return Object.assign(new Error(facts.message), { name: facts.class });
}

/** Listeners by event, and jobs by id: a backend has one object for one run of a job. */
class Player {
  listeners = {};
  bodies = {};
  objects = {};
  on = (event, listener) => (this.listeners[event] = listener);

  object(facts, id = facts.id) {
    return Object.assign((this.objects[id] ??= {}), facts);
  }

  /** A processor that ends when the vector says so. */
  body(key) {
    return new Promise((resolve, reject) => (this.bodies[key] = { resolve, reject }));
  }

  ends(hook, key, error) {
    if (hook === "returned") this.bodies[key].resolve();
    else this.bodies[key].reject(errorOf(error));
  }
}

class PlayBullmq extends Player {
  constructor() {
    super();
    const common = { name: "mail", opts: {}, on: this.on, toKey: (type) => `bull:mail:${type}`, close: async () => {}, getBackend: () => ({ client: Promise.resolve({ status: "wait" }) }) };
    const stored = { fromId: async () => this.stored };
    this.queue = watchQueue({ ...common, Job: stored, add: async (job) => job, addBulk: async (jobs) => jobs, upsertJobScheduler: async (job) => job, remove: async () => 1 });
    this.worker = watchWorker({ ...common, Job: stored, concurrency: 1, callProcessJob: (job) => this.body(job.id) });
  }

  async step({ hook, native: { job: facts, jobs, error, progress, stored, state } }) {
    const job = facts && this.object(facts);
    this.stored = stored && { ...stored, getState: async () => state };
    if (hook === "add") await this.queue.add(job);
    else if (hook === "addBulk") await this.queue.addBulk(jobs);
    else if (hook === "upsertJobScheduler") await this.queue.upsertJobScheduler(job);
    else if (hook === "remove") await this.queue.remove(stored.id);
    else if (hook === "process") void this.worker.callProcessJob(job).catch(() => {});
    else if (hook === "returned" || hook === "threw") this.ends(hook, job.id, error);
    else if (hook === "stalled") this.listeners.stalled(stored.id);
    else this.listeners[hook](job, hook === "failed" ? errorOf(error) : progress);
  }

  close() {
    return this.worker.close();
  }
}

class PlayBull extends Player {
  constructor() {
    super();
    this.queue = watchBull({
      name: "mail", handlers: {}, on: this.on, toKey: (type) => `bull:mail:${type}`,
      client: { status: "wait", zscore: async () => this.score }, getJob: async () => this.stored,
      add: async (job) => job, addBulk: async (jobs) => jobs, nextRepeatableJob: async (job) => job,
      setHandler(name, handler) {
        this.handlers[name] = handler;
      },
      start: async () => {}, pause: async () => {}, resume: async () => {}, close: async () => {},
    });
    this.queue.setHandler("*", (job) => this.body(job.id));
    this.queue.start(1, "*");
  }

  async step({ hook, native: { job: facts, jobs, error, progress, stored, score } }) {
    const job = facts && this.object(facts);
    Object.assign(this, { stored, score });
    if (["add", "nextRepeatableJob", "pause", "resume"].includes(hook)) await this.queue[hook](job);
    else if (hook === "addBulk") await this.queue.addBulk(jobs);
    else if (hook === "process") void this.queue.handlers["*"](job).catch(() => {});
    else if (hook === "returned" || hook === "threw") this.ends(hook, job.id, error);
    else this.listeners[hook](job, hook === "failed" ? errorOf(error) : progress);
  }

  close() {
    return this.queue.close();
  }
}

class PlayBeeQueue extends Player {
  constructor() {
    super();
    this.queue = watchBee({
      name: "mail", client: null, concurrency: 1, on: this.on, toKey: (type) => `bq:mail:${type}`, close: async () => {},
      getJob: async () => this.stored, removeJob: async () => {},
      createJob: (facts) => this.object({ ...facts, _save: async () => {} }),
      process(handler) {
        this.handler = handler;
      },
    });
    this.queue.process((job) => this.body(job.id));
  }

  async step({ hook, native: { job: facts, stored, error, progress, delay_ms } }) {
    this.stored = stored;
    if (hook === "removeJob") return void (await this.queue.removeJob(stored.id));
    if (hook === "save") return void (await this.queue.createJob(facts)._save());
    const job = Object.assign(this.object(facts), { computeDelay: () => delay_ms, reportProgress: async () => {}, ...this.held?.[facts.id] });
    if (hook === "process") {
      void this.queue.handler(job).catch(() => {});
      this.held = { [job.id]: { computeDelay: job.computeDelay, reportProgress: job.reportProgress } }; // the hook's own
    } else if (hook === "returned" || hook === "threw") this.ends(hook, job.id, error);
    else if (hook === "reportProgress") await job.reportProgress(progress);
    else {
      if (hook === "retrying") this.held?.[job.id].computeDelay.call({ computeDelay: () => delay_ms });
      this.listeners[hook](job, error && errorOf(error));
    }
  }

  close() {
    return this.queue.close();
  }
}

class PlayPgBoss extends Player {
  constructor() {
    super();
    const answer = async () => this.result;
    this.boss = watchBoss({
      send: answer, sendAfter: answer, sendThrottled: answer, sendDebounced: answer, insert: answer, cancel: answer, stop: async () => {},
      work: async (name, options, handler) => (this.handler = handler),
      getJobById: async () => this.stored, getDb: () => ({ executeSql: async () => ({ rows: this.rows ?? [] }) }),
    });
    this.boss.work("mail", () => this.body("batch"));
  }

  async step({ hook, native: { args, result, jobs, error, stored, rows } }) {
    Object.assign(this, { result, stored, rows });
    if (hook === "process") void this.handler(jobs).catch(() => {});
    else if (hook === "returned" || hook === "threw") this.ends(hook, "batch", error);
    else await this.boss[hook](...args);
  }

  close() {
    return this.boss.stop();
  }
}

class PlayAgenda extends Player {
  constructor() {
    super();
    this.agenda = watchAgenda({ attrs: { maxConcurrency: 1 }, on: this.on, start: async () => {}, stop: async () => {}, create: () => ({ save: async () => {} }) });
    this.agenda.start();
  }

  async step({ hook, native: { job: facts, error, progress } }) {
    const attrs = { ...facts };
    for (const name of ["nextRunAt", "lastRunAt"]) if (attrs[name]) attrs[name] = new Date(attrs[name]);
    const job = this.object({ attrs }, facts._id);
    if (hook === "touch") return void (await job.touch(progress));
    if (hook === "start") job.touch = async () => {};
    if (hook === "save") {
      const made = Object.assign(this.agenda.create(facts.name, facts.data), { attrs });
      await made.save();
    } else if (hook === "fail") this.listeners.fail(errorOf(error), job);
    else this.listeners[hook](job);
  }

  close() {
    return this.agenda.stop();
  }
}

export const PLAYERS = { agenda: PlayAgenda, bee_queue: PlayBeeQueue, bull: PlayBull, bullmq: PlayBullmq, pg_boss: PlayPgBoss };

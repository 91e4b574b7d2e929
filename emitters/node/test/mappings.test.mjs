// BullMQ's mapping vectors, in the contract's form: what its hooks are handed, and exactly which events follow. That real
// workers hand over just these things is what `bullmq.test` shows.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { configure, sites } from "@jobtide/emitter";
import { watchQueue, watchWorker } from "@jobtide/emitter/bullmq";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { clock } from "../dist/esm/moments.js";

const real = { ...clock };
const WORKER = "web-1:4242:mail"; // what the vectors call the worker of this process
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Stands for a Queue and a Worker: calls the hooks as BullMQ does. */
class Play {
  constructor() {
    this.listeners = {};
    this.bodies = {};
    const on = (event, listener) => (this.listeners[event] = listener);
    const common = { name: "mail", opts: {}, on, toKey: (type) => `bull:mail:${type}`, Job: {}, close: async () => {}, getBackend: () => ({ client: Promise.resolve({ status: "wait" }) }) };
    this.queue = watchQueue({ ...common, add: async (job) => job, addBulk: async (jobs) => jobs });
    this.worker = watchWorker({ ...common, concurrency: 1, callProcessJob: (job) => new Promise((resolve, reject) => (this.bodies[job.id] = { resolve, reject })) });
    this.jobs = {};
  }

  async step({ hook, native: { job: facts, error } }) {
    const job = Object.assign((this.jobs[facts.id] ??= {}), facts); // BullMQ has one object for one run of a job
    if (hook === "add") await this.queue.add(job);
    else if (hook === "process") void this.worker.callProcessJob(job).catch(() => {});
    else if (hook === "returned") this.bodies[job.id].resolve();
    else if (hook === "threw") this.bodies[job.id].reject(errorOf(error));
    else this.listeners[hook](job, hook === "failed" ? errorOf(error) : undefined);
    await turn();
  }
}

function errorOf(facts) {
  return Object.assign(new Error(facts.message), { name: facts.class });
}

for (const mapping of JSON.parse(readFileSync(join(import.meta.dirname, "..", "..", "contract", "vectors", "mappings", "bullmq.json"), "utf8")))
  test(`bullmq ${mapping.name}: ${mapping.why}`, async (t) => {
    t.after(() => Object.assign(clock, real));
    const memory = new MemoryTransport();
    const emitter = configure({ makeTransport: () => memory, error_detail: "message", ...mapping.settings });
    const play = new Play();
    for (const step of mapping.steps) {
      clock.wallUs = () => step.clock.wall_us;
      clock.monotonicMs = () => step.clock.monotonic_ns / 1e6;
      await play.step(step);
    }
    Object.assign(clock, real);
    assert.ok(await emitter.flush());
    await play.worker.close();
    const id = memory.of("worker.online")[0]?.data.worker_id;
    const made = memory.events.filter((event) => event.type.startsWith("job.")).map(({ type, time, partitionkey, data }) => ({
      type, time, partitionkey, data: data.worker_id === id && id !== undefined ? { ...data, worker_id: WORKER } : data,
    }));
    assert.deepEqual(made, mapping.events);
    for (const site of sites.values()) assert.equal(site.errors, 0, site.name);
  });

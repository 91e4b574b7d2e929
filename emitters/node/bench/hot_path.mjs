// What one event costs the code that emits it: `node bench/hot_path.mjs [--write]`.
//
// Measured per event, one by one, while the timers pack and deliver to a transport that throws away: the lines say the
// median and the 99th percentile of building, serialising, numbering and buffering, and of serialising the same event alone.
// `--write` keeps the table in latest.json.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { configure, emitter as current } from "@jobtide/emitter";
import { watchWorker } from "@jobtide/emitter/bullmq";
import { packsOf } from "../dist/esm/packs.js";

const EVENTS = 60_000;
const GOAL_US = 10;
const GOAL_RATIO = 3;
const discard = { partitions: 8, connect: async () => {}, close: async () => {}, deliver: async (events) => (packsOf(events, 8), []) };

/** Microseconds per event of `act(number)`, which makes `perCall` events. The loop turns now and then, as an app's does. */
async function measure(act, perCall = 1, calls = EVENTS) {
  for (let number = 0; number < 3_000; number++) act(number);
  const samples = new Float64Array(calls);
  for (let number = 0; number < calls; number++) {
    const began = process.hrtime.bigint();
    act(number);
    samples[number] = Number(process.hrtime.bigint() - began) / 1000 / perCall;
    if (number % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  samples.sort();
  return { p50_us: round(samples[calls >> 1]), p99_us: round(samples[Math.floor(calls * 0.99)]) };
}

const round = (us) => Math.round(us * 100) / 100;
const idOf = (number) => `7f0c9e2a-5d1b-4c3e-9a88-${String(number).padStart(12, "0")}`;

async function core() {
  const emitter = current();
  const life = (number) => {
    const job = emitter.job("bullmq", "default", "send-invoice", idOf(number));
    emitter.jobEnqueued(job);
    const run = emitter.jobStarted(job, "web-1:4242:default", { enqueuedAtUs: 1_795_341_600_000_000 });
    run.finished();
  };
  const event = (number) => ({
    type: "job.started.v1", specversion: "1.0", source: "/web-1/4242", subject: idOf(number), time: "2026-11-22T10:00:00.000000Z",
    partitionkey: `acme/bullmq/${idOf(number)}`,
    data: {
      tenant: "acme", environment: "production", system: "bullmq", queue: "default", job_class: "send-invoice", job_id: idOf(number), attempt: 1,
      worker_id: "web-1:4242:default", enqueued_at: "2026-11-22T10:00:00.000000Z",
    },
  });
  const made = event(1);
  const failure = new RangeError("no invoice 17 for 'bob', at https://shop.example/orders/17"); // one: making a stack is the app's time
  const failing = (number) => emitter.jobStarted(emitter.job("bullmq", "default", "send-invoice", idOf(number)), "web-1:4242:default").failed(emitter.error(failure));
  return {
    "job, enqueued, started, finished (per event)": await measure(life, 3, EVENTS / 3),
    "started, failed with a masked error (per event)": await measure(failing, 2, EVENTS / 6),
    "naming a job": await measure((number) => emitter.job("bullmq", "default", "send-invoice", idOf(number))),
    "serialising alone": await measure(() => JSON.stringify(made)),
    "building an object and serialising alone": await measure((number) => JSON.stringify(event(number))),
  };
}

/** The hooks of one BullMQ job, called as its Worker calls them: started, returned, completed. */
async function bullmqHooks() {
  const listeners = {};
  const made = () => ({
    name: "default", concurrency: 10, opts: {}, toKey: (type) => `bull:default:${type}`, Job: {}, close: async () => {},
    on: (event, listener) => (listeners[event] = listener), client: Promise.reject(new Error("no Redis here")), callProcessJob: () => undefined,
  });
  const worker = made();
  worker.client.catch(() => {});
  const plain = worker.callProcessJob;
  watchWorker(worker);
  const job = (number) => ({ id: idOf(number), name: "send-invoice", data: {}, opts: { attempts: 3 }, timestamp: 1_795_341_600_000, attemptsStarted: 1, attemptsMade: 0 });
  const watched = await measure((number) => {
    const one = job(number);
    worker.callProcessJob(one);
    listeners.completed(one);
  }, 2, EVENTS / 3);
  const without = await measure((number) => plain(job(number)), 2, EVENTS / 3);
  return { "BullMQ: started, returned, completed (per event)": watched, "the same without hooks": without };
}

configure({ makeTransport: () => discard, queue_events: 500_000, queue_bytes: 1 << 29, snapshot_ms: 3_600_000 });
const rows = { ...(await core()), ...(await bullmqHooks()) };
for (const [name, row] of Object.entries(rows)) console.log(`${name.padEnd(50)} p50 ${row.p50_us.toFixed(2).padStart(7)} µs   p99 ${row.p99_us.toFixed(2).padStart(8)} µs`);
const perEvent = rows["job, enqueued, started, finished (per event)"].p50_us;
const ratio = perEvent / rows["building an object and serialising alone"].p50_us;
console.log(`goal p50 ≤ ${GOAL_US} µs per event: ${perEvent}; ${ratio.toFixed(1)} × building and serialising alone (goal ≤ ${GOAL_RATIO})`);
if (process.argv.includes("--write"))
  writeFileSync(join(import.meta.dirname, "latest.json"), `${JSON.stringify({ node: process.version, goal_us: GOAL_US, goal_ratio: GOAL_RATIO, rows }, null, 2)}\n`);
process.exit(perEvent <= GOAL_US && ratio <= GOAL_RATIO ? 0 : 1);

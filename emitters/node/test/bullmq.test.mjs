// Real BullMQ workers on a real Redis (JOBTIDE_TEST_REDIS): what is told equals what the jobs wrote down, and a fault at any
// call site changes nothing for them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { configure, setLog, sites } from "@jobtide/emitter";
import { telemetry, watchFlowProducer, watchQueue, watchWorker } from "@jobtide/emitter/bullmq";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker, DelayedError } from "bullmq";
import { Redis } from "ioredis";
import { compare, faulty, MIX, Oracle } from "./mix.mjs";
import { until } from "./receiver.mjs";

const url = process.env.JOBTIDE_TEST_REDIS;
const skip = url ? false : "JOBTIDE_TEST_REDIS is not set";
const connection = url && { ...(({ hostname, port }) => ({ host: hostname, port: Number(port) }))(new URL(url)), db: 11, maxRetriesPerRequest: null };
const RETRY_MS = 60;
const said = [];
let number = 0;

before(async () => {
  setLog({ warn: (line) => said.push(line), error: (...line) => said.push(line.map(String).join(" ")) });
  if (skip) return;
  const redis = new Redis(connection);
  await redis.flushdb();
  await redis.quit();
});

after(() => {
  if (!skip) assert.deepEqual(said.filter((line) => !line.includes("a fault was put here")), []);
});

function emitting(settings = {}) {
  const memory = new MemoryTransport();
  configure({ makeTransport: () => memory, linger_ms: 0, heartbeat_ms: 100, snapshot_ms: 200, ...settings });
  return memory;
}

/** A queue, its worker and its jobs' own log; with hooks or without. */
function shop(oracle, { hooks = true, worker = {}, body, queueOptions = {} } = {}) {
  const name = `shop-${process.pid}-${++number}`;
  const wrapped = (watch, made) => (hooks ? watch(made) : made);
  const queue = wrapped(watchQueue, new Queue(name, { connection, ...queueOptions }));
  const run = body ?? ((job) => oracle.body(job.data));
  const made = wrapped(watchWorker, new Worker(name, run, { connection, concurrency: 4, ...worker }));
  return { name, queue, worker: made, close: () => Promise.all([made.close(), queue.close()]) };
}

const optionsOf = ({ attempts, delayMs }) => ({ attempts, delay: delayMs, backoff: { type: "fixed", delay: RETRY_MS } });

/** Runs MIX; the outcome as BullMQ itself has it. */
async function runMix(oracle, { queue }) {
  const jobs = {};
  for (const [name, { attempts, delayMs, ...data }] of Object.entries(MIX))
    jobs[name] = (await queue.add(name, { name, ...data }, optionsOf({ attempts, delayMs }))).id;
  const bulk = await queue.addBulk(["b1", "b2"].map((name) => ({ name: "bulk", data: { name } })));
  const own = await queue.add("own", { name: "own" }, { jobId: "my-own-id" });
  await until(async () => {
    const counts = await queue.getJobCounts("completed", "failed");
    return counts.completed === 6 && counts.failed === 2;
  });
  const outcome = {};
  for (const [name, id] of Object.entries(jobs)) {
    const job = await queue.getJob(id);
    outcome[name] = [await job.getState(), job.returnvalue, job.failedReason, job.attemptsMade];
  }
  return { jobs, outcome, bulk: bulk.map((job) => job.id), own: own.id, calls: oracle.lines.map((line) => `${line.what} ${line.name}`).sort() };
}

test("ok, fail, retry, dead, delayed, bulk: exactly what the jobs wrote down", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const run = shop(oracle);
  const { jobs, bulk, own } = await runMix(oracle, run);
  await until(() => memory.of("queue.snapshot").some((event) => event.data.dead === 2), () => memory.of("queue.snapshot"));
  const metrics = await run.queue.getJobCounts("completed", "failed");
  await run.close();
  compare(memory, oracle, jobs, { retryMs: RETRY_MS });
  for (const id of [...bulk, own]) {
    const types = memory.events.filter((event) => event.data.job_id === id).map((event) => event.type);
    assert.deepEqual(types.sort(), ["job.enqueued.v1", "job.finished.v1", "job.started.v1"]);
  }
  // The backend's own counters agree.
  assert.equal(memory.of("job.finished").length, metrics.completed);
  assert.equal(memory.of("job.dead").length, metrics.failed);
  const [failed] = memory.of("job.failed");
  assert.equal(failed.data.error.class, "RangeError");
  assert.match(failed.data.error.message, /fails$/);
  assert.equal(failed.data.max_attempts >= 1, true);
  const clean = memory.of("worker.offline");
  assert.equal(clean.length, 8);
  assert.equal(clean[0].data.processed, memory.of("job.finished").length + memory.of("job.failed").length);
});

test("one of several elected: a snapshot every interval, whoever says it", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const run = shop(oracle, { worker: { autorun: false } });
  const others = Array.from({ length: 4 }, () => watchQueue(new Queue(run.name, { connection })));
  await run.queue.add("ok", { name: "ok" });
  await run.queue.add("ok", { name: "ok" }, { delay: 60_000 });
  await run.queue.pause();
  const began = Date.now();
  await until(() => memory.of("queue.snapshot").length >= 8);
  const times = memory.of("queue.snapshot").map((event) => Date.parse(event.time));
  // One each 200 ms, some told a little late: two who say it would be twice as many.
  assert.ok(times.length - 1 <= (times.at(-1) - times[0]) / 150 + 1, `more than one said it: ${times}`);
  const { data } = memory.of("queue.snapshot").at(-1);
  assert.deepEqual([data.queue, data.ready, data.scheduled, data.dead, data.running, data.paused], [run.name, 1, 1, 0, 0, true]);
  assert.ok(Math.abs(Date.parse(data.oldest_ready_at) - began) < 10_000, data.oldest_ready_at);
  await run.queue.resume();
  await until(() => memory.of("queue.resumed").length >= 1 && memory.of("queue.paused").length >= 1);
  await Promise.all([run.close(), ...others.map((queue) => queue.close())]);
});

test("heartbeats name what is held; stopping and offline follow a close", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const run = shop(oracle);
  const job = await run.queue.add("long", { name: "long", runMs: 400 });
  await until(() => memory.of("worker.heartbeat").some((event) => event.data.running.some((held) => held.job_id === job.id)));
  const closing = run.close();
  await until(() => memory.of("worker.stopping").length >= 8);
  await closing;
  assert.equal(memory.of("worker.online").length, 8);
  assert.equal(memory.of("worker.offline").length, 8);
  assert.equal(memory.of("job.finished").length, 1);
  const [beat] = memory.of("worker.heartbeat");
  assert.equal(beat.data.concurrency, 4);
  assert.deepEqual(beat.data.queues, [run.name]);
});

test("put off by the job itself: not a failure, and the next attempt follows", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const run = shop(oracle, {
    body: async (job, token) => {
      oracle.write("start", "put-off");
      if (oracle.starts("put-off") > 1) return "done";
      await job.moveToDelayed(Date.now() + 150, token);
      throw new DelayedError();
    },
  });
  await run.queue.add("put-off", {});
  await until(() => memory.of("job.finished").length >= 1);
  await run.close();
  assert.deepEqual(memory.of("job.started").map((event) => event.data.attempt), [1, 2]);
  assert.equal(memory.of("job.failed").length, 0);
  const [again] = memory.of("job.retry_scheduled");
  assert.equal(memory.of("job.discarded")[0].data.reason, "put off");
  const aheadMs = Date.parse(again.data.run_at) - Date.parse(again.time);
  assert.ok(aheadMs > 100 && aheadMs < 1_000, `${aheadMs}`);
  assert.ok(Math.abs(Date.parse(memory.of("job.started")[1].time) - Date.parse(again.data.run_at)) < 30_000);
});

test("unrecoverable, removed, an id that is there already, a progress, a priority", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const run = shop(oracle, {
    body: async (job) => {
      await job.updateProgress(25);
      await job.updateProgress({ percent: 50, step: "halfway" });
      if (job.name === "never") throw new UnrecoverableError("no");
    },
  });
  const never = await run.queue.add("never", {}, { attempts: 5, priority: 3 });
  await until(() => memory.of("job.dead").length >= 1);
  assert.equal(memory.of("job.retry_scheduled").length, 0);
  assert.equal(memory.of("job.dead")[0].data.priority, 3);
  const delayed = await run.queue.add("gone", {}, { delay: 60_000, jobId: "x1" });
  await run.queue.add("gone", {}, { delay: 60_000, jobId: "x1" });
  const other = await run.queue.add("gone", {}, { delay: 60_000 });
  // Of the same millisecond the two look alike: told once.
  for (let id = 0; id < 10; id++) await Promise.all([id, id].map((number) => run.queue.add("gone", {}, { delay: 60_000, jobId: `y${number}` })));
  await until(() => memory.of("job.scheduled").length >= 12);
  await run.queue.remove(delayed.id);
  await other.remove();
  await until(() => memory.of("job.cancelled").length >= 2);
  await (await run.queue.getJob(never.id)).remove(); // dead already: no second outcome
  await run.close();
  assert.equal(memory.of("job.scheduled").length, 12);
  assert.deepEqual(memory.of("job.cancelled").map((event) => event.data.attempt), [1, 1]);
  assert.deepEqual(memory.of("job.progress").map((event) => [event.data.progress, event.data.step]), [[0.25, undefined], [0.5, "halfway"]]);
});

test("a stalled job: its attempt failed, the next one runs", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const name = `stall-${process.pid}`;
  const queue = watchQueue(new Queue(name, { connection }));
  const lost = new Worker(name, null, { connection, lockDuration: 100 });
  await queue.add("stalls", { name: "stalls" });
  await lost.getNextJob("somebody who is gone");
  await lost.close();
  const worker = watchWorker(new Worker(name, (job) => oracle.body(job.data), { connection, stalledInterval: 100 }));
  await until(() => memory.of("job.finished").length >= 1 && memory.of("job.failed").length >= 1);
  await Promise.all([worker.close(), queue.close()]);
  const [failed] = memory.of("job.failed");
  assert.equal(failed.data.error.class, "Stalled");
  assert.equal(failed.data.attempt, 1);
  assert.equal(memory.of("job.finished")[0].data.attempt, 2);
  assert.equal(memory.of("job.retry_scheduled")[0].data.attempt, 1);
});

test("flows and schedulers: parents are named, each iteration is told once", { skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const run = shop(oracle, { body: async () => undefined });
  const flows = watchFlowProducer(new FlowProducer({ connection }));
  const tree = await flows.add({ name: "parent", queueName: run.name, children: [{ name: "child", queueName: run.name, data: {} }] });
  await until(() => memory.of("job.finished").length >= 2);
  const [child] = memory.of("job.finished").filter((event) => event.data.job_class === "child");
  assert.equal(child.data.parent_job_id, tree.job.id);
  assert.equal(memory.of("job.enqueued").length, 2);
  await run.queue.upsertJobScheduler("tick", { every: 150 }, { name: "tick" });
  await until(() => memory.of("job.finished").filter((event) => event.data.job_class === "tick").length >= 3);
  await run.queue.removeJobScheduler("tick");
  await run.close();
  await flows.close();
  const finished = memory.of("job.finished").filter((event) => event.data.job_class === "tick");
  for (const { data } of finished) {
    const told = memory.events.filter((event) => event.data.job_id === data.job_id).map((event) => event.type);
    assert.equal(told.filter((type) => type === "job.scheduled.v1" || type === "job.enqueued.v1").length, 1, `${data.job_id} ${told}`);
  }
});

test("the telemetry option: one trace from the code that adds, through jobs that add jobs, and the exact time of the add", { skip }, async () => {
  const memory = emitting();
  const name = `trace-${process.pid}`;
  const traced = telemetry();
  const queue = watchQueue(new Queue(name, { connection, telemetry: traced }));
  const worker = watchWorker(new Worker(name, async (job) => job.name === "first" && queue.add("second", {}), { connection, telemetry: traced }));
  await queue.add("first", {});
  await until(() => memory.of("job.finished").length >= 2);
  await Promise.all([worker.close(), queue.close()]);
  const traces = new Set(memory.events.filter((event) => event.type.startsWith("job.")).map((event) => event.traceparent?.slice(3, 35)));
  assert.equal(traces.size, 1);
  assert.match([...traces][0], /^[0-9a-f]{32}$/);
  for (const event of memory.of("job.started")) {
    const enqueued = memory.of("job.enqueued").find((other) => other.data.job_id === event.data.job_id);
    assert.ok(Math.abs(Date.parse(enqueued.time) - Date.parse(event.data.enqueued_at)) <= 20);
  }
});

test("around another telemetry: its spans and contexts are as without", { skip }, async () => {
  emitting();
  const spans = [];
  const span = { setSpanOnContext: (context) => ({ ...context, mine: true }), setAttribute() {}, setAttributes() {}, addEvent() {}, recordException() {}, end: () => spans.push("end") };
  const inner = {
    tracer: { startSpan: (spanName) => (spans.push(spanName), span) },
    contextManager: { with: (_, run) => run(), active: () => ({}), getMetadata: () => '{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}', fromMetadata: (_, text) => ({ text }) },
  };
  const name = `otel-${process.pid}`;
  const queue = new Queue(name, { connection, telemetry: telemetry(inner) });
  const job = await queue.add("a", {});
  assert.equal(JSON.parse(job.opts.telemetry.metadata).traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  assert.ok(Math.abs(JSON.parse(job.opts.telemetry.metadata).jobtide_enqueued_us / 1000 - Date.now()) < 60_000);
  assert.deepEqual(spans.slice(0, 2), [`add ${name}.a`, "end"]);
  await queue.close();
});

test("the off switch: nothing is wrapped", { skip }, async () => {
  emitting({ disabled: true });
  const queue = new Queue(`off-${process.pid}`, { connection });
  const { add } = queue;
  assert.equal(watchQueue(queue), queue);
  assert.equal(queue.add, add);
  await queue.close();
});

// Faults.

const SITES = () => [...sites.keys()].filter((name) => name.startsWith("bullmq."));
const ELSEWHERE = [ // reached by the tests above, not by MIX
  "bullmq.watch_flow_producer", "bullmq.flow", "bullmq.scheduler", "bullmq.removing", "bullmq.removed", "bullmq.removed_object", "bullmq.paused",
  "bullmq.progress", "bullmq.stalled", "bullmq.telemetry_stamp", "bullmq.telemetry_span", "bullmq.telemetry_trace",
];
let truth;

async function mixOutcome(hooks) {
  const oracle = new Oracle();
  const run = shop(oracle, { hooks });
  try {
    const { outcome, calls } = await runMix(oracle, run);
    return { outcome, calls };
  } finally {
    await run.close();
  }
}

test("faults: all hooks at once, and each alone, change nothing for the jobs", { skip, timeout: 180_000 }, async (t) => {
  truth = await mixOutcome(false);
  assert.deepEqual(truth.outcome.second, ["completed", "second", null, 2].map((value, index) => (index === 2 ? truth.outcome.second[2] : value)));
  const reached = new Set();
  for (const broken of [[], SITES(), ...SITES().map((name) => [name])]) {
    await t.test(broken.length === 0 ? "healthy" : broken.length === 1 ? broken[0] : "all", async () => {
      emitting();
      const mend = faulty(sites, broken);
      try {
        assert.deepEqual(await mixOutcome(true), truth);
        for (const name of broken) if (sites.get(name).errors > 0) reached.add(name);
      } finally {
        mend();
      }
    });
  }
  assert.deepEqual(SITES().filter((name) => !reached.has(name)).sort(), [...ELSEWHERE].sort());
});

test("faults: queue operations outside MIX work with every hook broken", { skip }, async () => {
  emitting();
  const oracle = new Oracle();
  const run = shop(oracle, { body: async (job) => job.updateProgress(10) });
  const traced = new Queue(run.name, { connection, telemetry: telemetry() });
  const flows = watchFlowProducer(new FlowProducer({ connection }));
  const events = new QueueEvents(run.name, { connection });
  await events.waitUntilReady();
  const mend = faulty(sites, SITES());
  try {
    const tree = await flows.add({ name: "parent", queueName: run.name, children: [{ name: "child", queueName: run.name }] });
    await tree.job.waitUntilFinished(events, 5_000);
    await (await traced.add("traced", {})).waitUntilFinished(events, 5_000);
    assert.ok(await run.queue.upsertJobScheduler("tick", { every: 60_000 }, { name: "tick" }));
    const gone = await run.queue.add("gone", {}, { delay: 60_000 });
    assert.equal(await run.queue.remove(gone.id), 1);
    await (await run.queue.add("gone", {}, { delay: 60_000 })).remove();
    await run.queue.pause();
    await run.queue.resume();
    assert.rejects(run.queue.add("bad", {}, { jobId: "0" }));
    for (const name of ["bullmq.flow", "bullmq.scheduler", "bullmq.removing", "bullmq.removed_object", "bullmq.paused", "bullmq.progress", "bullmq.telemetry_stamp", "bullmq.telemetry_span"])
      assert.ok(sites.get(name).errors > 0, name);
  } finally {
    mend();
    await Promise.all([run.close(), flows.close(), events.close(), traced.close()]);
  }
});

// Real Bull and Bee-Queue workers on a real Redis (JOBTIDE_TEST_REDIS), real pg-boss and Agenda workers on a real PostgreSQL
// (JOBTIDE_TEST_POSTGRES): what is told equals what the jobs wrote down, and a fault at any call site changes nothing.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PostgresBackend } from "@agendajs/postgres-backend";
import { configure, setLog, sites } from "@jobtide/emitter";
import { watchAgenda } from "@jobtide/emitter/agenda";
import { watchQueue as watchBee } from "@jobtide/emitter/bee-queue";
import { watchQueue as watchBull } from "@jobtide/emitter/bull";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { watchBoss } from "@jobtide/emitter/pg-boss";
import { Agenda } from "agenda";
import BeeQueue from "bee-queue";
import Bull from "bull";
import { Redis } from "ioredis";
import PgBoss from "pg-boss";
import { compare, faulty, MIX, Oracle } from "./mix.mjs";
import { until } from "./receiver.mjs";

const redisUrl = process.env.JOBTIDE_TEST_REDIS;
const postgres = process.env.JOBTIDE_TEST_POSTGRES;
const redis = redisUrl && { host: new URL(redisUrl).hostname, port: Number(new URL(redisUrl).port), db: 12 };
const RETRY_MS = 60;
const said = [];
let number = 0;
const fresh = (base) => `${base}_${process.pid}_${++number}`;

before(async () => {
  setLog({ warn: (line) => said.push(line), error: (...line) => said.push(line.map(String).join(" ")) });
  if (!redis) return;
  const client = new Redis(redis);
  await client.flushdb();
  await client.quit();
});

after(() => assert.deepEqual(said.filter((line) => line.startsWith("jobtide") && !line.includes("a fault was put here")), []));

function emitting(settings = {}) {
  const memory = new MemoryTransport();
  configure({ makeTransport: () => memory, linger_ms: 0, heartbeat_ms: 100, snapshot_ms: 200, ...settings });
  return memory;
}

// Each opens a shop on one backend: `add` puts a job of MIX in, `states` says what the backend itself made of each id.

function bull(oracle, hooks) {
  const made = new Bull(fresh("bull"), { redis, settings: { retryProcessDelay: 50, guardInterval: 50 } });
  const queue = hooks ? watchBull(made) : made;
  queue.process("*", 4, (job) => oracle.body(job.data));
  return {
    system: "bull",
    retryMs: RETRY_MS,
    add: async (data, { attempts, delayMs }) => (await queue.add(data.name, data, { attempts, delay: delayMs, backoff: { type: "fixed", delay: RETRY_MS } })).id,
    states: (ids) => Promise.all(ids.map(async (id) => (await queue.getJob(id)).getState())),
    done: ["completed", "failed"],
    close: () => queue.close(),
    queue,
  };
}

function bee(oracle, hooks) {
  const made = new BeeQueue(fresh("bee"), { redis, activateDelayedJobs: true, delayedDebounce: 10, stallInterval: 5000 });
  const queue = hooks ? watchBee(made) : made;
  queue.process(4, (job) => oracle.body(job.data));
  return {
    system: "bee_queue",
    retryMs: RETRY_MS,
    add: async (data, { attempts, delayMs }) => {
      const job = queue.createJob(data).retries(attempts - 1).backoff("fixed", RETRY_MS);
      if (delayMs) job.delayUntil(Date.now() + delayMs);
      return (await job.save()).id;
    },
    states: (ids) => Promise.all(ids.map(async (id) => (await queue.getJob(id)).status)),
    done: ["succeeded", "failed"],
    close: () => queue.close(),
    queue,
  };
}

async function boss(oracle, hooks) {
  const made = new PgBoss({ connectionString: postgres, schema: "boss", supervise: false, schedule: false, max: 3 });
  made.on("error", (error) => said.push(String(error)));
  const queue = hooks ? watchBoss(made, { schema: "boss" }) : made;
  await queue.start();
  const name = fresh("boss");
  await queue.createQueue(name, { name });
  await queue.work(name, { pollingIntervalSeconds: 0.5, batchSize: 1 }, ([job]) => oracle.body(job.data));
  for (let more = 0; more < 3; more++) await queue.work(name, { pollingIntervalSeconds: 0.5 }, ([job]) => oracle.body(job.data));
  return {
    system: "pg_boss",
    retryMs: 0,
    add: (data, { attempts, delayMs }) => queue.send(name, data, { retryLimit: attempts - 1, retryDelay: 0, startAfter: delayMs ? new Date(Date.now() + delayMs) : undefined }),
    states: (ids) => Promise.all(ids.map(async (id) => (await queue.getJobById(name, id)).state)),
    done: ["completed", "failed"],
    close: () => queue.stop({ graceful: false }),
    queue,
    name,
  };
}

async function agenda(oracle, hooks) {
  const table = fresh("agenda_jobs");
  const made = new Agenda({ backend: new PostgresBackend({ connectionString: postgres, tableName: table, disableNotifications: true }), processEvery: 50, maxConcurrency: 4 });
  const queue = hooks ? watchAgenda(made) : made;
  queue.on("error", (error) => said.push(String(error)));
  for (const [name, { attempts }] of Object.entries(MIX))
    queue.define(name, (job) => oracle.body(job.attrs.data), { backoff: ({ attempt }) => (attempt < attempts ? RETRY_MS : null) });
  await queue.start();
  const jobs = new Map();
  return {
    system: "agenda",
    retryMs: RETRY_MS,
    add: async (data, { delayMs }) => {
      const job = delayMs ? await queue.schedule(new Date(Date.now() + delayMs), data.name, data) : await queue.now(data.name, data);
      jobs.set(String(job.attrs._id), job);
      return job.attrs._id;
    },
    states: (ids) => Promise.all(ids.map(async (id) => {
      const { jobs: [{ lockedAt, nextRunAt, failReason, lastFinishedAt, failCount }] } = await queue.db.queryJobs({ id: String(id) });
      return nextRunAt || lockedAt || !lastFinishedAt ? "open" : failReason && failCount ? "failed" : "completed";
    })),
    done: ["completed", "failed"],
    close: () => queue.stop(true),
    queue,
  };
}

const BACKENDS = {
  bull: { open: bull, skip: redis ? false : "JOBTIDE_TEST_REDIS is not set", elsewhere: ["bull.added_again", "bull.repeated", "bull.progress", "bull.removed", "bull.paused"] },
  bee_queue: { open: bee, skip: redis ? false : "JOBTIDE_TEST_REDIS is not set", elsewhere: ["bee_queue.progress", "bee_queue.removing", "bee_queue.removed"] },
  pg_boss: { open: boss, skip: postgres ? false : "JOBTIDE_TEST_POSTGRES is not set", elsewhere: ["pg_boss.inserting", "pg_boss.inserted", "pg_boss.cancelled", "pg_boss.backed_off"] },
  agenda: { open: agenda, skip: postgres ? false : "JOBTIDE_TEST_POSTGRES is not set", elsewhere: ["agenda.progress"] },
};

async function runMix(oracle, shop) {
  const jobs = {};
  for (const [name, { attempts, delayMs, ...data }] of Object.entries(MIX)) jobs[name] = String(await shop.add({ name, ...data }, { attempts, delayMs }));
  const ids = Object.values(jobs);
  await until(async () => (await shop.states(ids)).every((state) => shop.done.includes(state)), () => oracle.lines);
  return { jobs, states: await shop.states(ids), calls: oracle.lines.map((line) => `${line.what} ${line.name}`).sort() };
}

for (const [backend, { open, skip, elsewhere }] of Object.entries(BACKENDS)) {
  test(`${backend}: exactly what the jobs wrote down`, { skip }, async () => {
    const memory = emitting();
    const oracle = new Oracle();
    const shop = await open(oracle, true);
    const { jobs, states } = await runMix(oracle, shop);
    assert.deepEqual(states.map((state) => (state === "failed" ? "failed" : "ok")), ["ok", "failed", "ok", "failed", "ok"]);
    await until(() => memory.of("job.dead").length >= 2 && memory.of("job.finished").length >= 3, () => memory.events.map((event) => event.type));
    if (backend !== "agenda") await until(() => memory.of("queue.snapshot").some((event) => event.data.dead === 2), () => memory.of("queue.snapshot").map((event) => event.data));
    await shop.close();
    compare(memory, oracle, jobs, { retryMs: shop.retryMs });
    for (const type of ["online", "stopping", "offline"]) assert.equal(memory.of(`worker.${type}`).length, 8, type);
    assert.ok(memory.of("worker.heartbeat").length >= 8);
    for (const event of memory.events.filter((event) => event.type.startsWith("job."))) assert.equal(event.data.system, shop.system);
  });

  test(`${backend}: faults in all call sites, and in each alone, change nothing for the jobs`, { skip, timeout: 180_000 }, async (t) => {
    const mix = async (hooks) => {
      const oracle = new Oracle();
      const shop = await open(oracle, hooks);
      try {
        const { states, calls } = await runMix(oracle, shop);
        return { states, calls };
      } finally {
        await shop.close();
      }
    };
    emitting();
    const truth = await mix(false);
    const all = [...sites.keys()].filter((name) => name.startsWith(`${backend}.`));
    const reached = new Set();
    // Slow backends run each fault at once, each in a shop of its own; the sites are the same objects, so in turn.
    for (const broken of [all, ...all.filter((name) => !elsewhere.includes(name)).map((name) => [name])])
      await t.test(broken.length === 1 ? broken[0] : "all", async () => {
        emitting();
        const mend = faulty(sites, broken);
        try {
          assert.deepEqual(await mix(true), truth);
          for (const name of broken) if (sites.get(name).errors > 0) reached.add(name);
        } finally {
          mend();
        }
      });
    assert.deepEqual(all.filter((name) => !reached.has(name)).sort(), [...elsewhere].sort());
  });
}

test("bull: bulk, repeats, an id that is there already, removal, pause, progress, custom back-off", { skip: BACKENDS.bull.skip }, async () => {
  const memory = emitting();
  const settings = { backoffStrategies: { mine: () => 150 }, guardInterval: 50 };
  const queue = watchBull(new Bull(fresh("bull"), { redis, settings }));
  let calls = 0;
  queue.process(async (job) => {
    await job.progress(50);
    if (job.data.once && ++calls === 1) throw new TypeError("once");
  });
  await queue.addBulk([{ data: { n: 1 } }, { data: { n: 2 } }]);
  await queue.add({ once: true }, { attempts: 2, backoff: { type: "mine" } });
  await until(() => memory.of("job.finished").length >= 3);
  assert.equal(memory.of("job.enqueued").length, 3);
  assert.equal(memory.of("job.progress").length, 4);
  const [again] = memory.of("job.retry_scheduled");
  const aheadMs = Date.parse(again.data.run_at) - Date.parse(again.time);
  assert.ok(aheadMs > 140 && aheadMs < 30_000, again.data.run_at);
  const gone = await queue.add({}, { delay: 60_000, jobId: "x" });
  // Ids that are there already, also of the same millisecond, whose jobs look alike: told once.
  for (let id = 0; id < 10; id++) await Promise.all(["x", `y${id}`, `y${id}`].map((jobId) => queue.add({}, { delay: 60_000, jobId })));
  await until(() => memory.of("job.scheduled").length >= 11);
  await gone.remove();
  await queue.pause();
  await queue.resume();
  await queue.add({}, { repeat: { every: 100, limit: 2 } });
  await until(() => memory.of("job.finished").length >= 5 && memory.of("queue.resumed").length >= 1);
  await queue.close();
  assert.equal(memory.of("job.cancelled").length, 1);
  assert.equal(memory.of("queue.paused").length, 1);
  assert.equal(memory.of("job.scheduled").length, 13, memory.of("job.scheduled").map((event) => event.subject).join());
});

test("bee-queue: a batch, an id that is there already, progress, a time limit, close with a callback", { skip: BACKENDS.bee_queue.skip }, async () => {
  const memory = emitting();
  const queue = watchBee(new BeeQueue(fresh("bee"), { redis }));
  queue.process(async (job) => {
    job.reportProgress(40);
    if (job.data.slow) await new Promise((resolve) => setTimeout(resolve, 300));
  });
  await queue.saveAll([queue.createJob({}).setId("a"), queue.createJob({})]);
  await queue.createJob({}).setId("a").save();
  await queue.createJob({ slow: true }).timeout(50).save();
  await until(() => memory.of("job.finished").length >= 2 && memory.of("job.dead").length >= 1);
  const gone = await queue.createJob({}).delayUntil(Date.now() + 600_000).setId("gone").save();
  await gone.remove();
  await queue.removeJob("a"); // it has ended: no second outcome
  await until(() => memory.of("job.cancelled").length >= 1);
  await new Promise((resolve, reject) => queue.close((error) => (error ? reject(error) : resolve())));
  await until(() => memory.of("worker.offline").length >= 8);
  assert.equal(memory.of("job.enqueued").length, 3);
  assert.equal(memory.of("job.progress").length, 3);
  assert.deepEqual(memory.of("job.cancelled").map((event) => event.subject), ["gone"]);
  assert.match(memory.of("job.failed")[0].data.error.message, /timed out/);
});

test("pg-boss: insert, a throttled send, cancel, a handler over its time, one snapshot of several processes", { skip: BACKENDS.pg_boss.skip }, async () => {
  const memory = emitting();
  const oracle = new Oracle();
  const shop = await boss(oracle, true);
  const { queue, name } = shop;
  const other = watchBoss(new PgBoss({ connectionString: postgres, schema: "boss", supervise: false, schedule: false, max: 2 }), { schema: "boss" });
  other.on("error", () => {});
  await other.start();
  await other.work(name, { pollingIntervalSeconds: 60 }, async () => {});
  const slow = fresh("slow");
  await queue.createQueue(slow, { name: slow });
  await queue.work(slow, { pollingIntervalSeconds: 0.5 }, () => new Promise((resolve) => setTimeout(resolve, 1_600)));
  const twice = "7f0c9e2a-5d1b-4c3e-9a88-1c2d3e4f5a6b";
  await queue.insert([{ name, data: { name: "ok" } }, { name, id: twice, data: { name: "ok" } }]);
  assert.ok(await queue.send({ name, data: { name: "ok" }, options: { singletonSeconds: 600, singletonKey: "k" } }));
  assert.equal(await queue.send(name, { name: "ok" }, { singletonSeconds: 600, singletonKey: "k" }), null);
  const later = await queue.sendAfter(name, { name: "later" }, {}, 600);
  await queue.cancel(name, later);
  await queue.send(slow, {}, { expireInSeconds: 1, retryLimit: 0 });
  await queue.send(name, { name: "backed-off", failures: 1 }, { retryLimit: 1, retryDelay: 600, retryBackoff: true });
  await until(() => memory.of("job.finished").length >= 3 && memory.of("job.dead").length >= 1 && memory.of("job.cancelled").length >= 1 && memory.of("job.retry_scheduled").length >= 1, () => memory.events.map((event) => event.type));
  const turns = memory.of("queue.snapshot").filter((event) => event.data.queue === name).map((event) => Math.floor(Date.parse(event.time) / 200));
  await other.stop({ timeout: 1_000 });
  await shop.close();
  const [again] = memory.of("job.retry_scheduled");
  const aheadMs = Date.parse(again.data.run_at) - Date.parse(again.time);
  assert.ok(aheadMs >= 599_000 && aheadMs <= 1_201_000 && Math.abs(aheadMs - 600_000) > 100, `read back, with its chance: ${aheadMs}`);
  assert.equal(memory.of("job.enqueued").length, 5);
  assert.equal(memory.of("job.scheduled").length, 1);
  assert.match(memory.of("job.dead")[0].data.error.message, /exceeded/);
  assert.ok(turns.length >= 5);
  assert.ok(new Set(turns).size >= turns.length - 2, `${turns}`); // told a little after the turn, at times
});

test("agenda: each run of a recurring job is a job of its own", { skip: BACKENDS.agenda.skip }, async () => {
  const memory = emitting();
  const { queue, close } = await agenda(new Oracle(), true);
  queue.define("tick", (job) => job.touch(40));
  await queue.every(60, "tick");
  await until(() => memory.of("job.finished").length >= 3);
  await close();
  assert.ok(memory.of("job.progress").length >= 3 && memory.of("job.progress").every((event) => event.data.progress === 0.4));
  const ids = memory.of("job.started").map((event) => event.data.job_id);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(memory.of("job.enqueued").length, 0);
});

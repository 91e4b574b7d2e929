// How processes end, with real BullMQ workers on a real Redis (JOBTIDE_TEST_REDIS): every job whose body returned was told as
// finished, whatever ended the process, but for what SIGKILL left in memory. And work that runs in other processes and threads.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { configure, setLog, sites } from "@jobtide/emitter";
import { watchQueue, watchWorker } from "@jobtide/emitter/bullmq";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { Queue, Worker } from "bullmq";
import { receiver, until } from "./receiver.mjs";

const redisUrl = process.env.JOBTIDE_TEST_REDIS;
const skip = redisUrl ? false : "JOBTIDE_TEST_REDIS is not set";
const connection = redisUrl && { host: new URL(redisUrl).hostname, port: Number(new URL(redisUrl).port), db: 13, maxRetriesPerRequest: null };
setLog({ warn: () => {}, error: () => {} });

const WORKER = `
import { appendFileSync } from "node:fs";
import { Worker } from "bullmq";
import { watchWorker } from "@jobtide/emitter/bullmq";
const [name, how, oracle] = process.argv.slice(1);
const connection = ${JSON.stringify(connection)};
let done = 0;
const worker = watchWorker(new Worker(name, async (job) => {
  await new Promise((resolve) => setTimeout(resolve, 2));
  appendFileSync(oracle, job.id + "\\n");
}, { connection, concurrency: 4 }));
worker.on("completed", () => {
  if (++done !== 40) return;
  if (how === "process.exit") process.exit(3);
  if (how === "throws") setImmediate(() => { throw new Error("the app's own"); });
  console.log("ready");
});
if (how === "closes") process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
`;

/** Runs it in a process, kills it once it is ready if asked to; resolves to how it ended. */
function program(code, args, env, kill) {
  const child = spawn(process.execPath, ["--input-type=module", "-e", code, ...args], {
    cwd: import.meta.dirname, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"],
  });
  child.stdout.on("data", (part) => kill && String(part).includes("ready") && child.kill(kill));
  return new Promise((resolve) => child.on("close", (status, signal) => resolve(signal ?? status)));
}

/** Each event once: what was on its way when the process ended comes again from its spool, under the same number. */
const finished = (events) => [...new Map(events.map((event) => [event.id, event])).values()].filter((event) => event.type === "job.finished.v1").map((event) => event.subject).sort();

for (const [how, kill, status] of [
  ["process.exit", undefined, 3],
  ["throws", undefined, 1], // uncaught
  ["closes", "SIGTERM", 0],
  ["listens not", "SIGTERM", "SIGTERM"],
  ["killed", "SIGKILL", "SIGKILL"],
])
  test(`a worker that ends: ${how}`, { skip, timeout: 120_000 }, async (t) => {
    const name = `ends-${how.replace(/\W/g, "")}-${process.pid}`;
    const gateway = await receiver();
    t.after(() => gateway.close());
    const env = { JOBTIDE_EMITTER_URL: gateway.url, JOBTIDE_EMITTER_SPOOL_DIR: mkdtempSync(join(tmpdir(), "jobtide-ends-")), JOBTIDE_EMITTER_LINGER_MS: "200" };
    const queue = new Queue(name, { connection });
    await queue.addBulk(Array.from({ length: 3000 }, (_, n) => ({ name: "job", data: { n } })));
    const oracle = join(mkdtempSync(join(tmpdir(), "jobtide-oracle-")), "left");
    const ended = await program(WORKER, [name, how, oracle], env, kill);
    assert.equal(ended, status);
    await program(`import { emitter } from "@jobtide/emitter"; emitter().wake(); setTimeout(() => {}, 1000);`, [], env); // the next process
    const stored = (await queue.getJobs(["completed"], 0, -1)).map((job) => job.id).sort();
    await queue.obliterate({ force: true });
    await queue.close();
    const left = readFileSync(oracle, "utf8").split("\n").filter(Boolean).sort();
    const told = finished(gateway.events);
    assert.ok(left.length >= 40 && left.length < 3000, `${left.length}`);
    if (how !== "killed") assert.deepEqual(told, left);
    else assert.ok(told.every((id) => left.includes(id)) && new Set(told).size === told.length);
    if (how !== "killed") assert.deepEqual(stored.filter((id) => !told.includes(id)), []); // nor does Redis know of another
    // What was lost is unknown, and reported as that; a worker that was closed has told everything. `process.exit` and a crash say so if they can.
    const clean = gateway.events.some((event) => event.type === "emitter.stats.v1" && event.data.clean);
    if (how === "closes") assert.ok(clean);
    if (how === "killed" || how === "listens not") assert.ok(!clean);
    assert.deepEqual(readdirSync(env.JOBTIDE_EMITTER_SPOOL_DIR), []);
  });

for (const useWorkerThreads of [false, true])
  test(`a processor in a file, in ${useWorkerThreads ? "threads" : "processes"}: its jobs are told by the worker that has it run`, { skip, timeout: 120_000 }, async () => {
    const memory = new MemoryTransport();
    configure({ makeTransport: () => memory, linger_ms: 0, heartbeat_ms: 100 });
    const name = `sandbox-${useWorkerThreads}-${process.pid}`;
    const queue = watchQueue(new Queue(name, { connection }));
    const worker = watchWorker(new Worker(name, new URL("sandboxed.mjs", import.meta.url), { connection, useWorkerThreads, concurrency: 2 }));
    worker.on("error", () => {});
    await queue.add("ok", {});
    await queue.add("fails", { fails: true }, { attempts: 2 });
    await queue.add("dies", { dies: true });
    await until(() => memory.of("job.finished").length >= 1 && memory.of("job.dead").length >= 2, () => memory.events.map((event) => event.type));
    await worker.close();
    await queue.close();
    const told = (job) => memory.events.filter((event) => event.type.startsWith("job.") && event.data.job_class === job).map((event) => `${event.type.slice(4, -3)} ${event.data.attempt}`);
    const sorted = (...steps) => steps.sort(); // the worker may begin before the add has come back
    assert.deepEqual(told("ok").sort(), sorted("enqueued 1", "started 1", "progress 1", "finished 1"));
    assert.deepEqual(told("fails").sort(), sorted("enqueued 1", "started 1", "failed 1", "retry_scheduled 1", "started 2", "failed 2", "dead 2"));
    assert.deepEqual(told("dies").sort(), sorted("enqueued 1", "started 1", "failed 1", "dead 1"));
    assert.equal(memory.of("job.failed").find((event) => event.data.job_class === "fails").data.error.message, "the job's own");
    for (const site of sites.values()) assert.equal(site.errors, 0, site.name);
  });

test("an emitter in a worker thread has an epoch of its own, and what it says arrives when the thread ends", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  const inThread = `import { emitter } from "@jobtide/emitter"; for (let n = 0; n < 50; n++) emitter().jobEnqueued(emitter().job("bullmq", "q", "mail", "t" + n));`;
  const code = `
import { Worker } from "node:worker_threads";
import { emitter } from "@jobtide/emitter";
emitter().jobEnqueued(emitter().job("bullmq", "q", "mail", "main"));
const url = new URL("data:text/javascript," + encodeURIComponent(process.argv[1].replace("@jobtide/emitter", import.meta.resolve("@jobtide/emitter"))));
new Worker(url);`;
  assert.equal(await program(code, [inThread], { JOBTIDE_EMITTER_URL: gateway.url }), 0);
  const jobs = gateway.events.filter((event) => event.type === "job.enqueued.v1");
  assert.equal(new Set(jobs.map((event) => event.subject)).size, 51);
  assert.equal(new Set(jobs.map((event) => event.epoch)).size, 2);
  const clean = gateway.events.filter((event) => event.type === "emitter.stats.v1" && event.data.clean);
  assert.equal(clean.length, 2);
});

// The core without any backend: buffer, sizes, names, clocks, settings, statistics, workers.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigError, configure, emitter as current, errors, settings as KNOWN } from "@jobtide/emitter";
import { MemoryTransport } from "@jobtide/emitter/memory";
import * as bounds from "../dist/esm/bounds.js";
import { clock, textOf } from "../dist/esm/moments.js";
import { Rank, Ring } from "../dist/esm/ring.js";
import { load } from "../dist/esm/settings.js";
import { until } from "./receiver.mjs";

function emitting(settings = {}, partitions = 8) {
  const memory = new MemoryTransport(partitions);
  return { memory, emitter: configure({ makeTransport: () => memory, linger_ms: 0, ...settings }) };
}

test("a full ring drops heartbeats first, ends last, and each drop is a hole", () => {
  const ring = new Ring(10, 1 << 20);
  for (let number = 0; number < 4; number++) ring.put(`{"n":"beat${number}"}`, 1, Rank.BEAT);
  for (let number = 0; number < 4; number++) ring.put(`{"n":"end${number}"}`, 1, Rank.END);
  for (let number = 0; number < 8; number++) ring.put(`{"n":"step${number}"}`, 1, Rank.STEP);
  assert.equal(ring.dropped, 6);
  assert.equal(ring.events, 10);
  const kept = ring.take(1 << 20).map((event) => JSON.parse(event.text));
  assert.deepEqual(kept.map((event) => event.n), ["end0", "end1", "end2", "end3", "step2", "step3", "step4", "step5", "step6", "step7"]);
  assert.deepEqual(kept.map((event) => event.seq), [4, 5, 6, 7, 10, 11, 12, 13, 14, 15]);
  assert.equal(ring.next[1], 16);
});

test("the ring is bounded in bytes too", () => {
  const ring = new Ring(1000, 10_000);
  for (let number = 0; number < 100; number++) ring.put(JSON.stringify({ text: "ü".repeat(400) }), 0, Rank.STEP);
  assert.ok(ring.bytes <= 10_000 && ring.bytes > 8_000, `${ring.bytes}`);
  assert.equal(ring.dropped + ring.events, 100);
});

test("an event over 32 KiB loses its backtrace, says so, and is sent", async () => {
  const { memory, emitter } = emitting();
  const job = emitter.job("bullmq", "q", "c", "id");
  const run = emitter.jobStarted(job, "w");
  run.failed({ class: "Big", message: "\u0001".repeat(4096), backtrace: "ü".repeat(16_384) });
  await emitter.flush();
  const [failed] = memory.of("job.failed");
  assert.equal(failed.data.truncated, true);
  assert.equal(failed.data.error.backtrace, undefined);
  assert.ok(failed.data.error.message.length > 100);
  for (const pack of memory.packs) assert.ok(Buffer.byteLength(pack.value) <= 32 * 1024);
  assert.equal(emitter.truncated, 1);
});

test("an event that an app filled with its own members still fits", async () => {
  const { memory, emitter } = emitting();
  emitter.emit("queue.snapshot.v1", { system: "bullmq", queue: "q", ready: 1, mine: "x".repeat(60_000) }, { partitionkey: "default/bullmq/q/q" });
  await emitter.flush();
  const [event] = memory.of("queue.snapshot");
  assert.equal(event.data.mine, undefined);
  assert.equal(event.data.queue, "q");
});

test("names are cut with a checksum, cleaned of control characters and lone surrogates", async () => {
  assert.equal(bounds.name("mail\n"), "mail\ufffd");
  assert.equal(bounds.name(""), "unknown");
  assert.equal(bounds.name("x".repeat(1000)).length, 256);
  assert.notEqual(bounds.name("x".repeat(1000)), bounds.name("x".repeat(1001)));
  assert.equal(Array.from(bounds.name("😀".repeat(300))).length, 256);
  assert.equal(bounds.name("😀".repeat(200)), "😀".repeat(200));
  const { memory, emitter } = emitting();
  emitter.jobEnqueued(emitter.job("bullmq", "q\ud800", 'say "hi"\\', "\udfff", 1, { labels: { a: "\ud800" } }));
  await emitter.flush();
  const [event] = memory.events;
  assert.equal(event.data.queue, "q\ufffd");
  assert.equal(event.data.job_class, 'say "hi"\\');
  assert.equal(event.partitionkey, "default/bullmq/\ufffd");
  assert.equal(event.data.labels.a, "\ufffd");
});

test("errors: class, message, backtrace as far as the setting lets them out", () => {
  class PaymentError extends Error {}
  const error = new PaymentError("no money");
  const told = (thrown, detail) => {
    const { fingerprint, ...facts } = bounds.errorOf(thrown, detail, "strict");
    assert.equal(fingerprint === undefined, facts.message === undefined); // what it is, is in masking.test
    return facts;
  };
  assert.deepEqual(told(error, "class"), { class: "PaymentError" });
  assert.deepEqual(told(error, "message"), { class: "PaymentError", message: "no money" });
  assert.match(told(error, "full").backtrace, /core\.test/);
  assert.deepEqual(told(new TypeError("x"), "message"), { class: "TypeError", message: "x" });
  assert.deepEqual(told("text", "full"), { class: "thrown string", message: "text" });
  assert.deepEqual(told(undefined, "full"), { class: "Unknown" });
  const hostile = { get message() { throw new Error("no"); } };
  assert.equal(current().error(hostile).class, "Unknown");
});

test("arguments stay inside unless their class is named; then they are masked", () => {
  const off = emitting().emitter;
  assert.equal(off.argsPreview("mail", { to: "a" }), undefined);
  const { emitter } = emitting({ args: "mail,charge" });
  assert.equal(emitter.argsPreview("report", { to: "a" }), undefined);
  assert.equal(
    emitter.argsPreview("charge", { to: "a", CardNumber: 42, deep: [{ my_password: "x", n: 10n }] }),
    '{"to":"a","CardNumber":"[masked]","deep":[{"my_password":"[masked]","n":"10"}]}',
  );
});

test("the wall clock has microseconds and follows a step", () => {
  assert.match(textOf(clock.wallUs()), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.equal(textOf(1_500_000), "1970-01-01T00:00:01.500000Z");
  assert.ok(Math.abs(clock.wallUs() / 1000 - Date.now()) < 5_000);
  const now = Date.now;
  Date.now = () => now() + 60_000;
  assert.ok(Math.abs(clock.wallUs() / 1000 - Date.now()) < 5_000);
  Date.now = now;
  assert.ok(Math.abs(clock.wallUs() / 1000 - Date.now()) < 5_000);
});

test("settings: environment, overrides, and what is wrong", () => {
  const [settings, unknown] = load({ JOBTIDE_EMITTER_URL: "http://x", JOBTIDE_EMITTER_QUEUE_EVENTS: "500", JOBTIDE_EMITTER_DISABLED: "yes", JOBTIDE_EMITTER_NO: "1" }, { tenant: "acme" });
  assert.equal(settings.queue_events, 500);
  assert.equal(settings.disabled, true);
  assert.equal(settings.tenant, "acme");
  assert.deepEqual(unknown, ["JOBTIDE_EMITTER_NO"]);
  for (const wrong of [{ tenant: "A" }, { url: "ftp://x" }, { url: "http://x", broker: "y:1" }, { queue_events: 5 }, { client: "x" }, { nothing: 1 }, { linger_ms: "5" }])
    assert.throws(() => load({}, wrong), ConfigError);
  assert.throws(() => load({ JOBTIDE_EMITTER_LINGER_MS: "5.5" }), ConfigError);
  assert.throws(() => load({ JOBTIDE_EMITTER_DISABLED: "maybe" }), ConfigError);
  assert.throws(() => load({}, { token: 5 }), (error) => !error.message.includes("5"));
});

test("the README's table of settings is the truth", () => {
  const readme = readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8");
  const rows = [...readme.matchAll(/^\| `JOBTIDE_EMITTER_([A-Z_]+)` \| (.*?) \| (.*) \|$/gm)].map(([, name, fallback, meaning]) => [name.toLowerCase(), fallback, meaning]);
  const shown = (value) => (value === "" ? "—" : value === false ? "0" : String(value));
  assert.deepEqual(rows, Object.entries(KNOWN).map(([name, [fallback, meaning]]) => [name, shown(fallback), meaning]));
});

test("the off switch: nothing is made, nothing is started", async () => {
  const memory = new MemoryTransport();
  const emitter = configure({ makeTransport: () => memory, disabled: true });
  emitter.jobEnqueued(emitter.job("bullmq", "q", "c", "1"));
  emitter.worker({ system: "bullmq", workerId: "w", queues: ["q"], concurrency: 1 });
  assert.equal(emitter.ring.lastOrder, 0);
  assert.equal(await emitter.flush(), true);
  assert.equal(memory.packs.length, 0);
});

test("a file turns it off and on without a restart", async (t) => {
  const real = { ...clock };
  t.after(() => Object.assign(clock, real));
  const off_file = join(mkdtempSync(join(tmpdir(), "jobtide-off-")), "off");
  const { memory, emitter } = emitting({ off_file });
  const told = [];
  for (const [number, there] of [false, true, true, false].entries()) {
    if (there) writeFileSync(off_file, "");
    else rmSync(off_file, { force: true });
    clock.monotonicMs = () => real.monotonicMs() + 1_500 * (number + 1);
    emitter.jobEnqueued(emitter.job("cron", "q", "C", String(number)));
    emitter.emit("queue.snapshot.v1", { system: "cron", queue: "q", ready: 1 }, { partitionkey: "default/cron/q/q" });
    assert.ok(await emitter.flush());
    told.push(memory.events.length);
  }
  assert.deepEqual(told, [2, 2, 2, 4]);
  assert.deepEqual(memory.of("queue.snapshot").map((event) => event.seq), [0, 1]); // no hole: nothing was numbered
});

test("a worker: online, heartbeats with what it holds in each partition, stopping, offline", async () => {
  const { memory, emitter } = emitting({ heartbeat_ms: 100, release: "v7" });
  const worker = emitter.worker({ system: "bullmq", workerId: "box:1:q", queues: ["q"], concurrency: 5 });
  const runs = Array.from({ length: 20 }, (_, number) => worker.begin(emitter.job("bullmq", "q", "c", `job-${number}`), undefined, undefined));
  await until(() => memory.of("worker.heartbeat").some((event) => event.data.busy > 0));
  runs[0].finished();
  runs[1].failed({ class: "X" });
  worker.stopping();
  await until(() => memory.of("worker.stopping").length >= 8 && memory.of("worker.heartbeat").some((event) => event.data.status === "stopping"));
  await emitter.endWorker(worker);
  assert.equal(memory.of("worker.online").length, 8);
  assert.equal(memory.of("worker.offline").length, 8);
  assert.equal(memory.of("deploy.marked").length, 8);
  assert.equal(new Set(memory.of("deploy.marked").map((event) => event.id)).size, 1);
  const first = memory.of("worker.heartbeat").filter((event) => event.data.status === "busy").slice(0, 8);
  assert.equal(first.reduce((sum, event) => sum + event.data.running.length, 0), 20);
  for (const event of first) for (const held of event.data.running) assert.equal(held.queue, "q");
  const last = memory.of("worker.offline")[0].data;
  assert.equal(last.processed, 2);
  assert.equal(last.failed, 1);
  assert.ok(first[0].data.rss_bytes > 0 && first[0].data.complete);
});

test("the clean end tells the next number of every lane", async () => {
  const { memory, emitter } = emitting({ stats_ms: 100 });
  for (let number = 0; number < 100; number++) emitter.jobEnqueued(emitter.job("bullmq", "q", "c", number));
  await emitter.close();
  const next = {};
  for (const event of memory.of("emitter.stats").filter((event) => event.data.clean)) Object.assign(next, event.data.next);
  for (const event of memory.events) assert.ok(event.seq < next[event.lane], `${event.lane}`);
  assert.equal(Object.values(next).reduce((sum, count) => sum + count, 0), memory.events.length);
});

test("the gateway gets one unnumbered event of a broadcast", async () => {
  const { memory, emitter } = emitting({ heartbeat_ms: 100 }, null);
  emitter.worker({ system: "bullmq", workerId: "w", queues: ["q"], concurrency: 1 });
  await until(() => memory.of("worker.heartbeat").length > 0);
  await emitter.close();
  assert.equal(memory.of("worker.online").length, 1);
  assert.equal(memory.of("worker.online")[0].epoch, undefined);
  assert.equal(memory.of("emitter.stats").at(-1)?.data.epoch, undefined); // nothing numbered was sent: nothing to tell
});

test("CommonJS and ES modules share one emitter", () => {
  const required = createRequire(import.meta.url)("@jobtide/emitter");
  const { emitter } = emitting();
  assert.equal(required.emitter(), emitter);
  assert.equal(required.laneOf("acme/celery/7f0c"), 8);
});

test("no call site has failed", () => {
  assert.equal(errors(), 1); // the hostile error above
});

// Delivery: HTTP to a gateway that misbehaves, outages, the spool, and the ends of a process.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { configure, setLog, sites } from "@jobtide/emitter";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { TransportDown } from "../dist/esm/errors.js";
import { Orphans, ownerName } from "../dist/esm/orphans.js";
import { readRecords, Spool } from "../dist/esm/spool.js";
import { receiver, until } from "./receiver.mjs";

const said = [];
setLog({ warn: (line) => said.push(line), error: (...line) => said.push(line.join(" ")) });
const spoolDir = () => mkdtempSync(join(tmpdir(), "jobtide-spool-"));
const enqueue = (emitter, count, from = 0) => {
  for (let number = from; number < from + count; number++) emitter.jobEnqueued(emitter.job("bullmq", "q", "mail", `job-${number}`));
};
const jobIds = (events) => events.filter((event) => event.type === "job.enqueued.v1").map((event) => Number(event.data.job_id.slice(4)));
const exactly = (count) => Array.from({ length: count }, (_, number) => number);
const sorted = (numbers) => [...numbers].sort((a, b) => a - b);

test("HTTP: gzipped NDJSON on one kept connection, with token and clock", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  const emitter = configure({ url: gateway.url, token: "secret", linger_ms: 1 });
  enqueue(emitter, 50);
  assert.ok(await emitter.flush());
  enqueue(emitter, 50, 50);
  assert.ok(await emitter.flush());
  assert.deepEqual(jobIds(gateway.events), exactly(100));
  const { headers } = gateway.requests[0];
  assert.equal(headers.authorization, "Bearer secret");
  assert.equal(headers["content-encoding"], "gzip");
  assert.ok(Math.abs(Number(headers["sent-at"]) - Date.now()) < 60_000);
  assert.equal(headers.connection, "keep-alive");
  await emitter.close();
});

test("HTTP: 503 and 429 are tried again, Retry-After is obeyed, numbers stay", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  gateway.answers.push({ status: 503 }, { status: 429, headers: { "retry-after": "1" } });
  const emitter = configure({ url: gateway.url, linger_ms: 0 });
  const began = Date.now();
  enqueue(emitter, 10);
  await until(() => gateway.events.length >= 10);
  assert.ok(Date.now() - began >= 1_000, "Retry-After was not obeyed");
  assert.deepEqual(gateway.requests.map((request) => request.status), [503, 429, 202]);
  assert.deepEqual(jobIds(gateway.events), exactly(10));
  await emitter.close();
});

test("HTTP: a body that is too large is halved until it passes; one event that never passes is let go", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  gateway.answers.push({ status: 413 });
  const emitter = configure({ url: gateway.url, linger_ms: 0 });
  enqueue(emitter, 600);
  await until(() => gateway.events.length === 600);
  gateway.answers.push({ status: 400 });
  enqueue(emitter, 1, 600);
  assert.ok(await emitter.flush());
  enqueue(emitter, 1, 601);
  assert.ok(await emitter.flush());
  assert.equal(gateway.events.length, 601);
  await emitter.close();
});

test("an outage: a job's call does not wait, memory is bounded, drops are holes, and what was kept arrives", async () => {
  const memory = new MemoryTransport();
  memory.down = true;
  const emitter = configure({ makeTransport: () => memory, linger_ms: 0, queue_events: 1000 });
  const began = performance.now();
  enqueue(emitter, 20_000);
  assert.ok(performance.now() - began < 60_000); // a wait for each would be hours
  assert.equal(emitter.ring.events, 1000);
  assert.equal(emitter.ring.dropped, 19_000);
  assert.equal(await emitter.flush(5_000), false);
  memory.down = false;
  await until(() => memory.events.length >= 1000);
  assert.ok(await emitter.flush());
  await emitter.close();
  const stats = memory.of("emitter.stats").filter((event) => event.data.clean);
  const told = stats.reduce((sum, event) => sum + Object.values(event.data.next).reduce((a, b) => a + b, 0), 0);
  assert.equal(told - memory.events.length, 19_000); // the holes are exactly what was dropped
  assert.equal(stats.at(-1).data.dropped, 19_000);
});

/** A receiver that is slow to answer; `refusals` of its first connections fail. */
class Slow extends MemoryTransport {
  made = 0;
  refusals = 0;
  async connect() {
    if (this.refusals-- > 0) throw new TransportDown("not yet");
    await super.connect();
  }
  async deliver(events) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    return super.deliver(events);
  }
}

test("without a spool, a flush after a failed delivery tries once more, however slow the answer", async () => {
  const slow = new Slow(8);
  slow.down = true;
  const emitter = configure({ makeTransport: () => slow, linger_ms: 0 });
  enqueue(emitter, 600);
  assert.equal(await emitter.flush(20_000), false); // one try, which failed
  slow.down = false;
  assert.ok(await emitter.flush(20_000), "known to be down, it says");
  assert.deepEqual(sorted(jobIds(slow.events)), exactly(600));
  assert.equal(emitter.ring.dropped, 0);
  await emitter.close();
});

test("a receiver that is not there at first: one transport for all tries", async () => {
  const slow = new Slow(8);
  slow.refusals = 4;
  const emitter = configure({ makeTransport: () => ((slow.made += 1), slow), linger_ms: 0 });
  enqueue(emitter, 10);
  await until(() => jobIds(slow.events).length === 10);
  assert.equal(slow.made, 1);
  await emitter.close();
  assert.ok(slow.closed);
});

test("an outage with a spool: nothing is lost, nothing is doubled, the file goes away", async () => {
  const directory = spoolDir();
  const memory = new MemoryTransport();
  memory.down = true;
  const emitter = configure({ makeTransport: () => memory, linger_ms: 0, queue_events: 1000, spool_dir: directory });
  enqueue(emitter, 200);
  assert.equal(await emitter.flush(100), false);
  enqueue(emitter, 19_800, 200);
  assert.ok(emitter.spooled > 15_000, `${emitter.spooled}`);
  assert.equal(emitter.ring.dropped, 0);
  memory.down = false;
  await until(() => memory.events.length >= 20_000);
  await until(() => readdirSync(directory).length === 0);
  assert.deepEqual(sorted(jobIds(memory.events)), exactly(20_000));
  const numbers = new Set(memory.events.filter((event) => event.epoch).map((event) => `${event.lane}/${event.seq}`));
  assert.equal(numbers.size, memory.events.filter((event) => event.epoch).length);
  await emitter.close();
  assert.equal(memory.of("emitter.stats").at(-1).data.spooled, emitter.spooled);
});

test("a full spool is bounded; what finds no room is a counted hole", async () => {
  const directory = spoolDir();
  const memory = new MemoryTransport();
  memory.down = true;
  const emitter = configure({ makeTransport: () => memory, linger_ms: 0, queue_events: 500, queue_bytes: 1 << 20, spool_dir: directory, spool_bytes: 1 << 20 });
  enqueue(emitter, 20_000);
  assert.ok(emitter.ring.dropped > 0);
  memory.down = false;
  await until(() => emitter.ring.events === 0 && readdirSync(directory).length === 0);
  await emitter.close();
  assert.equal(jobIds(memory.events).length, 20_000 - emitter.ring.dropped);
});

/** Runs code in a process of its own, which imports the package as an app does; resolves to how it ended. */
function program(code, env, kill) {
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
    cwd: import.meta.dirname, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"],
  });
  let out = "";
  child.stdout.on("data", (part) => {
    out += part;
    if (kill && out.includes("ready")) child.kill(kill);
  });
  return new Promise((resolve) => child.on("close", (status, signal) => resolve({ status, signal, out })));
}
const MAKES = `import { emitter } from "@jobtide/emitter";
const make = (count) => { for (let n = 0; n < count; n++) emitter().jobEnqueued(emitter().job("bullmq", "q", "mail", "job-" + n)); };\n`;

test("a process whose loop is empty ends at once, with everything told and a clean end", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  const ended = await program(`${MAKES}make(500);`, { JOBTIDE_EMITTER_URL: gateway.url });
  assert.deepEqual([ended.status, ended.signal], [0, null]);
  assert.deepEqual(jobIds(gateway.events), exactly(500));
  const [stats] = gateway.events.filter((event) => event.type === "emitter.stats.v1");
  assert.equal(stats.data.clean, true);
  assert.equal(Object.values(stats.data.next).reduce((a, b) => a + b, 0), 500);
});

test("SIGTERM: without another listener the process ends by the signal, after a flush", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  const ended = await program(`${MAKES}make(100); console.log("ready"); setInterval(() => {}, 1000);`, { JOBTIDE_EMITTER_URL: gateway.url, JOBTIDE_EMITTER_LINGER_MS: "5000" }, "SIGTERM");
  assert.deepEqual([ended.status, ended.signal], [null, "SIGTERM"]);
  assert.deepEqual(jobIds(gateway.events), exactly(100));
});

test("SIGTERM: an app that listens decides how it ends", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  const app = `${MAKES}make(100); process.on("SIGTERM", () => { console.log("mine"); setTimeout(() => process.exit(7), 5000); }); console.log("ready"); setInterval(() => {}, 1000);`;
  const ended = await program(app, { JOBTIDE_EMITTER_URL: gateway.url, JOBTIDE_EMITTER_LINGER_MS: "5000" }, "SIGTERM");
  assert.equal(ended.status, 7);
  assert.match(ended.out, /mine/);
  assert.deepEqual(jobIds(gateway.events), exactly(100));
});

test("a gateway that hangs holds no process", async (t) => {
  const gateway = await receiver();
  t.after(() => gateway.close());
  gateway.hang = true;
  const began = Date.now();
  const ended = await program(`${MAKES}make(100);`, { JOBTIDE_EMITTER_URL: gateway.url, JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS: "500" });
  assert.equal(ended.status, 0);
  assert.ok(Date.now() - began < 20_000);
});

for (const [how, code, kill] of [
  ["process.exit", `make(3000); process.exit(3);`, undefined],
  ["an uncaught error", `make(3000); throw new Error("the app's own");`, undefined],
])
  test(`${how}: what was in memory is in the spool, and the next process delivers it under its epoch`, async (t) => {
    const directory = spoolDir();
    const gateway = await receiver();
    t.after(() => gateway.close());
    const env = { JOBTIDE_EMITTER_URL: gateway.url, JOBTIDE_EMITTER_SPOOL_DIR: directory };
    const ended = await program(MAKES + code, env, kill);
    assert.notEqual(ended.status, 0);
    assert.equal(readdirSync(directory).length, 1);
    assert.equal(gateway.events.length, 0);
    await program(`${MAKES}emitter().wake(); setTimeout(() => {}, 1500);`, env);
    assert.deepEqual(jobIds(gateway.events), exactly(3000));
    assert.equal(new Set(gateway.events.filter((event) => event.epoch).map((event) => event.epoch)).size, 1);
    assert.equal(readdirSync(directory).length, 0);
  });

test("SIGKILL with a spool in use: its whole records are delivered, a torn tail is ignored", async (t) => {
  const directory = spoolDir();
  const gateway = await receiver();
  const { url } = gateway;
  await gateway.close();
  const env = { JOBTIDE_EMITTER_URL: url, JOBTIDE_EMITTER_SPOOL_DIR: directory, JOBTIDE_EMITTER_QUEUE_EVENTS: "1000" };
  const ended = await program(`${MAKES}make(5000); console.log("ready"); setInterval(() => {}, 1000);`, env, "SIGKILL");
  assert.equal(ended.signal, "SIGKILL");
  const [file] = readdirSync(directory);
  appendFileSync(join(directory, file), Buffer.from([0, 0, 1, 0, 1, 2, 3, 4, 123]));
  writeFileSync(join(directory, "other~1~1~x.spool"), "not ours");
  const again = await receiver(gateway.port);
  t.after(() => again.close());
  await program(`${MAKES}emitter().wake(); setTimeout(() => {}, 1500);`, env);
  const ids = jobIds(again.events);
  assert.ok(ids.length > 4_000 && ids.length < 5_000, `${ids.length}`); // the rest was in memory: holes
  assert.deepEqual(ids, exactly(ids.length));
  assert.equal(existsSync(join(directory, file)), false);
  assert.deepEqual(readdirSync(directory), ["other~1~1~x.spool"]);
});

test("a record whose CRC is wrong ends the file: nothing after it is trusted", () => {
  const directory = spoolDir();
  const path = join(directory, "host~1~1~abc.nspool");
  const spool = new Spool(directory, path, 1 << 20);
  assert.equal(spool.write([1, 2, 3].map((n) => ({ order: n, lane: 0, text: `{"n":${n},"lane":${n},"seq":0}` }))), 3);
  const bytes = readFileSync(path);
  bytes[bytes.indexOf('"n":2') + 4] ^= 1;
  writeFileSync(path, bytes);
  const fd = openSync(path, "r");
  const [events] = readRecords(fd, 0, 1 << 20);
  closeSync(fd);
  assert.deepEqual(events.map((event) => [JSON.parse(event.text).n, event.lane]), [[1, 1]]);
});

test("a file of a process that lives is nobody's orphan; of one that is gone, it is", () => {
  const directory = spoolDir();
  const record = { order: 1, lane: 0, text: '{"lane":0,"seq":0}' };
  const [host, pid, start] = ownerName().split("~");
  new Spool(directory, join(directory, `${host}~${pid}~${start}~aa.nspool`), 1 << 20).write([record]);
  const orphans = new Orphans(directory, ownerName());
  assert.equal(orphans.take(1 << 20), undefined);
  new Spool(directory, join(directory, `${host}~${pid}~1~bb.nspool`), 1 << 20).write([record]); // the pid is used again
  assert.equal(orphans.take(1 << 20).events.length, 1);
});

test("no call site has failed", () => {
  for (const site of sites.values()) assert.equal(site.errors, 0, `${site.name}: ${said.join("\n")}`);
});

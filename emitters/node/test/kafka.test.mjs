// Kafka (JOBTIDE_TEST_KAFKA, host:port), through each client: partitions by lane, headers, an outage, and a host that may end.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { configure, setLog, sites } from "@jobtide/emitter";
import kafkajs from "kafkajs";
import { until } from "./receiver.mjs";

const broker = process.env.JOBTIDE_TEST_KAFKA;
const skip = broker ? false : "JOBTIDE_TEST_KAFKA is not set";
const said = [];
setLog({ warn: (line) => said.push(line), error: (...line) => said.push(line.map(String).join(" ")) });

async function makeTopic(partitions) {
  const topic = `node.${process.pid}.${Math.random().toString(36).slice(2)}`;
  const admin = new kafkajs.Kafka({ brokers: [broker], logLevel: 0 }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }], waitForLeaders: true });
  await admin.disconnect();
  return topic;
}

/** Everything in a topic, once it holds `count` events. */
async function read(topic, count) {
  const consumer = new kafkajs.Kafka({ brokers: [broker], logLevel: 0 }).consumer({ groupId: `${topic}.reader` });
  const found = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      const value = JSON.parse(message.value.toString());
      for (const event of [value].flat()) found.push({ partition, event, type: message.headers["content-type"].toString(), sentAt: Number(message.headers.sent_at) });
    },
  });
  await until(() => found.length >= count, () => [found.length, said], 20_000);
  await consumer.disconnect();
  return found;
}

for (const client of ["platformatic", "kafkajs"])
  test(`${client}: each event on the partition of its lane, once, in packs`, { skip }, async () => {
    const topic = await makeTopic(8);
    const emitter = configure({ broker, topic, client, linger_ms: 5 });
    for (let number = 0; number < 500; number++) emitter.jobEnqueued(emitter.job("bullmq", "q", "mail", `job-${number}`));
    assert.ok(await emitter.flush(10_000), said.join("\n"));
    await emitter.close();
    const found = await read(topic, 508);
    assert.equal(found.length, 508); // and what each partition is told at the end
    for (const { partition, event, type, sentAt } of found) {
      assert.equal(event.lane % 8, partition);
      assert.match(type, /^application\/cloudevents(-batch)?\+json$/);
      assert.ok(Math.abs(sentAt - Date.now()) < 60_000);
    }
    const stats = found.filter(({ event }) => event.type === "emitter.stats.v1" && event.data.clean);
    assert.equal(stats.length, 8);
    assert.equal(new Set(found.map(({ event }) => event.id)).size, 508);
  });

test("a broker that is not there: events wait, nothing is thrown or dropped", { skip }, async () => {
  const topic = await makeTopic(2);
  const emitter = configure({ broker: "127.0.0.1:1", topic, request_timeout_ms: 300, linger_ms: 0 });
  emitter.jobEnqueued(emitter.job("bullmq", "q", "mail", "1"));
  await until(() => said.some((line) => line.includes("Kafka at 127.0.0.1:1")), () => said);
  assert.equal(await emitter.flush(3_000), false);
  assert.equal(emitter.ring.dropped, 0);
  await emitter.close(100);
});

test("a broker that accepts and says nothing holds nobody", { skip }, async (t) => {
  const silent = createServer((socket) => t.after(() => socket.destroy()));
  await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const emitter = configure({ broker: `127.0.0.1:${silent.address().port}`, request_timeout_ms: 300, linger_ms: 0, flush_timeout_ms: 300 });
  emitter.jobEnqueued(emitter.job("bullmq", "q", "mail", "1"));
  const began = Date.now();
  await emitter.close();
  assert.ok(Date.now() - began < 20_000);
});

test("a broker that accepts and says nothing: tries go on, in one thread", async (t) => {
  let connections = 0;
  const silent = createServer((socket) => {
    connections += 1;
    t.after(() => socket.destroy());
    socket.on("error", () => undefined);
  });
  await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const emitter = configure({ broker: `127.0.0.1:${silent.address().port}`, request_timeout_ms: 200, linger_ms: 0, flush_timeout_ms: 100 });
  emitter.jobEnqueued(emitter.job("bullmq", "q", "mail", "1"));
  await until(() => connections > 0, () => said, 60_000);
  const threads = () => readdirSync("/proc/self/task").length;
  const before = threads();
  await until(() => connections > 4, () => [connections, said], 60_000);
  assert.ok(threads() <= before, `${before} threads, then ${threads()}`);
  assert.equal(emitter.ring.dropped, 0);
  await emitter.close();
});

for (const client of ["platformatic", "kafkajs"])
  test(`${client}: a program that only adds a job ends by itself, and its event is there`, { skip }, async () => {
    const topic = await makeTopic(1);
    const code = 'import { emitter } from "@jobtide/emitter"; emitter().jobEnqueued(emitter().job("bullmq", "q", "mail", "1"));';
    const env = { ...process.env, JOBTIDE_EMITTER_BROKER: broker, JOBTIDE_EMITTER_TOPIC: topic, JOBTIDE_EMITTER_CLIENT: client, JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS: "10000" };
    const child = spawn(process.execPath, ["--input-type=module", "-e", code], { cwd: import.meta.dirname, env, stdio: "inherit" });
    const status = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(status, 0);
    const types = (await read(topic, 2)).map(({ event }) => event.type);
    assert.deepEqual(types.sort(), ["emitter.stats.v1", "job.enqueued.v1"]);
  });

test("a topic whose partitions do not divide 64 is refused, in words", { skip }, async () => {
  const topic = await makeTopic(3);
  const emitter = configure({ broker, topic, linger_ms: 0 });
  emitter.jobEnqueued(emitter.job("bullmq", "q", "mail", "1"));
  await until(() => said.some((line) => line.includes("has 3 partitions")), () => said);
  await emitter.close(100);
});

test("no call site has failed", () => {
  for (const site of sites.values()) assert.equal(site.errors, 0, `${site.name}: ${said.join("\n")}`);
});

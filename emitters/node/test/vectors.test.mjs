// Parity: the golden vectors of the contract, the same files that every other language's tests read.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { configure, laneOf, sites } from "@jobtide/emitter";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { clock, usOf } from "../dist/esm/moments.js";

const VECTORS = join(import.meta.dirname, "..", "..", "contract", "vectors");
const read = (folder) => readdirSync(join(VECTORS, folder)).map((file) => [file, JSON.parse(readFileSync(join(VECTORS, folder, file), "utf8"))]);
const exactUs = (text) => usOf(`${text.slice(0, 19)}Z`) + Number(text.slice(20, 26));
const real = { ...clock };

function emitting(settings = {}) {
  const memory = new MemoryTransport();
  const emitter = configure({ makeTransport: () => memory, linger_ms: 0, ...settings });
  return { memory, emitter };
}

test("lanes are those of the valid vectors", () => {
  let compared = 0;
  for (const [file, value] of read("valid"))
    for (const event of Array.isArray(value) ? value : [value]) {
      if (typeof event.lane !== "number" || file.includes("in-a-lane-of")) continue;
      assert.equal(laneOf(event.partitionkey), event.lane, file);
      compared += 1;
    }
  assert.ok(compared >= 20, `only ${compared} compared`);
});

test("seq counts per epoch and lane from 0, and the id is unique", async () => {
  const { memory, emitter } = emitting();
  for (let round = 0; round < 3; round++)
    for (let number = 0; number < 200; number++) emitter.jobEnqueued(emitter.job("bullmq", "default", "mail", `job-${number}`));
  assert.ok(await emitter.flush());
  const next = new Map();
  for (const event of memory.events) {
    assert.equal(event.lane, laneOf(event.partitionkey));
    assert.equal(event.epoch, emitter.ring.epoch);
    assert.equal(event.seq, next.get(event.lane) ?? 0);
    next.set(event.lane, event.seq + 1);
  }
  assert.equal(new Set(memory.events.map((event) => event.id)).size, 600);
  for (const pack of memory.packs) for (const event of pack.events) assert.equal(pack.partition, event.lane % 8);
});

// What each event of a mapping is made of, through the core's own calls: the same facts give the same event everywhere.
const CALLS = {
  "job.enqueued.v1": (emitter, job) => emitter.jobEnqueued(job),
  "job.scheduled.v1": (emitter, job, data) => emitter.jobScheduled(job, exactUs(data.run_at)),
  "job.started.v1": (emitter, job, data) => {
    const us = (text) => (text ? exactUs(text) : undefined);
    emitter.jobStarted(job, data.worker_id, { enqueuedAtUs: us(data.enqueued_at), runAtUs: us(data.run_at) });
  },
  "job.finished.v1": (emitter, job, data) => ended(emitter, job, data).finished(),
  "job.failed.v1": (emitter, job, data) => ended(emitter, job, data).failed(data.error),
  "job.discarded.v1": (emitter, job, data) => (data.worker_id ? ended(emitter, job, data).discarded(data.reason) : emitter.jobDiscarded(job, data.reason)),
  "job.cancelled.v1": (emitter, job, data) => (data.worker_id ? ended(emitter, job, data).cancelled(data.reason) : emitter.jobCancelled(job, data.reason)),
  "job.retry_scheduled.v1": (emitter, job, { run_at, error, worker_id }) => emitter.jobRetryScheduled(job, exactUs(run_at), { error, worker_id }),
  "job.dead.v1": (emitter, job, data) => emitter.jobDead(job, data.error, { worker_id: data.worker_id }),
};
// What only a backend of another language can know at that point, and this core has no call for.
const needsMore = ({ type, data }) => (type === "job.enqueued.v1" && data.run_at) || (type === "job.discarded.v1" && !data.worker_id && data.error);
const OF_A_JOB = ["max_attempts", "priority", "parent_job_id", "batch_id", "labels", "args_preview"];

function ended(emitter, job, data) {
  const now = clock.monotonicMs();
  clock.monotonicMs = () => now - data.duration_ms;
  const run = emitter.jobStarted(job, data.worker_id, { atUs: exactUs(data.started_at) });
  clock.monotonicMs = () => now;
  return run;
}

for (const [file, mappings] of read("mappings"))
  test(`core events equal those of mappings/${file}`, async (t) => {
    t.after(() => Object.assign(clock, real));
    for (const mapping of mappings) {
      for (const expected of mapping.events.filter((event) => event.type in CALLS && !needsMore(event))) {
        const { memory, emitter } = emitting(mapping.settings);
        const { data } = expected;
        const more = Object.fromEntries(OF_A_JOB.filter((name) => name in data).map((name) => [name, data[name]]));
        clock.wallUs = () => exactUs(expected.time);
        const { traceparent } = expected;
        if (traceparent) more.traceparent = traceparent;
        CALLS[expected.type](emitter, emitter.job(data.system, data.queue, data.job_class, data.job_id, data.attempt, more), data);
        Object.assign(clock, real);
        assert.ok(await emitter.flush());
        const event = memory.events.find((made) => made.type === expected.type);
        const made = { type: event.type, time: event.time, partitionkey: event.partitionkey, ...(traceparent ? { traceparent: event.traceparent } : {}), data: event.data };
        assert.deepEqual(made, expected, `${file} ${mapping.name}`);
      }
    }
    for (const site of sites.values()) assert.equal(site.errors, 0, site.name);
  });

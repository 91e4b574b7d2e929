// The mapping vectors of the contract for Node's backends: what their hooks are handed, and exactly which events follow.
// With JOBTIDE_PARITY_DIR the results are written there as node.json, {backend: {vector: "pass" | "fail"}}, for the table
// of all languages.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { configure, sites } from "@jobtide/emitter";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { clock } from "../dist/esm/moments.js";
import { PLAYERS } from "./players.mjs";

const VECTORS = join(import.meta.dirname, "..", "..", "contract", "vectors", "mappings");
const real = { ...clock };
const turn = () => new Promise((resolve) => setImmediate(resolve));
const results = {};
const TOLD = /^(?:job\.|queue\.(?:paused|resumed))/; // what follows from a hook; the rest has timers

/** In the order of time: two jobs' events of one moment may come in any order, those of one job do not. */
const ordered = (events) => events.toSorted((a, b) => a.time.localeCompare(b.time) || a.partitionkey.localeCompare(b.partitionkey));

/** Workers of this process, as the vectors name them: web-1, process 4242. */
const renamed = (data) => (data.worker_id ? { ...data, worker_id: data.worker_id.replace(`${hostname()}:${process.pid}:`, "web-1:4242:") } : data);

for (const [backend, Player] of Object.entries(PLAYERS))
  for (const mapping of JSON.parse(readFileSync(join(VECTORS, `${backend}.json`), "utf8")))
    test(`${backend} ${mapping.name}: ${mapping.why}`, async (t) => {
      (results[backend] ??= {})[mapping.name] = "fail";
      t.after(() => Object.assign(clock, real));
      const memory = new MemoryTransport();
      const emitter = configure({ makeTransport: () => memory, error_detail: "message", ...mapping.settings });
      const play = new Player();
      for (const step of mapping.steps) {
        clock.wallUs = () => step.clock.wall_us;
        clock.monotonicMs = () => step.clock.monotonic_ns / 1e6;
        await play.step(step);
        for (let turns = 0; turns < 5; turns++) await turn(); // what a hook looks up
      }
      Object.assign(clock, real);
      assert.ok(await emitter.flush());
      await play.close();
      const made = memory.events.filter(({ type }) => TOLD.test(type)).map(({ type, time, partitionkey, traceparent, data }) => ({
        type, time, partitionkey, ...(traceparent ? { traceparent } : {}), data: renamed(data),
      }));
      assert.deepEqual(ordered(made), ordered(mapping.events));
      for (const site of sites.values()) assert.equal(site.errors, 0, site.name);
      results[backend][mapping.name] = "pass";
    });

after(() => {
  const directory = process.env.JOBTIDE_PARITY_DIR;
  if (directory) writeFileSync(join(directory, "node.json"), `${JSON.stringify(results, null, 1)}\n`);
});

// Lanes and sequence numbers by the contract's golden vectors: the same in every language, byte for byte.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { laneOf } from "@jobtide/emitter";
import { Rank, Ring } from "../dist/esm/ring.js";

const VECTORS = join(import.meta.dirname, "..", "..", "contract", "vectors");
const vectors = (folder) => readdirSync(join(VECTORS, folder)).flatMap((file) => JSON.parse(readFileSync(join(VECTORS, folder, file), "utf8")));
const RANKS = { beat: Rank.BEAT, step: Rank.STEP, end: Rank.END };

test("every lane is met and is the contract's", () => {
  const found = vectors("lanes");
  for (const { partitionkey, lane } of found) assert.equal(laneOf(partitionkey), lane, partitionkey);
  assert.equal(new Set(found.map(({ lane }) => lane)).size, 64);
});

for (const { why, max_events, puts, kept, dropped, next } of vectors("sequences"))
  test(`numbers, and what is dropped: ${why}`, () => {
    const ring = new Ring(max_events, 1 << 20);
    for (const [lane, rank] of puts) ring.put('{"n":0}', lane, RANKS[rank]);
    const told = ring.take(1 << 20).map(({ text }) => JSON.parse(text));
    assert.deepEqual(told.map(({ lane, seq }) => [lane, seq]), kept);
    assert.equal(ring.dropped, dropped);
    assert.deepEqual(Object.fromEntries(Object.entries(ring.next).filter(([, number]) => number)), next);
  });

// Events that go to every Kafka partition: what a worker holds, what an emitter has sent, which release runs.
//
// Each partition's readers see only their own lanes, so each gets its own event, in a lane of its own, with its slice. A
// receiver that places events itself (the gateway) gets one event, without a number, with everything.

import { LANES, laneOf, lanesOf, partitionOf } from "./lanes.js";
import { UNNUMBERED } from "./ring.js";

export const MAX_RUNNING = 256;
type Members = Record<string, unknown>;

/** One event of a broadcast: the lane it goes in (or UNNUMBERED) and its data. */
export interface Slice {
  lane: number;
  data: Members;
}

/** An attempt a worker holds now. `started_at` is the text of the started event's time. */
export interface Held {
  queue: string;
  job_id: string;
  attempt: number;
  started_at: string;
}

/** The same unnumbered event to every partition. */
export function equalSlices(data: Members, partitions: number | undefined): Slice[] {
  return Array.from({ length: partitions ?? 1 }, (_, partition) => ({ lane: UNNUMBERED - partition, data }));
}

/** A worker's facts for each partition, with the attempts that live there. More than 256 are not complete. */
export function workerSlices(facts: Members & { tenant: string; system: string }, held: Held[], partitions: number | undefined): Slice[] {
  if (partitions === undefined) return [{ lane: UNNUMBERED, data: { ...facts, ...running(held) } }];
  const mine: Held[][] = Array.from({ length: partitions }, () => []);
  for (const attempt of held) {
    const key = `${facts.tenant}/${facts.system}/${attempt.job_id}`;
    mine[partitionOf(laneOf(key), partitions)]?.push(attempt);
  }
  return mine.map((slice, partition) => ({ lane: partition, data: { ...facts, ...running(slice) } }));
}

function running(held: Held[]): Members {
  return { busy: held.length, running: held.slice(0, MAX_RUNNING), complete: held.length <= MAX_RUNNING };
}

/**
 * For each partition with news since `announced`: the next number of each of its lanes, as it will be once this event is
 * sent. Marks in `announced` what it says.
 */
export function* statsSlices(
  next: readonly number[], announced: number[], totals: () => Members, epoch: string, partitions: number | undefined,
): Generator<Slice> {
  if (partitions === undefined) {
    if (next.every((number, lane) => number === announced[lane])) return;
    next.forEach((number, lane) => (announced[lane] = number));
    yield { lane: UNNUMBERED, data: { ...totals(), epoch, next: named(next, Array.from({ length: LANES }, (_, lane) => lane)) } };
    return;
  }
  for (let partition = 0; partition < partitions; partition++) {
    const lanes = lanesOf(partition, partitions);
    if (lanes.every((lane) => next[lane] === announced[lane])) continue;
    const after = [...next];
    after[partition] = (after[partition] as number) + 1; // the event itself
    for (const lane of lanes) announced[lane] = after[lane] as number;
    yield { lane: partition, data: { ...totals(), next: named(after, lanes) } };
  }
}

function named(next: readonly number[], lanes: number[]): Record<string, number> {
  return Object.fromEntries(lanes.filter((lane) => next[lane]).map((lane) => [String(lane), next[lane] as number]));
}

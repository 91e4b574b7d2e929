// Events to Kafka values: the events of one partition become one JSON array, at most 256 KiB.
//
// Pure. Takes events as the ring or a spool gives them, gives packs to a transport.

import { partitionOf } from "./lanes.js";
import type { Outgoing } from "./ring.js";

export const MAX_PACK_BYTES = 256 * 1024;
export const SINGLE = "application/cloudevents+json";
export const BATCH = "application/cloudevents-batch+json";

/** One Kafka value and what is in it. */
export interface Pack {
  readonly partition: number;
  readonly value: string;
  readonly contentType: string;
  readonly events: readonly Outgoing[];
}

/** Packs, each of one partition; the events of a partition keep their order. */
export function packsOf(events: readonly Outgoing[], partitions: number): Pack[] {
  const packs: Pack[] = [];
  const open = new Map<number, { events: Outgoing[]; bytes: number }>();
  for (const event of events) {
    const partition = partitionOf(event.lane, partitions);
    const size = Buffer.byteLength(event.text) + 1;
    let pack = open.get(partition);
    if (pack && pack.bytes + size > MAX_PACK_BYTES) {
      packs.push(packOf(partition, pack.events));
      pack = undefined;
    }
    if (!pack) open.set(partition, (pack = { events: [], bytes: 2 }));
    pack.events.push(event);
    pack.bytes += size;
  }
  for (const [partition, pack] of open) packs.push(packOf(partition, pack.events));
  return packs;
}

function packOf(partition: number, events: Outgoing[]): Pack {
  const texts = events.map((event) => event.text);
  const single = texts.length === 1;
  return { partition, value: single ? (texts[0] as string) : `[${texts.join(",")}]`, contentType: single ? SINGLE : BATCH, events };
}

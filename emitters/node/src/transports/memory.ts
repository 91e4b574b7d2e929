// A transport that keeps events in an array: for the tests of apps that use the emitter, and for our own.
//
// Behaves like Kafka with `partitions` partitions, or like the gateway without; `down` makes it refuse.

import { TransportDown } from "../errors.js";
import { packsOf, type Pack } from "../packs.js";
import type { Outgoing } from "../ring.js";
import type { Transport } from "./index.js";

export interface SentEvent {
  type: string;
  id: string;
  source: string;
  subject: string;
  time: string;
  partitionkey: string;
  epoch?: string;
  lane?: number;
  seq?: number;
  traceparent?: string;
  data: Record<string, unknown>;
}

export class MemoryTransport implements Transport {
  readonly packs: Pack[] = [];
  down = false;
  closed = false;

  readonly partitions: number | undefined;

  /** `null` is a receiver that places events itself, like the gateway. */
  constructor(partitions: number | null = 8) {
    this.partitions = partitions ?? undefined;
  }

  async connect(): Promise<void> {
    if (this.down) throw new TransportDown("told to be down");
  }

  async deliver(events: readonly Outgoing[]): Promise<readonly Outgoing[]> {
    await this.connect();
    this.packs.push(...packsOf(events, this.partitions ?? 1));
    return [];
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** All delivered events, decoded, in order of delivery. */
  get events(): SentEvent[] {
    return this.packs.flatMap((pack) => {
      const value = JSON.parse(pack.value) as SentEvent | SentEvent[];
      return Array.isArray(value) ? value : [value];
    });
  }

  /** Delivered events of one type, without its version: "job.started". */
  of(type: string): SentEvent[] {
    return this.events.filter((event) => event.type === `${type}.v1`);
  }
}

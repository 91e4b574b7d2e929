// How events leave the process. One interface, used by the flusher only; one module per way.

import { ConfigError } from "../errors.js";
import type { Outgoing } from "../ring.js";
import type { Settings } from "../settings.js";

/** Delivers events. Its calls may wait: `request_timeout_ms` a few times over, and as long as the machine gives it no processor. */
export interface Transport {
  /** Kafka partitions of the topic once `connect` has resolved; undefined where the receiver places events. */
  readonly partitions: number | undefined;
  /** Learns what is needed before the first event. Rejects with TransportDown; may be called again. */
  connect(): Promise<void>;
  /** Sends events and waits for their receipts. Resolves to those to try again; rejects with TransportDown if it is all. */
  deliver(events: readonly Outgoing[]): Promise<readonly Outgoing[]>;
  /** Gives up its connections. The emitter has flushed before. */
  close(): Promise<void>;
}

/** The transport the settings ask for, loaded when first needed. Rejects with ConfigError when its package is missing. */
export async function transportOf(settings: Settings): Promise<Transport> {
  if (settings.url) return new (await import("./http.js")).HttpTransport(settings);
  return new (await import("./kafka.js")).KafkaTransport(settings);
}

/** The topic's partition count, if lanes can live on it: it divides 64. Throws ConfigError otherwise. */
export function checkedPartitions(count: number, topic: string): number {
  if (count >= 1 && 64 % count === 0) return count;
  throw new ConfigError(`topic ${topic} has ${count} partitions; jobtide needs a number that divides 64`);
}

// What a process says of its own completeness: `emitter.stats`, every ten seconds and at a clean end.
//
// The next number of every lane, so that the stream knows what it has not seen, even at the end; and how many events were
// made, dropped, spooled and truncated. An idle process repeats nothing.

import { statsSlices } from "./broadcasts.js";
import type { Beating } from "./flusher.js";
import { LANES } from "./lanes.js";
import { clock } from "./moments.js";
import { Rank, type Ring } from "./ring.js";
import type { Settings } from "./settings.js";

/** What the statistics need of the emitter. */
export interface Teller {
  readonly settings: Settings;
  readonly ring: Ring;
  readonly truncated: number;
  readonly spooled: number;
  readonly partitions: number | undefined;
  readonly connected: boolean;
  emit(type: string, data: Record<string, unknown>, where: { partitionkey: string; lane: number; rank: Rank }): void;
}

/** The statistics of one epoch. */
export class Statistics implements Beating {
  readonly wantsReach = false;
  private announced = new Array<number>(LANES).fill(0);
  private nextMs: number;
  private readonly intervalMs: number;

  constructor(private readonly emitter: Teller) {
    this.intervalMs = emitter.settings.stats_ms;
    this.nextMs = clock.monotonicMs() + this.intervalMs;
  }

  /** Says what is new at the monotonic time `nowMs`, if it is time; returns when to come again. */
  beat(nowMs: number): number {
    if (nowMs >= this.nextMs) {
      this.nextMs = nowMs + this.intervalMs;
      if (this.emitter.connected) this.say(false);
    }
    return this.nextMs;
  }

  /** Says what is new; `clean` says everything, as the last thing of a process that ends in order. */
  say(clean: boolean): void {
    const { ring, settings, partitions } = this.emitter;
    if (clean) this.announced = ring.next.map((next) => (next ? -1 : 0));
    const partitionkey = `${settings.tenant}/emitter/${ring.epoch}`;
    // The generator looks at numbers that our own events change: a copy, so that each slice says its own partition's.
    for (const { lane, data } of [...statsSlices([...ring.next], this.announced, () => this.totals(), ring.epoch, partitions)])
      this.emitter.emit("emitter.stats.v1", { ...data, clean, interval_ms: this.intervalMs }, { partitionkey, lane, rank: Rank.END });
  }

  /** Counts of this epoch, with the event that says them. */
  private totals(): Record<string, number> {
    const { ring, spooled, truncated } = this.emitter;
    return { emitted: ring.lastOrder + 1, dropped: ring.dropped, spooled, truncated };
  }
}

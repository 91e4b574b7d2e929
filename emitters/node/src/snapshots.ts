// queue.snapshot of one queue, every ten seconds, by one of all the processes that could say it.
//
// A backend's hook gives `take`: it lets the backend elect (a lease in Redis, a lock in PostgreSQL) and counts, and resolves
// to undefined where another process was elected. Nothing waits for it.

import * as bounds from "./bounds.js";
import type { Emitter } from "./emitter.js";
import type { Beating } from "./flusher.js";
import { guarded } from "./guard.js";
import { textOf } from "./moments.js";

export interface Counts {
  ready: number;
  scheduled?: number | undefined;
  retry?: number | undefined;
  dead?: number | undefined;
  running?: number | undefined;
  paused?: boolean | undefined;
  oldestReadyUs?: number | undefined;
}

export class Snapshots implements Beating {
  readonly wantsReach = false;
  private nextMs = 0;
  private taking = false;

  constructor(
    private readonly emitter: Emitter,
    private readonly system: string,
    private readonly queue: string,
    /** `leaseMs`: for how long the elected one is the only one. */
    private readonly take: (leaseMs: number) => Promise<Counts | undefined>,
  ) {
    emitter.beats(this, true);
  }

  beat(nowMs: number): number {
    if (nowMs >= this.nextMs) {
      this.nextMs = nowMs + this.emitter.settings.snapshot_ms;
      if (!this.taking) void snapshot(this);
    }
    return this.nextMs;
  }

  stop(): void {
    this.emitter.beats(this, false);
  }

  /** Used by the guarded function below. */
  async say(): Promise<void> {
    this.taking = true;
    try {
      const counts = await this.take(Math.floor(this.emitter.settings.snapshot_ms * 0.95));
      if (counts) this.tell(counts);
    } finally {
      this.taking = false;
    }
  }

  private tell({ oldestReadyUs, ...counts }: Counts): void {
    const queue = bounds.name(this.queue);
    const { tenant } = this.emitter.settings;
    const oldest = oldestReadyUs === undefined ? {} : { oldest_ready_at: textOf(oldestReadyUs) };
    const data = { system: this.system, queue, ...counts, ...oldest };
    this.emitter.emit("queue.snapshot.v1", data, { partitionkey: `${tenant}/${this.system}/q/${queue}`, subject: queue });
  }
}

const snapshot = guarded("snapshots.take", (snapshots: Snapshots) => snapshots.say());

// Disk, as the flusher sees it: this process's spool, and what dead ones left.

import type { Beating } from "./flusher.js";
import { Orphans, ownerName } from "./orphans.js";
import type { Outgoing } from "./ring.js";
import type { Settings } from "./settings.js";
import { pathOf, Spool } from "./spool.js";

const LOOK_MS = 30_000; // how often orphans are looked for

export class Stores implements Beating {
  readonly wantsReach = false;
  private readonly spool: Spool;
  private readonly orphans: Orphans;
  private orphansLikely = true;
  private nextMs = 0;

  constructor(
    settings: Settings,
    epoch: string,
    private readonly wake: () => void,
  ) {
    const owner = ownerName();
    this.spool = new Spool(settings.spool_dir, pathOf(settings.spool_dir, owner, epoch), settings.spool_bytes);
    this.orphans = new Orphans(settings.spool_dir, owner);
    this.maxBytes = settings.spool_bytes;
  }

  private readonly maxBytes: number;

  /** Events of this process that were put on disk so far. */
  get written(): number {
    return this.spool.written;
  }

  hasRoom(bytes: number): boolean {
    return this.spool.bytes + bytes <= this.maxBytes;
  }

  keep(events: readonly Outgoing[]): number {
    return this.spool.write(events);
  }

  pending(): boolean {
    return this.spool.pending || this.orphansLikely;
  }

  /** The next events to deliver, and what to call once they are. */
  take(maxBytes: number): { events: readonly Outgoing[]; delivered: () => void } | undefined {
    if (this.spool.pending) {
      const [events, offset] = this.spool.read(maxBytes);
      if (events.length > 0) return { events, delivered: () => this.spool.delivered(offset) };
    }
    const left = this.orphans.take(maxBytes);
    if (!left) this.orphansLikely = false;
    return left;
  }

  /** Looks for orphans now and then, and says that this process lives. */
  beat(nowMs: number): number {
    if (nowMs >= this.nextMs) {
      this.nextMs = nowMs + LOOK_MS;
      this.spool.touch(new Date());
      this.orphansLikely = true;
      this.wake();
    }
    return this.nextMs;
  }
}

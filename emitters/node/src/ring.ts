// The buffer between hooks and delivery: bounded in events and bytes, it never blocks and never grows.
//
// `put` gives an event its number (per lane, from 0) and keeps it. When the buffer is full the least important and oldest
// event goes: heartbeats first, ends of attempts last. A dropped event has had its number, so the drop is a hole that the
// stream sees. Knows nothing of Kafka; one ring belongs to one process and one epoch.

import { randomBytes } from "node:crypto";
import { LANES } from "./lanes.js";

// The lane of events that the receiver places (see `broadcasts`): no epoch, lane and seq on the wire. Kafka gets a copy for
// each partition p in "lane" -1-p.
export const UNNUMBERED = -1;

const OWN_ID = /^{"type":"[^"]*","id":/;

/** How long an event is kept when not all can be. */
export const Rank = {
  BEAT: 0, // said again in a few seconds
  STEP: 1, // a step of an attempt that its outcome mostly implies
  END: 2, // how an attempt ended: said once
} as const;
export type Rank = (typeof Rank)[keyof typeof Rank];

/** A numbered event. `order` counts all events of the ring; `raw` is its JSON without id, epoch, lane and seq. */
interface Numbered {
  readonly order: number;
  readonly lane: number;
  readonly seq: number;
  readonly raw: string;
  readonly bytes: number;
}

/** An event on its way out: its whole text. `order` is 0 for one that comes from a spool. */
export interface Outgoing {
  readonly order: number;
  readonly lane: number;
  readonly text: string;
}

export class Ring {
  readonly epoch = randomBytes(8).toString("hex");
  readonly next: number[] = new Array<number>(LANES).fill(0);
  events = 0;
  bytes = 0;
  dropped = 0;
  lastOrder = 0; // events numbered so far, dropped ones included
  private unnumbered = 0;
  private readonly queues = [new Fifo(), new Fifo(), new Fifo()];

  constructor(
    readonly maxEvents: number,
    readonly maxBytes: number,
  ) {}

  /** Numbers an event and keeps it, dropping others if it must. */
  put(raw: string, lane: number, rank: Rank): void {
    const seq = lane < 0 ? this.unnumbered++ : (this.next[lane] as number);
    if (lane >= 0) this.next[lane] = seq + 1;
    const bytes = Buffer.byteLength(raw);
    (this.queues[rank] as Fifo).push({ order: ++this.lastOrder, lane, seq, raw, bytes });
    this.events += 1;
    this.bytes += bytes;
    while (this.events > this.maxEvents || this.bytes > this.maxBytes) this.drop();
  }

  /** Removes the oldest events, in order, up to `maxBytes` of them (at least one, if there is any). */
  take(maxBytes: number): Outgoing[] {
    const taken: Outgoing[] = [];
    let size = 0;
    while (this.events > 0 && size < maxBytes) {
      let oldest: Fifo | undefined;
      for (const queue of this.queues) if (queue.first && (!oldest?.first || queue.first.order < oldest.first.order)) oldest = queue;
      const event = oldest?.shift();
      if (!event) break;
      this.events -= 1;
      this.bytes -= event.bytes;
      size += event.bytes;
      taken.push({ order: event.order, lane: event.lane, text: completed(event, this.epoch) });
    }
    return taken;
  }

  /** Events that were taken and then could be kept nowhere. */
  lose(events: number): void {
    this.dropped += events;
  }

  /** How full it is, 0 to 1, by whichever bound is nearer. */
  get filled(): number {
    return Math.max(this.events / this.maxEvents, this.bytes / this.maxBytes);
  }

  private drop(): void {
    const event = this.queues.find((queue) => queue.first)?.shift();
    if (!event) return;
    this.events -= 1;
    this.bytes -= event.bytes;
    this.dropped += 1;
  }
}

/** The whole event: `raw` with the attributes that depend on its number. The number makes the id unique, unless it has one. */
function completed(event: Numbered, epoch: string): string {
  const open = event.raw.slice(0, -1);
  if (event.lane < 0 && OWN_ID.test(event.raw)) return event.raw;
  if (event.lane < 0) return `${open},"id":"${epoch}-u-${event.seq}"}`;
  return `${open},"id":"${epoch}-${event.lane}-${event.seq}","epoch":"${epoch}","lane":${event.lane},"seq":${event.seq}}`;
}

/** A queue of which only the head is taken, without moving the rest each time. */
class Fifo {
  private items: (Numbered | undefined)[] = [];
  private head = 0;

  get first(): Numbered | undefined {
    return this.items[this.head];
  }

  push(event: Numbered): void {
    this.items.push(event);
  }

  shift(): Numbered | undefined {
    const event = this.items[this.head];
    if (event === undefined) return undefined;
    this.items[this.head++] = undefined;
    if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return event;
  }
}

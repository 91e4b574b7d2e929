// Delivery in the background: takes events from the ring, sends them, tries again, and keeps time for beats.
//
// Runs in timers and promises of the host's loop, none of which keeps the process alive, and none of which can reject into
// it. What was taken and not acknowledged stays in the window, at most 256 KiB, and goes again under the same numbers: the
// stream knows a repeat when it sees one. While the receiver is away and memory fills, the oldest events go to the spool.

import { ConfigError, TransportDown } from "./errors.js";
import { complain, guarded } from "./guard.js";
import { clock } from "./moments.js";
import type { Outgoing, Ring } from "./ring.js";
import type { Stores } from "./stores.js";
import type { Transport } from "./transports/index.js";

export const WINDOW_BYTES = 256 << 10; // small: completing and compressing a window is time the host's loop does not have
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const LONGEST_SLEEP_MS = 3_600_000;
const KNOWN_DOWN_MS = 50; // how long a flush waits when the last delivery failed
const SPOOL_ABOVE = 0.5; // of the ring

/** Something that is due again and again. */
export interface Beating {
  /** Whether it has nothing to say before the receiver was reached. */
  readonly wantsReach: boolean;
  /** Says what is due at the monotonic time; returns when to come again. */
  beat(nowMs: number): number;
}

export class Flusher {
  /** Set while a turn will come soon: hooks need not wake anybody. */
  awake = false;
  down = false;
  readonly beats = new Set<Beating>();
  private transport: Transport | undefined; // once it was reached
  private opened: Transport | undefined;
  private tries = 0; // to reach the receiver or to deliver, so far
  private failedTry = 0; // the newest that failed
  private window: readonly Outgoing[] = [];
  private settledOrder = 0; // all events up to this one are delivered, spooled or dropped
  private timer: NodeJS.Timeout | undefined;
  private turning = false;
  private hurry = false;
  private stopped = false;
  private interrupt: (() => void) | undefined;
  private complained = "";

  constructor(
    private readonly ring: Ring,
    private readonly openTransport: () => Promise<Transport>,
    private readonly lingerMs: number,
    private readonly stores: Stores | undefined,
  ) {}

  get partitions(): number | undefined {
    return this.transport?.partitions;
  }

  get connected(): boolean {
    return this.transport !== undefined;
  }

  /** Whether nothing waits for delivery in memory. */
  get idle(): boolean {
    return this.ring.events === 0 && this.window.length === 0;
  }

  /** Has a turn come within `linger_ms`. */
  wake(): void {
    this.awake = true;
    if (!this.turning) this.turnIn(this.hurry ? 0 : this.lingerMs);
  }

  /**
   * Waits until what is in the ring now is acknowledged or on disk. False: not in time, or known to be down. Without a spool that is known
   * after one more try: what failed a while ago may work now, and what is not delivered is lost.
   */
  async flush(timeoutMs: number): Promise<boolean> {
    const target = this.ring.lastOrder;
    const began = clock.monotonicMs();
    const earlier = this.tries;
    while (this.settled() < target && !this.stopped) {
      const waited = clock.monotonicMs() - began;
      const knownDown = this.down && waited >= KNOWN_DOWN_MS && (this.stores !== undefined || this.failedTry > earlier);
      if (waited >= timeoutMs || knownDown) return false;
      this.hurry = true;
      this.interrupt?.();
      this.wake();
      await new Promise((resolve) => setTimeout(resolve, 2)); // this timer does keep the process alive
    }
    return this.settled() >= target;
  }

  /** Ends the timers, and with them the transport. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    this.interrupt?.();
    await this.opened?.close();
  }

  /** Moves the oldest events to disk, now; for a ring that fills faster than the host's loop turns, and for the end. */
  spill(all: boolean): void {
    if (!this.stores) return;
    if (all && this.window.length > 0) this.window = this.window.slice(this.stores.keep(this.window));
    while (this.ring.events > 0 && (all || this.ring.filled > SPOOL_ABOVE / 2)) {
      if (!this.stores.hasRoom(WINDOW_BYTES * 2)) return;
      const events = this.ring.take(WINDOW_BYTES);
      if (this.stores.keep(events) < events.length) return this.ring.lose(events.length);
    }
  }

  /** Used by the guarded functions below. */
  async turn(): Promise<void> {
    this.turning = true;
    try {
      const due = await this.runBeats();
      await this.deliverAll();
      this.turnIn(Math.max(0, due - clock.monotonicMs()));
    } finally {
      this.turning = false;
      this.hurry = false;
      this.awake = false;
      if (this.ring.events > 0) this.wake();
      else if (this.timer === undefined) this.turnIn(LONGEST_PAUSE_MS); // a turn that failed half way
    }
  }

  private turnIn(delayMs: number): void {
    clearTimeout(this.timer);
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void takeTurn(this);
    }, Math.min(delayMs, LONGEST_SLEEP_MS)).unref();
  }

  private settled(): number {
    return this.idle ? this.ring.lastOrder : this.settledOrder;
  }

  private async runBeats(): Promise<number> {
    if (!this.connected && [...this.beats].some((beating) => beating.wantsReach)) await this.reached();
    const nowMs = clock.monotonicMs();
    let due = nowMs + LONGEST_SLEEP_MS;
    for (const beating of this.beats) due = Math.min(due, runBeat(beating, nowMs) ?? nowMs + 1_000);
    return due;
  }

  /** Until ring and spool are empty. A failure pauses, longer each time; flush and stop cut the pause short. */
  private async deliverAll(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.stopped) {
      if (this.window.length === 0) this.window = this.ring.take(WINDOW_BYTES);
      const fresh = this.window.length > 0;
      if (!fresh && !this.stores?.pending()) return;
      const retryAfterMs = await (fresh ? attempt(this) : attemptStored(this));
      if (retryAfterMs === 0) {
        pauseMs = FIRST_PAUSE_MS;
        continue;
      }
      if (this.ring.filled > SPOOL_ABOVE) this.spill(false);
      await this.pause(Math.max(retryAfterMs ?? 0, pauseMs * (0.5 + Math.random() / 2)));
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      await this.runBeats();
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.interrupt = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Tries to deliver the window once; what remains of it goes again. 0 is success, else how long the receiver asks to wait. */
  async attemptWindow(): Promise<number> {
    const last = this.window.at(-1)?.order ?? 0;
    const outcome = await this.deliver(this.window);
    this.window = outcome.left;
    if (outcome.left.length === 0) this.settledOrder = Math.max(this.settledOrder, last);
    return outcome.retryAfterMs;
  }

  /** The same for a part of what is on disk. */
  async attemptStores(): Promise<number> {
    const part = this.stores?.take(WINDOW_BYTES);
    if (!part) return 0;
    const outcome = await this.deliver(part.events);
    if (outcome.left.length === 0) part.delivered();
    return outcome.retryAfterMs;
  }

  private async deliver(events: readonly Outgoing[]): Promise<{ left: readonly Outgoing[]; retryAfterMs: number }> {
    const transport = await this.reached();
    if (!transport) return { left: events, retryAfterMs: 1 };
    const number = ++this.tries;
    try {
      const left = await transport.deliver(events);
      this.down = left.length > 0;
      if (this.down) this.failedTry = number;
      else this.complained = "";
      return { left, retryAfterMs: left.length > 0 ? 1 : 0 };
    } catch (error) {
      if (!(error instanceof TransportDown)) throw error;
      this.failedTry = number;
      this.complainOf(error);
      return { left: events, retryAfterMs: Math.max(1, error.retryAfterMs) };
    }
  }

  /** The transport, connected; undefined if that cannot be done now. */
  private async reached(): Promise<Transport | undefined> {
    if (this.transport) return this.transport;
    const number = ++this.tries;
    try {
      this.opened ??= await this.openTransport(); // one for all tries: it may own a thread
      await this.opened.connect();
      return (this.transport = this.opened);
    } catch (error) {
      this.failedTry = number;
      this.complainOf(error);
      if (error instanceof TransportDown || error instanceof ConfigError) return undefined;
      throw error;
    }
  }

  /** Once per outage and cause: the events wait, and the log is the app's. */
  private complainOf(error: unknown): void {
    this.down = true;
    const said = error instanceof Error ? error.message : String(error);
    if (this.complained !== said) complain(`jobtide: events wait: ${said}`);
    this.complained = said;
  }
}

const takeTurn = guarded("flusher.turn", (flusher: Flusher) => flusher.turn());
const attempt = guarded("flusher.deliver", (flusher: Flusher) => flusher.attemptWindow());
const attemptStored = guarded("flusher.deliver_stored", (flusher: Flusher) => flusher.attemptStores());
const runBeat = guarded("flusher.beat", (beating: Beating, nowMs: number) => beating.beat(nowMs));

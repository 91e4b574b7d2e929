// Instants: whole microseconds since the epoch inside, RFC 3339 `Z` with six digits on the wire.
//
// The one place that reads clocks. The wall clock of JavaScript ticks in milliseconds; the digits below come from the
// monotonic clock, set right again as soon as the two differ by more than 2 ms (a clock that was stepped or slewed).

const DRIFT_US = 2_000;
const CACHE_LIMIT = 1024;

let baseUs = 0;
let baseMs = 0;

/** The clocks, replaceable in tests. Durations come from `monotonicMs`, never from the wall clock. */
export const clock = {
  wallUs(): number {
    const nowMs = performance.now();
    const us = baseUs + Math.round((nowMs - baseMs) * 1000);
    const wallUs = Date.now() * 1000;
    if (us - wallUs < DRIFT_US && us - wallUs > -DRIFT_US) return us;
    baseUs = wallUs;
    baseMs = nowMs;
    return wallUs;
  },
  monotonicMs(): number {
    return performance.now();
  },
};

// Seconds and their text, for those asked for lately: the events of a moment share them.
const texts = new Map<number, string>();

/** The contract's form of an instant. */
export function textOf(us: number): string {
  const second = Math.floor(us / 1_000_000);
  let prefix = texts.get(second);
  if (prefix === undefined) {
    prefix = new Date(second * 1000).toISOString().slice(0, 20);
    if (texts.size >= CACHE_LIMIT) texts.clear();
    texts.set(second, prefix);
  }
  return prefix + String(us - second * 1_000_000).padStart(6, "0") + "Z";
}

/** Microseconds of what a backend keeps as a time: a Date, milliseconds, or ISO 8601 text. Undefined for anything else. */
export function usOf(moment: unknown): number | undefined {
  if (moment === null || moment === undefined || moment === "") return undefined;
  const ms = moment instanceof Date ? moment.getTime() : typeof moment === "string" ? Date.parse(moment) : Number(moment);
  return Number.isFinite(ms) && ms >= 0 && ms < 4_102_444_800_000 ? Math.round(ms * 1000) : undefined;
}

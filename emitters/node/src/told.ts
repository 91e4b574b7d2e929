// Which jobs with an id of the app's were told lately: two adds of one id within a millisecond look the same afterwards.
//
// Only the first of them puts a job in, and a backend keeps the time in whole milliseconds. One process; bounded.

const LIMIT = 1024;

export class Told {
  private readonly times = new Map<string, number>();

  /** Whether this job is new here; from now on it is not. */
  isNew(id: unknown, timestampMs: number): boolean {
    const key = String(id);
    if (this.times.get(key) === timestampMs) return false;
    this.times.delete(key); // the newest is the last
    this.times.set(key, timestampMs);
    if (this.times.size > LIMIT) this.times.delete(this.times.keys().next().value as string);
    return true;
  }
}

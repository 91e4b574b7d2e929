// The promise that nothing in here reaches a job: every hook is called through a guarded call site.
//
// An error inside is counted per site and the first of each site is logged; the hook returns undefined. `sites` knows all
// of them, so that a test can put a faulty function into each.

export interface Log {
  warn(message: string, ...more: unknown[]): void;
  error(message: string, ...more: unknown[]): void;
}

/** One place where a backend or an app calls into the emitter. `run` is looked up at every call. */
export class Site {
  errors = 0;

  constructor(
    readonly name: string,
    public run: (...args: never[]) => unknown,
  ) {}

  failed(error: unknown): void {
    this.errors += 1;
    if (this.errors > 1) return;
    try {
      log.error(`jobtide: ${this.name} failed, the job is not affected:`, error);
    } catch {
      this.errors += 1; // a logger that is broken too: the count stands
    }
  }
}

/** Every call site by name: "bullmq.started" and the like. */
export const sites = new Map<string, Site>();

let log: Log = console;

/** Where complaints go; the console until told otherwise. */
export function setLog(wanted: Log): void {
  log = wanted;
}

/** One line for people; a broken logger is not the host's problem. */
export function complain(message: string): void {
  try {
    log.warn(message);
  } catch {
    return;
  }
}

/** Makes what a backend or an app calls safe: errors, thrown or rejected, stay inside, counted under `name`. */
export function guarded<A extends unknown[], R>(name: string, body: (...args: A) => R): (...args: A) => R | undefined {
  const site = new Site(name, body as (...args: never[]) => unknown);
  sites.set(name, site);
  return (...args: A) => {
    try {
      const result = (site.run as (...args: A) => R)(...args);
      return result instanceof Promise ? (result.catch((error: unknown) => site.failed(error)) as R) : result;
    } catch (error) {
      site.failed(error);
      return undefined;
    }
  };
}

/** Errors in all sites of this process since it started. */
export function errors(): number {
  let total = 0;
  for (const site of sites.values()) total += site.errors;
  return total;
}

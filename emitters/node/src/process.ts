// The emitter of this process: made from the environment when first asked for, closed at the end.
//
// Kept under a global symbol, because an app may load this package twice: as an ES module and as CommonJS. The ends of a
// process: an empty loop (`beforeExit`) flushes; SIGTERM flushes, and where nobody else listens ends the process as it
// would have without us; `process.exit` leaves no time, so that what is in memory goes to the spool, if there is one.

import { Emitter } from "./emitter.js";
import { ConfigError } from "./errors.js";
import { complain, guarded } from "./guard.js";
import { load, type Settings } from "./settings.js";
import type { Transport } from "./transports/index.js";

interface Shared {
  current?: Emitter | undefined;
  listening?: boolean;
}

const KEY = Symbol.for("jobtide.emitter.v1");
const shared = ((globalThis as Record<symbol, unknown>)[KEY] ??= {}) as Shared;

/** The process's emitter. The first call reads JOBTIDE_EMITTER_*; a wrong value is logged and turns it off. */
export function emitter(): Emitter {
  if (shared.current) return shared.current;
  try {
    return configure();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    complain(`jobtide: the emitter is off: ${error.message}`);
    return (shared.current = new Emitter(load({}, { disabled: true })[0]));
  }
}

export interface Options extends Partial<Settings> {
  /** Replaces Kafka and HTTP, for tests: `configure({ makeTransport: () => memory })`. */
  makeTransport?: () => Transport;
}

/** Sets the process's emitter up; arguments win over JOBTIDE_EMITTER_*. Throws ConfigError naming what is wrong. */
export function configure(options: Options = {}): Emitter {
  const { makeTransport, ...settings } = options;
  const [loaded, unknown] = load(process.env, settings);
  if (unknown.length > 0) complain(`jobtide: no such settings, ignored: ${unknown.join(", ")}`);
  const before = shared.current;
  shared.current = new Emitter(loaded, makeTransport);
  if (before) void closeOld(before);
  if (shared.current.enabled) listen();
  return shared.current;
}

/** See `Emitter.flush`. */
export async function flush(timeoutMs?: number): Promise<boolean> {
  return shared.current ? shared.current.flush(timeoutMs) : true;
}

/** See `Emitter.close`. */
export async function close(timeoutMs?: number): Promise<void> {
  await shared.current?.close(timeoutMs);
}

const closeOld = guarded("process.close_old", (old: Emitter) => old.close(0));
const settle = guarded("process.before_exit", () => shared.current?.settle());
const atExit = guarded("process.exit", () => shared.current?.abandon());
/** The app closes its workers now, and may call process.exit after: the last worker says the last statistics. */
const closing = guarded("process.ending", () => {
  if (!shared.current) return undefined;
  shared.current.ending = true;
  return shared.current.flush();
});
const closeNow = guarded("process.signal", () => shared.current?.endBySignal());

function listen(): void {
  if (shared.listening) return;
  shared.listening = true;
  process.on("beforeExit", () => void settle());
  process.on("exit", () => void atExit());
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const onSignal = () => {
      if (process.listenerCount(signal) > 1) return void closing(); // the app decides how it ends
      void Promise.resolve(closeNow()).then(() => {
        process.off(signal, onSignal);
        process.kill(process.pid, signal);
      });
    };
    process.on(signal, onSignal);
  }
}

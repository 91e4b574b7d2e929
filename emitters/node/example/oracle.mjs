// The log that every job writes itself: what really happened, whatever any emitter says.
//
// One JSON object a line, appended to the file that JOBTIDE_ORACLE names. `what` is
//   enqueue  right before the hand-over: `t` is the time of the add
//   start    first thing in the body, fsync'd: `t` is the start
//   end      the body has done its work, fsync'd: `outcome` ok | retry | dead
//   left     the body's last act: `t` is the end, `run_us` the run time by the monotonic clock
// Times are µs since the epoch.
import { fsyncSync, openSync, writeSync } from "node:fs";

let file;

export function write(what, facts = {}, { durable = false } = {}) {
  const path = process.env.JOBTIDE_ORACLE;
  if (!path) return;
  file ??= openSync(path, "a", 0o644);
  writeSync(file, `${JSON.stringify({ what, t: Math.round((performance.timeOrigin + performance.now()) * 1000), pid: process.pid, ...facts })}\n`);
  if (durable) fsyncSync(file);
}

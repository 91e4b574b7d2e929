// Tells jobtide what happens to each background job. Hooks: `@jobtide/emitter/bullmq`, `/bull`, `/bee-queue`, `/pg-boss`, `/agenda`.
//
// `configure` (or JOBTIDE_EMITTER_* in the environment) says where events go; `emitter()` is the process's emitter, for
// events of one's own. Nothing here waits for I/O in a job, throws into it, or slows it; see `guard` and `flusher`.

export { Emitter } from "./emitter.js";
export { ConfigError } from "./errors.js";
export { errors, setLog, sites, type Log } from "./guard.js";
export { Job, Run, type JobMore } from "./jobs.js";
export { laneOf, partitionOf } from "./lanes.js";
export { close, configure, emitter, flush, type Options } from "./process.js";
export { Rank } from "./ring.js";
export { KNOWN as settings, type Settings } from "./settings.js";
export { Worker, type WorkerFacts } from "./workers.js";

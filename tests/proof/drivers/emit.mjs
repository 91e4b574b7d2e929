// Tells of JOBS jobs, one a millisecond; then waits for a line on its input, and ends in order: node emit.mjs JOBS
import { once } from "node:events";
import { close, emitter } from "../../../emitters/node/dist/esm/index.js";

for (let number = 0; number < Number(process.argv[2]); number++) {
  const job = emitter().job("cron", "q", "node", String(number));
  emitter().jobEnqueued(job);
  emitter().jobStarted(job, "w1").finished();
  await new Promise((resolve) => setTimeout(resolve, 1));
}
console.log("told");
await once(process.stdin, "data");
await close(30_000);
process.exit(0);

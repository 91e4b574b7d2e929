// Runs JOBS jobs and ends by process.exit at once, which leaves no time to send: node ends.mjs JOBS. What is in memory goes to the spool.
import { emitter } from "../../../emitters/node/dist/esm/index.js";

for (let number = 0; number < Number(process.argv[2]); number++) {
  emitter().jobStarted(emitter().job("cron", "q", "node", String(number)), "w1").finished();
}
process.exit(0);

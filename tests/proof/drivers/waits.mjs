// BullMQ: node waits.mjs work, or node waits.mjs KIND JOBS BACKOFF_MS LATER_S to add. Writes the oracle as the Python shop does.
import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";
import { watchQueue, watchWorker } from "../../../emitters/node/dist/esm/bullmq/index.js";

const { Queue, Worker } = createRequire(new URL("../../../emitters/node/package.json", import.meta.url))("bullmq");
const url = new URL(process.env.JOBTIDE_EXAMPLE_REDIS);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };

function write(what, jobId, more) {
  const line = { what, t: Date.now() * 1000, backend: "bullmq", queue: "shop", job_class: "Waiting", job_id: jobId, pid: process.pid, ...more };
  appendFileSync(process.env.JOBTIDE_ORACLE, `${JSON.stringify(line)}\n`);
}

if (process.argv[2] === "work") {
  const body = async (job) => {
    const began = performance.now();
    const attempt = job.attemptsMade + 1;
    write("start", job.id, { attempt });
    const fails = attempt <= job.data.failures;
    write("left", job.id, { attempt, outcome: fails ? "retry" : "ok", run_us: Math.round((performance.now() - began) * 1000) });
    if (fails) throw new RangeError("as planned");
  };
  const worker = watchWorker(new Worker("shop", body, { connection, concurrency: 4 }));
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
} else {
  const [kind, jobs, backoffMs, laterS] = process.argv.slice(2);
  const queue = watchQueue(new Queue("shop", { connection }));
  await queue.waitUntilReady(); // connecting lies between the oracle's stamp and the hook
  for (let number = 0; number < Number(jobs); number++) {
    const t = Date.now() * 1000;
    const delay = kind === "later" ? Number(laterS) * 1000 : 0;
    const options = { delay, attempts: 2, backoff: { type: "fixed", delay: Number(backoffMs) } };
    const job = await queue.add("Waiting", { failures: kind === "retry" ? 1 : 0 }, options);
    write("enqueue", job.id, { t, attempt: 1, run_at: delay ? t + delay * 1000 : null });
  }
  await queue.close();
}

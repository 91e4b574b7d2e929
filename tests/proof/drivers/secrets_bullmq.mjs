// Jobs whose data, errors and source lines hold secrets, on BullMQ: node secrets_bullmq.mjs work, or node secrets_bullmq.mjs add to add one
// of each. The texts come in PLANTED, as JSON; the name of the job class in CANARY.
import { createRequire } from "node:module";
import { watchQueue, watchWorker } from "../../../emitters/node/dist/esm/bullmq/index.js";

const { Queue, Worker } = createRequire(new URL("../../../emitters/node/package.json", import.meta.url))("bullmq");
const planted = JSON.parse(process.env.PLANTED);
const url = new URL(process.env.JOBTIDE_EXAMPLE_REDIS);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };

function logIn(number, account) {
  if (number % 2) throw new RangeError(`cannot log in with ${JSON.stringify(account)}`);
  const token = "hunter2-Zq83kd0Lw7"; throw new RangeError(`cannot log in with 'hunter2-Zq83kd0Lw7' or "${token}"`);
}

if (process.argv[2] === "work") {
  const worker = watchWorker(
    new Worker("secrets", async (job) => {
      try {
        logIn(job.data.number, { password: job.data.text });
      } catch (cause) {
        throw new Error(job.data.text, { cause });
      }
    }, { connection }),
  );
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
} else {
  const queue = watchQueue(new Queue("secrets", { connection }));
  for (const [number, text] of planted.entries()) await queue.add(process.env.CANARY, { number, text, password: text }, { attempts: 2 });
  await queue.close();
}

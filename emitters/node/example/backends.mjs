// The shop on each backend: how a planned job is added, and how a worker runs it. Addresses come from the environment:
// JOBTIDE_EXAMPLE_REDIS (redis://host:port[/db]), JOBTIDE_EXAMPLE_POSTGRES.
import { watchQueue as watchBee } from "@jobtide/emitter/bee-queue";
import { watchQueue as watchBull } from "@jobtide/emitter/bull";
import { watchQueue, watchWorker } from "@jobtide/emitter/bullmq";
import { watchBoss } from "@jobtide/emitter/pg-boss";

const CONCURRENCY = 8;
const RETRY_MS = 100;

function redis() {
  const url = new URL(process.env.JOBTIDE_EXAMPLE_REDIS ?? "redis://127.0.0.1:6379/0");
  return { host: url.hostname, port: Number(url.port || 6379), db: Number(url.pathname.slice(1) || 0) };
}

/** name: { work(body), shop() }. `work` resolves to what closes the worker; `shop` to { add(plan), close() }. */
export const BACKENDS = {
  bullmq: {
    work: async (body) => {
      const { MetricsTime, Worker } = await import("bullmq");
      const options = { connection: { ...redis(), maxRetriesPerRequest: null }, concurrency: CONCURRENCY, metrics: { maxDataPoints: MetricsTime.ONE_HOUR } };
      const worker = watchWorker(new Worker("shop", (job) => body(job.data, job.id, job.attemptsMade), options));
      return () => worker.close();
    },
    shop: async () => {
      const { Queue } = await import("bullmq");
      const queue = watchQueue(new Queue("shop", { connection: redis() }));
      const add = async (plan) => (await queue.add(plan.jobClass, plan, { attempts: plan.retries + 1, delay: plan.delayMs, backoff: { type: "fixed", delay: RETRY_MS } })).id;
      const counts = async () => {
        const { completed, failed } = await queue.getJobCounts("completed", "failed");
        return { completed, failed };
      };
      // What BullMQ's own metrics say: of failed jobs only those that have no tries left.
      const metrics = async () => {
        const [completed, failed] = await Promise.all(["completed", "failed"].map((type) => queue.getMetrics(type)));
        return { completed: completed.meta.count, failed: failed.meta.count };
      };
      return { add, counts, metrics, close: () => queue.close() };
    },
  },
  bull: {
    work: async (body) => {
      const { default: Bull } = await import("bull");
      const queue = watchBull(new Bull("shop", { redis: redis(), settings: { guardInterval: 100 } }));
      queue.process("*", CONCURRENCY, (job) => body(job.data, job.id, job.attemptsMade));
      return () => queue.close();
    },
    shop: async () => {
      const { default: Bull } = await import("bull");
      const queue = watchBull(new Bull("shop", { redis: redis() }));
      const add = async (plan) => (await queue.add(plan.jobClass, plan, { attempts: plan.retries + 1, delay: plan.delayMs, backoff: { type: "fixed", delay: RETRY_MS } })).id;
      const counts = async () => {
        const { completed, failed } = await queue.getJobCounts();
        return { completed, failed };
      };
      return { add, counts, close: () => queue.close() };
    },
  },
  "bee-queue": {
    work: async (body) => {
      const { default: Queue } = await import("bee-queue");
      const queue = watchBee(new Queue("shop", { redis: redis(), activateDelayedJobs: true, delayedDebounce: 50, stallInterval: 1_000 }));
      queue.checkStalledJobs(1_000);
      queue.process(CONCURRENCY, (job) => body(job.data, job.id, job.options.stacktraces.length));
      return () => queue.close();
    },
    shop: async () => {
      const { default: Queue } = await import("bee-queue");
      const queue = watchBee(new Queue("shop", { redis: redis(), isWorker: false }));
      const add = async (plan) => {
        const job = queue.createJob(plan).retries(plan.retries).backoff("fixed", RETRY_MS);
        if (plan.delayMs) job.delayUntil(Date.now() + plan.delayMs);
        return (await job.save()).id;
      };
      const counts = async () => {
        const { succeeded, failed } = await queue.checkHealth();
        return { completed: succeeded, failed };
      };
      return { add, counts, close: () => queue.close() };
    },
  },
  "pg-boss": {
    work: async (body) => {
      const boss = await openBoss();
      const one = ([job]) => body(job.data, job.id, job.retryCount);
      for (let worker = 0; worker < CONCURRENCY; worker++) await boss.work("shop", { pollingIntervalSeconds: 0.5, includeMetadata: true }, one);
      return () => boss.stop({ timeout: 5_000 });
    },
    shop: async () => {
      const boss = await openBoss();
      const add = (plan) => boss.send("shop", plan, { retryLimit: plan.retries, retryDelay: 0, startAfter: plan.delayMs ? new Date(Date.now() + plan.delayMs) : undefined });
      const counts = async () => {
        const { rows } = await boss.getDb().executeSql("SELECT state, count(*)::int FROM pgboss.job WHERE name = 'shop' GROUP BY 1");
        const of = (state) => rows.find((row) => row.state === state)?.count ?? 0;
        return { completed: of("completed"), failed: of("failed") };
      };
      return { add, counts, close: () => boss.stop({ timeout: 5_000 }) };
    },
  },
};

async function openBoss() {
  const { default: PgBoss } = await import("pg-boss");
  const boss = watchBoss(new PgBoss({ connectionString: process.env.JOBTIDE_EXAMPLE_POSTGRES, supervise: false, schedule: false, max: 4 }));
  boss.on("error", (error) => console.error(error));
  await boss.start();
  await boss.createQueue("shop", { name: "shop" });
  return boss;
}

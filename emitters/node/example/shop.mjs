// A small shop: `node example/shop.mjs work bullmq` runs its jobs, `node example/shop.mjs drive bullmq 500 7` adds 500 planned
// from the seed 7 and waits until all have ended; `… metrics bullmq` prints the backend's own metrics. Backends: bullmq, bull, bee-queue, pg-boss.
import { write } from "./oracle.mjs";
import { BACKENDS } from "./backends.mjs";
import { plans } from "./plan.mjs";

const [, , role, name, jobs = "100", seed = "1"] = process.argv;
const backend = BACKENDS[name];
if (!backend || !["work", "drive", "metrics"].includes(role)) {
  console.error(`usage: node example/shop.mjs work|drive|metrics ${Object.keys(BACKENDS).join("|")} [jobs] [seed]`);
  process.exit(2);
}

/** The body of every job. `failuresBefore` is what the backend counts. */
async function body(plan, id, failuresBefore) {
  const facts = { backend: name, id: String(id), job_class: plan.jobClass, kind: plan.kind, attempt: failuresBefore + 1 };
  const began = process.hrtime.bigint();
  write("start", facts, { durable: true });
  await new Promise((resolve) => setTimeout(resolve, plan.runMs));
  const fails = failuresBefore < plan.failures;
  const outcome = !fails ? "ok" : failuresBefore < plan.retries ? "retry" : "dead";
  write("end", { ...facts, outcome }, { durable: true });
  write("left", { ...facts, run_us: Number(process.hrtime.bigint() - began) / 1000 });
  if (fails) throw new RangeError(`${plan.kind} job ${plan.number} fails`);
}

if (role === "work") {
  const close = await backend.work(body);
  process.on("SIGTERM", () => close().then(() => process.exit(0)));
  console.log("working");
} else if (role === "metrics") {
  const shop = await backend.shop();
  console.log(JSON.stringify(await shop.metrics()));
  await shop.close();
} else {
  const shop = await backend.shop();
  for (const plan of plans(Number(jobs), Number(seed))) {
    const began = Math.round((performance.timeOrigin + performance.now()) * 1000);
    const id = await shop.add(plan);
    write("enqueue", { t: began, backend: name, id: String(id), job_class: plan.jobClass, kind: plan.kind, delay_ms: plan.delayMs });
  }
  for (;;) {
    const counts = await shop.counts();
    if (counts.completed + counts.failed >= Number(jobs)) {
      console.log(JSON.stringify(counts));
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await shop.close();
}

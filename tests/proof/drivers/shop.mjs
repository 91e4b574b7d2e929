// The example shop's jobs, added at a steady pace until a file is there: node shop.mjs BACKEND SEED PER_SECOND FILE
import { existsSync } from "node:fs";
import { BACKENDS } from "../../../emitters/node/example/backends.mjs";
import { write } from "../../../emitters/node/example/oracle.mjs";
import { plans } from "../../../emitters/node/example/plan.mjs";

const [, , name, seed, perSecond, over] = process.argv;
const shop = await BACKENDS[name].shop();
const begun = performance.now();
for (const plan of plans(1_000_000, Number(seed))) {
  if (existsSync(over)) break;
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, begun + (plan.number / Number(perSecond)) * 1000 - performance.now())));
  const t = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const id = await shop.add(plan);
  write("enqueue", { t, backend: name, id: String(id), job_class: plan.jobClass, kind: plan.kind, delay_ms: plan.delayMs });
}
await shop.close();

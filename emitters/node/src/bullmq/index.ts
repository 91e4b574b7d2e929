// BullMQ: `watchQueue(new Queue(…))` where jobs are added, `watchWorker(new Worker(…))` where they run.

export { watchFlowProducer, watchQueue } from "./queues.js";
export { telemetry } from "./telemetry.js";
export { watchWorker } from "./workers.js";

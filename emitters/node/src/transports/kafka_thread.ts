// The thread that speaks to Kafka: answers what `kafka` asks, with whichever client is installed.
//
// It keeps the time itself: a client that calls nobody back is replaced, and the answer is that nothing arrived. The clock runs once the client
// is loaded, and stands still while this thread gets no processor, so that on a busy machine slow is not taken for dead.

import { parentPort, workerData } from "node:worker_threads";
import type { Settings } from "../settings.js";
import type { Answer, Request } from "./kafka.js";
import { isMissing, openClient, type KafkaClient } from "./kafka_clients.js";

const settings = workerData as Settings;
const GRACE_MS = 1_000; // after the client's own limit
let client: Promise<KafkaClient> | undefined;

async function answer(request: Request): Promise<Omit<Answer, "id">> {
  if (request.act === "close") {
    await (await client)?.close();
    return {};
  }
  const opening = (client ??= openClient(settings));
  try {
    const open = await opening;
    if (request.act === "connect") return { partitions: await inTime(open.partitions()) };
    const { failed, error } = await inTime(open.send(request.packs));
    return error === undefined ? { failed } : { failed, error };
  } catch (error) {
    if (client === opening) client = undefined;
    void opening.then((open) => open.close()).catch(() => undefined);
    throw error;
  }
}

/** What it resolves to; rejects when the client does not call back. */
function inTime<T>(called: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error("no answer in time"));
    // An answer that has come while this thread stood still is read between the timer and the second of these turns.
    const limit = setTimeout(() => setImmediate(() => setImmediate(late)), settings.request_timeout_ms + GRACE_MS);
    called.then(resolve, reject).finally(() => clearTimeout(limit));
  });
}

parentPort?.on("message", (request: Request) => {
  answer(request).then(
    (found) => parentPort?.postMessage({ id: request.id, ...found }),
    (error: unknown) => {
      const failed = request.act === "send" ? request.packs.map((_, index) => index) : [];
      parentPort?.postMessage({ id: request.id, failed, error: error instanceof Error ? error.message : String(error), missing: isMissing(error) });
    },
  );
});

// The thread that speaks to Kafka: answers what `kafka` asks, with whichever client is installed.

import { parentPort, workerData } from "node:worker_threads";
import type { Settings } from "../settings.js";
import type { Answer, Request } from "./kafka.js";
import { isMissing, openClient, type KafkaClient } from "./kafka_clients.js";

const settings = workerData as Settings;
let client: KafkaClient | undefined;

async function answer(request: Request): Promise<Omit<Answer, "id">> {
  if (request.act === "close") {
    await client?.close();
    return {};
  }
  client ??= await openClient(settings);
  if (request.act === "connect") return { partitions: await client.partitions() };
  const { failed, error } = await client.send(request.packs);
  return error === undefined ? { failed } : { failed, error };
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

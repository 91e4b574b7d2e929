// The Kafka clients for Node, made alike: how many partitions a topic has, and packs to their partitions.
//
// No idempotence is asked of them: a repeat carries the numbers of the first, and the stream counts it once. Neither is ever
// imported but here, in the thread.

import { readFileSync } from "node:fs";
import type { Settings } from "../settings.js";
import type { Sent } from "./kafka.js";

export interface KafkaClient {
  partitions(): Promise<number>;
  /** Indexes of the packs that did not arrive, and why not. */
  send(packs: readonly Sent[]): Promise<{ failed: number[]; error?: string }>;
  close(): Promise<void>;
}

const CLIENTS: Record<string, (settings: Settings) => Promise<KafkaClient>> = { platformatic: openPlatformatic, kafkajs: openKafkaJs };

/** The first client that is installed, or the one that the settings name. */
export async function openClient(settings: Settings): Promise<KafkaClient> {
  let missing: unknown;
  for (const [name, open] of Object.entries(CLIENTS)) {
    if (settings.client !== "auto" && settings.client !== name) continue;
    try {
      return await open(settings);
    } catch (error) {
      if (!isMissing(error)) throw error;
      missing = error;
    }
  }
  throw missing;
}

export function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
}

async function openPlatformatic(settings: Settings): Promise<KafkaClient> {
  const { Producer, stringSerializers } = await import("@platformatic/kafka");
  const timeout = settings.request_timeout_ms;
  const producer = new Producer({
    clientId: "jobtide-emitter", bootstrapBrokers: settings.broker.split(","), serializers: stringSerializers, autocreateTopics: false,
    connectTimeout: timeout, requestTimeout: timeout, timeout, retries: 0, acks: -1, ...platformaticSecurity(settings),
  });
  const { topic } = settings;
  return {
    partitions: async () => (await producer.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)?.partitionsCount ?? 0,
    send: (packs) => byPartition(packs, (partition, values) => producer.send({ messages: values.map((pack) => ({ topic, partition, value: pack.value, headers: headersOf(pack) })) })),
    close: () => producer.close(),
  };
}

async function openKafkaJs(settings: Settings): Promise<KafkaClient> {
  const { Kafka, logLevel } = (await import("kafkajs")).default;
  const timeout = settings.request_timeout_ms;
  const kafka = new Kafka({
    clientId: "jobtide-emitter", brokers: settings.broker.split(","), logLevel: logLevel.NOTHING,
    connectionTimeout: timeout, requestTimeout: timeout, retry: { retries: 1, initialRetryTime: 100 }, ...kafkaJsSecurity(settings),
  });
  const producer = kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 1 }, createPartitioner: () => ({ message }) => message.partition ?? 0 });
  const { topic } = settings;
  return {
    partitions: async () => {
      await producer.connect();
      const admin = kafka.admin();
      await admin.connect();
      try {
        return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions.length ?? 0;
      } finally {
        await admin.disconnect();
      }
    },
    send: (packs) => byPartition(packs, (partition, values) => producer.send({ topic, acks: -1, timeout, messages: values.map((pack) => ({ partition, value: pack.value, headers: headersOf(pack) })) })),
    close: () => producer.disconnect(),
  };
}

/** One request a partition, so that one leader's failure is not everybody's. */
async function byPartition(packs: readonly Sent[], send: (partition: number, packs: Sent[]) => Promise<unknown>): Promise<{ failed: number[]; error?: string }> {
  const partitions = new Map<number, number[]>();
  packs.forEach(({ partition }, index) => partitions.set(partition, [...(partitions.get(partition) ?? []), index]));
  const failed: number[] = [];
  let error: string | undefined;
  await Promise.all(Array.from(partitions, async ([partition, indexes]) => {
    try {
      await send(partition, indexes.map((index) => packs[index] as Sent));
    } catch (thrown) {
      failed.push(...indexes);
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
  }));
  return error === undefined ? { failed } : { failed, error };
}

function headersOf(pack: Sent): Record<string, string> {
  return { "content-type": pack.contentType, sent_at: String(Date.now()) };
}

function platformaticSecurity(settings: Settings): object {
  const { sasl_mechanism: mechanism, sasl_username: username, sasl_password: password } = settings;
  return { ...(tlsOf(settings) ? { tls: tlsOf(settings) } : {}), ...(mechanism ? { sasl: { mechanism, username, password } } : {}) };
}

function kafkaJsSecurity(settings: Settings): object {
  const { sasl_mechanism: mechanism, sasl_username: username, sasl_password: password } = settings;
  return { ...(tlsOf(settings) ? { ssl: tlsOf(settings) } : {}), ...(mechanism ? { sasl: { mechanism: mechanism.toLowerCase(), username, password } } : {}) };
}

function tlsOf(settings: Settings): object | undefined {
  if (!settings.security_protocol.endsWith("SSL")) return undefined;
  return settings.tls_ca ? { ca: [readFileSync(settings.tls_ca)] } : {};
}

// Kafka, from a thread of its own: partition = lane % P, acknowledged by all replicas, receipts awaited.
//
// The clients for Node keep sockets and timers that would hold the host's process, and they serialise and compress on the
// thread they live on. So they live on another one, which is given finished packs and answers which of them arrived. It ends
// with the process. It also keeps the time for each answer; here only a thread that ended, or that says nothing at all for minutes, is
// replaced: on a machine that is busy enough, killing what still loads would mean to begin again for ever.

import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { ConfigError, TransportDown } from "../errors.js";
import { here } from "../here.js";
import { packsOf } from "../packs.js";
import type { Outgoing } from "../ring.js";
import type { Settings } from "../settings.js";
import { checkedPartitions, type Transport } from "./index.js";

const SILENT_MS = 300_000; // a thread that has not even said that it failed
const CLOSE_MS = 500;

/** What the thread is asked, and what it answers. `failed` are indexes of packs. */
export type Request = { id: number } & ({ act: "connect" } | { act: "send"; packs: Sent[] } | { act: "close" });
export type Answer = { id: number; partitions?: number; failed?: number[]; error?: string; missing?: boolean };

export interface Sent {
  partition: number;
  value: string;
  contentType: string;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
  limit: NodeJS.Timeout;
}

export class KafkaTransport implements Transport {
  partitions: number | undefined;
  private thread: Worker | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;

  constructor(private readonly settings: Settings) {}

  async connect(): Promise<void> {
    const answer = await this.ask({ act: "connect" });
    if (answer.missing) throw new ConfigError(`JOBTIDE_EMITTER_BROKER needs a Kafka client: npm install @platformatic/kafka, or kafkajs (${answer.error})`);
    if (answer.error !== undefined) throw this.down(answer.error);
    this.partitions = checkedPartitions(answer.partitions ?? 0, this.settings.topic);
  }

  async deliver(events: readonly Outgoing[]): Promise<readonly Outgoing[]> {
    if (!this.thread) await this.connect();
    const packs = packsOf(events, this.partitions as number);
    const sent = packs.map(({ partition, value, contentType }) => ({ partition, value, contentType }));
    const answer = await this.ask({ act: "send", packs: sent });
    const failed = answer.failed ?? [];
    if (answer.error !== undefined && failed.length === packs.length) throw this.down(answer.error);
    const left = new Set(failed.flatMap((index) => packs[index]?.events ?? []));
    return events.filter((event) => left.has(event));
  }

  async close(): Promise<void> {
    const { thread } = this;
    if (!thread) return;
    if (this.partitions === undefined) return void (await thread.terminate()); // it may not even be loaded
    thread.ref(); // somebody waits for this
    const limit = setTimeout(() => this.gone(thread, "closed"), CLOSE_MS);
    await this.ask({ act: "close" }).catch(() => undefined);
    clearTimeout(limit);
    await thread.terminate();
  }

  private ask(act: { act: "connect" } | { act: "send"; packs: Sent[] } | { act: "close" }): Promise<Answer> {
    const thread = (this.thread ??= this.start());
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => this.gone(thread, "its thread is silent"), SILENT_MS + this.settings.request_timeout_ms).unref();
      this.waiting.set(id, { resolve, reject, limit });
      thread.postMessage({ id, ...act } satisfies Request);
    });
  }

  private start(): Worker {
    const thread = new Worker(join(here, "transports", "kafka_thread.js"), { name: "jobtide-kafka", workerData: { ...this.settings }, execArgv: [] });
    thread.on("message", (answer: Answer) => {
      const asked = this.waiting.get(answer.id);
      this.waiting.delete(answer.id);
      clearTimeout(asked?.limit);
      asked?.resolve(answer);
    });
    thread.on("error", (error) => this.gone(thread, error.message));
    thread.on("exit", () => this.gone(thread, "its thread ended"));
    thread.unref(); // after the listeners: one for messages holds the process again
    return thread;
  }

  /** Everybody who waits for this thread waits in vain. */
  private gone(thread: Worker, why: string): void {
    if (this.thread !== thread) return;
    this.thread = undefined;
    void thread.terminate();
    for (const { reject, limit } of this.waiting.values()) {
      clearTimeout(limit);
      reject(this.down(why));
    }
    this.waiting.clear();
  }

  private down(why: string): TransportDown {
    return new TransportDown(`Kafka at ${this.settings.broker}: ${why}`);
  }
}

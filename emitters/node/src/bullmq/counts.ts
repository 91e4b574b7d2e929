// The counts of a BullMQ queue for queue.snapshot, read through the connection that a Queue or Worker has already.

import type { Emitter } from "../emitter.js";
import { guarded } from "../guard.js";
import { countsOf, type Eval, type Layout } from "../redis_counts.js";
import { Snapshots } from "../snapshots.js";
import { SYSTEM } from "./attempts.js";
import type { BullQueue, BullWorker } from "./shapes.js";

const LAYOUT: Layout = {
  ready: ["wait", "paused", "prioritized"], oldest: "wait", scheduled: "delayed", dead: "failed", running: "active", job: "hash", paused: "meta-hash",
};

/** Snapshots of this queue from now on; the caller stops them before the connection goes. */
export const watchCounts = guarded("bullmq.watch_counts", (emitter: Emitter, owner: BullQueue | BullWorker) => {
  const prefix = owner.toKey("");
  return new Snapshots(emitter, SYSTEM, owner.name, async (leaseMs) =>
    countsOf(evalWith(await clientOf(owner)), prefix, LAYOUT, emitter.ring.epoch, leaseMs),
  );
});

interface Client {
  status?: string;
  defineCommand?(name: string, script: { numberOfKeys: number; lua: string }): void;
  runCommand?(name: string, args: unknown[]): Promise<unknown>;
  eval?(script: string, keys: number, ...args: unknown[]): Promise<unknown>;
}

async function clientOf(owner: BullQueue | BullWorker): Promise<Client> {
  const backend = owner.getBackend?.() as { client?: Promise<Client> } | undefined;
  const client = await (backend?.client ?? (owner.client as Promise<Client> | undefined));
  if (!client) throw new Error("this BullMQ gives no Redis client");
  return client;
}

function evalWith(client: Client): Eval {
  return async (script, keys, args) => {
    if (client.status !== undefined && client.status !== "ready") return undefined; // no command of ours in an offline queue
    if (client.runCommand && client.defineCommand) {
      client.defineCommand("jobtideCounts", { numberOfKeys: keys.length, lua: script });
      return client.runCommand("jobtideCounts", [...keys, ...args]);
    }
    return client.eval?.(script, keys.length, ...keys, ...args);
  };
}

// Names of workers: host, process, queue; and a number where one process has several for one queue.

import { hostname } from "node:os";
import { threadId } from "node:worker_threads";

const taken = new Set<string>();

/** A name that no other worker of this process has; `release` gives it back. */
export function takeWorkerName(queue: string): { name: string; release: () => void } {
  const base = `${hostname()}:${process.pid}${threadId === 0 ? "" : `.${threadId}`}:${queue}`;
  let name = base;
  for (let number = 2; taken.has(name); number++) name = `${base}:${number}`;
  taken.add(name);
  return { name, release: () => void taken.delete(name) };
}

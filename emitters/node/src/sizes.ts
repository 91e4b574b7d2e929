// The size of an event: at most 32 KiB in bytes.
//
// Pure. An event that is too large loses its backtrace, then arguments and labels, then the end of its message, then
// whatever an app put in itself; it says `truncated`, and it is sent.

import { wellFormed } from "./bounds.js";

export const MAX_EVENT_BYTES = 32 * 1024;
export const NUMBER_BYTES = 256; // room for id, epoch, lane and seq, which come later
const LIMIT_BYTES = MAX_EVENT_BYTES - NUMBER_BYTES;

const ESSENTIAL = new Set([
  "tenant", "environment", "system", "queue", "job_class", "job_id", "attempt", "worker_id", "error", "truncated",
  "enqueued_at", "started_at", "run_at", "duration_ms", "next", "emitted", "dropped", "spooled", "clean", "epoch",
]);

type Members = Record<string, unknown>;

/** Whether the text of an event has to go through `fitted`: too large, or with a lone surrogate in it. */
export function needsFitting(raw: string): boolean {
  // JSON.stringify escapes nothing above U+001F but lone surrogates, as \udXXX.
  return raw.includes("\\ud") || (raw.length * 3 > LIMIT_BYTES && Buffer.byteLength(raw) > LIMIT_BYTES);
}

/** The event's text, made to fit; calls `truncating` if that took something away. */
export function fitted(raw: string, truncating: () => void): string {
  const event = repaired(JSON.parse(raw)) as Members;
  const plain = JSON.stringify(event);
  if (Buffer.byteLength(plain) <= LIMIT_BYTES) return plain;
  truncating();
  return shortened(event);
}

function shortened(event: Members): string {
  const data: Members = { ...(event["data"] as Members), truncated: true };
  event["data"] = data;
  const error = typeof data["error"] === "object" && data["error"] !== null ? { ...(data["error"] as Members) } : undefined;
  if (error) data["error"] = error;
  if (error) delete error["backtrace"];
  for (const member of ["args_preview", "labels"]) if (excess(event) > 0) delete data[member];
  if (error) shortenMessage(event, error);
  if (excess(event) > 0) event["data"] = Object.fromEntries(Object.entries(data).filter(([member]) => ESSENTIAL.has(member)));
  return JSON.stringify(event);
}

function shortenMessage(event: Members, error: Members): void {
  while (excess(event) > 0 && typeof error["message"] === "string" && error["message"] !== "") {
    const message = error["message"];
    // An escape takes up to six bytes a character: what is cut is at least an eighth, at most what is surely too much.
    error["message"] = wellFormed(message.slice(0, Math.min(message.length - Math.ceil(excess(event) / 6), Math.floor((message.length * 7) / 8))));
  }
}

function excess(event: Members): number {
  return Buffer.byteLength(JSON.stringify(event)) - LIMIT_BYTES;
}

function repaired(value: unknown): unknown {
  if (typeof value === "string") return wellFormed(value);
  if (Array.isArray(value)) return value.map(repaired);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [wellFormed(key), repaired(member)]));
}

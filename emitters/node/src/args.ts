// What may be shown of a job's arguments: nothing, unless its class is named in the setting `args`; then masked.
//
// Pure. By the rules of the contract, the same in every language: members by their names, texts by the shapes of secrets.

import { wellFormed } from "./bounds.js";
import { firstChars, MASK, withoutSecrets } from "./masking.js";
import type { Settings } from "./settings.js";

const MAX_CHARS = 2048;
const MAX_TEXT_CHARS = 256;
const MAX_MEMBERS = 50;
const MAX_DEPTH = 5;

/** `args_preview` of a job, or undefined where its arguments may not leave. */
export function previewOf(settings: Settings, jobClass: string, args: unknown): string | undefined {
  if (settings.args === "" || args === undefined) return undefined;
  const allowed = settings.args.split(",").map((name) => name.trim());
  if (!allowed.includes("*") && !allowed.includes(jobClass)) return undefined;
  return shownText(args, settings.args_mask);
}

/** A value as JSON, masked: members whose names contain one of `names`. */
export function shownText(value: unknown, names: string): string {
  const secret = names.toLowerCase().split(",").map((part) => part.trim()).filter(Boolean);
  return firstChars(JSON.stringify(shown(value, secret, 0)), MAX_CHARS);
}

function shown(value: unknown, secret: readonly string[], depth: number): unknown {
  if (value === null || typeof value === "boolean" || typeof value === "number") return value;
  if (typeof value === "string") return withoutSecrets(wellFormed(firstChars(value, MAX_TEXT_CHARS)));
  if (typeof value === "bigint") return String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value === undefined) return null;
  if (typeof value !== "object") return typeof value;
  if (depth > MAX_DEPTH) return "…";
  if (Array.isArray(value)) return value.slice(0, MAX_MEMBERS).map((member) => shown(member, secret, depth + 1));
  const members: [string, unknown][] = [];
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue; // as JSON, which is how a backend keeps it, has no such member
    const plain = name.toLowerCase();
    members.push([wellFormed(name), secret.some((part) => plain.includes(part)) ? MASK : shown(member, secret, depth + 1)]);
    if (members.length === MAX_MEMBERS) break;
  }
  return Object.fromEntries(members);
}

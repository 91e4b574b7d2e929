// What may be shown of a job's arguments: nothing, unless its class is named in the setting `args`; then masked.
//
// Pure. Masking goes by the name of a member, at any depth, before anything is serialised.

import { clipped } from "./bounds.js";
import type { Settings } from "./settings.js";

const MAX_CHARS = 2048;
const MAX_DEPTH = 6;

/** `args_preview` of a job, or undefined where its arguments may not leave. */
export function previewOf(settings: Settings, jobClass: string, args: unknown): string | undefined {
  if (settings.args === "" || args === undefined) return undefined;
  const allowed = settings.args.split(",").map((name) => name.trim());
  if (!allowed.includes("*") && !allowed.includes(jobClass)) return undefined;
  const secret = settings.args_mask.toLowerCase().split(",").map((part) => part.trim()).filter(Boolean);
  const text = JSON.stringify(masked(args, secret, 0));
  return text === undefined ? undefined : clipped(text, MAX_CHARS);
}

function masked(value: unknown, secret: readonly string[], depth: number): unknown {
  if (typeof value !== "object" || value === null) return typeof value === "bigint" ? String(value) : value;
  if (depth >= MAX_DEPTH) return "…";
  if (value instanceof Date) return value;
  if (Array.isArray(value)) return value.slice(0, 50).map((member) => masked(member, secret, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      const plain = name.toLowerCase();
      return [name, secret.some((part) => plain.includes(part)) ? "[masked]" : masked(member, secret, depth + 1)];
    }),
  );
}

// Fits what backends and people hand over into the contract's limits: names, numbers, errors.
//
// Pure. A name that is too long keeps its beginning and gets a checksum, so that two long names stay two. The size of a
// whole event is `sizes`.

import { crc32 } from "./lanes.js";
import { fingerprint, firstChars, maskedStack, namesCode, withoutQuoted, withoutSecrets } from "./masking.js";

export const MAX_NAME_CHARS = 256;
export const MAX_MESSAGE_CHARS = 4096;
export const MAX_BACKTRACE_CHARS = 16_384;
export const MAX_MS = 31_622_400_000;

const PLAIN = /^[\x20-\x7e]{1,200}$/; // short ASCII, as nearly all names are
const NO_ESCAPE = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
const CONTROL = /[\u0000-\u001f]/g;

export interface ErrorFacts {
  class: string;
  message?: string;
  fingerprint?: string;
  backtrace?: string;
}

/** A name as the contract takes it: 1 to `limit` characters, no control characters, no lone surrogates. */
export function name(value: unknown, limit = MAX_NAME_CHARS): string {
  if (typeof value === "string" && value.length <= limit && PLAIN.test(value)) return value;
  const text = wellFormed(printed(value)).replace(CONTROL, "\ufffd") || "unknown";
  if (text.length <= limit) return text;
  const characters = Array.from(text); // code points, as in every other language
  if (characters.length <= limit) return text;
  return `${characters.slice(0, limit - 9).join("")}~${crc32(text).toString(16).padStart(8, "0")}`;
}

/** `String(value)`, whatever the app's class makes of it. */
export function printed(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "(a value that cannot be printed)";
  }
}

/** The text with lone surrogates replaced: they have no UTF-8. */
export function wellFormed(text: string): string {
  return (text as string & { toWellFormed(): string }).toWellFormed();
}

/** The text as JSON. */
export function quoted(text: string): string {
  return NO_ESCAPE.test(text) ? `"${text}"` : JSON.stringify(wellFormed(text));
}

/** An attempt number as the contract has it: 1 to 100 000. */
export function attempt(number: unknown): number {
  return typeof number === "number" && number >= 1 ? Math.min(Math.floor(number), 100_000) : 1;
}

/** A duration as the contract has it: milliseconds with three decimals, never negative, at most 366 days. */
export function milliseconds(ms: number): number {
  return ms > 0 ? Math.min(Math.round(ms * 1000) / 1000, MAX_MS) : 0;
}

/** A whole number of 0 or more, if the value is one. */
export function count(value: unknown): number | undefined {
  const number = typeof value === "string" ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

/** The contract's `error` of what was thrown. `detail` and `masking` are the settings. */
export function errorOf(thrown: unknown, detail: string, masking: string): ErrorFacts {
  if (thrown === null || thrown === undefined) return { class: "Unknown" };
  const facts: ErrorFacts = { class: name(classOf(thrown)) };
  if (detail === "class") return facts;
  const { message, stack } = thrown as { message?: unknown; stack?: unknown };
  const text = printed(typeof thrown === "object" && message !== undefined ? message : thrown);
  Object.assign(facts, messageOf(facts.class, text, masking, namesCode(thrown, text)));
  if (detail === "full" && typeof stack === "string" && stack !== "")
    facts.backtrace = clipped(maskedStack(stack.slice(0, 4 * MAX_BACKTRACE_CHARS), `${facts.class}: ${facts.message}`, text, masking), MAX_BACKTRACE_CHARS);
  return facts;
}

/** `message`, masked, and the `fingerprint` of class and message. */
export function messageOf(errorClass: string, text: string, masking: string, quotesCode = false): { message: string; fingerprint: string } {
  const plain = clipped(text, 2 * MAX_MESSAGE_CHARS);
  const safe = withoutSecrets(plain); // fingerprints are of this, whatever the app lets out
  const message = masking === "off" ? plain : masking === "secrets" || quotesCode ? safe : withoutQuoted(safe);
  return { message: firstChars(message, MAX_MESSAGE_CHARS), fingerprint: fingerprint(errorClass, safe) };
}

/** At most `limit` characters of a text, well-formed. */
export function clipped(value: unknown, limit: number): string {
  return wellFormed(firstChars(printed(value), limit));
}

/** The name people look for: the error's own name, or its class where it only says "Error". */
function classOf(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null) return `thrown ${typeof thrown}`;
  const own = (thrown as { name?: unknown }).name;
  if (typeof own === "string" && own !== "" && own !== "Error") return own;
  const made = (thrown as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof made === "string" && made !== "" ? made : "Error";
}

// What is taken out of texts before they leave: secrets, and what an app may have put into quotes. And fingerprints, equal
// for errors that differ only in what varies.
//
// Pure. The rules are those of contract/masking.json, the same in every language, so they use only what all regular
// expressions share. A mask can only know the shapes of secrets, not secrets: where even a plain word of a message may be
// one, the setting `error_detail` is `class`.

import { createHash } from "node:crypto";

export const MASK = "[masked]";
export const LEVELS = ["strict", "secrets", "off"];
const FIRST_LINE_CHARS = 512;

// Every rule begins at the edge of a word or is bounded: a message of one endless word must cost no job its time.
const WORD = "[^\\x00-,./:-@\\[-^`{-\\x7f]"; // A-Z, a-z, 0-9, _, - and everything beyond ASCII
const LOCAL = "[^\\x00-*,/:-@\\[-^`{-\\x7f]"; // those, + and .
const SPACE = String.raw`[ \t\r\n]`;
const START = "(?<![A-Za-z0-9_])";
const END = "(?![A-Za-z0-9_])";
const NAMES = String.raw`passw|passphrase|pwd|secret|token(?!iz)|api[_-]?key|access[_-]?key|private[_-]?key|credential|session|cookie|cvv|creditcard|debitcard|(?<![A-Za-z])(?:card(?!i|board)|iban|ssn(?![A-Za-z]))`;
const UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
const OPAQUE = "[A-Za-z0-9_+=-]";
const BRACES = String.raw`\{(?:[^{}\r\n]|\{(?:[^{}\r\n]|\{[^{}\r\n]*\})*\})*\}`; // three deep

/** Name, pattern, whether the case of ASCII letters counts for nothing. What a rule finds becomes its first group and MASK. */
export const RULES: readonly (readonly [string, string, boolean])[] = [
  ["header", String.raw`(${START}(?:authorization|cookie)\\{0,3}['"]?[ \t]*[:=][ \t]*)[^\r\n]+`, true],
  ["bearer", String.raw`(${START}(?:bearer|basic)${SPACE}+)[A-Za-z0-9_.~+/=-]{6,}`, true],
  [
    "named",
    String.raw`((?<!${WORD})${WORD}{0,40}?(?:${NAMES})${WORD}*\\{0,3}['"]?${SPACE}*(?:=>|[:=]|${START}is${END})${SPACE}*)` +
      String.raw`(?:\[masked\]|"[^"]*"|'[^']*'|[^ \t\r\n,;&)}\]]+)`,
    true,
  ],
  ["url", String.raw`(?<=://)[^/?# \t\r\n]*(?=@)`, false],
  ["jwt", String.raw`(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`, false],
  ["key", `${START}(?:(?:[sp]k|rk|gh[pousr]|github_pat|xox[a-z]|glpat|whsec)[_-]|AKIA|ASIA|AIza)[A-Za-z0-9_-]{10,}`, false],
  ["pem", "-----BEGIN [A-Z ]+-----(?:[^-]|-(?!----END ))*(?:-----END [A-Z ]+-----)?", false],
  ["email", String.raw`(?<!${LOCAL})${LOCAL}{1,64}@${WORD}{1,64}(?:\.${WORD}{1,64}){1,8}`, false],
  ["card", `${START}[0-9](?:[ -]?[0-9]){12,18}${END}`, false],
  ["opaque", `(?<![A-Za-z0-9_/.-])(?!${UUID}${END})(?=${OPAQUE}{0,256}[0-9])(?=${OPAQUE}{0,256}[A-Za-z])${OPAQUE}{20,}`, false],
];
export const QUOTED = `"[^"\\r\\n]*"|${START}'[^'\\r\\n]*'|\`[^\`'\\r\\n]*['\`]|${BRACES}`;
export const VARYING = `${QUOTED}|${START}(?=[0-9a-fA-F-]*[0-9])[0-9a-fA-F][0-9a-fA-F-]{7,}${END}|0[xX][0-9a-fA-F]+|[0-9]+`;

const compiled = RULES.map(([, pattern, ignoreCase]) => new RegExp(pattern, ignoreCase ? "gi" : "g"));
const quoted = new RegExp(QUOTED, "g");
const varying = new RegExp(VARYING, "g");
const AROUND = /^[ \t]+|[ \t]+$/g;
const FRAME = /^\s+at .*(?::\d+:\d+\)?|\(native\)|\(<anonymous>\)|\(index \d+\))$/;
// Messages of the engine that quote names of the program, not data.
const ENGINE = /^Cannot (?:read|set) properties of (?:undefined|null) \((?:reading|setting) '[^']*'\)$/;

/** The text without the shapes of secrets. */
export function withoutSecrets(text: string): string {
  for (const rule of compiled) text = text.replace(rule, (_, kept: unknown) => (typeof kept === "string" ? kept + MASK : MASK));
  return text;
}

/** The text without what stands in quotes or braces. */
export function withoutQuoted(text: string): string {
  return text.replace(quoted, (found) => `${found[0]}${MASK}${found.at(-1)}`);
}

/** The text as it may leave at this level. */
export function masked(text: string, level: string): string {
  if (level === "off") return text;
  return level === "strict" ? withoutQuoted(withoutSecrets(text)) : withoutSecrets(text);
}

/** Sixteen hex digits of a class and a message that has lost its secrets, but not yet what is in quotes. */
export function fingerprint(errorClass: string, safe: string): string {
  const line = firstChars(safe.split(/[\r\n]/, 1)[0] as string, FIRST_LINE_CHARS).replace(AROUND, "");
  return createHash("sha256").update(`${errorClass}\n${line.replace(varying, "*")}`).digest("hex").slice(0, 16);
}

/** Whether what a message quotes are names of the program: of modules, of members of undefined. */
export function namesCode(thrown: unknown, message: string): boolean {
  const code = (thrown as { code?: unknown } | null)?.code;
  return code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND" || (thrown instanceof TypeError && ENGINE.test(message));
}

/** A stack with its frames as they are, under a message that is masked already. */
export function maskedStack(stack: string, head: string, message: string, level: string): string {
  if (level === "off") return stack;
  const begins = stack.indexOf(message);
  const after = message !== "" && begins >= 0 ? stack.slice(begins + message.length) : stack;
  return [head, ...after.split("\n").filter((line) => FRAME.test(line))].join("\n");
}

/** The first characters of a text: code points, as in every other language. */
export function firstChars(text: string, limit: number): string {
  if (text.length <= limit) return text;
  return Array.from(text.slice(0, 2 * limit)).slice(0, limit).join("");
}

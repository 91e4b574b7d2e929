// What the emitter is told: one frozen record from JOBTIDE_EMITTER_* and from `configure({...})`.
//
// Reads no file and opens nothing. Values come from the environment, arguments win over them. A wrong value raises
// ConfigError here; who asked decides what that means (`configure` lets it out, an implicit start turns the emitter off).

import { ConfigError } from "./errors.js";
import { LEVELS } from "./masking.js";

export const PREFIX = "JOBTIDE_EMITTER_";

type Value = string | number | boolean;

const MASKED = "passw,pwd,secret,token,api_key,apikey,authorization,credential,cookie,card,cvv,iban,ssn";

/** name: [default, meaning]; the README's table is checked against it. Names in the environment: capitals with `_`. */
export const KNOWN = {
  url: ["", "gateway to post to: http(s)://host:port/v1/events"],
  broker: ["", "Kafka bootstrap servers, host:port[,host:port]; used instead of `url`"],
  topic: ["job.events", "Kafka topic of events"],
  client: ["auto", "Kafka client: platformatic, kafkajs, or auto (the first that is installed)"],
  tenant: ["default", "tenant all events belong to: a-z, 0-9, _ and -, at most 63 characters"],
  environment: ["default", "environment: production, staging, …; at most 64 characters"],
  disabled: [false, "the off switch: hooks do nothing, no timer is started, nothing is sent"],
  off_file: ["", "while this file exists nothing is told: an off switch that needs no restart; looked for once a second"],
  source: ["", "who emits, for the completeness ledger; by default /host/pid"],
  release: ["", "what is deployed; a worker marks it once as deploy.marked"],
  token: ["", "bearer token for the gateway"],
  security_protocol: ["PLAINTEXT", "Kafka: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"],
  sasl_mechanism: ["", "Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"],
  sasl_username: ["", "Kafka user"],
  sasl_password: ["", "Kafka password"],
  tls_ca: ["", "file with the authorities that may sign the broker's or gateway's certificate"],
  queue_events: [20_000, "events kept in memory while nothing can be delivered; at least 100"],
  queue_bytes: [16 << 20, "bytes of them; at least 65536"],
  spool_dir: ["", "directory for events that cannot be delivered; without it only memory is used"],
  spool_bytes: [64 << 20, "bytes one process may keep there; at least 65536"],
  linger_ms: [50, "how long the first event of a pack waits for company"],
  flush_timeout_ms: [8_000, "longest wait when a process ends; while delivery is known to fail one more try, or none with a spool"],
  request_timeout_ms: [5_000, "longest wait for one answer of broker or gateway, in the background"],
  heartbeat_ms: [10_000, "time between two heartbeats of a worker"],
  stats_ms: [10_000, "time between two emitter.stats of a process"],
  snapshot_ms: [10_000, "time between two queue.snapshot of a queue, from one worker of all"],
  error_detail: ["full", "what leaves of an error: class, message, or full (with backtrace)"],
  error_masking: ["strict", "what is masked in messages and backtraces: strict (secrets, quoted values), secrets, or off"],
  args: ["", "job classes whose arguments may leave, masked: name[,name]; * is all"],
  args_mask: [MASKED, "names of arguments that are masked, as parts of the name"],
} as const satisfies Record<string, readonly [Value, string]>;

export type SettingName = keyof typeof KNOWN;
type Widened<T> = T extends string ? string : T extends number ? number : boolean;
export type Settings = { readonly [name in SettingName]: Widened<(typeof KNOWN)[name][0]> };

const SECRETS: readonly string[] = ["token", "sasl_password"];
const TRUE = ["1", "true", "yes", "on"];
const FALSE = ["0", "false", "no", "off", ""];
const LEAST: Partial<Record<SettingName, number>> = {
  queue_events: 100, queue_bytes: 65_536, spool_bytes: 65_536, linger_ms: 0, flush_timeout_ms: 0,
  request_timeout_ms: 100, heartbeat_ms: 100, stats_ms: 100, snapshot_ms: 100,
};

/** The settings, and the JOBTIDE_EMITTER_* names that mean nothing. */
export function load(environ: NodeJS.ProcessEnv, overrides: Partial<Settings> = {}): [Settings, string[]] {
  const values: Record<string, Value> = {};
  for (const [name, [value]] of Object.entries(KNOWN)) values[name] = value;
  const unknown: string[] = [];
  for (const [variable, text] of Object.entries(environ)) {
    if (!variable.startsWith(PREFIX)) continue;
    const name = variable.slice(PREFIX.length).toLowerCase();
    if (name in KNOWN) values[name] = parsed(variable, text ?? "", KNOWN[name as SettingName][0]);
    else unknown.push(variable);
  }
  for (const [name, value] of Object.entries(overrides)) {
    if (!(name in KNOWN)) throw new ConfigError(`configure() knows no setting "${name}"; there are: ${Object.keys(KNOWN).join(", ")}`);
    if (value !== undefined) values[name] = value;
  }
  const settings = Object.freeze(values) as unknown as Settings;
  check(settings);
  return [settings, unknown.sort()];
}

/** Whether anything is to be sent at all. */
export function isActive(settings: Settings): boolean {
  return !settings.disabled && (settings.url !== "" || settings.broker !== "");
}

/** Where events go, for people: no secrets. */
export function targetOf(settings: Settings): string {
  return settings.broker ? `${settings.broker} ${settings.topic}` : settings.url;
}

function parsed(variable: string, text: string, fallback: Value): Value {
  const plain = text.trim();
  if (typeof fallback === "boolean") {
    if (!TRUE.includes(plain.toLowerCase()) && !FALSE.includes(plain.toLowerCase()))
      throw new ConfigError(`${variable}=${JSON.stringify(text)} is not a switch: use 1 or 0`);
    return TRUE.includes(plain.toLowerCase());
  }
  if (typeof fallback === "number") {
    if (!/^[+-]?\d+$/.test(plain)) throw new ConfigError(`${variable}=${JSON.stringify(text)} is not a whole number`);
    return Number(plain);
  }
  return plain;
}

function check(s: Settings): void {
  for (const [name, [value]] of Object.entries(KNOWN))
    need(typeof s[name as SettingName] === typeof value, s, name, `it is a ${typeof value}`);
  need(/^[a-z0-9][a-z0-9_-]{0,62}$/.test(s.tenant), s, "tenant", "use a-z, 0-9, _ and -, at most 63 characters");
  need(/^[^\p{Cc}]{1,64}$/u.test(s.environment), s, "environment", "use 1 to 64 plain characters");
  need(s.url === "" || /^https?:\/\/./.test(s.url), s, "url", "it begins with http:// or https://");
  need(!(s.url && s.broker), s, "broker", `set it or ${PREFIX}URL, not both`);
  need(s.topic !== "", s, "topic", "name the Kafka topic");
  need(["auto", "platformatic", "kafkajs"].includes(s.client), s, "client", "use platformatic, kafkajs or auto");
  need(["class", "message", "full"].includes(s.error_detail), s, "error_detail", "use class, message or full");
  need(LEVELS.includes(s.error_masking), s, "error_masking", "use strict, secrets or off");
  const protocols = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
  need(protocols.includes(s.security_protocol), s, "security_protocol", `use ${protocols.join(", ")}`);
  for (const [name, least] of Object.entries(LEAST)) {
    const value = s[name as SettingName];
    need(Number.isSafeInteger(value) && (value as number) >= least, s, name, `at least ${least}`);
  }
}

function need(good: boolean, settings: Settings, name: string, fix: string): void {
  if (good) return;
  const shown = SECRETS.includes(name) ? "…" : JSON.stringify(settings[name as SettingName]);
  throw new ConfigError(`${PREFIX}${name.toUpperCase()} is ${shown}: ${fix}`);
}

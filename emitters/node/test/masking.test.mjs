// What leaves of errors and arguments: the contract's rules and vectors, the same that every other language's tests read.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { configure, settings as KNOWN } from "@jobtide/emitter";
import { MemoryTransport } from "@jobtide/emitter/memory";
import { shownText } from "../dist/esm/args.js";
import { errorOf, messageOf } from "../dist/esm/bounds.js";
import { MASK, QUOTED, RULES, VARYING } from "../dist/esm/masking.js";

const CONTRACT = join(import.meta.dirname, "..", "..", "contract");
const read = (...path) => JSON.parse(readFileSync(join(CONTRACT, ...path), "utf8"));
const vectors = (folder) => readdirSync(join(CONTRACT, "vectors", folder)).flatMap((file) => read("vectors", folder, file));
const SECRET = "hunter2-Zq83kd0Lw7";

test("the rules are the contract's", () => {
  const plain = (pattern) => pattern.replaceAll('\\"', '"'); // a quote needs no escape
  const contract = read("masking.json");
  assert.equal(MASK, contract.mask);
  assert.deepEqual(RULES.map(([name, pattern, ignore_case]) => ({ name, pattern, ignore_case })), contract.rules.map((rule) => ({ ...rule, pattern: plain(rule.pattern) })));
  assert.equal(QUOTED, plain(contract.quoted));
  assert.equal(VARYING, plain(contract.varying));
});

test("messages are masked and grouped as in every language", () => {
  const all = vectors("fingerprints");
  assert.ok(all.length >= 90);
  for (const vector of all) {
    const text = vector.message ?? vector.parts.map(([part, times]) => part.repeat(times)).join("");
    for (const level of ["strict", "secrets", "off"]) {
      const { message, fingerprint } = messageOf(vector.class, text, level);
      assert.equal(fingerprint, vector.fingerprint, `${vector.why}, ${level}`);
      if (level === "off") continue;
      const digest = { sha256: createHash("sha256").update(message).digest("hex"), chars: Array.from(message).length };
      assert.deepEqual(vector.parts ? digest : message, vector[level], vector.why);
    }
  }
});

test("arguments are masked as in every language", () => {
  const all = vectors("arguments");
  assert.ok(all.length >= 20);
  for (const { why, value, args_mask = KNOWN.args_mask[0], shown } of all) assert.equal(shownText(value, args_mask), shown, why);
});

test("what JSON has not is shown as what it is", () => {
  const odd = { no: undefined, big: 2n ** 60n, at: new Date(0), never: new Date(NaN), fn() {}, sym: Symbol("x"), nan: NaN, list: [undefined], map: new Map([["password", 1]]) };
  assert.equal(shownText(odd, ""), '{"big":"1152921504606846976","at":"1970-01-01T00:00:00.000Z","never":null,"fn":"function","sym":"symbol","nan":null,"list":[null],"map":{}}');
});

test("a backtrace is frames under the masked message, whatever the message looks like", () => {
  const message = `no account for '${SECRET}'\n    at password=${SECRET}\n    at fake ('${SECRET}':1:2)`;
  const { message: told, backtrace } = errorOf(new RangeError(message), "full", "strict");
  assert.ok(!`${told}${backtrace}`.includes(SECRET), `${told}${backtrace}`);
  assert.match(backtrace, /^RangeError: no account for '\[masked\]'\n/);
  assert.match(backtrace, /\n\s+at .*masking\.test\.mjs:\d+:\d+/);
  assert.ok(errorOf(new RangeError(message), "full", "off").backtrace.includes(SECRET));
  const changed = new Error(`token=${SECRET}`);
  changed.message = "other";
  assert.ok(!errorOf(changed, "full", "strict").backtrace.includes(SECRET));
});

test("names of the program stay though they are quoted", async () => {
  const thrown = (act) => {
    try {
      return void act();
    } catch (error) {
      return errorOf(error, "message", "strict").message;
    }
  };
  assert.equal(thrown(() => undefined.price), "Cannot read properties of undefined (reading 'price')");
  assert.match((await import("./nowhere.mjs").catch((error) => errorOf(error, "message", "strict"))).message, /Cannot find module '.*nowhere\.mjs'/);
  assert.equal(thrown(() => JSON.parse(SECRET)).includes("hunter2"), false);
  assert.equal(errorOf(new TypeError(`bad 'reading ${SECRET}'`), "message", "strict").message, "bad '[masked]'");
});

const ENDLESS = ["x", "a1", "-", "a@", "password", "'", '"', "{", "://", "eyJ.", "1 ", "-----BEGIN A-----", "a:", "\\", "a=", "{{} ", "{a{}", "é@", "eyJ-", "password is "];

test("no message costs a job its time", () => {
  for (const word of ENDLESS) {
    const began = process.cpuUsage();
    errorOf(new Error(word.repeat(100_000 / word.length)), "full", "strict");
    const { user, system } = process.cpuUsage(began);
    assert.ok(user + system < 500_000, `${word}: ${user + system} µs`);
  }
});

test("with the settings as they come, a planted secret leaves nowhere", async () => {
  const memory = new MemoryTransport();
  const emitter = configure({ makeTransport: () => memory, linger_ms: 0, args: "*" });
  const planted = vectors("fingerprints").filter(({ message }) => message?.includes("hunter2")).map(({ message }) => message);
  assert.ok(planted.length >= 15);
  for (const text of planted) {
    const job = emitter.job("bullmq", "q", "c", "1", 1, { args_preview: emitter.argsPreview("c", { password: SECRET, note: text }) });
    const run = emitter.jobStarted(job, "w");
    const error = emitter.error(new Error(text));
    run.failed(error);
    emitter.jobDead(job, error);
  }
  assert.ok(await emitter.flush());
  assert.equal(memory.of("job.failed").length, planted.length);
  const sent = JSON.stringify(memory.events);
  assert.ok(!sent.includes("hunter2") && !sent.includes("Zq83kd0Lw7"), sent.slice(Math.max(0, sent.indexOf("hunter2") - 300), sent.indexOf("hunter2") + 100));
});

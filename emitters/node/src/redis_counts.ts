// One Lua script that elects and counts: for the backends that keep a queue in Redis lists and sorted sets.
//
// The lease is a key of ours beside the queue's own; who gets it counts, in the same atomic step. Reads nothing else.

import { count } from "./bounds.js";
import type { Counts } from "./snapshots.js";

/** Runs a script: keys first, then arguments. */
export type Eval = (script: string, keys: string[], args: (string | number)[]) => Promise<unknown>;

/** Where a backend keeps what; names without the queue's prefix. A sized set is a list, a set, a sorted set or nothing. */
export interface Layout {
  ready: string[];
  /** The list whose tail is the oldest job that waits. */
  oldest: string;
  scheduled: string;
  dead: string;
  running: string;
  /** How to read a job: "hash" with timestamp, opts, processedOn under prefix..id, or JSON in the hash "jobs". */
  job: "hash" | "json";
  paused: "meta-hash" | "meta-key" | "none";
}

const SCRIPT = `
local prefix, job, pausedIn = ARGV[3], ARGV[4], ARGV[5]
if not redis.call("SET", KEYS[1], ARGV[1], "NX", "PX", ARGV[2]) then return false end
local function size(key)
  local kind = redis.call("TYPE", key)["ok"]
  if kind == "list" then return redis.call("LLEN", key) end
  if kind == "zset" then return redis.call("ZCARD", key) end
  if kind == "set" then return redis.call("SCARD", key) end
  return 0
end
local ready = 0
for index = 6, #KEYS do ready = ready + size(KEYS[index]) end
local since = false
local id = redis.call("TYPE", KEYS[2])["ok"] == "list" and redis.call("LINDEX", KEYS[2], -1)
if id and job == "hash" then
  local found = redis.call("HMGET", prefix .. id, "timestamp", "processedOn", "opts")
  since = tonumber(found[1] or "")
  if since then
    local fine, opts = pcall(cjson.decode, found[3] or "{}")
    local delay = fine and type(opts) == "table" and tonumber(opts["delay"])
    if delay then since = since + delay end
    local before = tonumber(found[2] or "")
    if before and before > since then since = before end
  end
elseif id then
  local fine, found = pcall(cjson.decode, redis.call("HGET", prefix .. "jobs", id) or "{}")
  local opts = fine and type(found) == "table" and found["options"]
  since = opts and tonumber(opts["timestamp"])
  if since and tonumber(opts["delay"] or "") then since = math.max(since, tonumber(opts["delay"])) end
end
local paused = 0
if pausedIn == "meta-hash" then paused = redis.call("HEXISTS", prefix .. "meta", "paused") end
if pausedIn == "meta-key" then paused = redis.call("EXISTS", prefix .. "meta-paused") end
return { ready, size(KEYS[3]), size(KEYS[4]), size(KEYS[5]), paused, since and string.format("%.0f", since) or "" }
`;

/** A queue's counts, if this process is elected; undefined otherwise. `prefix` is what all of its keys begin with. */
export async function countsOf(run: Eval, prefix: string, layout: Layout, owner: string, leaseMs: number): Promise<Counts | undefined> {
  const named = [layout.oldest, layout.scheduled, layout.dead, layout.running, ...layout.ready];
  const keys = [`${prefix}jobtide:snapshot`, ...named.map((name) => prefix + name)];
  const found = await run(SCRIPT, keys, [owner, leaseMs, prefix, layout.job, layout.paused]);
  if (!Array.isArray(found)) return undefined;
  const [ready, scheduled, dead, running, paused, since] = found as unknown[];
  const sinceMs = Number(since);
  return {
    ready: count(ready) ?? 0, scheduled: count(scheduled), dead: count(dead), running: count(running),
    ...(layout.paused === "none" ? {} : { paused: Number(paused) === 1 }),
    oldestReadyUs: since !== "" && Number.isFinite(sinceMs) ? Math.round(sinceMs * 1000) : undefined,
  };
}

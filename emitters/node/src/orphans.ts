// What dead processes left in a spool directory: found, claimed, delivered under the epochs that the events carry.
//
// A file's name says who owns it: host, pid, and when that process began, so that a pid used again is no owner. Claiming is
// a rename to a name of our own, which one of several can win; if the claimer dies, the file is an orphan again. Two readers,
// or one that starts over, do no harm: the stream knows a repeat when it sees one.

import * as fs from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { complain } from "./guard.js";
import type { Outgoing } from "./ring.js";
import { pathOf, readRecords } from "./spool.js";

const NAME = /^(?<host>[^~]+)~(?<pid>\d+)~(?<start>\d+)~(?<epoch>[0-9a-zA-Z]+)\.nspool$/;
const ELSEWHERE_MS = 300_000; // a file of another host that was not touched for that long has no owner

/** This process, in the names of files. */
export function ownerName(): string {
  return `${plainHost()}~${process.pid}~${startOf("self")}`;
}

export class Orphans {
  private claimed: { path: string; offset: number } | undefined;

  constructor(
    private readonly directory: string,
    private readonly owner: string,
    private readonly now: () => number = Date.now,
  ) {}

  /** The next events of any orphan, and what to call once they are delivered; undefined when there is nothing. */
  take(maxBytes: number): { events: Outgoing[]; delivered: () => void } | undefined {
    this.claimed ??= this.claim();
    const { claimed } = this;
    if (!claimed) return undefined;
    const fd = fs.openSync(claimed.path, "r");
    let events: Outgoing[];
    let offset: number;
    try {
      [events, offset] = readRecords(fd, claimed.offset, maxBytes);
      if (events.length === 0) this.discard(claimed.path, fs.fstatSync(fd).size - offset);
    } finally {
      fs.closeSync(fd);
    }
    return events.length === 0 ? this.take(maxBytes) : { events, delivered: () => void (claimed.offset = offset) };
  }

  private claim(): { path: string; offset: number } | undefined {
    if (!fs.existsSync(this.directory)) return undefined;
    for (const file of fs.readdirSync(this.directory).sort()) {
      const named = NAME.exec(file)?.groups;
      if (!named || !this.isOrphan(named as { host: string; pid: string; start: string }, join(this.directory, file))) continue;
      const path = pathOf(this.directory, this.owner, named["epoch"] as string);
      try {
        fs.renameSync(join(this.directory, file), path);
      } catch {
        continue; // another reader was faster
      }
      return { path, offset: 0 };
    }
    return undefined;
  }

  private isOrphan(named: { host: string; pid: string; start: string }, path: string): boolean {
    if (named.host !== plainHost()) return this.now() - (fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? this.now()) > ELSEWHERE_MS;
    if (Number(named.pid) === process.pid && named.start === startOf("self")) return false;
    return !lives(Number(named.pid)) || startOf(named.pid) !== named.start;
  }

  private discard(path: string, left: number): void {
    if (left > 0) complain(`jobtide: ${left} bytes at the end of a spool are torn`);
    fs.rmSync(path, { force: true });
    this.claimed = undefined;
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When a process began, in the kernel's ticks; "0" where the system does not tell. */
function startOf(pid: string): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "0";
  } catch {
    return "0";
  }
}

function plainHost(): string {
  return hostname().replace(/[^A-Za-z0-9._-]/g, "-") || "host";
}

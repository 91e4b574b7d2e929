// What one process keeps on disk: events that could not be delivered, bounded in bytes, safe against a crash.
//
// A file is the header "JTSPOOL1", then records of length (u32, big endian), CRC32 of the text (u32) and the whole event as
// JSON. `write` without fsync: it survives the process, not the machine. A record that is cut off or fails its CRC ends the
// file: a process died while it wrote. Files of other processes are `orphans`.

import * as fs from "node:fs";
import { join } from "node:path";
import { complain } from "./guard.js";
import { crc32Bytes } from "./lanes.js";
import { UNNUMBERED, type Outgoing } from "./ring.js";

const HEADER = Buffer.from("JTSPOOL1");
const HEAD_BYTES = 8;
const MAX_RECORD_BYTES = 64 * 1024;
const OWN_LANE = /"lane":(\d+),"seq":\d+\}$/; // at the very end: after data

export class Spool {
  written = 0;
  private fd: number | undefined;
  private size = 0;
  private readOffset = 0;
  private complained = false;

  constructor(
    private readonly directory: string,
    readonly path: string,
    private readonly maxBytes: number,
  ) {}

  /** Whether something in it waits for delivery. */
  get pending(): boolean {
    return this.readOffset < this.size;
  }

  get bytes(): number {
    return this.size;
  }

  /** Keeps events, as many as there is room for; returns how many. 0 when the disk refuses. */
  write(events: readonly Outgoing[]): number {
    const records: Buffer[] = [];
    let size = this.fd === undefined ? HEADER.length : this.size;
    for (const event of events) {
      const record = recordOf(event.text);
      if (size + record.length > this.maxBytes) break;
      records.push(record);
      size += record.length;
    }
    if (records.length === 0) return 0;
    try {
      this.append(Buffer.concat(records));
    } catch (error) {
      if (!this.complained) complain(`jobtide: the spool cannot be written: ${String(error)}`);
      this.complained = true;
      return 0;
    }
    this.written += records.length;
    return records.length;
  }

  /** Events that wait, the oldest first, and what to pass to `delivered` once they are. */
  read(maxBytes: number): [Outgoing[], number] {
    return this.fd === undefined ? [[], 0] : readRecords(this.fd, this.readOffset, maxBytes);
  }

  /** Everything before `offset` has been delivered; an empty file is removed. */
  delivered(offset: number): void {
    this.readOffset = offset;
    if (this.pending || this.fd === undefined) return;
    fs.closeSync(this.fd);
    fs.rmSync(this.path, { force: true });
    this.fd = undefined;
    this.size = this.readOffset = 0;
  }

  /** Says that its process lives, to those that look for orphans. */
  touch(now: Date): void {
    if (this.fd !== undefined) fs.futimesSync(this.fd, now, now);
  }

  private append(bytes: Buffer): void {
    if (this.fd === undefined) {
      fs.mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      this.fd = fs.openSync(this.path, "w+", 0o600);
      fs.writeSync(this.fd, HEADER, 0, HEADER.length, 0);
      this.size = this.readOffset = HEADER.length;
    }
    // At a position of our own: what a full disk cut off last time is written over.
    let done = 0;
    while (done < bytes.length) done += fs.writeSync(this.fd, bytes, done, bytes.length - done, this.size + done);
    this.size += bytes.length;
  }
}

function recordOf(text: string): Buffer {
  const bytes = Buffer.byteLength(text);
  const record = Buffer.allocUnsafe(HEAD_BYTES + bytes);
  record.write(text, HEAD_BYTES);
  record.writeUInt32BE(bytes, 0);
  record.writeUInt32BE(crc32Bytes(record.subarray(HEAD_BYTES)), 4);
  return record;
}

/** Whole records from `offset` on, about `maxBytes` of them, and the offset after the last. */
export function readRecords(fd: number, from: number, maxBytes: number): [Outgoing[], number] {
  const events: Outgoing[] = [];
  const bytes = Buffer.allocUnsafe(maxBytes + MAX_RECORD_BYTES);
  const filled = fs.readSync(fd, bytes, 0, bytes.length, from);
  let at = 0;
  if (from === 0) {
    if (filled < HEADER.length || !bytes.subarray(0, HEADER.length).equals(HEADER)) return [events, 0];
    at = HEADER.length;
  }
  while (at < maxBytes && at + HEAD_BYTES <= filled) {
    const length = bytes.readUInt32BE(at);
    const end = at + HEAD_BYTES + length;
    if (length > MAX_RECORD_BYTES || end > filled) break;
    const text = bytes.subarray(at + HEAD_BYTES, end);
    if (crc32Bytes(text) !== bytes.readUInt32BE(at + 4)) break;
    const event = text.toString("utf8");
    events.push({ order: 0, lane: Number(OWN_LANE.exec(event)?.[1] ?? UNNUMBERED), text: event });
    at = end;
  }
  return [events, from + at];
}

/** Where a process of this name keeps its spool. */
export function pathOf(directory: string, owner: string, epoch: string): string {
  return join(directory, `${owner}~${epoch}.nspool`);
}

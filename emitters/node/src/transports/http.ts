// HTTP to the gateway, with Node's own client: gzipped NDJSON, one connection that is kept.
//
// 429 and 5xx come back as TransportDown, with the Retry-After the gateway asked for; events that the gateway refuses one
// by one are its to report and are not sent again. Broadcasts go unnumbered (`partitions` is undefined): the gateway knows
// the topic, this does not. Its sockets never keep a process alive.

import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { TransportDown } from "../errors.js";
import { complain } from "../guard.js";
import type { Outgoing } from "../ring.js";
import type { Settings } from "../settings.js";
import type { Transport } from "./index.js";

const MAX_BODY_BYTES = 512 << 10;
const MAX_ANSWER_BYTES = 1 << 20;
const LONGEST_RETRY_AFTER_MS = 60_000;
const UNACCEPTABLE = [400, 413, 422]; // the body, not the moment: smaller ones may pass, and a single event that does not is lost
const compress = promisify(gzip) as (input: string, options: { level: number }) => Promise<Buffer>;

interface Answer {
  status: number;
  text: string;
  retryAfter: string | undefined;
}

export class HttpTransport implements Transport {
  readonly partitions = undefined;
  private readonly agent: http.Agent;
  private readonly options: https.RequestOptions;
  private readonly send: typeof http.request;
  private bodyBytes = MAX_BODY_BYTES;
  private refused = 0;

  constructor(private readonly settings: Settings) {
    const url = new URL(settings.url);
    const secure = url.protocol === "https:";
    const ca = secure && settings.tls_ca ? { ca: readFileSync(settings.tls_ca) } : {};
    this.send = secure ? https.request : http.request;
    this.agent = new (secure ? https.Agent : http.Agent)({ keepAlive: true, maxSockets: 1, ...ca });
    const headers: Record<string, string> = { "content-type": "application/x-ndjson", "content-encoding": "gzip" };
    if (settings.token) headers["authorization"] = `Bearer ${settings.token}`;
    this.options = {
      method: "POST", agent: this.agent, headers,
      hostname: url.hostname.replace(/^\[|\]$/g, ""), port: url.port, path: (url.pathname === "/" ? "/v1/events" : url.pathname) + url.search,
    };
  }

  async connect(): Promise<void> {
    return; // nothing to learn: the first post tells
  }

  async deliver(events: readonly Outgoing[]): Promise<readonly Outgoing[]> {
    let sent = 0;
    while (sent < events.length) {
      const lines = this.bodyOf(events, sent);
      try {
        await this.post(lines);
      } catch (error) {
        if (sent === 0 || !(error instanceof TransportDown)) throw error;
        break;
      }
      sent += lines.length;
    }
    return events.slice(sent);
  }

  async close(): Promise<void> {
    this.agent.destroy();
  }

  private bodyOf(events: readonly Outgoing[], from: number): string[] {
    const lines: string[] = [];
    let size = 0;
    for (let index = from; index < events.length; index++) {
      const text = (events[index] as Outgoing).text;
      if (lines.length > 0 && size + text.length > this.bodyBytes) break;
      lines.push(text);
      size += text.length + 1;
    }
    return lines;
  }

  private async post(lines: string[]): Promise<void> {
    const answer = await this.exchange(await compress(lines.join("\n"), { level: 1 }));
    if (answer.status === 200 || answer.status === 202) return this.noteRefused(answer.text);
    if (UNACCEPTABLE.includes(answer.status)) {
      if (lines.length === 1) return this.noteRefused(JSON.stringify({ rejected: [{ status: answer.status }] }));
      this.bodyBytes = Math.max(1024, Math.floor(this.bodyBytes / 4));
    }
    const said = `${this.settings.url} answered ${answer.status}: ${answer.text.slice(0, 200)}`;
    throw new TransportDown(said, retryAfterMs(answer.retryAfter));
  }

  private exchange(body: Buffer): Promise<Answer> {
    const headers = { ...this.options.headers, "content-length": body.length, "sent-at": String(Date.now()) };
    return new Promise((resolve, reject) => {
      const down = (error: Error) => reject(new TransportDown(`${this.settings.url}: ${error.message}`));
      const request = this.send({ ...this.options, headers } as https.RequestOptions, (response) => {
        const parts: Buffer[] = [];
        let size = 0;
        response.on("data", (part: Buffer) => (size += part.length) <= MAX_ANSWER_BYTES && parts.push(part));
        response.on("error", down);
        response.on("end", () => {
          clearTimeout(limit);
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ status: response.statusCode ?? 0, text, retryAfter: response.headers["retry-after"] });
        });
      });
      const limit = setTimeout(() => request.destroy(new Error("no answer in time")), this.settings.request_timeout_ms).unref();
      request.on("socket", (socket) => socket.unref());
      request.on("error", (error) => {
        clearTimeout(limit);
        down(error);
      });
      request.end(body);
    });
  }

  private noteRefused(answer: string): void {
    let rejected: unknown[] = [];
    try {
      const found = (JSON.parse(answer) as { rejected?: unknown }).rejected;
      if (Array.isArray(found)) rejected = found;
    } catch {
      return;
    }
    if (rejected.length > 0 && this.refused === 0)
      complain(`jobtide: ${this.settings.url} refused ${rejected.length} events, the first because of ${JSON.stringify(rejected[0])}`);
    this.refused += rejected.length;
  }
}

/** What the gateway asks for, in seconds (a date is taken as ten), at most a minute; else none. */
function retryAfterMs(header: string | undefined): number {
  if (header === undefined) return 0;
  const seconds = Number(header);
  return Number.isFinite(seconds) ? Math.min(Math.max(0, seconds * 1000), LONGEST_RETRY_AFTER_MS) : 10_000;
}

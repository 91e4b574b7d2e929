// For BullMQ's `telemetry` option: carries trace context and the exact time of the add with each job, and nothing else.
//
// Events come from the wrappers; this makes a job's events share a trace with the code that added it. Around another
// telemetry (bullmq-otel) it passes everything through and adds to its metadata. Alone it makes W3C trace ids itself.

import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes } from "node:crypto";
import { guarded } from "../guard.js";
import { clock } from "../moments.js";
import { carried } from "./metadata.js";

/** As much of BullMQ's Telemetry as is used here; contexts and spans are whatever the inner one makes of them. */
interface Inner {
  tracer: { startSpan(name: string, options?: unknown, context?: unknown): unknown };
  contextManager: {
    with(context: unknown, run: () => unknown): unknown;
    active(): unknown;
    root?(): unknown;
    getMetadata(context: unknown): string;
    fromMetadata(active: unknown, metadata: string): unknown;
  };
  meter?: unknown;
}

interface Trace {
  traceparent: string;
}

/** The value for BullMQ's `telemetry` option of queues, workers and flow producers; `inner` is another one to keep. */
export function telemetry(inner?: unknown): any {
  return inner === undefined ? ownTelemetry() : around(inner as Inner);
}

function around(inner: Inner): Inner {
  const manager = inner.contextManager;
  const contextManager = Object.create(manager) as Inner["contextManager"];
  contextManager.with = (context, run) => manager.with(context, run);
  contextManager.active = () => manager.active();
  if (manager.root) contextManager.root = () => manager.root?.();
  contextManager.fromMetadata = (active, metadata) => manager.fromMetadata(active, metadata);
  contextManager.getMetadata = (context) => {
    const metadata = manager.getMetadata(context);
    return stamped(metadata) ?? metadata;
  };
  return { ...inner, tracer: inner.tracer, contextManager };
}

const stamped = guarded("bullmq.telemetry_stamp", (metadata: string) => {
  const facts = JSON.parse(metadata || "{}") as Record<string, unknown>;
  return JSON.stringify({ ...facts, jobtide_enqueued_us: clock.wallUs() });
});

function ownTelemetry(): Inner {
  const storage = new AsyncLocalStorage<Trace | undefined>();
  const span = (trace: Trace | undefined) => ({
    setSpanOnContext: () => trace,
    setAttribute: nothing, setAttributes: nothing, addEvent: nothing, recordException: nothing, end: nothing,
  });
  return {
    tracer: { startSpan: (_name, _options, context) => span(childOf((context ?? storage.getStore()) as Trace | undefined)) },
    contextManager: {
      with: (context, run) => storage.run(context as Trace | undefined, run),
      active: () => storage.getStore(),
      root: () => undefined,
      getMetadata: (context) => stamped(JSON.stringify(context ?? {})) ?? "",
      fromMetadata: (active, metadata) => carriedTrace(metadata) ?? active,
    },
  };
}

const childOf = guarded("bullmq.telemetry_span", (parent: Trace | undefined): Trace => {
  const trace = parent?.traceparent.slice(3, 35) ?? randomBytes(16).toString("hex");
  return { traceparent: `00-${trace}-${randomBytes(8).toString("hex")}-01` };
});

const carriedTrace = guarded("bullmq.telemetry_trace", (metadata: string): Trace | undefined => {
  const { traceparent } = carried(metadata);
  return traceparent === undefined ? undefined : { traceparent };
});

function nothing(): void {
  return;
}

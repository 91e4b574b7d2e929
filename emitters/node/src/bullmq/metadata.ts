// The text that BullMQ carries with a job for a `telemetry` option: trace context, and the exact time of the add.
//
// Other people's telemetry writes it too (bullmq-otel: a JSON object with traceparent); what is not ours is left alone.

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

export interface Carried {
  traceparent?: string;
  enqueuedUs?: number;
}

const NOTHING: Carried = Object.freeze({});

/** What a job's metadata says, as far as it can be read. */
export function carried(metadata: string | undefined): Carried {
  if (typeof metadata !== "string" || !metadata.startsWith("{") || metadata.length > 4096) return NOTHING;
  try {
    const found = JSON.parse(metadata) as { traceparent?: unknown; jobtide_enqueued_us?: unknown };
    const { traceparent, jobtide_enqueued_us: us } = found;
    return {
      ...(typeof traceparent === "string" && TRACEPARENT.test(traceparent) ? { traceparent } : {}),
      ...(typeof us === "number" && Number.isSafeInteger(us) && us > 0 ? { enqueuedUs: us } : {}),
    };
  } catch {
    return NOTHING;
  }
}

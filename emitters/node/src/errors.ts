// What the emitter may raise, and only where it is being set up: never from a hook, never from an emit.

/** A setting cannot be used. The text names the setting and the fix. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/** Nothing can be delivered now; the events stay where they are and are tried again. */
export class TransportDown extends Error {
  override name = "TransportDown";

  constructor(
    message: string,
    /** When the receiver wants to be asked again, if it said so. */
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

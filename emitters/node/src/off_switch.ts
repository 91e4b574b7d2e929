// The off switch that needs no restart: while a file exists, nothing is told. Looked for once a second, by whoever tells then.

import { existsSync } from "node:fs";
import { clock } from "./moments.js";

const LOOK_MS = 1_000;

export class OffSwitch {
  private nextMs = 0;
  private found = false;

  constructor(private readonly path: string) {}

  get off(): boolean {
    const nowMs = clock.monotonicMs();
    if (nowMs >= this.nextMs) {
      this.nextMs = nowMs + LOOK_MS;
      this.found = existsSync(this.path);
    }
    return this.found;
  }
}

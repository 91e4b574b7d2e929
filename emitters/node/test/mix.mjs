// The jobs that every backend's test runs, and what must come of them, told by the jobs themselves.
//
// A body writes down each start and each end; `expected` makes of that what the events must say. Nothing here knows the
// emitter.
import assert from "node:assert/strict";

export class Oracle {
  constructor() {
    this.lines = [];
  }

  write(what, name, more = {}) {
    this.lines.push({ what, name, atMs: Date.now(), ...more });
  }

  of(what) {
    return this.lines.filter((line) => line.what === what);
  }

  /** Starts of a job so far. */
  starts(name) {
    return this.of("start").filter((line) => line.name === name).length;
  }

  /** The body of every job: fails as often as its data says, then succeeds. */
  async body({ name, failures = 0, runMs = 3 }) {
    this.write("start", name);
    await new Promise((resolve) => setTimeout(resolve, runMs));
    if (this.starts(name) <= failures) {
      this.write("failed", name);
      throw new RangeError(`${name} fails`);
    }
    this.write("ok", name);
    return name;
  }
}

/** name: data of the body, and how often the backend may try. */
export const MIX = {
  ok: { failures: 0, attempts: 1 },
  bad: { failures: 9, attempts: 1 },
  second: { failures: 1, attempts: 3 },
  dead: { failures: 9, attempts: 2 },
  later: { failures: 0, attempts: 1, delayMs: 120 },
};

/** Compares what was told of each job with what the bodies wrote. `jobs` maps names of MIX to job ids. */
export function compare(memory, oracle, jobs, { retryMs, slackMs = 2_000 }) {
  for (const [name, id] of Object.entries(jobs)) {
    const { failures, attempts, delayMs } = MIX[name];
    const told = memory.events.filter((event) => event.type.startsWith("job.") && event.data.job_id === id);
    const of = (type) => told.filter((event) => event.type === `job.${type}.v1`);
    const starts = oracle.of("start").filter((line) => line.name === name);
    assert.equal(of(delayMs ? "scheduled" : "enqueued").length, 1, `${name} enqueued`);
    assert.equal(of("started").length, starts.length, `${name} started`);
    assert.equal(of("finished").length, oracle.of("ok").filter((line) => line.name === name).length, `${name} finished`);
    assert.equal(of("failed").length, oracle.of("failed").filter((line) => line.name === name).length, `${name} failed`);
    assert.equal(of("dead").length, failures >= attempts ? 1 : 0, `${name} dead`);
    assert.equal(of("retry_scheduled").length, Math.min(failures, attempts - 1), `${name} retried`);
    const ended = [...of("finished"), ...of("failed")];
    starts.forEach((line, index) => {
      const started = of("started").find((event) => event.data.attempt === index + 1);
      assert.ok(started, `${name} attempt ${index + 1}`);
      assert.ok(Math.abs(Date.parse(started.time) - line.atMs) <= slackMs, `${name} began at ${started.time}, not ${line.atMs}`);
      const end = ended.find((event) => event.data.attempt === index + 1);
      assert.equal(end.data.started_at, started.time);
      assert.ok(end.data.duration_ms >= 2 && end.data.duration_ms < 10_000, `${name} took ${end.data.duration_ms}`);
    });
    for (const event of of("retry_scheduled")) {
      const failed = of("failed").find((other) => other.data.attempt === event.data.attempt);
      assert.ok(Math.abs(Date.parse(event.data.run_at) - Date.parse(failed.time) - retryMs) <= slackMs, `${name} retry at ${event.data.run_at}`);
    }
    if (delayMs) {
      const [started] = of("started");
      const runAt = started.data.run_at ?? of("scheduled")[0].data.run_at;
      const waitedMs = Date.parse(started.time) - Math.max(Date.parse(started.data.enqueued_at ?? runAt), Date.parse(runAt));
      assert.ok(waitedMs > -slackMs && waitedMs < 5_000, `${name} waited ${waitedMs}`);
    }
  }
}

/** Puts a fault into call sites; gives back what undoes it. */
export function faulty(sites, names) {
  const before = new Map(names.map((name) => [name, sites.get(name).run]));
  for (const name of names) {
    sites.get(name).errors = 0;
    sites.get(name).run = () => {
      throw new Error("a fault was put here");
    };
  }
  return () => {
    for (const [name, run] of before) sites.get(name).run = run;
  };
}

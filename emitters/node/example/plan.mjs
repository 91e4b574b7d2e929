// What each job will do, decided before it is added, from a seed: so that two runs do the same.
//
// ok     succeeds
// fail   throws, and may not be tried again: failed and dead at its first attempt
// retry  throws once or twice, is tried again, succeeds
// dead   throws at every attempt: failed three times, then dead
// later  succeeds, but is put off at first

export const RETRIES = 2; // what `retry` and `dead` jobs are allowed
const CLASSES = { mail: 1, charge: 2.5, report: 6 }; // job class: run time, as a multiple of the median
const MIX = { ok: 62, fail: 8, retry: 15, dead: 7, later: 8 };

export function* plans(jobs, seed, { runMs = 4, laterMs = 400 } = {}) {
  const dice = mulberry32(seed);
  for (let number = 0; number < jobs; number++) {
    const jobClass = pick(Object.keys(CLASSES), () => 1, dice);
    const kind = pick(Object.keys(MIX), (name) => MIX[name], dice);
    yield {
      number, jobClass, kind,
      failures: { ok: 0, later: 0, fail: 1, retry: 1 + Math.floor(dice() * RETRIES), dead: RETRIES + 1 }[kind],
      retries: ["retry", "dead"].includes(kind) ? RETRIES : 0,
      delayMs: kind === "later" ? laterMs : 0,
      runMs: Math.round(runMs * CLASSES[jobClass] * Math.exp((dice() + dice() + dice() - 1.5) * 0.8) * 1000) / 1000,
    };
  }
}

function pick(names, weightOf, dice) {
  let left = dice() * names.reduce((sum, name) => sum + weightOf(name), 0);
  return names.find((name) => (left -= weightOf(name)) < 0) ?? names.at(-1);
}

/** A small generator with a seed: repeatable, not secret. */
function mulberry32(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// For a Node process whose wall clock is to be wrong by SHIFT_S seconds: node --import ./shift.mjs. Monotonic clocks stay.
const now = Date.now;
Date.now = () => now() + Number(process.env.SHIFT_S ?? 0) * 1000;

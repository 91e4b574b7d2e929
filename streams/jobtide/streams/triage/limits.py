"""When an attempt is stuck, and how badly: limits and the ladder of severities. Pure functions of what is known of it and its class.

Exactly one verdict for one attempt, the gravest that holds: lost (nobody works on it) before duplicate (two do) before slow; late is an
attempt that nobody has started. A limit is what the emitter said (`expected_ms`, for a run), else what the class has taught, else the
first rung of the ladder. `expected_ms` is how long a job runs, so it is no limit for the time it waits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from jobtide.streams.folds.watch import Watched
from jobtide.streams.snapshots import LimitSource, Severity, Verdict
from jobtide.streams.triage.baselines import LADDER_US, Baseline, Measure

# From this age on, in µs. Younger stuck attempts (by a limit of their own) are low, too.
RUNGS: Final[tuple[tuple[int, Severity], ...]] = (
    (7_200_000_000, "critical"),
    (3_600_000_000, "high"),
    (1_800_000_000, "medium"),
    (LADDER_US, "low"),
)


class Limit(NamedTuple):
    """How long an attempt may take, and why. `p99_us`: of the class, if it has taught anything."""

    limit_us: int
    source: LimitSource
    p99_us: int | None = None


class Judgement(NamedTuple):
    """What an attempt is at a moment, and when to look again: None if nothing more can change by time alone."""

    verdict: Verdict | None
    severity: Severity
    limit: Limit
    next_us: int | None


def judge(watched: Watched, baseline: Baseline | None, now_us: int) -> Judgement:
    """What `watched` is at watermark `now_us`."""
    limit = limit_of(watched, baseline)
    age_us = now_us - watched.since_us
    severity, rung_us = _rung(age_us)
    if watched.gone:
        verdict: Verdict | None = "lost"
    elif watched.others:
        verdict = "duplicate"
    elif age_us > limit.limit_us:
        verdict = "slow" if watched.running else "late"
    else:
        return Judgement(None, severity, limit, watched.since_us + limit.limit_us + 1)
    return Judgement(verdict, severity, limit, None if rung_us is None else watched.since_us + rung_us)


def limit_of(watched: Watched, baseline: Baseline | None) -> Limit:
    """The limit that applies to an attempt, whichever verdict it has."""
    measure = None if baseline is None else baseline.run if watched.running else baseline.wait
    p99_us = None if measure is None else measure.p99_us
    if watched.gone:
        return Limit(watched.patience_us, "heartbeat", p99_us)
    if watched.running and watched.expected_us is not None:
        return Limit(watched.expected_us, "expected", p99_us)
    return _learned(measure, p99_us)


def _learned(measure: Measure | None, p99_us: int | None) -> Limit:
    limit_us = None if measure is None else measure.limit_us
    return Limit(LADDER_US, "ladder", p99_us) if limit_us is None else Limit(limit_us, "baseline", p99_us)


def _rung(age_us: int) -> tuple[Severity, int | None]:
    """The severity of an age, and the age at which the next one begins."""
    next_us: int | None = None
    for from_us, severity in RUNGS:
        if age_us >= from_us:
            return severity, next_us
        next_us = from_us
    return "low", RUNGS[-2][0]

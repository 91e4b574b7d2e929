"""Why a queue was slow: the time its attempts waited, taken apart into causes, and the verdict that follows. Pure.

Waiting is measured as an area (attempts x time). Each step of the range gives its waiting to what held it up then: a pause, missing workers,
slots that others held, or the queue's own demand; demand is told apart by what grew since before: new work (burst), further attempts
(retry storm), or run times (one class, or several at once: something they share). Waiting that nothing explains is said to be unexplained.
Data that is stale or too little gives no verdict. Facts come from rows (`slow_facts`), words for people from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import log
from statistics import median

from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import Histogram

MIN_ATTEMPTS = 10  # that left the line or are still in it
STALE_US = 120_000_000  # history may be so far behind the end of the range
LEAST_RATIO = 0.9  # of the stream that must have arrived
SLOWER = 2.0  # slow: the 95th percentile of waits grew by this factor …
LEAST_WAIT_US = 1_000_000  # … and is at least this long,
ALONE_WAIT_US = 10_000_000  # or this long, where there is nothing to compare with
GROWN = 1.3  # growth of arrivals or run times below this is none
FULL = 0.7  # slots that are this busy make attempts wait
FEWER = 0.8  # so much of the slots of before, or less, is a loss of workers
HOLDING = 0.2  # a class that holds this much more of the slots than before holds others up
STORM = 0.3  # so much of the arrivals are further attempts, in a retry storm
CLASS_GROWN = 1.5  # a class's median run time that grew so much
MIN_RUNS = 5  # of a class, on both sides, to compare its run times
FIRM = 0.5  # a cause with less of the waiting than this is a guess


class Reason(StrEnum):
    UNKNOWN = "unknown"  # stale or too little data, or nothing explains it
    NOT_SLOW = "not_slow"
    PAUSED = "paused"
    NO_WORKERS = "no_workers"  # none, or fewer than before
    SLOTS_HELD = "slots_held"  # by other classes
    BURST = "burst"
    RETRY_STORM = "retry_storm"
    SLOW_RUNS = "slow_runs"
    SLOW_DEPENDENCY = "slow_dependency"


Name = tuple[str, str]  # queue, job class
Counts = Callable[[Name], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step. `capacity`: slots of workers that serve the queue, None if workers say nothing of themselves.
    `held`: slots (on average) by queue and class. `paused`: the part of the step."""

    arrived: int = 0
    again: int = 0
    waiting: float = 0.0  # on average
    started: int = 0
    paused: float = 0.0
    capacity: float | None = None
    held: Mapping[Name, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """`before`: the steps of the time before the range. `runs`: run times (µs) before and in the range, by queue and class of the system.
    `complete_until_us`: how far history has come; `expected_us`: how far it should have (the range's end, or now)."""

    queue: str
    before: Sequence[Step]
    now: Sequence[Step]
    wait_before: Histogram
    wait_now: Histogram
    runs: Mapping[Name, tuple[Histogram, Histogram]]
    complete_until_us: int | None
    expected_us: int
    arrived_ratio: float | None = None  # of the stream


@dataclass(frozen=True, slots=True)
class Cause:
    """`share`: of the waiting. `evidence`: sentences with the numbers behind it."""

    reason: Reason
    share: float
    evidence: Sequence[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """`confidence`: from 0 to 1. `causes`: all with a share, the largest first; what none of them explains is missing from their sum."""

    reason: Reason
    confidence: float
    evidence: Sequence[str]
    causes: Sequence[Cause] = ()


def explain(f: Facts) -> Finding:
    """The verdict."""
    if (doubt := _doubt(f)) is not None:
        return Finding(Reason.UNKNOWN, 0.0, [doubt])
    slow, words = _slow(f)
    if not slow:
        return Finding(Reason.NOT_SLOW, 0.9, [words])
    causes = sorted(_causes(f), key=lambda cause: -cause.share)
    causes = [cause for cause in causes if cause.share >= 0.02]
    if not causes or causes[0].share < 0.2:
        return Finding(Reason.UNKNOWN, 0.2, [words, "nothing that is known explains it"], causes)
    first = causes[0]
    known = 1.0 if any(step.capacity is not None for step in f.now) else 0.7
    confidence = round(min(0.95, (0.4 + 0.6 * min(1.0, first.share / FIRM / 1.5)) * known * (f.arrived_ratio or 1.0)), 2)
    return Finding(first.reason, confidence, [words, *first.evidence], causes)


def _doubt(f: Facts) -> str | None:
    if f.complete_until_us is None:
        return "how far history has come is not known"
    if f.complete_until_us < f.expected_us - STALE_US:
        behind_s = (f.expected_us - f.complete_until_us) / 1e6
        return f"history is {behind_s:.0f} s behind the end of the range: what it does not have yet may be the cause"
    if f.arrived_ratio is not None and f.arrived_ratio < LEAST_RATIO:
        return f"only {f.arrived_ratio:.0%} of the events of this time have arrived"
    seen = histogram.count(f.wait_now) + (f.now[-1].waiting if f.now else 0)
    if seen < MIN_ATTEMPTS:
        return f"only {seen:.0f} attempts waited: at least {MIN_ATTEMPTS} are needed for a verdict"
    return None


def _slow(f: Facts) -> tuple[bool, str]:
    """Whether waits grew, or the line does; and the sentence that says so."""
    now_us, before_us = (histogram.quantiles(values, [0.95])[0] for values in (f.wait_now, f.wait_before))
    line, line_before = _mean(s.waiting for s in f.now), _mean(s.waiting for s in f.before)
    words = f"95 % waited up to {_time(now_us)} (before: {_time(before_us)}); {line:.1f} attempts in line on average (before: {line_before:.1f})"
    if before_us is None:
        return (now_us or 0) >= ALONE_WAIT_US or (now_us is None and line >= MIN_ATTEMPTS), words
    longer = now_us is not None and now_us >= max(SLOWER * before_us, LEAST_WAIT_US)
    stuck = line >= max(3 * line_before, line_before + 5)
    return longer or stuck, words


def _causes(f: Facts) -> list[Cause]:
    area = sum(step.waiting for step in f.now)
    if area <= 0:
        return []
    usual = _usual_capacity(f.before)
    own_before = _share_of(f.before, lambda name: name[0] == f.queue)
    shares = dict.fromkeys((Reason.PAUSED, Reason.NO_WORKERS, Reason.SLOTS_HELD), 0.0)
    demand = 0.0
    for step in f.now:
        paused = step.waiting * step.paused
        shares[Reason.PAUSED] += paused
        rest = step.waiting - paused
        if step.capacity is None:
            if step.started == 0 and not step.held:
                shares[Reason.NO_WORKERS] += rest
            else:
                demand += rest
            continue
        if step.capacity < 0.5:
            shares[Reason.NO_WORKERS] += rest
            continue
        missing = 1 - step.capacity / usual if usual and step.capacity <= FEWER * usual else 0.0
        shares[Reason.NO_WORKERS] += rest * missing
        rest -= rest * missing
        held = sum(step.held.values())
        if held < FULL * step.capacity:
            demand += rest  # slots were free at times: uneven arrivals, or work that workers did not take
            continue
        others = sum(slots for name, slots in step.held.items() if name[0] != f.queue) / held
        more = max(0.0, others - (1 - own_before))
        if more >= HOLDING:
            shares[Reason.SLOTS_HELD] += rest * min(1.0, more / max(others, 1e-9))
            rest -= rest * min(1.0, more / max(others, 1e-9))
        demand += rest
    out = [Cause(reason, share / area, _evidence(reason, f, usual)) for reason, share in shares.items() if share > 0]
    return _merged(out + [Cause(c.reason, c.share * demand / area, c.evidence) for c in _demand(f)])


def _merged(causes: Sequence[Cause]) -> list[Cause]:
    found: dict[Reason, Cause] = {}
    for cause in causes:
        known = found.get(cause.reason)
        found[cause.reason] = cause if known is None else Cause(cause.reason, known.share + cause.share, [*known.evidence, *cause.evidence])
    return list(found.values())


def _demand(f: Facts) -> list[Cause]:
    """The queue's own demand, as parts of one: by how much each factor of it grew. Less than one where nothing grew enough."""
    fresh_now, fresh_before = (_mean(s.arrived - s.again for s in steps) for steps in (f.now, f.before))
    again_now, again_before = (_mean(s.again for s in steps) for steps in (f.now, f.before))
    grown = _ratio(fresh_now, fresh_before)
    part_again = again_now / (fresh_now + again_now) if fresh_now + again_now else 0.0
    part_before = again_before / (fresh_before + again_before) if fresh_before + again_before else 0.0
    weights: dict[Reason, tuple[float, list[str]]] = {}
    if grown >= GROWN:
        words = f"{grown:.1f} times as many new attempts came in as before ({fresh_now:.1f} a step, before {fresh_before:.1f})"
        weights[Reason.BURST] = (log(grown), [words])
    if part_again >= STORM and part_again >= 2 * part_before:
        storm = _ratio(fresh_now + again_now, fresh_now)
        weights[Reason.RETRY_STORM] = (log(storm) + 0.5, [f"{part_again:.0%} of the attempts that came in were retries (before: {part_before:.0%})"])
    reason, growth, why = _runs(f)
    if reason is not None:
        weights[reason] = (log(growth), why)
    total = sum(weight for weight, _ in weights.values())
    if total <= 0:
        return []
    sure = min(1.0, total / log(1.5))  # little growth explains little of the waiting
    return [Cause(reason, sure * weight / total, said) for reason, (weight, said) in weights.items()]


def _runs(f: Facts) -> tuple[Reason | None, float, list[str]]:
    """Whether work takes longer, by how much, and whether one class does or what several share; or whether a class of the queue itself
    holds its slots."""
    grown: list[tuple[float, Name, float, float]] = []
    measured = 0
    for name, (before, now) in f.runs.items():
        if min(histogram.count(before), histogram.count(now)) < MIN_RUNS:
            continue
        measured += 1
        old, new = (histogram.quantiles(values, [0.5])[0] or 0.0 for values in (before, now))
        if old > 0 and new >= CLASS_GROWN * old:
            grown.append((new / old, name, old, new))
    grown.sort(reverse=True)
    mine = [each for each in grown if each[1][0] == f.queue]
    if mine and len(grown) >= 2 and 2 * len(grown) >= measured:
        words = [f"{name[1]} runs {factor:.1f} times as long ({_time(old)} → {_time(new)})" for factor, name, old, new in grown[:3]]
        return Reason.SLOW_DEPENDENCY, _mean(each[0] for each in grown), [f"{len(grown)} of {measured} classes became slower at once", *words]
    if mine:
        factor, name, old, new = mine[0]
        return Reason.SLOW_RUNS, factor, [f"{name[1]} runs {factor:.1f} times as long as before ({_time(old)} → {_time(new)})"]
    held, holder, slots, capacity = _holder(f, lambda name: name[0] == f.queue)
    if holder is not None and held >= HOLDING and len({n for s in f.now for n in s.held if n[0] == f.queue}) > 1:
        return Reason.SLOTS_HELD, 1 + 2 * held, [f"{holder[1]} held {slots:.0f} of {capacity:.0f} slots"]
    return None, 1.0, []


def _holder(f: Facts, counts: Counts) -> tuple[float, Name | None, float, float]:
    """The class that holds most more of the slots than before: (by what part, name, slots now, slots there are)."""
    now, before = ({name: _part(steps, name) for s in steps for name in s.held if counts(name)} for steps in (f.now, f.before))
    more = [(now[name] - before.get(name, 0.0), name) for name in now]
    if not more:
        return 0.0, None, 0.0, 0.0
    part, name = max(more)
    weight = sum(s.waiting for s in f.now) or 1.0
    slots = sum(s.held.get(name, 0.0) * s.waiting for s in f.now) / weight
    capacity = sum((s.capacity if s.capacity is not None else sum(s.held.values())) * s.waiting for s in f.now) / weight
    return part, name, slots, capacity


def _evidence(reason: Reason, f: Facts, usual: float) -> list[str]:
    if reason is Reason.PAUSED:
        return [f"the queue was paused for {_mean(s.paused for s in f.now):.0%} of the time"]
    if reason is Reason.SLOTS_HELD:
        _, holder, slots, capacity = _holder(f, lambda name: name[0] != f.queue)
        return [f"{holder[1]} of queue {holder[0]} held {slots:.0f} of {capacity:.0f} slots"] if holder is not None else []
    known = [s.capacity for s in f.now if s.capacity is not None]
    if not known:
        return ["nothing was started, and no worker says that it serves the queue"]
    return [f"workers had {min(known):.0f} to {max(known):.0f} slots for the queue (before: {usual:.0f})"]


def _usual_capacity(steps: Sequence[Step]) -> float:
    known = [s.capacity for s in steps if s.capacity is not None]
    return median(known) if known else 0.0


def _share_of(steps: Sequence[Step], counts: Counts) -> float:
    """The part of held slots that matching classes held; 1 if nothing was held."""
    held = sum(sum(s.held.values()) for s in steps)
    return sum(slots for s in steps for name, slots in s.held.items() if counts(name)) / held if held else 1.0


def _part(steps: Sequence[Step], name: Name) -> float:
    held = sum(sum(s.held.values()) for s in steps)
    return sum(s.held.get(name, 0.0) for s in steps) / held if held else 0.0


def _ratio(now: float, before: float) -> float:
    return now / before if before > 0 else (2.0 if now > 0 else 1.0)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _time(us: float | None) -> str:
    """For people.

    >>> _time(1_500), _time(2_500_000), _time(180_000_000), _time(None)
    ('1.5 ms', '2.5 s', '3.0 min', 'nothing')
    """
    if us is None:
        return "nothing"
    if us < 1_000_000:
        return f"{us / 1000:.1f} ms"
    return f"{us / 1e6:.1f} s" if us < 120_000_000 else f"{us / 60e6:.1f} min"

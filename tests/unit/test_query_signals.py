"""Health, scaling and forecasts of queues: pure judgements over made-up numbers, and over a simulated queue."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest
from jobtide.query.signals import forecast, health, scaling
from jobtide.query.signals.facts import Flow, QueueFacts, gather
from jobtide.query.signals.scaling import COOLDOWN_US, Why
from jobtide.query.signals.state import QueueSignals, nothing_yet
from jobtide.streams.snapshots import QueueSnapshot, WorkerSnapshot

KEY = ("acme", "default", "celery", "mail")
NOW = 1_790_000_000_000_000
SECOND = 1_000_000


def facts(**given: Any) -> QueueFacts:
    """A quiet queue with four workers, half busy, but for what is given."""
    quiet: dict[str, Any] = {"at_us": NOW, "workers": 4, "busy": 2, "slots": 4, "flows": {"5m": Flow(0, 0, 300.0)}}
    return QueueFacts(**{**quiet, **given})


# -- health


@pytest.mark.parametrize(
    ("given", "status", "what"),
    [
        ({}, "healthy", None),
        ({"waiting": 999}, "healthy", None),
        ({"waiting": 1_000}, "warning", "size"),
        ({"waiting": 10_000}, "critical", "size"),
        ({"waits": 20, "wait_p95_ms": 60_000.0}, "warning", "wait_p95_ms"),
        ({"waits": 20, "wait_p95_ms": 300_000.0}, "critical", "wait_p95_ms"),
        ({"waits": 19, "wait_p95_ms": 300_000.0}, "healthy", None),
        ({"tried": 4, "failed": 3}, "healthy", None),
        ({"tried": 20, "failed": 1}, "warning", "failure_rate"),
        ({"tried": 100, "failed": 25}, "critical", "failure_rate"),
        ({"lost": 2}, "warning", "lost"),
    ],
)  # fmt: skip
def test_health_goes_by_the_thresholds_and_says_which(given: dict[str, Any], status: str, what: str | None) -> None:
    found = health.reasons(facts(**given))
    assert health.worst(reason.status for reason in found) == status
    assert [reason.what for reason in found] == ([what] if what else [])


def test_every_reason_is_told_the_worst_first() -> None:
    found = health.reasons(facts(waiting=1_500, tried=100, failed=30, waits=50, wait_p95_ms=70_000.0))
    assert [(reason.what, reason.status) for reason in found] == [("failure_rate", "critical"), ("size", "warning"), ("wait_p95_ms", "warning")]


# -- scaling


@pytest.mark.parametrize(
    ("given", "delta", "why"),
    [
        ({"waiting": 50}, 0, Why.STEADY),
        ({"waiting": 101}, 2, Why.BACKLOG),
        ({"busy": 4, "waiting": 5}, 1, Why.SATURATED),
        ({"waiting": 20, "ended": 20, "flows": {"5m": Flow(31, 20, 300.0)}}, 1, Why.BEHIND),
        ({"waiting": 20, "ended": 21, "flows": {"5m": Flow(31, 20, 300.0)}}, 0, Why.STEADY),
        ({"waiting": 20, "ended": 1, "flows": {"5m": Flow(19, 1, 300.0)}}, 0, Why.STEADY),
        ({"waiting": 20, "waits": 20, "wait_p95_ms": 61_000.0}, 1, Why.WAITING),
        ({"busy": 1, "waiting": 9}, -1, Why.UNUSED),
        ({"busy": 1, "waiting": 10}, 0, Why.STEADY),
        ({"busy": 0, "workers": 1, "slots": 4}, 0, Why.STEADY),
        ({"workers": 0, "busy": 0, "slots": 0, "waiting": 3}, 1, Why.NO_WORKERS),
        ({"workers": 0, "busy": 0, "slots": 0}, 0, Why.STEADY),
    ],
)  # fmt: skip
def test_what_a_queue_wants_and_why(given: dict[str, Any], delta: int, why: Why) -> None:
    assert scaling.wanted(facts(**given)) == (delta, why)


def test_an_advice_stands_for_its_cooldown_and_every_change_is_remembered() -> None:
    known = scaling.advise(nothing_yet(KEY), facts(waiting=500))
    assert (known.delta, known.desired, known.reason) == (2, 6, Why.BACKLOG)
    quiet = facts(at_us=NOW + COOLDOWN_US - 1, busy=0)
    assert scaling.advise(known, quiet) is known, "not yet"
    after = scaling.advise(known, replace(quiet, at_us=NOW + COOLDOWN_US))
    assert (after.delta, after.desired, after.reason) == (-1, 3, Why.UNUSED)
    assert [(advice.desired, advice.reason) for advice in after.history] == [(6, Why.BACKLOG), (3, Why.UNUSED)]


def test_no_series_of_looks_changes_the_advice_more_often_than_the_cooldown_allows() -> None:
    dice, known = Random(3), nothing_yet(KEY)
    for look in range(2_000):
        at_us = NOW + look * 10 * SECOND
        known = scaling.advise(known, facts(at_us=at_us, waiting=dice.choice((0, 5, 500)), busy=dice.randrange(5), workers=dice.randrange(5)))
    changes = known.history
    assert len(changes) == scaling.HISTORY
    for one, other in pairwise(changes):
        assert other.at_us - one.at_us >= COOLDOWN_US or one.desired == one.workers, "only after no advice may one come at once"


# -- forecast


class Simulated:
    """A queue with random arrivals and as many starts as its workers manage, looked at every ten seconds."""

    def __init__(self, seed: int, waiting: int, in_per_s: float, out_per_s: float) -> None:
        self.dice, self.waiting, self.rates = Random(seed), waiting, (in_per_s, out_per_s)
        self.at_us, self.seconds = NOW, list[tuple[int, int]]()
        for _ in range(900):
            self._second(fixed=waiting)

    def _second(self, fixed: int | None = None) -> None:
        came = sum(self.dice.random() < self.rates[0] / 20 for _ in range(20))
        left = sum(self.dice.random() < self.rates[1] / 20 for _ in range(20))
        if fixed is None:
            left = min(left, self.waiting + came)
            self.waiting += came - left
        self.seconds.append((came, left))
        self.at_us += SECOND

    def look(self) -> QueueFacts:
        for _ in range(10):
            self._second()
        flows = {}
        for name, length in (("1m", 60), ("5m", 300), ("15m", 900)):
            last = self.seconds[-length:]
            flows[name] = Flow(sum(came for came, _ in last), sum(left for _, left in last), float(length))
        return QueueFacts(at_us=self.at_us, waiting=self.waiting, flows=flows)


def test_forecasts_of_simulated_backlogs_hold_nine_times_in_ten() -> None:
    scored = inside = 0
    errors = []
    for seed in range(40):
        queue, known = Simulated(seed, 600 + 20 * seed, 4.0, 7.0), nothing_yet(KEY)
        for _ in range(200):
            known = forecast.follow(known, queue.look())
            if known.scored:
                break
        assert known.scored and not known.open and known.forecast is None
        scored, inside = scored + known.scored, inside + known.inside
        errors.append(known.scores[0].error)
    assert inside / scored >= 0.9, f"{inside} of {scored}"
    assert sorted(errors)[len(errors) // 2] < 0.2


def test_a_backlog_that_grows_has_no_end_in_sight() -> None:
    queue, known = Simulated(1, 300, 8.0, 4.0), nothing_yet(KEY)
    known = forecast.follow(known, queue.look())
    assert known.growing and known.forecast is None and not known.open


def test_an_end_that_may_never_come_has_no_latest_time() -> None:
    made = forecast.look_ahead(facts(waiting=100, flows={"5m": Flow(300, 310, 300.0), "15m": Flow(900, 800, 900.0)}))
    assert made is not None and made.latest_us is None and made.earliest_us < made.expected_us


def test_a_forecast_is_scored_by_what_happened() -> None:
    known = forecast.follow(nothing_yet(KEY), facts(waiting=300, flows={"5m": Flow(0, 300, 300.0)}))
    (made,) = known.open
    assert made.expected_us == NOW + 300 * SECOND
    late = forecast.follow(known, facts(at_us=NOW + 1_200 * SECOND, waiting=3))
    assert (late.scored, late.inside, round(late.scores[0].error, 2)) == (1, 0, 0.75)
    on_time = forecast.follow(known, facts(at_us=NOW + 310 * SECOND, waiting=3))
    assert (on_time.scored, on_time.inside) == (1, 1)


def test_the_memory_survives_the_store() -> None:
    known = forecast.follow(scaling.advise(nothing_yet(KEY), facts(waiting=500)), facts(waiting=500, flows={"5m": Flow(0, 300, 300.0)}))
    assert msgspec.json.decode(msgspec.json.encode(known), type=QueueSignals) == known


# -- facts


def test_dead_workers_and_old_counts_are_not_believed() -> None:
    alive = WorkerSnapshot(*KEY[:3], "w-1", "busy", NOW - 5 * SECOND, concurrency=8, busy=6, interval_ms=10_000)
    dead = WorkerSnapshot(*KEY[:3], "w-2", "busy", NOW - 60 * SECOND, concurrency=8, busy=8, interval_ms=10_000)
    found = gather(NOW, NOW, [], QueueSnapshot(*KEY, NOW - SECOND, ready=17), [alive, dead], 0)
    assert (found.workers, found.busy, found.slots, found.utilisation, found.waiting) == (1, 6, 8, 0.75, 17)
    assert gather(NOW, NOW, [], QueueSnapshot(*KEY, NOW - 90 * SECOND, ready=17), [], 0).waiting == 0

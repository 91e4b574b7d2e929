"""The verdict about a slow queue: when there is none, and that shares of causes add up. Planted causes: tests/proof/why_slow_causes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from jobtide.query import slow_facts
from jobtide.query.ranges import MINUTE_US, Range
from jobtide.query.why_slow import STALE_US, Facts, Reason, Step, explain

END_US = 1_800_000_000_000_000
SECOND_BUCKET, MINUTE_BUCKET = 698, 905  # about 1 s and 60 s
MAIL = ("mail", "Mail")
USUAL = Step(arrived=30, waiting=0.2, started=30, capacity=4.0, held={MAIL: 1.5})
BUSY = Step(arrived=90, waiting=100.0, started=40, capacity=4.0, held={MAIL: 4.0})
BURST = Facts(
    "mail", [USUAL] * 60, [BUSY] * 20, {SECOND_BUCKET: 1800}, {MINUTE_BUCKET: 800}, {MAIL: ({600: 1800}, {600: 800})}, END_US, END_US, 1.0
)


def test_a_burst_is_found_and_its_share_is_the_whole() -> None:
    found = explain(BURST)
    assert found.reason is Reason.BURST
    assert found.causes[0].share == pytest.approx(1.0)
    assert "3.0 times as many" in " ".join(found.evidence)
    assert found.confidence > 0.9


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(BURST, complete_until_us=END_US - STALE_US - 1), "behind"),
        (replace(BURST, complete_until_us=None), "not known"),
        (replace(BURST, arrived_ratio=0.89), "89%"),
        (replace(BURST, wait_now={MINUTE_BUCKET: 4}, now=[replace(BUSY, waiting=3.0)] * 20), "at least 10"),
    ],
)
def test_stale_lossy_or_little_data_gives_no_verdict(facts: Facts, words: str) -> None:
    found = explain(facts)
    assert (found.reason, found.confidence) == (Reason.UNKNOWN, 0.0)
    assert words in found.evidence[0]


def test_waits_as_before_are_not_slow() -> None:
    assert explain(replace(BURST, now=[USUAL] * 20, wait_now={SECOND_BUCKET: 800})).reason is Reason.NOT_SLOW


def test_waiting_that_nothing_explains_is_not_explained() -> None:
    idle = replace(BUSY, arrived=30, held={MAIL: 1.5})
    assert explain(replace(BURST, now=[idle] * 20)).reason is Reason.UNKNOWN


def test_waiting_is_shared_between_causes_by_when_it_was() -> None:
    paused, gone = replace(BUSY, arrived=30, paused=1.0), replace(BUSY, arrived=30, capacity=0.0, held={})
    found = explain(replace(BURST, now=[paused] * 15 + [gone] * 5))
    assert [(c.reason, round(c.share, 6)) for c in found.causes] == [(Reason.PAUSED, 0.75), (Reason.NO_WORKERS, 0.25)]


def test_without_heartbeats_a_verdict_is_less_sure() -> None:
    silent = [replace(step, capacity=None) for step in BURST.now]
    found = explain(replace(BURST, now=silent))
    assert found.reason is Reason.BURST
    assert found.confidence < explain(BURST).confidence


def test_steps_pauses_and_slots_from_rows() -> None:
    w = slow_facts.window(Range(END_US - 20 * MINUTE_US, END_US))
    assert (w.step_us, w.before, w.count) == (MINUTE_US, 60, 80)
    at = w.base_from_us
    lines = [(-1, 5, 0, 3, 0, 0), (0, 4, 1, 2, 1, 0), (2, 0, 0, 4, 0, 0)]
    workers = [("w", at + MINUTE_US, at + 3 * MINUTE_US, 10, 1, None, None)]
    pauses = [(at - 5, 1), (at + MINUTE_US // 2, 0), (at + 2 * MINUTE_US, 1)]
    slots = [(1, "mail", "Mail", 30_000_000, 1)]
    steps = slow_facts.steps(w, lines, workers, slots, pauses)
    assert [s.waiting for s in steps[:4]] == [3.0, 4.0, 2.0, 0.0]
    assert [s.paused for s in steps[:4]] == [0.5, 0.0, 1.0, 1.0]
    assert [s.capacity for s in steps[:4]] == [10.0, 10.0, 10.0, 0.0], "from a minute before its first word to its goodbye"
    assert steps[1].held == {("mail", "Mail"): 0.5}
    assert slow_facts.steps(w, lines, [], slots, [])[0].capacity is None

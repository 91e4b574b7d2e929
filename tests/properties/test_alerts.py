"""Alert rules on random series: laws that hold whatever comes, and the same transitions however the log is read."""

from __future__ import annotations

import random

import pytest
from jobtide.streams.alerts.lifecycle import Instance, Timing, Verdict, step
from jobtide.streams.alerts.long_totals import LENGTHS_S, LongTotals

from tests.properties.alert_series import broken_laws, each_once, random_log, rules, straight, with_crashes


def test_no_flap_no_alert_on_few_samples_and_every_story_makes_sense() -> None:
    """Ten thousand series: tests.proof.random_series."""
    transitions = straight(random_log(0, 300, 900), rules())
    assert {each.rule for each in transitions} == {rule.name for rule in rules().rules}
    assert broken_laws(transitions) == []
    assert len({each.id for each in transitions}) == len(transitions)


@pytest.mark.parametrize("seed", range(6))
def test_read_in_any_batches_with_crashes_anywhere_it_says_the_same(seed: int) -> None:
    log, of = random_log(100 + seed, 25, 900, late=0.3), rules()
    once = each_once(straight(log, of))
    assert len(once) > 30
    assert each_once(with_crashes(log, of, random.Random(seed), *((0.02, 400) if seed % 2 else (0.002, 6)))) == once


def test_long_totals_are_the_sums_of_their_buckets_however_they_come() -> None:
    rng = random.Random(5)
    totals, all_minutes, now = LongTotals(), {}, 1_763_000_100
    totals.roll(now)
    for _ in range(3000):
        now += rng.choice([1, 30, 60, 60, 300, 7200])
        totals.roll(now)
        minute = now - now % 60 - 60 * rng.randint(1, 60)
        finished, dead = rng.randint(0, 5), rng.randint(0, 2)
        totals.add(minute, finished, 0, dead)
        known = all_minutes.get(minute, (0, 0))
        all_minutes[minute] = (known[0] + finished, known[1] + dead)
        edge = now - now % 300
        for length_s in LENGTHS_S:
            inside = [c for m, c in all_minutes.items() if m - m % 300 >= edge - length_s]
            assert totals.counts(length_s) == [sum(f for f, _ in inside), 0, sum(d for _, d in inside)]
    again = LongTotals()
    for hour in {start // 3600 for start in totals.buckets}:
        again.load(totals.hour(hour))
    again.settle(now)
    assert (again.buckets, again.sums, again.edge_s) == (totals.buckets, totals.sums, totals.edge_s)


def test_assessing_again_at_the_same_time_changes_nothing() -> None:
    """So what is evaluated although it did not change does no harm."""
    rng = random.Random(9)
    for _ in range(3000):
        timing = Timing(rng.choice([0, 5]), rng.choice([0, 7]), rng.choice([0, 9]), rng.choice(["ok", "keep", "alert"]))
        instance: Instance | None = None
        for now in range(1, 40):
            verdict = rng.choice(list(Verdict))
            instance = step(instance, verdict, now, timing).instance
            again = step(instance, verdict, now, timing)
            assert again.instance == instance
            assert again.entered == ()

"""The two tests behind a verdict about a deploy, against brute force, and when there is none."""

from __future__ import annotations

import itertools
import random
from math import comb

import pytest
from jobtide.query.before_after import MIN_SAMPLE, Verdict, compare, holm, mann_whitney, proportions
from jobtide.query.drift import Direction, drift
from jobtide.query.measures import Totals
from jobtide.query.reruns import Rerun, double_us, judged


def exact(k1: int, n1: int, k2: int, n2: int) -> float:
    k, n = k1 + k2, n1 + n2
    ways = {i: comb(n1, i) * comb(n2, k - i) for i in range(max(0, k - n2), min(k, n1) + 1)}
    return sum(w for w in ways.values() if w <= ways[k1]) / comb(n, k)


@pytest.mark.parametrize(("k1", "n1", "k2", "n2"), [(3, 30, 12, 40), (0, 30, 1, 30), (15, 31, 15, 31), (29, 30, 5, 44), (0, 9, 0, 9), (9, 9, 9, 9)])
def test_proportions_are_fishers_exact(k1: int, n1: int, k2: int, n2: int) -> None:
    assert proportions(k1, n1, k2, n2) == pytest.approx(exact(k1, n1, k2, n2), abs=1e-9)


def test_large_counts_go_over_to_the_normal_approximation_smoothly() -> None:
    small, large = proportions(80, 2400, 110, 2400), proportions(84, 2510, 115, 2510)
    assert small == pytest.approx(large, rel=0.35)
    assert proportions(1000, 1_000_000, 1200, 1_000_000) < 0.001
    assert proportions(1000, 1_000_000, 1001, 1_000_000) > 0.9


def test_mann_whitney_counts_pairs_and_corrects_ties() -> None:
    r = random.Random(4)
    a, b = [r.randrange(6) for _ in range(40)], [r.randrange(1, 8) for _ in range(50)]
    pairs = list(itertools.product(a, b))
    chance = sum((y > x) + (y == x) / 2 for x, y in pairs) / len(pairs)
    p, found = mann_whitney({v: a.count(v) for v in set(a)}, {v: b.count(v) for v in set(b)})
    assert found == pytest.approx(chance)
    whole, wins = a + b, chance * len(pairs)
    hits = 0
    for _ in range(4000):  # the same by shuffling
        r.shuffle(whole)
        shuffled = sum((y > x) + (y == x) / 2 for x in whole[:40] for y in whole[40:])
        hits += abs(shuffled - 1000) >= abs(wins - 1000)
    assert p == pytest.approx(hits / 4000, abs=0.02)
    assert mann_whitney({5: 10}, {5: 12}) == (1.0, 0.5)
    assert mann_whitney({}, {5: 12}) == (1.0, None)


def totals(failed: int, finished: int, bucket: int = 500) -> Totals:
    return Totals(failed=failed, finished=finished, run_ok={bucket: finished // 2, bucket + 3: finished - finished // 2})


def test_a_verdict_needs_a_sample_an_effect_and_significance() -> None:
    same, worse, few, tiny, slower = compare([
        (totals(5, 500), totals(6, 500)),
        (totals(5, 500), totals(60, 500)),
        (totals(0, MIN_SAMPLE - 1), totals(29, 1)),
        (totals(1000, 1_000_000), totals(1400, 1_000_000)),
        (totals(0, 200), totals(0, 200, 560)),
    ])  # fmt: skip
    assert (same.failure_rate.verdict, same.run_p50.verdict) == (Verdict.SAME, Verdict.SAME)
    assert worse.failure_rate.verdict is Verdict.WORSE
    assert (few.failure_rate.verdict, few.failure_rate.p) == (Verdict.TOO_FEW, None)
    assert tiny.failure_rate.p is not None
    assert tiny.failure_rate.p < 0.001
    assert tiny.failure_rate.verdict is Verdict.SAME, "significant and too small to matter"
    assert (slower.run_p50.verdict, slower.slower_chance) == (Verdict.WORSE, 1.0)
    [better] = compare([(totals(60, 500), totals(5, 500))])
    assert better.failure_rate.verdict is Verdict.BETTER


def test_nothing_changed_is_said_about_nearly_all_of_many_classes_that_did_not() -> None:
    """1 000 pairs of the same rate: corrected, a wrong verdict about any of them is rare."""
    r = random.Random(11)

    def sample() -> Totals:
        failed = sum(r.random() < 0.2 for _ in range(200))
        return totals(failed, 200 - failed)

    found = compare([(sample(), sample()) for _ in range(1000)])
    assert sum(c.failure_rate.verdict is not Verdict.SAME for c in found) <= 1


def test_holm_keeps_the_order() -> None:
    assert holm([]) == []
    assert holm([0.04, 0.01]) == [0.04, 0.02]


def test_drift_ignores_wild_steps_and_needs_some() -> None:
    assert drift([5.0, 5.1, 900.0, 5.0, 4.9, 5.0, 5.1])[0] is Direction.FLAT
    assert drift([9.0, 8, 7, None, 5, 4, 3])[0] is Direction.FALLING
    assert drift([1.0, 2, 3, None, None, 4]) == (Direction.UNKNOWN, None)
    assert drift([0.0] * 8) == (Direction.FLAT, 0.0)
    assert drift([float(n) for n in range(1, 1001)])[0] is Direction.RISING


def test_runs_of_one_attempt() -> None:
    assert judged([(0, "a", 10), (10, "b", 15)]) is Rerun.AGAIN
    assert judged([(0, "a", None), (10, "b", 15)]) is Rerun.REPLACED
    assert judged([(0, "a", 30), (5, "b", None), (20, "c", 25)]) is Rerun.OVERLAP
    assert double_us([(0, "a", 30), (5, "b", 12), (6, "c", 8)]) == 7
    assert double_us([(0, "a", None), (5, "b", 12)]) == 0

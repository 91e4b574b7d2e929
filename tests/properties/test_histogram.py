"""The log-bucket histogram: within 1 % of the sorted values, and a commutative group under merging."""

from __future__ import annotations

from array import array
from fractions import Fraction
from math import ceil
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jobtide.streams.sketches.histogram import (
    GAMMA,
    RELATIVE_ERROR,
    ZERO,
    add,
    bucket,
    count,
    maximum,
    of,
    quantiles,
    representative,
)

from tests.proof import counting_oracle, d9_percentiles
from tests.properties.searching import searching

YEAR_US = d9_percentiles.YEAR_US
durations = st.integers(0, 30) | st.integers(0, YEAR_US) | st.integers(0, 1570).map(lambda index: round(GAMMA**index))
samples = st.lists(durations, max_size=80)
QUANTILES = st.sampled_from([*d9_percentiles.QUANTILES, "0.01", "0.07", "0.25", "0.333", "1"])


@pytest.mark.slow
def test_every_percentile_of_every_shape_is_within_one_percent() -> None:
    result = d9_percentiles.run(full=False)
    assert result["passes"], [row for row in result["rows"] if row["worst"] > d9_percentiles.PROMISED]
    assert result["worst_relative_error"] > 0.005, "an error this small means that the values were compared with themselves"
    assert {row["points"] for row in result["rows"]} >= {1, 100, 1_000, 10_000, 100_000, 1_000_000}


@searching(500)
@given(durations)
def test_a_bucket_stands_for_its_values_within_the_stated_error(value_us: int) -> None:
    index = bucket(value_us)
    error = d9_percentiles.relative_error(representative(index), value_us)
    assert error <= RELATIVE_ERROR * (1 + 1e-12) <= d9_percentiles.PROMISED
    # On the very edge of a bucket two ways to compute a logarithm may part.
    on_an_edge = any(abs(value_us - GAMMA**edge) < value_us * 1e-12 for edge in (index - 1, index))
    assert on_an_edge or {index: 1} == counting_oracle.histogram([value_us])
    assert index <= 1_571
    assert bucket(value_us + 1) >= index


@searching(200)
@given(samples.filter(bool), st.lists(QUANTILES, min_size=1))
def test_a_quantile_is_the_value_of_its_rank(values: list[int], qs: list[str]) -> None:
    ordered = sorted(values)
    for estimate, q in zip(quantiles(of(values), map(float, qs)), qs, strict=True):
        assert estimate == representative(bucket(d9_percentiles.exact(ordered, q)))
    assert maximum(of(values)) == representative(bucket(ordered[-1]))


@searching(300)
@given(st.integers(1, 10**9), QUANTILES)
@example(100, "0.07")  # 7.000000000000001 in floating point
def test_the_rank_is_exact_for_a_thousand_million_values(n: int, q: str) -> None:
    """One value in the bucket of the rank, the others below and above: off by one rank is off by a bucket."""
    rank = max(1, ceil(Fraction(q) * n))
    histogram = {index: k for index, k in ((10, rank - 1), (20, 1), (30, n - rank)) if k}
    assert quantiles(histogram, [float(q)]) == [representative(20)]


@searching(200)
@given(st.lists(samples, max_size=6), st.data())
def test_merging_is_counting_together_in_any_order(parts: list[list[int]], data: st.DataObject) -> None:
    merged: dict[int, int] = {}
    for part in data.draw(st.permutations(parts)):
        add(merged, of(part))
    assert merged == of([value for part in parts for value in part])
    assert count(merged) == sum(map(len, parts))


@searching(200)
@given(samples, samples)
def test_what_was_added_can_be_taken_out(values: list[int], more: list[int]) -> None:
    histogram = of(values)
    add(histogram, of(more))
    add(histogram, of(more), -1)
    assert histogram == of(values), "and no empty bucket stays"
    add(histogram, of(values), -1)
    assert histogram == {}


@pytest.mark.parametrize("merges", [1, 2, 7, 64])
def test_any_number_of_merges(merges: int) -> None:
    random = Random(merges)
    values = array("q", (random.randrange(1, 10**9) for _ in range(3_000)))
    assert d9_percentiles.worst_error(values, merges, random) <= d9_percentiles.PROMISED


def test_nothing_has_no_quantile() -> None:
    assert quantiles({}, [0.5, 0.99]) == [None, None]
    assert maximum({}) is None


def test_zero_has_a_bucket_below_every_other() -> None:
    assert quantiles(of([0, 0, 5]), [0.5]) == [0.0]
    assert bucket(0) == ZERO < bucket(1)

"""D9: how far the histogram's quantiles lie from those of the sorted values themselves.

    python -m tests.proof.d9_percentiles [--full]

Five shapes of durations, from one value to a million (ten million with --full), cut into 1, 8 and 64 parts that are merged in two orders.
The value of quantile q is the one of 1-based rank ceil(q·n), computed here in exact fractions from the sorted list.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from random import Random
from typing import Any

import orjson
from jobtide.streams.sketches import histogram

QUANTILES = ("0.5", "0.9", "0.95", "0.99", "0.999")
MERGES = (1, 8, 64)
PROMISED = 0.01
YEAR_US = 366 * 24 * 3600 * 1_000_000


def _lognormal(random: Random) -> int:
    return round(random.lognormvariate(12, 1.5))


def _bimodal(random: Random) -> int:
    """A cache that hits or does not: 2 ms or 8 s."""
    return max(0, round(random.gauss(2_000, 300) if random.random() < 0.7 else random.gauss(8e6, 1e6)))


def _heavy_tail(random: Random) -> int:
    return min(YEAR_US, round(1_000 * random.paretovariate(0.9)))


def _constant(_: Random) -> int:
    return 1_234_567


SHAPES: dict[str, Callable[[Random], int]] = {
    "lognormal": _lognormal, "bimodal": _bimodal, "heavy tail": _heavy_tail, "constant": _constant,
}  # fmt: skip


def exact(ordered: list[int], quantile: str) -> int:
    """The value of 1-based rank ceil(q·n)."""
    return ordered[max(1, ceil(Fraction(quantile) * len(ordered))) - 1]


def relative_error(estimate: float | None, value: int) -> float:
    if estimate is None:
        return float("inf")
    if value == 0:
        return 0.0 if estimate == 0 else float("inf")
    return abs(estimate - value) / value


def worst_error(values: array[int], merges: int, random: Random) -> float:
    """The largest relative error of p50 … p99.9 and the maximum, after cutting `values` into parts and merging these.

    Raises AssertionError if the order of the merges makes a difference.
    """
    parts = [histogram.of(values[part::merges]) for part in range(merges)]
    merged: histogram.Histogram = {}
    for part in parts:
        histogram.add(merged, part)
    random.shuffle(parts)
    again: histogram.Histogram = {}
    for part in parts:
        histogram.add(again, part)
    assert merged == again, "the order of merges matters"
    ordered = sorted(values)
    estimates = histogram.quantiles(merged, map(float, QUANTILES))
    errors = [relative_error(e, exact(ordered, q)) for e, q in zip(estimates, QUANTILES, strict=True)]
    return max(*errors, relative_error(histogram.maximum(merged), ordered[-1]))


def rows(sizes: list[int], seed: int = 9) -> list[dict[str, Any]]:
    """The table: worst relative error for each shape, size and number of merges."""
    table: list[dict[str, Any]] = []
    for shape, draw in SHAPES.items():
        for size in sizes:
            random = Random(f"{seed} {shape} {size}")
            values = array("q", (draw(random) for _ in range(size)))
            for merges in MERGES if size <= 100_000 else (64,):
                table.append({"shape": shape, "points": size, "merges": merges, "worst": worst_error(values, merges, random)})
    for value in (0, 1, 2, 999, 40_000_000, YEAR_US):
        table.append({"shape": f"one sample: {value} µs", "points": 1, "merges": 1, "worst": worst_error(array("q", [value]), 1, Random(seed))})
    return table


def run(full: bool) -> dict[str, Any]:
    """The bar's numbers: `passes`, the worst relative error and the table it is the worst of."""
    table = rows([100, 1_000, 10_000, 100_000, 1_000_000, *([10_000_000] if full else [])])
    worst = max(row["worst"] for row in table)
    return {"bar": "D9", "passes": worst <= PROMISED, "worst_relative_error": worst, "promised": PROMISED, "rows": table}


if __name__ == "__main__":
    result = run("--full" in sys.argv)
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    sys.exit(0 if result["passes"] else 1)

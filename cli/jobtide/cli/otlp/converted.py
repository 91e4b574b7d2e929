"""Families of /metrics as OpenTelemetry's metrics, by the rules of its Prometheus compatibility. Pure.

A counter is a monotonic cumulative sum without `_total`, a gauge a gauge, a histogram a histogram with explicit bounds; `_seconds` and `_bytes` give
the unit, and names stay as they are, so that one dashboard reads both. A summary is its count and its sum: its quantiles are not ours to merge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

CUMULATIVE = AggregationTemporality.CUMULATIVE
UNITS = {"seconds": "s", "bytes": "By", "ratio": "1", "percent": "%"}
Labels = tuple[tuple[str, str], ...]


def converted(families: Iterable[Family], resource: Resource, scope: InstrumentationScope, began_ns: int, now_ns: int) -> MetricsData:
    """What there is to send. `began_ns`: since when sums count, where a family does not say."""
    metrics = [metric for family in families for metric in _metrics(family, began_ns, now_ns)]
    scoped = ScopeMetrics(scope=scope, metrics=metrics, schema_url="")
    return MetricsData(resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[scoped], schema_url=resource.schema_url)])


def _metrics(family: Family, began_ns: int, now_ns: int) -> Iterator[Metric]:
    name = family.name
    created = {_labels(each): int(each.value * 1e9) for each in family.samples if each.name == f"{name}_created"}

    def numbers(suffix: str) -> list[NumberDataPoint]:
        wanted = [each for each in family.samples if each.name == name + suffix and math.isfinite(each.value)]
        return [NumberDataPoint(dict(each.labels), created.get(_labels(each), began_ns), now_ns, float(each.value)) for each in wanted]

    def metric(points: list[NumberDataPoint], *, monotonic: bool, suffix: str = "") -> Iterator[Metric]:
        if points:
            data: Any = Sum(points, CUMULATIVE, True) if monotonic else Gauge(points)
            yield Metric(name + suffix, family.documentation, _unit(name + suffix), data)

    if family.type == "counter":
        yield from metric(numbers("_total"), monotonic=True)
    elif family.type == "histogram":
        if points := _histograms(family, created, began_ns, now_ns):
            yield Metric(name, family.documentation, _unit(name), Histogram(points, CUMULATIVE))
    elif family.type == "summary":
        yield from metric(numbers("_count"), monotonic=True, suffix="_count")
        yield from metric(numbers("_sum"), monotonic=True, suffix="_sum")
    else:
        suffix = "_info" if family.type == "info" else ""
        yield from metric(numbers(suffix), monotonic=False, suffix=suffix)


def _histograms(family: Family, created: dict[Labels, int], began_ns: int, now_ns: int) -> list[HistogramDataPoint]:
    buckets: dict[Labels, list[tuple[float, float]]] = {}
    sums = {_labels(each): each.value for each in family.samples if each.name == f"{family.name}_sum"}
    for each in family.samples:
        if each.name == f"{family.name}_bucket":
            buckets.setdefault(_labels(each), []).append((float(each.labels["le"]), each.value))
    points = []
    for labels, found in buckets.items():
        upto = sorted(found)  # each holds those before it as well
        counts = [int(value - (upto[n - 1][1] if n else 0)) for n, (_, value) in enumerate(upto)]
        bounds = [bound for bound, _ in upto if math.isfinite(bound)]
        since_ns = created.get(labels, began_ns)
        # Least and greatest are not known; OTLP leaves them out where they are no numbers.
        points.append(HistogramDataPoint(dict(labels), since_ns, now_ns, int(upto[-1][1]), sums.get(labels, 0.0), counts, bounds, math.nan, math.nan))
    return points


def _labels(sample: Sample) -> Labels:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))


def _unit(name: str) -> str:
    """The unit that a name ends with, as UCUM.

    >>> _unit("jobtide_watermark_lag_seconds"), _unit("jobtide_attempts_5m")
    ('s', '1')
    """
    return UNITS.get(name.rpartition("_")[2], "1")

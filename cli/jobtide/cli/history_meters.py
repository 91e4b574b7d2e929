"""The history writer's counts for Prometheus: reads `HistoryMetrics` when it is scraped. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Iterator

from jobtide.sinks.history_metrics import HistoryMetrics
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_COUNTERS = {
    "events": "Events read from the log",
    "duplicates": "Of these, repeated within one batch",
    "batches": "Batches written",
    "skipped_offsets": "Offsets that the log no longer has",
    "insert_seconds": "Time spent in inserts",
    "lookups": "Attempts whose earlier facts were read back",
    "recomputed_minutes": "Minutes recomputed",
    "recompute_seconds": "Time spent recomputing",
    "retries": "Calls repeated because ClickHouse was away",
    "commit_failures": "Offset commits that failed",
    "rebalances": "Rebalances",
}
_LABELLED = {"refused": "reason", "rows": "table"}
_GAUGES = {
    "pending_minutes": "Minutes to be recomputed",
    "remembered_attempts": "Attempts in memory",
    "alerts_behind": "Records of job.alerts that are not in history yet",
}


class HistoryCollector(Collector):
    """All of one writer's counts, under `jobtide_history_`."""

    def __init__(self, metrics: HistoryMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for name, doc in _COUNTERS.items():
            yield CounterMetricFamily(f"jobtide_history_{name}", doc, value=getattr(self._metrics, name))
        for name, label in _LABELLED.items():
            family = CounterMetricFamily(f"jobtide_history_{name}", f"{name} by {label}", labels=[label])
            for value, count in dict(getattr(self._metrics, name)).items():
                family.add_metric([str(value)], count)
            yield family
        for name, doc in _GAUGES.items():
            yield GaugeMetricFamily(f"jobtide_history_{name}", doc, value=getattr(self._metrics, name))
        lag = GaugeMetricFamily("jobtide_history_lag", "Messages behind the end of the log", labels=["partition"])
        for partition, behind in dict(self._metrics.lag).items():
            lag.add_metric([str(partition)], behind)
        yield lag


def registered() -> HistoryMetrics:
    """Metrics for one writer, shown by the process's /metrics."""
    metrics = HistoryMetrics()
    REGISTRY.register(HistoryCollector(metrics))
    return metrics

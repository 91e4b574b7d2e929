"""The signals of queues as gauges: for an autoscaler (`jobtide_scaling_desired_workers`), for alerts, for dashboards.

Labels are bounded: the MAX_QUEUES queues with most jobs waiting; signals of several queues cannot be added up, so the others are left out and
counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobtide.query.selection import QUEUE_DEPTH, SERIES_PARTS
from jobtide.query.signal_keeper import SignalKeeper
from jobtide.query.signals import health
from jobtide.query.signals.state import nothing_yet
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MAX_QUEUES = 500


class SignalCollector(Collector):
    """What the keeper found last; nothing while hot state is out of reach."""

    def __init__(self, keeper: SignalKeeper) -> None:
        self._keeper = keeper

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        keeper = self._keeper
        if keeper.unavailable is not None:
            return
        labels = list(SERIES_PARTS[:QUEUE_DEPTH])
        state = GaugeMetricFamily("jobtide_queue_health", "0 healthy, 1 warning, 2 critical", labels=labels)
        advice = GaugeMetricFamily("jobtide_scaling_advice", "Workers more or fewer than there are", labels=labels)
        desired = GaugeMetricFamily("jobtide_scaling_desired_workers", "Workers the queue wants", labels=labels)
        used = GaugeMetricFamily("jobtide_queue_utilisation", "Busy share of the slots of the workers that serve it", labels=labels)
        clear = GaugeMetricFamily("jobtide_backlog_clear_seconds", "Until the backlog is gone, by forecast", labels=labels)
        growing = GaugeMetricFamily("jobtide_backlog_growing", "1 if there is a backlog and it does not shrink", labels=labels)
        scored = GaugeMetricFamily("jobtide_forecasts_scored", "Forecasts whose backlog is gone", labels=[*labels, "inside"])
        ranked = sorted(keeper.facts, key=lambda key: (-keeper.facts[key].waiting, key))
        for key in ranked[:MAX_QUEUES]:
            facts, known = keeper.facts[key], keeper.signals.get(key) or nothing_yet(key)
            state.add_metric(key, health.RANKS.index(health.worst(reason.status for reason in health.reasons(facts))))
            advice.add_metric(key, known.delta)
            desired.add_metric(key, known.desired if known.desired is not None else facts.workers)
            if facts.utilisation is not None:
                used.add_metric(key, facts.utilisation)
            if known.forecast is not None:
                clear.add_metric(key, max(0.0, (known.forecast.expected_us - facts.at_us) / 1e6))
            growing.add_metric(key, known.growing)
            scored.add_metric([*key, "yes"], known.inside)
            scored.add_metric([*key, "no"], known.scored - known.inside)
        yield from (state, advice, desired, used, clear, growing, scored)
        left_out = max(0, len(ranked) - MAX_QUEUES)
        yield GaugeMetricFamily("jobtide_queues_without_signals", "Queues left out of these gauges", value=left_out)

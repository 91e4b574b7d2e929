"""The gauges of `/metrics`, read from the live state when Prometheus asks.

Labels are bounded: the busiest MAX_CLASSES classes by name, all others together as `__other__`. Names are a closed
list. Not counters of our own: event time goes on in the stream, so rates are those of the window and resets mean
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jobtide.query import live_rows
from jobtide.query.answers import Now
from jobtide.query.feed import Feed
from jobtide.query.live import MirrorLive
from jobtide.query.measures import QUANTILES, Totals, percentiles_ms
from jobtide.query.mirror import Mirror
from jobtide.query.selection import QUEUE_DEPTH, SERIES_PARTS, Key, Selection
from jobtide.streams.snapshots import Verdict
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MAX_CLASSES = 200
WINDOW = "5m"
OTHER = "__other__"
TRANSITIONS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead")

Line = tuple[Key, Totals, Now]


class LiveCollector(Collector):
    """What the mirror knows now, as metrics; while Redis is away only that. `now_us`: the clock, for lags."""

    def __init__(self, mirror: Mirror, live: MirrorLive, feed: Feed, now_us: Callable[[], int]) -> None:
        self._mirror = mirror
        self._live = live
        self._feed = feed
        self._now_us = now_us

    def describe(self) -> list[Metric]:
        return []  # asked for when it is registered; nothing is known yet

    def collect(self) -> Iterator[Metric]:
        available = self._mirror.unavailable is None
        yield GaugeMetricFamily("jobtide_hot_state_up", "1 if the live state in Redis is in reach", value=available)
        yield GaugeMetricFamily(
            "jobtide_live_clients", "Clients that follow /v1/live", value=len(self._feed.subscribers)
        )
        yield CounterMetricFamily(
            "jobtide_live_clients_dropped", "Clients let go because they did not keep up", value=self._feed.dropped
        )
        if available:
            yield from self._pipeline()
            yield from self._stuck()
            yield from _classes(self._lines())

    def _pipeline(self) -> Iterator[Metric]:
        progress = live_rows.progress(self._mirror.progress.values())
        complete = live_rows.completeness(self._live.epochs(Selection()), progress.watermark_us)
        if progress.watermark_us is not None:
            lag_s = (self._now_us() - progress.watermark_us) / 1e6
            yield GaugeMetricFamily(
                "jobtide_watermark_lag_seconds", "How far event time is behind the clock", value=lag_s
            )
        if progress.complete_until_us is not None:
            lag_s = (self._now_us() - progress.complete_until_us) / 1e6
            yield GaugeMetricFamily(
                "jobtide_complete_lag_seconds", "How far complete numbers are behind the clock", value=lag_s
            )
        yield GaugeMetricFamily(
            "jobtide_events_received", "Numbered events of the remembered emitter epochs", value=complete.received
        )
        yield GaugeMetricFamily("jobtide_events_missing", "Of these epochs' numbers, not seen", value=complete.missing)
        yield GaugeMetricFamily(
            "jobtide_events_lost", "Of the missing, for more than 15 minutes", value=complete.lost or 0
        )
        yield GaugeMetricFamily(
            "jobtide_emitters_gone", "Emitter processes that are silent and did not say goodbye", value=complete.unclean_epochs or 0
        )
        yield GaugeMetricFamily("jobtide_events_rejected", "Events in the dead letters", value=progress.rejected or 0)
        yield GaugeMetricFamily(
            "jobtide_events_too_late", "Events too late for live numbers", value=progress.late_dropped or 0
        )
        now_us = self._now_us()
        lags = [
            worker.clock_lag_us
            for worker in self._mirror.workers.values()
            if worker.clock_lag_us is not None and live_rows.worker(worker, now_us).alive
        ]
        skew = GaugeMetricFamily(
            "jobtide_worker_clock_lag_seconds", "Clocks of alive workers behind the broker's, the way included", labels=["bound"]
        )
        if lags:
            skew.add_metric(["least"], min(lags) / 1e6)
            skew.add_metric(["most"], max(lags) / 1e6)
        yield skew
        states = GaugeMetricFamily("jobtide_partitions", "Source partitions by state", labels=["state"])
        for state in ("active", "idle", "lagging"):
            states.add_metric([state], sum(1 for partition in progress.partitions if partition.state == state))
        yield states

    def _stuck(self) -> Iterator[Metric]:
        """By queue: the MAX_CLASSES with most stuck attempts, the others together."""
        by_queue: dict[Key, dict[Verdict, int]] = {}
        for key, series in self._mirror.stuck.items():
            counts = by_queue.setdefault(key[:QUEUE_DEPTH], {})
            for verdict, n in series.counts.items():
                counts[verdict] = counts.get(verdict, 0) + n
        ranked = sorted(by_queue, key=lambda key: (-sum(by_queue[key].values()), key))
        for key in ranked[MAX_CLASSES:]:
            rest = by_queue.setdefault((OTHER,) * QUEUE_DEPTH, {})
            for verdict, n in by_queue.pop(key).items():
                rest[verdict] = rest.get(verdict, 0) + n
        stuck = GaugeMetricFamily(
            "jobtide_attempts_stuck", "Attempts that are stuck now", labels=[*SERIES_PARTS[:QUEUE_DEPTH], "verdict"]
        )
        for key, counts in by_queue.items():
            for verdict, n in counts.items():
                stuck.add_metric([*key, verdict], n)
        yield stuck

    def _lines(self) -> list[Line]:
        ranked: list[tuple[int, Key]] = []
        for key, series in self._mirror.series.items():
            window = series.windows.get(WINDOW)
            busy = window.enqueued + window.started + window.finished + window.failed if window else 0
            ranked.append((-busy - series.in_flight - series.waiting, key))
        ranked.sort()
        lines = [self._line(key, [key]) for _, key in ranked[:MAX_CLASSES]]
        rest = [key for _, key in ranked[MAX_CLASSES:]]
        return [*lines, self._line((OTHER,) * len(SERIES_PARTS), rest)] if rest else lines

    def _line(self, name: Key, keys: list[Key]) -> Line:
        totals, now = Totals(), Now()
        for key in keys:
            series = self._mirror.series[key]
            now.add(live_rows.now(series))
            if WINDOW in series.windows:
                totals.add(series.windows[WINDOW].totals())
        return name, totals, now


def _classes(lines: list[Line]) -> Iterator[Metric]:
    labels = list(SERIES_PARTS)
    counted = GaugeMetricFamily(
        "jobtide_attempts_5m", "Transitions of attempts in the last 5 minutes", labels=[*labels, "transition"]
    )
    in_flight = GaugeMetricFamily("jobtide_attempts_in_flight", "Attempts running now", labels=labels)
    waiting = GaugeMetricFamily("jobtide_attempts_waiting", "Attempts waiting now", labels=labels)
    wait = GaugeMetricFamily("jobtide_wait_5m_seconds", "Wait time of the last 5 minutes", labels=[*labels, "quantile"])
    run = GaugeMetricFamily("jobtide_run_5m_seconds", "Run time of the last 5 minutes", labels=[*labels, "quantile"])
    for key, totals, now in lines:
        for name in TRANSITIONS:
            counted.add_metric([*key, name], getattr(totals, name))
        in_flight.add_metric(key, now.in_flight)
        waiting.add_metric(key, now.waiting)
        for family, values in ((wait, totals.wait), (run, totals.run)):
            for name, ms in percentiles_ms(values).items():
                if ms is not None:
                    family.add_metric([*key, "1" if name == "max" else str(QUANTILES[name])], ms / 1000)
    yield from (counted, in_flight, waiting, wait, run)

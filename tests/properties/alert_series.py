"""Random series for the tests of alert rules: the log of a partition of job.panes as stage 1 would have written it, late revisions too."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

from jobtide.streams.alerts.loading import RuleSet, load_rules
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.alerts.replay import totals
from jobtide.streams.alerts.saved import Restorer
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.folds.panes import Pane, merge
from jobtide.streams.folds.records import LedgerRecord, PaneRecord, Record, Tick, encode, pane_key, sum_key

START_S = 1_763_000_040  # a whole minute
RULES = """
version: 1
rules:
  - {name: Failing, kind: ratio, metric: job_failure_rate, window: 1m, value: 0.3, min_samples: 12, keep_firing_for: 45s}
  - {name: FailingHeld, kind: ratio, metric: attempt_failure_rate, window: 5m, value: 0.3, min_samples: 20, for: 20s, mute: 1m}
  - {name: QueueFailing, kind: ratio, metric: success_rate, op: lt, window: 1m, value: 0.7, min_samples: 15, by: queue, keep_firing_for: 30s}
  - {name: Slow, kind: percentile, metric: wait, quantile: 0.9, window: 1m, value: 2s, min_samples: 10, for: 5s, keep_firing_for: 10s}
  - {name: Dead, kind: threshold, metric: dead, window: 1m, op: gte, value: 10, keep_firing_for: 20s}
  - {name: Burning, kind: burn_rate, objective: 0.95, min_samples: 15, tiers: [14.4, 6], keep_firing_for: 60s}
  - {name: Silent, kind: absent, metric: finished, after: 3m}
  - {name: Dropped, kind: change, metric: finished, window: 1m, baseline: 15m, op: lt, value: 0.3, min_samples: 15, no_data: keep}
  - {name: SystemFailing, kind: ratio, metric: attempt_failure_rate, window: 5m, value: 0.2, min_samples: 30, by: system, keep_firing_for: 2m}
  - {name: TenantSlower, kind: change, metric: finished, window: 5m, baseline: 15m, op: lt, value: 0.8, min_samples: 30, by: tenant}
"""
ABOUT_US = """\
  - {name: Lost, kind: emitter, metric: lost, value: 3, keep_firing_for: 15s}
  - {name: Incomplete, kind: emitter, metric: completeness, by: emitter, op: lt, value: 0.9, min_samples: 40, for: 5s}
  - {name: Gone, kind: emitter, metric: silent, value: 40s, keep_firing_for: 5s}
  - {name: Stale, kind: pipeline, value: 15s, for: 5s, keep_firing_for: 10s}
"""  # how good the numbers are, which is not in history
KEEP_S = {"Failing": 45, "QueueFailing": 30, "Slow": 10, "Dead": 20, "Burning": 60, "Lost": 15, "Stale": 10, "SystemFailing": 120}
LEAST = {
    "Failing": 12, "FailingHeld": 20, "QueueFailing": 15, "Slow": 10, "Burning": 15, "Dropped": 15, "Incomplete": 40, "SystemFailing": 30,
    "TenantSlower": 30,
}  # fmt: skip


def rules() -> RuleSet:
    return load_rules(RULES + ABOUT_US, "test.yaml")


def name_of(number: int, prefix: str = "") -> bytes:
    return f"acme\x1fprod\x1fcelery\x1f{prefix}q{number // 3}\x1fClass{number}".encode()


def pane(rng: random.Random, bad_share: float, slow: bool) -> Pane:
    n = rng.randint(1, 6)
    dead = sum(rng.random() < bad_share for _ in range(n))
    return Pane(counts=[n, n, n - dead, dead, 0, 0, dead, 0], wait={800 if slow else 600: n}, run_ok={500: n - dead} if n > dead else {})


def random_log(seed: int, series: int, length_s: int, late: float = 0.05, prefix: str = "") -> list[Record]:
    """Panes, minutes, ledgers and ticks of one source partition; a share of the seconds is revised later, and now and then it stands still."""
    rng = random.Random(seed)
    seconds: dict[int, dict[bytes, Pane]] = defaultdict(dict)
    for number in range(series):
        bad, slow, at_s = 0.0, False, rng.randint(0, length_s // 2)
        while at_s < length_s:
            if rng.random() < 0.15:
                bad, slow = rng.choice([0.0, 0.1, 0.5, 0.9]), rng.random() < 0.3
            seconds[START_S + at_s][name_of(number, prefix)] = pane(rng, bad, slow)
            at_s += rng.choice([1, 2, 5, 12, 40, 300])
    out: list[Record] = []
    minutes: dict[int, dict[bytes, Pane]] = defaultdict(dict)
    late_ones: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    version, held_s, until_s, emitters = 0, 0, 0, Emitters(rng, prefix)
    for second in range(START_S, START_S + length_s):
        for name, what in seconds.get(second, {}).items():
            version += 1
            out.append((pane_key(1, second, 0, name), encode(PaneRecord(version, 0, 0, what))))
            merge(minutes[second - second % 60].setdefault(name, Pane()), what)
            if rng.random() < late:
                late_ones[second + rng.randint(2, 150)].append((second, name))
        for revised_s, name in late_ones.pop(second, []):
            more = pane(rng, 0.9, False)
            merge(seconds[revised_s][name], more)
            merge(minutes[revised_s - revised_s % 60][name], more)
            version += 1
            out.append((pane_key(1, revised_s, 0, name), encode(PaneRecord(version, 0, 0, seconds[revised_s][name]))))
            if revised_s - revised_s % 60 + 60 <= second:
                whole = minutes[revised_s - revised_s % 60][name]
                out.append((pane_key(60, revised_s - revised_s % 60, 0, name), encode(PaneRecord(version, 0, 0, whole))))
                out += sums(minutes[revised_s - revised_s % 60], revised_s - revised_s % 60, version) if rng.random() < 0.1 else []
        if (second + 1) % 60 == 0:
            for name, whole in minutes.get(second - 59, {}).items():
                out.append((pane_key(60, second - 59, 0, name), encode(PaneRecord(version, 0, 0, whole))))
            out += sums(minutes.get(second - 59, {}), second - 59, version)
        version += 1
        out += emitters.tell(second, version)
        if second >= until_s and rng.random() < 0.01:
            held_s, until_s = second, second + rng.randint(2, 60)
        if rng.random() < 0.8:  # now and then a watermark jumps over a second
            complete_s = held_s if second < until_s else second + 1
            told_us = second * 1_000_000 + rng.randint(2_000_000, 2_999_999)
            out.append((b"t\x1f0", encode(Tick(0, version, complete_s * 1_000_000, "active", told_us=told_us))))
    out.append((b"t\x1f0", encode(Tick(0, version, (START_S + length_s + 900) * 1_000_000, "idle"))))
    return out


def sums(minute: dict[bytes, Pane], start_s: int, version: int) -> list[Record]:
    """The system's, the environment's and the tenant's."""
    return [(sum_key(start_s, 0, name), encode(PaneRecord(version, 0, 0, pane))) for name, pane in totals(minute).items()]


class Emitters:
    """A few processes that lose some of what they number, fall silent, and go with or without a goodbye."""

    def __init__(self, rng: random.Random, prefix: str) -> None:
        self.rng = rng
        self.lines = [LedgerRecord(0, f"{prefix}epoch{n}", f"/host{n // 2}", "acme", "celery", 0, 0, 0, 0, False, 0, None) for n in range(8)]

    def tell(self, second: int, version: int) -> list[Record]:
        if second % 10 or self.rng.random() < 0.1:
            return []
        out: list[Record] = []
        for line in self.lines:
            if line.clean or self.rng.random() < (0.8 if second % 300 > 200 else 0.1):
                continue
            line.version, line.last_us, line.received = version, second * 1_000_000, line.received + self.rng.randint(0, 9)
            line.lost_lately = max(0, line.lost_lately + self.rng.choice([0, 0, 0, 1, 2, -1, -3]))
            line.lost = line.missing = max(line.lost, line.lost_lately)
            line.clean = self.rng.random() < 0.01
            out.append((b"l\x1f0\x1f" + line.epoch.encode(), encode(line)))
        return out


def straight(log: list[Record], of: RuleSet, partition: int = 0, sources: int = 1) -> list[Transition]:
    """One process reads the log in one go."""
    one = RuledPartition(partition, sources, of.rules)
    one.watch_from_here()
    one.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))
    return one.take()[0]


def with_crashes(log: list[Record], of: RuleSet, rng: random.Random, crash: float = 0.02, largest: int = 400) -> list[Transition]:
    """In batches of any size; now and then the process dies before or after its transitions or its state are out."""
    saved: dict[bytes, bytes | None] = {}
    sent: list[Transition] = []
    process, at = _start(of, saved, log), 0
    while at < len(log):
        n = min(rng.randint(1, largest), len(log) - at)
        batch = log[at : at + n]
        process.fold_records([key for key, _ in batch], [value for _, value in batch], range(at, at + n))
        at += n
        if rng.random() < 0.2:
            process.fold.touch_all()  # as the agent does when the hot state was lost
        if rng.random() < 0.5:
            process.fold.take_changes()  # and for the hot state, whenever it likes
        died = rng.random() < crash
        if died and rng.random() < 0.3:
            pass  # before anything is out
        else:
            transitions, records = process.take(rng.random() < 0.5)
            sent += transitions
            if not died or rng.random() < 0.5:
                saved.update(records)
        if died:
            process = _start(of, saved, log)
            at = 0
    return sent


def _start(of: RuleSet, saved: dict[bytes, bytes | None], log: list[Record]) -> RuledPartition:
    restorer = Restorer()
    for key, value in saved.items():
        restorer.load(key, value)
    process = RuledPartition(0, 1, of.rules, restorer)
    if restorer.applied is None:
        process.watch_from_here()
    return process


def each_once(transitions: list[Transition]) -> dict[str, Transition]:
    """By id; the same id must always say the same."""
    out: dict[str, Transition] = {}
    for each in transitions:
        assert out.setdefault(each.id, each) == each, (out[each.id], each)
    return out


def broken_laws(transitions: list[Transition]) -> list[str]:
    """What must never be in a list of transitions, whatever the series."""
    wrong: list[str] = []
    by_alert: dict[tuple[str, str], list[Transition]] = defaultdict(list)
    for each in transitions:
        by_alert[each.rule, each.fingerprint].append(each)
        if each.state in ("pending", "firing") and each.samples < LEAST.get(each.rule, 0):
            wrong.append(f"{each.rule} {each.state} on {each.samples} samples")
    for (rule, _), story in by_alert.items():
        wrong += _story(rule, story)
    return wrong


def _story(rule: str, story: list[Transition]) -> list[str]:
    wrong, state = [], "inactive"
    followers = {"inactive": {"pending", "firing"}, "resolved": {"pending", "firing"}, "pending": {"firing", "inactive"}, "firing": {"resolved"}}
    for before, each in zip([None, *story], story, strict=False):
        if each.state not in followers[state]:
            wrong.append(f"{rule}: {each.state} after {state}")
        if before is not None and each.at_us < before.at_us:
            wrong.append(f"{rule}: goes back in time")
        if before is not None and each.state == "resolved" and each.at_us - before.at_us < KEEP_S.get(rule, 0) * 1_000_000:
            wrong.append(f"{rule}: resolved {(each.at_us - before.at_us) / 1e6} s after it fired")
        if rule == "FailingHeld" and before is not None and before.state == "resolved" and each.at_us - before.at_us < 60_000_000:
            wrong.append(f"{rule}: again within its mute")
        state = each.state
    return wrong


Make = Callable[[int], list[Record]]

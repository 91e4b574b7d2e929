"""Rules about how good the numbers are: events that were lost, emitters that are gone, clocks that are wrong, a pipeline that is behind."""

from __future__ import annotations

import msgspec
import pytest
from jobtide.streams.alerts.loading import RulesError, load_rules
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.alerts.saved import Restorer
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.events import Kind
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.records import LedgerRecord, Record, Tick, encode, panes_partition
from jobtide.streams.folds.sequences import Epoch, announce, lost, lost_lately, observe

START_S = 1_763_000_040  # a whole minute
SECOND = 1_000_000
MINUTE = 60


def tick(second: int, behind_s: int = 2, version: int = 0) -> Record:
    """At START_S + `second`, complete until `behind_s` before it."""
    at_us = (START_S + second) * SECOND
    return b"t\x1f0", encode(Tick(0, version or second, at_us - behind_s * SECOND, "active", told_us=at_us))


def ledger(second: int, epoch: str = "e1", source: str = "/host/1", *, of: int = 0, received: int = 100, lost: int = 0, lately: int | None = None,
           clean: bool = False) -> Record:  # fmt: skip
    record = LedgerRecord(
        second, epoch, source, "acme", "celery", received, 0, lost, lost, clean, (START_S + second) * SECOND, None, lost if lately is None else lately
    )
    return b"l\x1f%d\x1f%b" % (of, epoch.encode()), encode(record)


def heartbeat(second: int, lag_s: float = 0.0) -> Record:
    notice = Notice(int(Kind.WORKER_HEARTBEAT), (START_S + second) * SECOND, {}, round(lag_s * SECOND))
    return b"w\x1f0\x1facme\x1fprod\x1fcelery\x1fhost:1", msgspec.msgpack.encode((second, notice))


def told(rules: str, *moments: Record | int, partition: int = 0, partitions: int = 0) -> list[Transition]:
    """Records in order; a number is the tick of that second."""
    one = RuledPartition(partition, 1, load_rules(rules, "x").rules, partitions=partitions)
    one.watch_from_here()
    log = [tick(each) if isinstance(each, int) else each for each in moments]
    one.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))
    return one.take()[0]


def brief(transitions: list[Transition]) -> list[tuple[str, str, float | None, int]]:
    return [(each.state, each.reason, each.value, each.at_us // SECOND - START_S) for each in transitions]


def test_lost_events_of_a_system_are_one_alert_over_all_its_processes() -> None:
    rule = "rules: [{name: R, kind: emitter, metric: lost, value: 4}]"
    transitions = told(
        rule, 0, ledger(1, "e1", lost=3), ledger(1, "e1", of=1), 4, ledger(5, "e2", "/host/2", lost=2), 8,
        ledger(9, "e1", lost=3, lately=0), 12,
    )  # fmt: skip
    assert brief(transitions) == [("firing", "breached_at_once", 5.0, 3), ("resolved", "recovered", 2.0, 7)]
    assert transitions[0].labels == {"tenant": "acme", "system": "celery"}
    assert transitions[0].query == "/v1/completeness?tenant=acme&system=celery"


def test_what_stage_1_has_forgotten_no_longer_counts() -> None:
    rule = "rules: [{name: R, kind: emitter, metric: lost, value: 0}]"
    transitions = told(rule, 0, ledger(1, lost=3), 4, *range(60, 70 * MINUTE, 60))
    assert brief(transitions) == [("firing", "breached_at_once", 3.0, -1), ("resolved", "given_up", None, 1 + 65 * MINUTE)]


def test_completeness_needs_its_samples() -> None:
    rule = "rules: [{name: R, kind: emitter, metric: completeness, op: lt, value: 0.95, min_samples: 200}]"
    assert told(rule, 0, ledger(1, received=100, lost=50), 4) == []
    assert brief(told(rule, 0, ledger(1, received=180, lost=20), 4)) == [("firing", "breached_at_once", 0.9, -1)]


def test_a_silent_source_is_one_alert_and_a_goodbye_ends_it() -> None:
    rule = "rules: [{name: R, kind: emitter, metric: silent, value: 1m}]"
    said = [0, ledger(1, "e1"), 3, ledger(20, "e2"), 22, ledger(25, "other", "/host/2"), *range(26, 100), ledger(99, "other", "/host/2"), 101]
    transitions = told(rule, *said)
    assert [(each.labels["source"], *brief([each])[0]) for each in transitions] == [
        ("/host/1", "firing", "breached_at_once", 61 * SECOND, 81),  # after what e2 said, the newest of that source
        ("/host/2", "firing", "breached_at_once", 61 * SECOND, 86), ("/host/2", "resolved", "recovered", 0.0, 98),
    ]  # fmt: skip
    assert told(rule, 0, ledger(1, clean=True), *range(3, 100)) == []
    over = told(rule, 0, ledger(1), *range(3, 80), ledger(80, clean=True), 83)
    assert brief(over)[1:] == [("resolved", "given_up", None, 78)]


def test_all_of_a_tenants_emitters_are_judged_on_one_partition() -> None:
    rule = "rules: [{name: R, kind: emitter, metric: lost, value: 0}]"
    home = panes_partition(b"acme", 8)
    for partition in range(8):
        found = told(rule, 0, *(ledger(1, f"e{n}", lost=1) for n in range(20)), 4, partition=partition, partitions=8)
        assert [each.value for each in found] == ([20.0] if partition == home else [])


def test_stage_1_tells_what_was_lost_within_the_last_hour() -> None:
    epoch = Epoch()
    observe(epoch, 0, 0, 0)
    observe(epoch, 0, 3, 0)
    announce(epoch, {0: 5}, False, 30 * MINUTE * SECOND)
    after = [(minute, lost(epoch, minute * MINUTE * SECOND), lost_lately(epoch, minute * MINUTE * SECOND)) for minute in (14, 15, 45, 75, 105)]
    assert after == [(14, 0, 0), (15, 2, 2), (45, 3, 3), (75, 3, 1), (105, 3, 0)]


def test_a_wrong_clock_in_either_direction() -> None:
    rule = "rules: [{name: R, kind: worker, metric: clock_skew, value: 30s}]"
    transitions = told(rule, 0, heartbeat(1, 0.1), 4, heartbeat(5, -40), 8, heartbeat(9, 0.1), 12, heartbeat(13, 31), 16)
    assert brief(transitions) == [
        ("firing", "breached_at_once", -40 * SECOND, 3), ("resolved", "recovered", 100_000, 7), ("firing", "breached_at_once", 31 * SECOND, 11),
    ]  # fmt: skip
    assert transitions[0].condition == "clock_skew > 30s"


STALE = "rules: [{name: R, kind: pipeline, value: 30s, for: 5s}]"


def test_a_pipeline_that_stands_still_is_told_while_it_does() -> None:
    """The seconds stand still then, so its time is the clock that the ticks tell."""
    log = [tick(0), tick(40, 30), *(tick(second, second, second) for second in range(41, 50)), tick(55)]
    transitions = told(STALE, *log)
    assert brief(transitions) == [
        ("pending", "breached", 31 * SECOND, 41), ("firing", "held", 36 * SECOND, 46), ("resolved", "recovered", 2 * SECOND, 55),
    ]  # fmt: skip
    assert transitions[0].labels == {"pipeline": "stream"}
    assert told(STALE, *log, partition=1) == []  # every tick is on every partition: one is enough


def test_a_restart_while_it_stands_still_says_nothing_twice() -> None:
    log = [tick(0), *(tick(second, second, second) for second in range(1, 50))]
    rules = load_rules(STALE, "x").rules
    one = RuledPartition(0, 1, rules)
    one.watch_from_here()
    one.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))
    transitions, records = one.take()
    assert [each.state for each in transitions] == ["pending", "firing"]
    restorer = Restorer()
    for key, value in records:
        restorer.load(key, value)
    again = RuledPartition(0, 1, rules, restorer)
    log += [tick(50, 50, 50), tick(51)]
    again.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))
    assert [(each.state, each.episode_us) for each in again.take()[0]] == [("resolved", transitions[0].episode_us)]


SILENT = """rules:
  - {name: Emitter, kind: emitter, metric: silent, value: 1m}
  - {name: Worker, kind: worker, metric: heartbeat_age, value: 1m}
"""


@pytest.mark.parametrize("how", ["restart", "other rules"])
def test_who_fell_silent_before_a_restart_or_other_rules_is_told_when_it_is_too_long(how: str) -> None:
    log = [tick(0), ledger(1, "e1"), heartbeat(1), *map(tick, range(3, 100))]
    keys, values = [key for key, _ in log], [value for _, value in log]
    rules = load_rules(SILENT, "x").rules
    one = RuledPartition(0, 1, rules)
    one.watch_from_here()
    one.fold_records(keys[:30], values[:30], range(30))  # nobody is silent for long enough yet, nothing more is said
    transitions, records = one.take()
    assert not transitions
    if how == "restart":
        restorer = Restorer()
        for key, value in records:
            restorer.load(key, value)
        one = RuledPartition(0, 1, rules, restorer)
        one.fold_records(keys, values, range(len(log)))
    else:
        one.evaluator.replace(rules)
        one.fold_records(keys[30:], values[30:], range(30, len(log)))
    assert [(each.rule, *brief([each])[0]) for each in one.take()[0]] == [
        ("Emitter", "firing", "breached_at_once", 61 * SECOND, 62), ("Worker", "firing", "breached_at_once", 61 * SECOND, 62),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("kind: emitter, metric: lost, value: 0, match: {queue: mail}", "match.queue cannot be used: emitters are known by tenant and system"),
        ("kind: emitter, metric: silent, value: 5m, by: system", "metric silent needs by: emitter, op gt or gte, and a value less than 65m"),
        ("kind: emitter, metric: silent, value: 2h", "metric silent needs by: emitter, op gt or gte, and a value less than 65m"),
        ("kind: pipeline, value: 5m, match: {tenant: acme}", "match.tenant cannot be used: it is one for all"),
        ("kind: threshold, metric: dead, value: 1, by: emitter", "system, environment or tenant; only kind: emitter is by emitter"),
        ("kind: threshold, metric: dead, value: 1, by: pipeline", "system, environment or tenant; only kind: pipeline is by pipeline"),
    ],
)
def test_what_cannot_be_asked_is_refused(rule: str, said: str) -> None:
    with pytest.raises(RulesError) as caught:
        load_rules(f"rules: [{{name: A, {rule}}}]", "my.yaml")
    assert said in caught.value.problems[0]


def test_a_rule_that_is_gone_ends_its_alerts_under_their_own_names() -> None:
    """Also one that is later than the watermark: what was over must not be older than what fired."""
    rules = "rules: [{name: L, kind: emitter, metric: lost, value: 0}, {name: P, kind: pipeline, value: 30s}]"
    one = RuledPartition(0, 1, load_rules(rules, "x").rules)
    one.watch_from_here()
    log = [tick(0), ledger(1, lost=1), tick(4), tick(60, 60, 60)]
    one.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))
    fired, records = one.take()
    restorer = Restorer()
    for key, value in records:
        restorer.load(key, value)
    over = RuledPartition(0, 1, load_rules("rules: []", "x").rules, restorer).evaluator.transitions
    assert {(each.rule, each.fingerprint, each.reason) for each in over} == {(each.rule, each.fingerprint, "rule_removed") for each in fired}
    assert all(each.at_us >= max(f.at_us for f in fired if f.rule == each.rule) for each in over)

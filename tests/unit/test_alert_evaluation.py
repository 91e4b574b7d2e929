"""What the shipped rules say about stories that people have been woken for, and what each kind of rule measures."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
from jobtide.streams.alerts.evaluator import Evaluator
from jobtide.streams.alerts.loading import default_text, load_rules
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.alerts.replay import Replay
from jobtide.streams.alerts.saved import Restorer, save
from jobtide.streams.alerts.transitions import Transition, transition_id
from jobtide.streams.events import Kind
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import GAUGE, Gauge, PaneRecord, Record, SeriesKey, Tick, encode, pane_key
from jobtide.streams.sketches.histogram import bucket
from jobtide.streams.snapshots import StuckAttempt, Verdict

START_S = 1_763_000_040  # a whole minute
SEND = b"acme\x1fprod\x1fcelery\x1fmail\x1fSend"
OTHER = b"acme\x1fprod\x1fcelery\x1fmail\x1fOther"
MINUTE = 60
HOUR = 3600
Story = Callable[[int], Pane | None]


def pane(finished: int = 0, failed: int = 0, dead: int = 0, retried: int = 0, wait_ms: int | None = None) -> Pane:
    n = finished + failed
    waits = {bucket(wait_ms * 1000): n} if wait_ms is not None else {}
    return Pane(counts=[n, n, finished, failed, 0, 0, dead, retried], wait=waits, run_ok={500: finished} if finished else {})


def told(rules: str, story: Story, length_s: int, after_s: int = HOUR + 10 * MINUTE, also: dict[int, list[Record]] | None = None) -> list[Transition]:
    replay = Replay(load_rules(rules, "test").rules)
    for second in range(length_s):
        found = story(second)
        if found is not None or (also and second in also):
            replay.second(START_S + second, {SEND: found} if found else {}, (also or {}).get(second, ()))
    replay.until(START_S + length_s + after_s)
    return replay.transitions


def brief(transitions: list[Transition]) -> list[tuple[str, str, int]]:
    return [(each.state, each.reason, each.at_us // 1_000_000 - START_S) for each in transitions]


def paged(transitions: list[Transition]) -> set[str]:
    return {each.rule for each in transitions if each.state == "firing" and each.severity == "critical"}


# -- the shipped rules


def test_three_of_four_failed_is_nothing_to_be_woken_for() -> None:
    transitions = told(default_text(), lambda s: {0: pane(1), 10: pane(0, 1, 1), 20: pane(0, 1, 1), 30: pane(0, 1, 1)}.get(s), MINUTE)
    assert [each for each in transitions if each.state == "firing"] == []


def test_tries_that_retries_mend_do_not_page() -> None:
    """60 % of the attempts fail, and every job succeeds in the end."""
    transitions = told(default_text(), lambda s: pane(4, 6, 0, 6, wait_ms=50) if s % 2 == 0 else None, 2 * HOUR)
    assert paged(transitions) == set()
    assert {each.rule for each in transitions if each.state == "firing"} == {"AttemptsFailing"}  # to be read, not to be woken for


def test_a_slow_failure_of_eight_percent_pages_within_the_window() -> None:
    rng = random.Random(3)

    def story(second: int) -> Pane | None:
        bad = sum(rng.random() < 0.08 for _ in range(2))
        return pane(2 - bad, bad, bad, wait_ms=20) if second % 10 == 0 else None

    transitions = told(default_text(), story, 6 * HOUR)
    first = next(each for each in transitions if each.state == "firing" and each.severity == "critical")
    assert first.rule == "FailureBudgetBurning" and first.labels["burn_rate"] == "6"
    assert first.at_us // 1_000_000 - START_S <= 6 * HOUR


def test_an_outage_pages_soon_and_is_over_once() -> None:
    transitions = told(default_text(), lambda s: pane(0, 4, 4) if HOUR <= s < HOUR + 900 else pane(4, wait_ms=20), 2 * HOUR)
    story = [each for each in transitions if each.rule == "JobsFailing"]
    assert [each.state for each in story] == ["pending", "firing", "resolved"]
    assert story[1].at_us // 1_000_000 - START_S - HOUR < 4 * MINUTE


def test_healthy_work_says_nothing() -> None:
    rng = random.Random(1)
    transitions = told(default_text(), lambda s: pane(rng.randint(1, 9), 0, 0, wait_ms=rng.randint(1, 900)) if rng.random() < 0.7 else None, 2 * HOUR)
    assert transitions == []


# -- kinds


def test_for_counts_from_the_first_breach_and_the_id_is_of_that_episode() -> None:
    rule = "rules: [{name: R, kind: threshold, metric: dead, window: 1m, op: gt, value: 2, for: 10s}]"
    transitions = told(rule, lambda s: pane(0, 1, 1) if s < 20 else None, 21)
    assert brief(transitions) == [("pending", "breached", 3), ("firing", "held", 13), ("resolved", "recovered", 78)]
    firing = transitions[1]
    assert firing.episode_us == (START_S + 3) * 1_000_000 and firing.value == 13
    assert firing.id == transition_id("R", firing.fingerprint, firing.episode_us, "firing")
    assert firing.labels == {"tenant": "acme", "environment": "prod", "system": "celery", "queue": "mail", "job_class": "Send"}
    assert firing.query.startswith("/v1/classes?tenant=acme&") and (firing.to_us - firing.from_us) == 60_000_000


def test_keep_firing_for_bridges_a_gap_and_mute_holds_the_next_one_back() -> None:
    def bad(second: int) -> Pane | None:
        return pane(0, 5, 5) if second in (0, 90, 300) else None

    one = "rules: [{name: R, kind: threshold, metric: dead, window: 1m, op: gt, value: 2, keep_firing_for: 40s}]"
    assert brief(told(one, bad, 301)) == [
        ("firing", "breached_at_once", 1), ("resolved", "kept_long_enough", 191),
        ("firing", "breached_at_once", 301), ("resolved", "kept_long_enough", 401),
    ]  # fmt: skip
    two = "rules: [{name: R, kind: threshold, metric: dead, window: 1m, op: gt, value: 2, mute: 4m}]"
    assert brief(told(two, bad, 301)) == [
        ("firing", "breached_at_once", 1), ("resolved", "recovered", 61), ("firing", "breached_at_once", 301), ("resolved", "recovered", 361),
    ]  # fmt: skip


def test_no_data_resolves_or_keeps_or_fires_as_the_rule_says() -> None:
    rule = "rules: [{name: R, kind: ratio, metric: job_failure_rate, window: 1m, value: 0.5, min_samples: 2, no_data: %s}]"

    def story(second: int) -> Pane | None:
        return pane(0, 2, 2) if second == 0 else None

    assert brief(told(rule % "ok", story, 1)) == [("firing", "breached_at_once", 1), ("resolved", "no_data", 61)]
    assert brief(told(rule % "keep", story, 1)) == [("firing", "breached_at_once", 1)]
    fine = brief(told(rule % "alert", lambda s: pane(5) if s == 0 else None, 1))
    assert fine == [("firing", "no_data_fires", 61)]


def test_a_percentile_is_of_all_classes_of_the_queue_together() -> None:
    rule = "rules: [{name: R, kind: percentile, metric: wait, quantile: 0.5, window: 1m, value: 1s, min_samples: 4, by: queue}]"
    replay = Replay(load_rules(rule, "x").rules)
    replay.second(START_S, {SEND: pane(3, wait_ms=10)})
    replay.second(START_S + 1, {OTHER: pane(3, wait_ms=5000)})
    assert replay.transitions == []
    replay.second(START_S + 2, {OTHER: pane(1, wait_ms=5000)})
    assert [(each.state, each.samples) for each in replay.transitions] == [("firing", 7)]
    assert "job_class" not in replay.transitions[0].labels and replay.transitions[0].query.startswith("/v1/queues?")
    assert abs((replay.transitions[0].value or 0) - 5_000_000) <= 50_000


def test_silence_is_counted_from_the_last_minute_with_any() -> None:
    rule = "rules: [{name: R, kind: absent, metric: finished, after: 10m}]"
    transitions = told(rule, lambda s: pane(1) if s in (5, 2000) else None, 2001, 100)
    assert brief(transitions) == [("firing", "breached_at_once", 660), ("resolved", "recovered", 2040)]


def test_a_change_is_against_the_rest_of_the_baseline() -> None:
    rule = "rules: [{name: R, kind: change, metric: finished, window: 5m, baseline: 1h, op: gt, value: 2, min_samples: 50}]"
    transitions = told(rule, lambda s: pane(3 if s >= 3000 else 1), 3600)
    assert transitions[0].state == "firing" and 3000 < transitions[0].at_us // 1_000_000 - START_S <= 3300


def test_gauges_are_compared_as_they_are() -> None:
    rule = "rules: [{name: R, kind: threshold, metric: waiting, op: gte, value: 10, by: queue}]"

    def gauge(waiting: int, version: int, name: bytes = SEND) -> Record:
        return GAUGE + b"\x1f0\x1f" + name, encode(Gauge(version, 0, waiting))

    also = {5: [gauge(6, 1)], 9: [gauge(4, 2, OTHER)], 20: [gauge(3, 3)]}
    assert brief(told(rule, lambda _: None, 30, 10, also)) == [("firing", "breached_at_once", 10), ("resolved", "recovered", 21)]


def snapshot(second: int, **data: object) -> Record:
    notice = Notice(int(Kind.QUEUE_SNAPSHOT), (START_S + second) * 1_000_000, dict(data))
    return b"q\x1f0\x1facme\x1fprod\x1fcelery\x1fmail\x1fsize", msgspec.msgpack.encode((second, notice))


def test_queue_depth_and_a_backend_that_stops_saying_anything() -> None:
    rule = "rules: [{name: R, kind: queue_depth, metric: ready, op: gt, value: 100, stale_after: 1m}]"
    also = {1: [snapshot(1, ready=5)], 11: [snapshot(11, ready=500)], 21: [snapshot(21, ready=500)]}
    assert brief(told(rule, lambda _: None, 30, 200, also)) == [("firing", "breached_at_once", 12), ("resolved", "no_data", 81)]


def test_the_oldest_job_grows_old_while_nobody_says_anything() -> None:
    rule = "rules: [{name: R, kind: queue_depth, metric: oldest_ready, op: gt, value: 5m, stale_after: 1h}]"
    since = "2025-11-13T02:14:10.000000Z"  # 10 s after START_S
    also = {11: [snapshot(11, ready=1, oldest_ready_at=since)], 700: [snapshot(700, ready=0)]}
    assert brief(told(rule, lambda _: None, 701, 60, also)) == [("firing", "breached_at_once", 311), ("resolved", "recovered", 701)]


def worker(kind: Kind, second: int, **data: object) -> Record:
    notice = Notice(int(kind), (START_S + second) * 1_000_000, dict(data))
    return b"w\x1f0\x1facme\x1fprod\x1fcelery\x1fhost:1", msgspec.msgpack.encode((second, notice))


def test_a_worker_that_falls_silent_and_one_that_says_goodbye() -> None:
    rule = "rules: [{name: R, kind: worker, metric: heartbeat_age, value: 2m}]"
    also = {1: [worker(Kind.WORKER_HEARTBEAT, 1)], 400: [worker(Kind.WORKER_OFFLINE, 400)]}
    transitions = told(rule, lambda _: None, 401, 600, also)
    assert brief(transitions) == [("firing", "breached_at_once", 122), ("resolved", "given_up", 401)]
    assert transitions[0].labels["worker_id"] == "host:1"


def test_rules_may_change_while_alerts_fire() -> None:
    text = "rules: [{name: %s, kind: threshold, metric: dead, window: 5m, op: gt, value: %d}]"
    replay = Replay(load_rules(text % ("R", 2), "x").rules)
    replay.second(START_S, {SEND: pane(0, 5, 5)})
    replay.evaluator.replace(load_rules(text % ("R", 3), "x").rules)
    replay.second(START_S + 1, {})
    assert [each.state for each in replay.transitions] == ["firing"]
    replay.evaluator.replace(load_rules(text % ("R", 100), "x").rules)
    replay.second(START_S + 2, {})
    assert [each.state for each in replay.transitions] == ["firing", "resolved"]
    replay.evaluator.replace(load_rules(text % ("R", 1), "x").rules)
    replay.second(START_S + 3, {})
    replay.evaluator.replace(load_rules(text % ("S", 1), "x").rules)
    replay.second(START_S + 4, {})
    assert [(each.rule, each.state, each.reason) for each in replay.transitions[2:]] == [
        ("R", "firing", "breached_at_once"), ("R", "resolved", "rule_removed"), ("S", "firing", "breached_at_once"),
    ]  # fmt: skip


def restored(records: list[Record], rules: str, replay: Replay) -> Evaluator:
    restorer, out = Restorer(), Evaluator(load_rules(rules, "x").rules, replay.fold)
    for key, value in dict(records).items():
        restorer.load(key, value)
    restorer.finish(out)
    return out


def test_an_alert_that_was_over_before_the_rules_changed_does_not_come_back_with_a_restart() -> None:
    text = "rules: [{name: R, kind: threshold, metric: dead, window: 1m, op: gt, value: %d}]"
    replay = Replay(load_rules(text % 2, "x").rules)
    replay.second(START_S, {SEND: pane(0, 5, 5)})
    replay.second(START_S + 1, {})
    records = save(replay.evaluator, [])
    assert len(restored(records, text % 2, replay).rules[0].instances) == 1
    replay.second(START_S + 200, {})
    assert [each.state for each in replay.transitions] == ["firing", "resolved"]
    replay.evaluator.replace(load_rules(text % 3, "x").rules)  # before the end of the alert was saved
    records += save(replay.evaluator, [])
    assert restored(records, text % 3, replay).rules[0].instances == {}


def test_what_goes_on_when_the_rules_change_is_still_saved() -> None:
    text = "rules: [{name: R, kind: threshold, metric: dead, window: 5m, op: gt, value: %d}]"
    replay = Replay(load_rules(text % 2, "x").rules)
    replay.second(START_S, {SEND: pane(0, 5, 5)})
    replay.second(START_S + 1, {})
    replay.evaluator.replace(load_rules(text % 3, "x").rules)
    assert [each.state for each in restored(save(replay.evaluator, []), text % 3, replay).rules[0].instances.values()] == ["firing"]


def test_the_alert_of_a_workers_rule_that_is_gone_ends_under_its_own_name() -> None:
    rule = "rules: [{name: R, kind: worker, metric: heartbeat_age, value: 2m}]"
    replay = Replay(load_rules(rule, "x").rules)
    replay.second(START_S, {}, [worker(Kind.WORKER_HEARTBEAT, 1)])
    replay.second(START_S + 300, {})
    (firing,) = replay.transitions
    records = save(replay.evaluator, [])
    others = "rules: [{name: R, kind: queue_depth, metric: ready, op: gt, value: 100}]"  # as many parts, another level
    for rules in ("rules: []", others):
        after = restored(records, rules, replay)
        (over,) = after.transitions
        assert (over.state, over.reason, over.fingerprint) == ("resolved", "rule_removed", firing.fingerprint)
        assert over.labels == firing.labels and not any(each.instances for each in after.rules)


def test_many_minutes_that_come_at_once_are_not_a_silence() -> None:
    """As when a worker catches up: the oldest of them alone would look like one."""
    rule = load_rules("rules: [{name: R, kind: absent, metric: finished, after: 3m}]", "x").rules
    one = RuledPartition(0, 1, rule)
    one.watch_from_here()
    log = [(pane_key(60, START_S + MINUTE * n, 0, SEND), encode(PaneRecord(n, 0, 0, pane(5)))) for n in range(10)]
    log.append((b"t\x1f0", encode(Tick(0, 10, (START_S + 10 * MINUTE + 2) * 1_000_000, "active"))))
    one.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))
    assert one.take()[0] == []


def test_stuck_work_is_one_alert_per_class_with_the_longest_as_examples() -> None:
    """Judged from what triage says, here put in its place; whoever is stuck for long enough counts."""
    rule = load_rules("rules: [{name: R, kind: stuck, verdicts: [slow, lost], older_than: 10m, count: 2, keep_firing_for: 5s}]", "x").rules
    replay = Replay(rule)
    found: list[tuple[SeriesKey, StuckAttempt]] = []
    replay.fold.stuck_attempts = lambda: found  # type: ignore[method-assign]
    key = SeriesKey("acme", "prod", "celery", "mail", "Send")

    def stuck(job_id: str, since_s: int, verdict: Verdict) -> tuple[SeriesKey, StuckAttempt]:
        since_us = (START_S + since_s) * 1_000_000
        return key, StuckAttempt(job_id, 1, "w", verdict, since_us, 1, "ladder", "low", since_us)

    found += [stuck("a", 0, "slow"), stuck("b", 100, "lost"), stuck("c", 100, "late"), stuck("d", 650, "slow")]
    replay.second(START_S, {SEND: pane(1)})
    replay.until(START_S + 800)
    assert brief(replay.transitions) == [("firing", "breached_at_once", 700)]
    firing = replay.transitions[0]
    assert firing.value == 2 and firing.query.startswith("/v1/stuck?tenant=acme&")
    assert firing.examples == [
        {"job_id": "a", "attempt": "1", "verdict": "slow"}, {"job_id": "b", "attempt": "1", "verdict": "lost"},
    ]  # fmt: skip
    found.clear()
    replay.until(START_S + 900)
    assert brief(replay.transitions)[1:] == [("resolved", "kept_long_enough", 810)]

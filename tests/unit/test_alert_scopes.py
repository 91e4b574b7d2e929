"""Rules about whole systems, environments and tenants: what stage 1 sums up for them, and what they look at."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from jobtide.streams.alerts.loading import RulesError, load_rules
from jobtide.streams.alerts.replay import Replay, totals
from jobtide.streams.alerts.saved import Restorer, save
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.folds.panes import Pane, merge
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.records import PaneRecord, Record, parse_pane_key
from jobtide.streams.folds.source import SourceFold

from tests.proof.job_events import MINUTE, SECOND, START_US, job_event, value_of

START_S = 1_763_000_040  # a whole minute
HEADS = (b"acme\x1fprod\x1fcelery", b"acme\x1fprod\x1frq", b"acme\x1ftest\x1frq", b"other\x1fprod\x1fcelery")


def series(head: bytes, number: int) -> bytes:
    return head + b"\x1fq%d\x1fClass" % number


def told(rules: str, bad: bytes, minutes: int = 8) -> Replay:
    """Four systems of five queues; each queue finishes one job a minute, but in one system all fail from the third minute on."""
    replay = Replay(load_rules(rules, "test").rules)
    for minute in range(minutes):
        for number in range(5):
            panes = {series(head, number): _pane(failed=head == bad and minute >= 3) for head in HEADS}
            replay.second(START_S + 60 * minute + 7 * number, panes)
    replay.until(START_S + 60 * minutes + 3700)
    return replay


def _pane(failed: bool) -> Pane:
    return Pane(counts=[1, 1, 0, 1, 0, 0, 1, 0] if failed else [1, 1, 1, 0, 0, 0, 0, 0], run_ok={} if failed else {500: 1})


def brief(transitions: list[Transition]) -> list[tuple[dict[str, str], str, int]]:
    return [(each.labels, each.state, each.at_us // SECOND - START_S) for each in transitions]


RULE = "rules: [{name: R, kind: ratio, metric: job_failure_rate, window: 5m, value: %s, min_samples: 20, by: %s}]"


def test_all_queues_of_a_system_are_enough_where_none_of_them_is() -> None:
    found = told(RULE % (0.1, "system"), HEADS[1]).transitions
    assert brief(found)[:1] == [({"tenant": "acme", "environment": "prod", "system": "rq"}, "firing", 4 * 60)]  # when that minute was whole
    assert (found[0].value, found[0].samples) == (0.25, 20)
    assert (found[0].from_us, found[0].to_us) == ((START_S - 60) * SECOND, (START_S + 240) * SECOND)
    assert found[0].query.startswith("/v1/queues?tenant=acme&environment=prod&system=rq&from=")
    assert [each.state for each in found] == ["firing", "resolved"]
    for by in ("queue", "job_class"):
        assert told(RULE % (0.1, by), HEADS[1]).transitions == []


def test_environments_and_tenants_are_sums_of_their_systems() -> None:
    (fired, *_) = brief(told(RULE % (0.12, "environment"), HEADS[1]).transitions)
    assert fired == ({"tenant": "acme", "environment": "prod"}, "firing", 4 * 60)  # 5 of 40
    (fired, *_) = brief(told(RULE % (0.08, "tenant"), HEADS[1]).transitions)
    assert fired == ({"tenant": "acme"}, "firing", 4 * 60)  # 5 of 60


def test_matchers_choose_among_them() -> None:
    rule = "rules: [{name: R, kind: threshold, metric: dead, window: 5m, op: gte, value: 5, by: system, match: {%s}}]"
    assert told(rule % "tenant: other", HEADS[1]).transitions == []
    assert len(told(rule % "environment: pr*, system: ['!celery']", HEADS[1]).transitions) == 2


def test_rules_about_series_do_not_look_at_sums_and_nobody_is_shown_them() -> None:
    """A queue finishes five jobs in five minutes, a system 25."""
    one = "{name: %s, kind: threshold, metric: finished, window: 5m, op: gt, value: 6, by: %s}"
    replay = told(f"rules: [{', '.join(one % (by, by) for by in ('job_class', 'queue', 'system'))}]", b"")
    assert [each.rule for each in replay.transitions] == ["system"] * 8
    replay.fold.touch_all()
    assert all(write.kind != "series" or write.field.split("\x1f")[2] for write in replay.fold.take_changes())


def test_burn_rates_and_silence_of_a_whole_system() -> None:
    burning = "rules: [{name: R, kind: burn_rate, objective: 0.99, tiers: [14.4, 6], min_samples: 20, by: system}]"
    fired = [each for each in told(burning, HEADS[0]).transitions if each.state == "firing"]
    assert {each.labels["burn_rate"] for each in fired} == {"14.4", "6"} and {each.labels["system"] for each in fired} == {"celery"}
    silent = "rules: [{name: R, kind: absent, metric: finished, after: 10m, by: tenant}]"
    assert brief(told(silent, b"").transitions) == [({"tenant": name}, "firing", 18 * 60) for name in _in_order(silent)]


def _in_order(rule: str) -> list[str]:
    """Transitions of one second are in the order of their fingerprints."""
    compiled = Replay(load_rules(rule, "x").rules).evaluator.rules[0]
    return sorted(("acme", "other"), key=lambda name: compiled.identity((name,)))


def test_an_alert_of_a_system_is_saved_and_found_again() -> None:
    rule = RULE % (0.1, "system")
    replay = Replay(load_rules(rule, "x").rules)
    replay.second(START_S, {series(HEADS[0], number): Pane(counts=[9, 9, 0, 9, 0, 0, 9, 0]) for number in range(5)})
    replay.until(START_S + 61)
    restorer = Restorer()
    for key, value in save(replay.evaluator, []):
        restorer.load(key, value)
    again = Replay(load_rules(rule, "x").rules).evaluator
    restorer.finish(again)
    assert [list(each.instances) for each in again.rules] == [[("acme", "prod", "celery")]]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("kind: threshold, metric: dead, value: 1, by: system, window: 1m", "use a window of 5m or longer, and neither waiting nor in_flight"),
        ("kind: threshold, metric: waiting, value: 1, by: tenant", "use a window of 5m or longer, and neither waiting nor in_flight"),
        ("kind: threshold, metric: dead, value: 1, by: system, match: {queue: x}", "match.queue cannot be used: by: system is about all of it"),
        ("kind: threshold, metric: dead, value: 1, by: tenant, match: {system: x}", "match.system cannot be used: by: tenant is about all of it"),
        ("kind: stuck, by: system", "field by: must be"),
        ("kind: queue_depth, metric: ready, value: 1, by: tenant", "field by: must be 'queue', not 'tenant'"),
    ],
)
def test_what_cannot_be_asked_is_refused(rule: str, said: str) -> None:
    with pytest.raises(RulesError) as caught:
        load_rules(f"rules: [{{name: A, {rule}}}]", "my.yaml")
    assert said in caught.value.problems[0]


# -- what stage 1 sums up


class Published:
    """The newest version of each record."""

    def __init__(self) -> None:
        self.panes: dict[tuple[int, bytes], PaneRecord] = {}
        self.sums: dict[tuple[int, bytes], PaneRecord] = {}

    def take(self, records: list[list[Record]]) -> None:
        for partition in records:
            for key, value in partition:
                if key[:1] in (b"p", b"s") and value:
                    size, start, _, name = parse_pane_key(key)
                    kept = self.panes if key[:1] == b"p" else self.sums
                    record = msgspec.msgpack.decode(value, type=PaneRecord)
                    if size == 60 and ((start, name) not in kept or kept[start, name].version <= record.version):
                        kept[start, name] = record

    def wrong(self) -> list[tuple[int, bytes]]:
        """Sums that are not what the minutes' panes make."""
        by_start: dict[int, dict[bytes, Pane]] = {}
        for (start, name), record in self.panes.items():
            merge(by_start.setdefault(start, {}).setdefault(name, Pane()), record.pane)
        wanted = {(start, name): pane for start, panes in by_start.items() for name, pane in totals(panes).items()}
        return [place for place in wanted.keys() | self.sums.keys() if place not in self.sums or self.sums[place].pane != wanted.get(place)]


@pytest.mark.parametrize("seed", range(4))
def test_sums_follow_their_minutes_however_late_events_come_and_through_restarts(seed: int) -> None:
    rng, fold, published = Random(seed), SourceFold(0, 1), Published()
    publisher, now_us = Publisher(fold), START_US
    for number in range(400):
        now_us += rng.choice([0, SECOND // 2, SECOND, 20 * SECOND])
        at_us = max(START_US, now_us - rng.choice([0, 0, SECOND, 90 * SECOND, 5 * MINUTE]))
        about = {"tenant": rng.choice(["acme", "other"]), "system": rng.choice(["celery", "rq"]), "queue": f"q{rng.randrange(3)}"}
        for kind in ("started", rng.choice(["finished", "failed"])):
            event = job_event(kind, at_us, job_id=f"j{number}", event_id=f"event-{number:012d}-{kind}", **about)
            fold.fold([fold.version + 1], [now_us], [value_of(event)])
        if rng.random() < 0.3:
            published.take(publisher.collect("active"))
        if rng.random() < 0.02:
            publisher = Publisher(fold)  # who takes over does not know what was told
    for _ in range(80):  # what was revised follows, a minute every two seconds
        now_us += 2 * SECOND
        fold.caught_up(now_us)
        published.take(publisher.collect("idle"))
    assert len(published.sums) > 20 and published.wrong() == []


def test_minutes_that_close_together_are_all_told_before_the_tick() -> None:
    """As when a worker catches up; whichever of them was counted in first."""
    fold, published = SourceFold(0, 1), Published()
    publisher = Publisher(fold)
    for number, minute in enumerate((3, 1, 4, 0, 2)):
        event = job_event("enqueued", START_US + minute * MINUTE, job_id=f"j{number}", event_id=f"event-{number:012d}")
        fold.fold([number], [START_US + 5 * MINUTE], [value_of(event)])
    fold.caught_up(START_US + 10 * MINUTE)
    published.take(publisher.collect("idle"))
    assert published.wrong() == [] and len({start for start, _ in published.sums}) == 5

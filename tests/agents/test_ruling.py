"""Rules' state in Kafka when the log they stood on is gone: it ends, and does not come back with the next owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from jobtide.streams.agents import ruling
from jobtide.streams.agents.baselines import BaselineLog
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.agents.ruling import STATUS_KEY, Ruling
from jobtide.streams.agents.stage2 import Stage2
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.alerts.transitions import Transition, decode
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import PaneRecord, Record, Tick, encode, pane_key
from jobtide.streams.settings import Settings, load
from jobtide.streams.topics import ALERTS, BASELINES
from jobtide.streams.triage.baselines import Baselines

from tests.fakes.hot_state import FakeHotState
from tests.servers import create_topics

START_S = 1_763_000_040  # a whole minute
MINUTES = 5
RULES = """rules:
  - {name: Dead, kind: threshold, metric: dead, window: 5m, op: gt, value: 2}
  - {name: Silent, kind: absent, metric: finished, after: 10m}
  - {name: Burning, kind: burn_rate, objective: 0.95, min_samples: 1000000}
  - {name: Fewer, kind: change, metric: finished, window: 1m, baseline: 15m, op: lt, value: 0.3, min_samples: 1000000}
"""


@pytest.fixture
async def settings(kafka_broker: str, prefix: str, tmp_path: Path) -> Settings:
    await create_topics(kafka_broker, prefix, partitions=1)
    (tmp_path / "rules.yaml").write_text(RULES)
    return load({}, broker=kafka_broker, topic_prefix=prefix, partitions=1, rules=str(tmp_path / "rules.yaml"))


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = new_producer(settings)
    await producer.start()
    yield producer
    await producer.stop()


def story() -> list[Record]:
    """Some minutes of a series that fails for good."""
    out: list[Record] = []
    for n in range(MINUTES):
        pane = Pane(counts=[9, 9, 5, 4, 0, 0, 4, 0], run_ok={698: 5})
        out.append((pane_key(60, START_S + 60 * n, 0, b"acme\x1fprod\x1fcelery\x1fmail\x1fSend"), encode(PaneRecord(n, 0, 0, pane))))
        out.append((b"t\x1f0", encode(Tick(0, n, (START_S + 60 * n + 61) * 1_000_000, "active"))))
    return out


def tell(ruled: RuledPartition) -> None:
    log = story()
    ruled.fold_records([key for key, _ in log], [value for _, value in log], range(len(log)))


async def said(settings: Settings) -> list[Transition]:
    consumer, found = new_reader(settings), list[Transition]()
    await consumer.start()
    try:
        tp = TopicPartition(settings.topic(ALERTS), 0)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [decode(r.value) for r in records if not (r.key or b"").startswith(STATUS_KEY)]
    finally:
        await consumer.stop()
    return found


async def left_by_an_owner(settings: Settings, producer: AIOKafkaProducer) -> None:
    first = Ruling(settings, producer)
    first.partitions = await first.take_over({0})
    first.partitions[0].watch_from_here()
    tell(first.partitions[0])
    await first.say(whole=True)


def memory(ruled: RuledPartition) -> list[bool]:
    """Which kinds of things the rules remember."""
    evaluator = ruled.evaluator
    return [
        any(c.instances for c in evaluator.rules), any(c.last_s for c in evaluator.rules), bool(evaluator.first_s), bool(evaluator.totals),
    ]  # fmt: skip


async def test_with_another_log_alerts_end_and_nothing_of_them_comes_back(settings: Settings, producer: AIOKafkaProducer) -> None:
    await left_by_an_owner(settings, producer)
    baselines = BaselineLog(producer, lambda: new_reader(settings), settings.topic(BASELINES))
    await baselines.write(0, story_of_baselines())
    second = Stage2(settings, FakeHotState(), producer, baselines)
    await second.recover({0})  # the topic of panes is empty: it ends before what was seen
    assert second.ruling is not None and memory(second.ruling.partitions[0]) == [False] * 4
    assert list(second.folds[0].triage.baselines.by_series) == [b"taught"], "what was learned does not go with the log"
    assert [(t.rule, t.state, t.reason) for t in await said(settings)] == [
        ("Dead", "firing", "breached_at_once"), ("Dead", "resolved", "rule_removed"),
    ]  # fmt: skip
    tell(second.ruling.partitions[0])
    await second.ruling.say(whole=True)
    assert [t.state for t in await said(settings)] == ["firing", "resolved", "firing"], "a new breach is a new alert"


async def test_what_has_ended_with_its_log_is_not_in_the_checkpoint(settings: Settings, producer: AIOKafkaProducer) -> None:
    await left_by_an_owner(settings, producer)
    second = Ruling(settings, producer)
    old = (await second.take_over({0}))[0]
    assert memory(old) == [True] * 4
    await second.begin_anew(0, old)
    assert memory((await Ruling(settings, producer).take_over({0}))[0]) == [False] * 4


async def test_a_long_replay_is_saved_before_it_is_too_much_for_a_batch(
    settings: Settings, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Ruling(settings, producer)
    ruled = (await one.take_over({0}))[0]
    ruled.watch_from_here()
    tell(ruled)
    await one.while_replaying(0, ruled)
    assert ruled.evaluator.unsaved_hours and not await said(settings), "too little to be worth it"
    monkeypatch.setattr(ruling, "MOST_UNSAVED", 0)
    await one.while_replaying(0, ruled)
    assert not ruled.evaluator.unsaved_hours and [t.state for t in await said(settings)] == ["firing"]
    assert memory((await Ruling(settings, producer).take_over({0}))[0]) == [True] * 4


def story_of_baselines() -> list[Record]:
    known = Baselines()
    known.learn(b"taught", START_S - 3600, {698: 9}, {})
    return list(known.take_unsaved())

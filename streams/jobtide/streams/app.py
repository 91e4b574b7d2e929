"""A stream worker: one Faust app with an agent for each stage.

Wires the stages to Faust and their timers; nothing is decided here. Several workers share the partitions of both topics through one
consumer group. Start it with `run_worker`, which blocks until the worker stops.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP
from jobtide.streams import compiled
from jobtide.streams.agents.baselines import BaselineLog
from jobtide.streams.agents.coalescing import CoalescingTransport, use_lean_records
from jobtide.streams.agents.kafka import credentials, ensure_topics, new_producer, new_reader
from jobtide.streams.agents.stage import Stage, Watchdog, end_process
from jobtide.streams.agents.stage1 import Stage1
from jobtide.streams.agents.stage2 import Stage2
from jobtide.streams.errors import TransientError
from jobtide.streams.settings import Settings
from jobtide.streams.snapshots import HotStateSink
from jobtide.streams.topics import BASELINES

GROUP = "jobtide-streams"
WATCH_S = 0.2
LONGEST_FLUSH_S = 2.0
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h
log = logging.getLogger(__name__)


class StreamWorker:
    """The Faust app of one worker process and its stages. Make it inside the running event loop."""

    def __init__(self, settings: Settings, sink: HotStateSink, *, idempotent: bool = True) -> None:
        self.settings, self.sink = settings, sink
        self.producer = new_producer(settings, idempotent=idempotent)
        self.app = self._new_app()
        self.stage1 = Stage1(settings, self.producer, self._highwater, self._pause)
        baselines = BaselineLog(self.producer, lambda: new_reader(settings), settings.topic(BASELINES))
        self.stage2 = Stage2(settings, sink, self.producer if "2" in settings.stages else None, baselines)
        self.stages: tuple[Stage, ...] = tuple({"1": self.stage1, "2": self.stage2}[name] for name in settings.stages.split(","))
        self.app.jobtide_stages = {stage.topic: stage for stage in self.stages}
        self.app.transport = CoalescingTransport(self.app.conf.broker_consumer, self.app)
        for stage in self.stages:
            self._agent(stage)
        self.app.task(self._watch)
        if self.stage1 in self.stages:
            self.app.task(self._publish_panes)
        if self.stage2 in self.stages:
            self.app.task(self._publish_hot_state)
            self.app.task(self._say_alerts)

    @property
    def owns_anything(self) -> bool:
        return bool(self.stage1.owned)

    async def start(self) -> None:
        await self.producer.start()
        await self.app.start()

    async def stop(self) -> None:
        """Make everything durable, leave the group, close the clients."""
        for stage in self.stages:
            await stage.flush()
        await self.app.stop()
        await self.producer.stop()
        await self.sink.close()

    def _new_app(self) -> Any:
        s = self.settings
        session_s = s.session_timeout_ms / 1000
        return faust.App(
            s.topic(GROUP),
            broker=";".join(f"kafka://{server.strip()}" for server in s.broker.split(",")),
            broker_credentials=credentials(s),
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 5,
            broker_rebalance_timeout=max(60.0, session_s),
            broker_request_timeout=max(90.0, session_s),
            stream_buffer_maxsize=16,  # counts batches of ~1 MB
            stream_wait_empty=False,
            consumer_auto_offset_reset="earliest",
            topic_disable_leader=True,
            topic_allow_declare=False,
            web_enabled=False,
            datadir=_faust_directory(s),
            value_serializer="raw",
            key_serializer="raw",
        )

    def _agent(self, stage: Stage) -> None:
        topic = self.app.topic(stage.topic, value_type=bytes, value_serializer="raw", key_serializer="raw")

        async def fold(stream: Any) -> None:
            async for event in stream.noack().events():
                try:
                    await stage.take(event.message, self.app.consumer)
                except Exception:
                    log.exception("folding %s failed", stage.topic)
                    end_process(f"state of {stage.topic} may be half folded")  # a bug: the checkpoint is still right

        self.app.agent(topic, name=f"jobtide.{stage.topic}", concurrency=1)(fold)

    def _highwater(self, partition: int) -> int | None:
        highwater: int | None = self.app.consumer.highwater(TP(self.stage1.topic, partition))
        return highwater

    def _pause(self, partition: int, seconds: float) -> None:
        tps, consumer, generation = {TP(self.stage1.topic, partition)}, self.app.consumer, self.app.consumer_generation_id
        consumer.pause_partitions(tps)

        def resume() -> None:
            if self.app.consumer_generation_id == generation:  # else a new assignment has resumed it, or has given it away
                consumer.resume_partitions(tps)

        asyncio.get_running_loop().call_later(seconds, resume)

    async def _publish_panes(self) -> None:
        """Publishes every `publish_ms`; every `flush_ms` with a checkpoint, less often while checkpoints would take a tenth of the time."""
        s, now = self.settings, asyncio.get_running_loop().time
        next_flush_s = now()
        while not self.app.should_stop:
            await asyncio.sleep(s.publish_ms / 1000)
            if self.app.rebalancing:
                continue
            if now() >= next_flush_s:
                started_s = now()
                await self.stage1.flush()
                next_flush_s = max(started_s + s.flush_ms / 1000, now() + min(10 * self.stage1.saving_s, LONGEST_FLUSH_S))
            else:
                await self.stage1.publish()
            await self.stage1.read_stalled(self.app.consumer)

    async def _publish_hot_state(self) -> None:
        while not self.app.should_stop:
            await asyncio.sleep(self.settings.publish_ms / 1000)
            if not self.app.rebalancing:
                await self.stage2.publish()
                await self.stage2.save_baselines()
                await self.stage2.read_stalled(self.app.consumer)

    async def _say_alerts(self) -> None:
        while not self.app.should_stop:
            await asyncio.sleep(self.settings.publish_ms / 1000)
            if not self.app.rebalancing:
                await self.stage2.say()

    async def _watch(self) -> None:
        """On its own: what waits for Kafka does not stand still."""
        watchdog = Watchdog(self.settings.session_timeout_ms / 1000 * 0.5)
        while not self.app.should_stop:
            await asyncio.sleep(WATCH_S)
            watchdog.beat()


async def wait_for_kafka(settings: Settings) -> None:
    """Make or check the topics; while Kafka is out of reach, say so and try again."""
    delay_s = 0.2
    while True:
        try:
            await ensure_topics(settings)
            return
        except (TransientError, KafkaError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise
            log.warning("waiting for Kafka at %s: %s", settings.broker, error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 5.0)


async def run_worker(settings: Settings, new_sink: Callable[[], HotStateSink], stop: asyncio.Event, *, idempotent: bool = True) -> None:
    """Run a worker until `stop` is set. Raises ConfigError if the topics do not fit the settings."""
    ready, stopped = asyncio.ensure_future(wait_for_kafka(settings)), asyncio.ensure_future(stop.wait())
    await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        return
    ready.result()
    _tune_gc()
    _keep_freed_memory()
    use_lean_records()
    worker = StreamWorker(settings, new_sink(), idempotent=idempotent)
    await worker.start()
    log.info("worker started, hot path: %s", compiled.form())
    if await worker.app.wait_for_stopped(stop):
        end_process(f"Faust ended on its own ({worker.app.crash_reason!r})")
    await worker.stop()


def _faust_directory(settings: Settings) -> str:
    """Nothing is kept there, but Faust makes directories, by default where the process was started."""
    directory = Path(settings.data_dir) / "faust"
    directory.parent.mkdir(parents=True, exist_ok=True)
    return str(directory)


def _tune_gc() -> None:
    """The state is large and lives long; walking it again and again finds nothing to collect. Fewer, later collections."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _keep_freed_memory() -> None:
    """Megabytes are fetched and freed all the time: glibc would give each back to the kernel and take it again, which zeroes every page."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc; elsewhere it is only slower
        mallopt(_TRIM_THRESHOLD, 256 << 20)
        mallopt(_MMAP_THRESHOLD, 64 << 20)
        mallopt(_ARENA_MAX, 1)  # what the consumer's thread frees, the other can use

"""The emitter of a process: builds events, buffers them, and survives forks.

`put` and `emit` are the hot path: one event to bytes, a number, a place in the ring; a background thread delivers. What
a fork inherits belongs to the parent and is left alone: the child begins with an empty ring and an epoch of its own, or
hands its events to the parent where the parent offers that (`relay`).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jobtide_emitter import bounds, guard
from jobtide_emitter.broadcasts import Held
from jobtide_emitter.flusher import Flusher
from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job, JobEvents
from jobtide_emitter.lanes import lane_of
from jobtide_emitter.masking import Arguments
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.off_switch import OffSwitch
from jobtide_emitter.queues import Watch
from jobtide_emitter.relay import ParentGone, Relay
from jobtide_emitter.ring import Rank, Record, Ring
from jobtide_emitter.settings import Settings
from jobtide_emitter.spool import Spool
from jobtide_emitter.statistics import Statistics
from jobtide_emitter.transports import Transport, transport_class
from jobtide_emitter.workers import Worker

_NOT_IN_SOURCE = re.compile(r"[^A-Za-z0-9._~:/@%+-]")
_site = guard.Site("emitter.put", lambda: None)
guard.sites[_site.name] = _site


def _left_ms(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))


class Emitter(JobEvents):
    """One per process; `jobtide_emitter.emitter()` returns it. No method raises or waits, but `flush` and `close`."""

    def __init__(self, settings: Settings, make_transport: Callable[[], Transport] | None = None) -> None:
        self.settings = settings
        self.enabled = not settings.disabled and (settings.active or make_transport is not None)
        self._off_switch = OffSwitch(settings.off_file) if settings.off_file else None
        self.accept = self._buffer  # where a serialised event goes: the ring, or the parent's
        self.truncated = 0
        self.arguments = Arguments(settings.args, settings.args_mask)
        self._series = {}
        self._make_transport = make_transport or (lambda: transport_class(settings)(settings))
        self._preload = None if make_transport is not None else partial(transport_class, settings)
        self._relay: Relay | None = None
        self._begin()

    def _begin(self) -> None:
        """A new epoch: at the start of a process and in every fork. Starts nothing; the first event does."""
        settings = self.settings
        self.ring = Ring(settings.queue_events, settings.queue_bytes)
        self._spool = Spool(settings, self.ring) if settings.spool_dir else None
        self._flusher = Flusher(self.ring, self._make_transport, settings.linger_ms, self._spool)
        self._statistics = Statistics(self)
        self._flusher.beats.append(self._statistics.beat)
        if self._spool is not None:
            self._flusher.beats.append(self._spool.look)
        self._worker: Worker | None = None
        self._watch: Watch | None = None
        self._source = settings.source or _NOT_IN_SOURCE.sub("-", f"/{socket.gethostname()}/{os.getpid()}")[:256]

    def put(self, job: Job, kind: str, rank: int, data: dict[str, Any], at_us: int | None) -> None:
        """Takes one event of a job. The hot path: what fails here is counted, never raised."""
        if not self.enabled or (self._off_switch is not None and self._off_switch.off()):
            return
        try:
            event = {
                "specversion": "1.0",
                "type": kind,
                "source": self._source,
                "subject": job.facts["job_id"],
                "time": text_of(now_us() if at_us is None else at_us),
                "partitionkey": job.key,
                "data": data,
            }
            if job.traceparent is not None:
                event["traceparent"] = job.traceparent
            self.accept(bounds.serialized(event, self._truncating), job.lane, rank)
        except Exception as error:
            _site.failed(error)

    def emit(
        self,
        kind: str,
        data: dict[str, Any],
        *,
        partitionkey: str,
        lane: int | None = None,
        subject: str = "",
        at_us: int | None = None,
        rank: int = Rank.STEP,
        **attributes: Any,
    ) -> None:
        """Any event of the contract: `kind` is "queue.snapshot.v1" and the like, `attributes` are CloudEvents
        extensions (traceparent, backfill). Tenant and environment come from the settings unless `data` has them."""
        if not self.enabled or (self._off_switch is not None and self._off_switch.off()):
            return
        try:
            event = {
                "specversion": "1.0",
                "type": kind,
                "source": self._source,
                "subject": bounds.name(subject or partitionkey, 300),
                "time": text_of(now_us() if at_us is None else at_us),
                "partitionkey": partitionkey,
                **attributes,
                "data": {"tenant": self.settings.tenant, "environment": self.settings.environment, **data},
            }
            raw = bounds.serialized(event, self._truncating)
            self.accept(raw, lane_of(partitionkey) if lane is None else lane, rank)
        except Exception as error:
            _site.failed(error)

    def worker(
        self, system: str, worker_id: str, queues: Sequence[str], concurrency: int,
        held: Callable[[], Sequence[Held]], version: str = "",
    ) -> Worker:  # fmt: skip
        """This process is a worker: online now, heartbeats from now on. `held` says what it holds."""
        worker = Worker(self, system, worker_id, queues, concurrency, held, version)
        self._worker = worker
        if self.enabled:
            self._flusher.beats.append(worker.beat)
            self._flusher.wake()
        return worker

    def add_beat(self, beat: Callable[[float], float]) -> None:
        """`beat` is called in the background thread with the monotonic time, and says when it wants to be called again."""
        self._flusher.beats.append(beat)

    def watch(self, watch: Watch) -> None:
        """From now until the worker ends, `watch` says how long its queues are."""
        self._watch = watch
        watch.start()

    def preload(self) -> None:
        """Imports what delivery needs, so that no forked child has to while a job runs in it. Connects to nothing."""
        if self.enabled and self._preload is not None:
            self._preload()

    def end_worker(self) -> None:
        """The worker is gone, the process may go on: offline, and a flush. Waits at most `flush_timeout_ms`."""
        if self._watch is not None:
            self._watch.stop()
        worker, self._worker = self._worker, None
        if worker is None or not self.enabled:
            return
        self._flusher.beats.remove(worker.beat)
        limit_s = self.settings.flush_timeout_ms / 1000
        deadline = time.monotonic() + limit_s
        if self._relay is not None:
            self._relay.drain(limit_s)
        if self.flush(_left_ms(deadline)) and self._flusher.connected:
            worker.end()
            self.flush(_left_ms(deadline))

    def flush(self, timeout_ms: int | None = None) -> bool:
        """Waits until everything emitted so far has been acknowledged, or is in the spool. False when that did not happen
        in time, or at once when delivery is known to fail. For places where a process ends hard; never needed elsewhere."""
        if not self.enabled:
            return True
        timeout_s = (self.settings.flush_timeout_ms if timeout_ms is None else timeout_ms) / 1000
        if self._relay is not None and self._relay.is_child:
            return self._relay.drain(timeout_s)
        return self._flusher.flush(timeout_s) or self._kept_in_spool()

    def close(self, timeout_ms: int | None = None) -> None:
        """The clean end: offline, the last statistics, a flush. Waits at most `flush_timeout_ms` or `timeout_ms`."""
        if not self.enabled:
            return
        limit_ms = self.settings.flush_timeout_ms if timeout_ms is None else timeout_ms
        deadline = time.monotonic() + limit_ms / 1000
        if self._relay is not None:
            self._relay.drain(limit_ms / 1000)
            if self._relay.is_child:
                return
        self._flusher.beats.clear()
        if self._watch is not None:
            self._watch.stop()
        if self.flush(_left_ms(deadline)) and self._flusher.connected:
            if self._worker is not None:
                self._worker.end()
            self._statistics.say(clean=True)
            self.flush(_left_ms(deadline))
        self.enabled = False
        stopped = self._flusher.stop(max(0.0, deadline - time.monotonic()))
        if self._spool is not None:
            self._spool.close(leave=stopped)

    def open_relay(self) -> None:
        """Children forked from now on hand their events to this process, which outlives them."""
        if self.enabled and self._relay is None:
            self._relay = Relay(self._buffer, lambda lane: self.ring.lose(lane))

    def after_fork(self) -> None:
        """In the child: leave alone what is the parent's."""
        if not self.enabled:
            return
        self._flusher.abandon()
        if self._spool is not None:
            self._spool.leave()
        self._begin()
        if self._relay is not None and self._relay.enter_child():
            self.accept = self._hand_over

    @property
    def spooled(self) -> int:
        """Events of this epoch that went to the spool."""
        return self._spool.spooled if self._spool is not None else 0

    def _kept_in_spool(self) -> bool:
        return self._spool is not None and bool(_keep(self._spool, self._flusher.unacknowledged))

    @property
    def in_relay(self) -> bool:
        """Whether this process hands its events to its parent."""
        return self._relay is not None and self._relay.is_child

    @property
    def partitions(self) -> int | None:
        """Kafka partitions of the topic, once reached; None where the receiver places events."""
        return self._flusher.partitions

    def wake(self) -> None:
        """Makes the background thread look for what is due."""
        self._flusher.wake()

    @property
    def connected(self) -> bool:
        """Whether the receiver has been reached since the process started."""
        return self._flusher.connected

    def reach(self) -> bool:
        """Whether the receiver has been reached; one try, which may wait: for the background thread."""
        return self._flusher.reached() is not None

    def _buffer(self, raw: bytes, lane: int, rank: int) -> None:
        self.ring.put(raw, lane, rank)
        if not self._flusher.awake:
            self._flusher.wake()

    def _hand_over(self, raw: bytes, lane: int, rank: int) -> None:
        relay = self._relay
        assert relay is not None
        try:
            relay.send(raw, lane, rank)
        except ParentGone:
            self._relay = None
            self.accept = self._buffer
            for event in relay.leftovers():
                self._buffer(*event)

    def _truncating(self) -> None:
        self.truncated += 1


@guarded("spool.keep")
def _keep(spool: Spool, window: Sequence[Record]) -> bool:
    return spool.keep(window)

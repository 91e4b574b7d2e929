"""Work that no supported backend runs, as jobs: a decorator and a context manager, for scripts, threads, home-made queues.

A call is one job with one attempt: started, a heartbeat while it runs, finished; or failed and dead, with the exception
going on its way. Nothing is enqueued and nothing retried here; whoever does that names attempts with `emitter().job`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from jobtide_emitter.guard import guarded
from jobtide_emitter.process import emitter
from jobtide_emitter.ring import Rank
from jobtide_emitter.runs import Run

P = ParamSpec("P")
R = TypeVar("R")

SYSTEM = "python"


class Running:
    """What `running` gives to its body. Works, and does nothing, where the emitter is off or broken."""

    __slots__ = ("_run",)

    def __init__(self, run: Run | None) -> None:
        self._run = run

    @property
    def job_id(self) -> str | None:
        """The job's id, None if nothing is told."""
        return self._run.job.id if self._run is not None else None

    def progress(self, ratio: float, step: str | None = None) -> None:
        """How far it is, 0 to 1, and in which step."""
        if self._run is not None:
            self._run.progress(ratio, step)


@overload
def job(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def job(*, queue: str = ..., name: str | None = ..., system: str = ...) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def job(function: Any = None, /, *, queue: str = "default", name: str | None = None, system: str = SYSTEM) -> Any:
    """Each call of the function is a job: `@job`, or `@job(queue="nightly")`. Coroutine functions too."""

    def decorate(decorated: Any) -> Any:
        job_class = name or f"{decorated.__module__}.{decorated.__qualname__}"

        @wraps(decorated)
        def call(*args: Any, **kwargs: Any) -> Any:
            with running(queue, job_class, system=system):
                return decorated(*args, **kwargs)

        @wraps(decorated)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with running(queue, job_class, system=system):
                return await decorated(*args, **kwargs)

        return call_async if inspect.iscoroutinefunction(decorated) else call

    return decorate if function is None else decorate(function)


@contextmanager
def running(queue: str, job_class: str, job_id: str | None = None, *, system: str = SYSTEM, attempt: int = 1, **more: Any) -> Iterator[Running]:
    """The body is one attempt of a job. `more` is optional data of the contract: expected_ms, parent_job_id, batch_id, …"""
    run = begin(system, queue, job_class, job_id or uuid.uuid4().hex, attempt, more)
    try:
        yield Running(run)
    except Exception as error:
        _fail(run, error)
        raise
    except BaseException as error:
        _interrupt(run, error)
        raise
    else:
        _finish(run)


@guarded("own_jobs.begin")
def begin(system: str, queue: str, job_class: str, job_id: str, attempt: int, more: dict[str, Any]) -> Run | None:
    """An attempt starts now, in this process; it has heartbeats until its run has ended."""
    telling = emitter()
    if not telling.enabled:
        return None
    named = telling.job(system, queue, job_class, job_id, attempt, **more)
    run = telling.job_started(named, f"{socket.gethostname()}:{os.getpid()}")
    _pulse.hold(run)
    return run


@guarded("own_jobs.finish")
def _finish(run: Run | None) -> None:
    if run is not None:
        run.finished()
        _pulse.release(run)


@guarded("own_jobs.fail")
def _fail(run: Run | None, error: Exception) -> None:
    if run is not None:
        described = emitter().error(error)
        run.failed(described)
        emitter().job_dead(run.job, described, at_us=run.ended_us, worker_id=run.worker_id)
        _pulse.release(run)


@guarded("own_jobs.interrupt")
def _interrupt(run: Run | None, error: BaseException) -> None:
    """Ctrl-C, sys.exit in the body, a cancelled coroutine: somebody stopped it."""
    if run is not None:
        run.cancelled("cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__)
        _pulse.release(run)


class _Pulse:
    """Says every heartbeat interval that what this process began still runs. A fork begins with nothing."""

    def __init__(self) -> None:
        self._epoch = ""
        self._held: dict[int, Run] = {}
        self._next = 0.0

    def hold(self, run: Run) -> None:
        telling = emitter()
        if self._epoch != telling.ring.epoch:
            self._epoch, self._held = telling.ring.epoch, {}
            self._next = time.monotonic() + telling.settings.heartbeat_ms / 1000
            telling.add_beat(self.beat)
        self._held[id(run)] = run

    def release(self, run: Run) -> None:
        self._held.pop(id(run), None)

    def beat(self, now: float) -> float:
        interval_s = emitter().settings.heartbeat_ms / 1000
        if now >= self._next:
            self._next = now + interval_s
            for run in list(self._held.values()):
                if run.ended:
                    self.release(run)
                else:
                    emitter().put(run.job, "job.heartbeat.v1", Rank.BEAT, {**run.job.facts, "worker_id": run.worker_id}, None)
        return self._next


_pulse = _Pulse()

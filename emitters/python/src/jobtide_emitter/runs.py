"""An attempt while a worker holds it: it knows when it began, on both clocks, and ends at most once."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from jobtide_emitter import bounds
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.ring import Rank

if TYPE_CHECKING:
    from jobtide_emitter.jobs import Job, JobEvents


_current: ContextVar[Run | None] = ContextVar("jobtide_run", default=None)


def enter(run: Run) -> None:
    """What `progress` says is said of this run from now on, in this thread or task."""
    _current.set(run)


def progress(ratio: float, step: str | None = None) -> None:
    """For the body of a job, whatever runs it: how far it is, 0 to 1, and in which step. Elsewhere it says nothing. Never raises."""
    run = _current.get()
    if run is not None and not run.ended:
        run.progress(ratio, step)


class Run:
    """An attempt that a worker holds: knows when it began, on both clocks, and ends at most once."""

    __slots__ = ("_began_ns", "_ended_ns", "emitter", "ended", "ended_us", "job", "started_us", "worker_id")

    def __init__(self, emitter: JobEvents, job: Job, worker_id: str, started_us: int, elapsed_us: int = 0) -> None:
        self.emitter = emitter
        self.job = job
        self.worker_id = worker_id
        self.started_us = started_us
        self.ended = False
        self.ended_us: int | None = None
        self._ended_ns: int | None = None
        self._began_ns = time.monotonic_ns() - elapsed_us * 1000

    def body_returned(self) -> None:
        """Takes the time now, for an outcome that is only known later (a result has to be stored first)."""
        if self._ended_ns is not None:
            return
        self._ended_ns = time.monotonic_ns()
        self.ended_us = now_us()

    def finished(self, **more: Any) -> None:
        """The attempt succeeded."""
        self._end("job.finished.v1", more)

    def failed(self, error: dict[str, str], **more: Any) -> None:
        """The attempt raised; whether another follows is said by job_retry_scheduled or job_dead."""
        self._end("job.failed.v1", {"error": error, **more})

    def cancelled(self, reason: str) -> None:
        """Somebody stopped it while it ran."""
        self._end("job.cancelled.v1", {"reason": bounds.name(reason)})

    def discarded(self, reason: str) -> None:
        """It ended without success or failure: the job asked to be ignored."""
        self._end("job.discarded.v1", {"reason": bounds.name(reason)})

    @guarded("run.progress")
    def progress(self, ratio: float, step: str | None = None) -> None:
        """How far it is, 0 to 1, and in which step."""
        data = {**self.job.facts, "worker_id": self.worker_id, "progress": min(max(ratio, 0.0), 1.0)}
        if step is not None:
            data["step"] = bounds.name(step)
        self.emitter.put(self.job, "job.progress.v1", Rank.BEAT, data, None)

    @guarded("run.end")
    def _end(self, kind: str, more: dict[str, Any]) -> None:
        if self.ended:
            return
        self.ended = True
        self.body_returned()
        data = {
            **self.job.facts,
            "worker_id": self.worker_id,
            "started_at": text_of(self.started_us),
            "duration_ms": bounds.milliseconds(((self._ended_ns or 0) - self._began_ns) // 1000),
            **more,
        }
        self.emitter.put(self.job, kind, Rank.END, data, self.ended_us)

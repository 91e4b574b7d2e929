"""The attempts of jobs and what happens to them, as contract events: the part of the emitter that hooks and apps call.

Says what each event carries, not how it is sent (`emitter`) nor when a backend reaches that point (the hooks). Times
are µs since the epoch; without `at_us` an event happens now.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobtide_emitter import bounds
from jobtide_emitter.guard import guarded
from jobtide_emitter.lanes import lane_of
from jobtide_emitter.masking import Arguments
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.ring import Rank
from jobtide_emitter.runs import Run, enter

if TYPE_CHECKING:
    from jobtide_emitter.settings import Settings


_MAX_SERIES = 4096
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_Tracing = Callable[[], str | None]


class Job:
    """Names one attempt of one job, once for all its events. `facts` is what every event of it says, as `traceparent` is."""

    __slots__ = ("facts", "key", "lane", "traceparent")

    def __init__(self, facts: dict[str, Any], key: str, traceparent: str | None = None) -> None:
        self.facts = facts
        self.key = key
        self.lane = lane_of(key)
        self.traceparent = traceparent

    @property
    def id(self) -> str:
        return self.facts["job_id"]  # type: ignore[no-any-return]

    @property
    def attempt(self) -> int:
        return self.facts["attempt"]  # type: ignore[no-any-return]


class JobEvents(ABC):
    """The events of jobs; the emitter is one. No method here waits or does I/O."""

    settings: Settings
    arguments: Arguments
    _series: dict[tuple[str, str, str], tuple[dict[str, Any], str]]

    @abstractmethod
    def put(self, job: Job, kind: str, rank: int, data: dict[str, Any], at_us: int | None) -> None:
        """Takes one event of a job. Never raises."""

    tracing: _Tracing | None = None  # says the W3C traceparent of the span that the caller is in; see `jobtide_emitter.tracing`

    def job(
        self, system: str, queue: str, job_class: str, job_id: str, attempt: int = 1, *, traceparent: Any = None, **more: Any
    ) -> Job:  # fmt: skip
        """Names an attempt. `more` is optional data of the contract: max_attempts, priority, parent_job_id, labels, …
        `traceparent` (W3C) is said by all its events; by default that of the span the caller is in, where `tracing` says it."""
        name = bounds.name(job_id)
        try:
            series, prefix = self._series[system, queue, job_class]
        except (KeyError, TypeError):  # new, or nothing that can be a key
            series, prefix = self._new_series(system, queue, job_class)
        facts = {**series, "job_id": name, "attempt": bounds.attempt(attempt)}
        for member, value in more.items():
            if value is not None:
                facts[member] = bounds.name(value) if isinstance(value, str) else value
        if traceparent is None and self.tracing is not None:
            traceparent = _span_of(self.tracing)
        if traceparent is not None and not (isinstance(traceparent, str) and _TRACEPARENT.fullmatch(traceparent)):
            traceparent = None
        return Job(facts, prefix + name, traceparent)

    def _new_series(self, system: str, queue: str, job_class: str) -> tuple[dict[str, Any], str]:
        """What all jobs of a class in a queue say, and how their partition keys begin; kept for the next ones."""
        facts = {
            "tenant": self.settings.tenant,
            "environment": self.settings.environment,
            "system": bounds.name(system, 32),
            "queue": bounds.name(queue),
            "job_class": bounds.name(job_class),
        }
        made = (facts, f"{facts['tenant']}/{facts['system']}/")
        if len(self._series) >= _MAX_SERIES:
            self._series.clear()
        with contextlib.suppress(TypeError):
            self._series[system, queue, job_class] = made
        return made

    @guarded("emitter.job_enqueued")
    def job_enqueued(self, job: Job, *, at_us: int | None = None, run_at_us: int | None = None) -> None:
        """The attempt waits for a worker from now on."""
        data = job.facts if run_at_us is None else {**job.facts, "run_at": text_of(run_at_us)}
        self.put(job, "job.enqueued.v1", Rank.STEP, data, at_us)

    @guarded("emitter.job_scheduled")
    def job_scheduled(self, job: Job, run_at_us: int, *, at_us: int | None = None) -> None:
        """The attempt was asked for, to start not before `run_at_us`."""
        self.put(job, "job.scheduled.v1", Rank.STEP, {**job.facts, "run_at": text_of(run_at_us)}, at_us)

    def job_started(
        self,
        job: Job,
        worker_id: str,
        *,
        at_us: int | None = None,
        enqueued_at_us: int | None = None,
        run_at_us: int | None = None,
        args_preview: str | None = None,
    ) -> Run:
        """A worker begins the attempt. Returns the run, which ends it. `args_preview` is from `preview`, masked."""
        started_us = now_us() if at_us is None else at_us
        run = Run(self, job, bounds.name(worker_id), started_us)
        enter(run)
        self._say_started(run, enqueued_at_us, run_at_us, args_preview)
        return run

    @guarded("emitter.job_started")
    def _say_started(self, run: Run, enqueued_at_us: int | None, run_at_us: int | None, args_preview: str | None) -> None:
        data = {**run.job.facts, "worker_id": run.worker_id}
        if enqueued_at_us is not None:
            data["enqueued_at"] = text_of(enqueued_at_us)
        if run_at_us is not None:
            data["run_at"] = text_of(run_at_us)
        if args_preview is not None:
            data["args_preview"] = args_preview
        self.put(run.job, "job.started.v1", Rank.STEP, data, run.started_us)

    def run_of(self, job: Job, worker_id: str, started_us: int | None) -> Run:
        """An attempt whose process is gone, so that the one that noticed can end it. Only the wall clock knows how
        long it took."""
        started = now_us() if started_us is None else started_us
        return Run(self, job, worker_id, started, max(0, now_us() - started))

    @guarded("emitter.job_retry_scheduled")
    def job_retry_scheduled(self, job: Job, run_at_us: int, *, at_us: int | None = None, **more: Any) -> None:
        """The job gets another attempt, `job.attempt` + 1, not before `run_at_us`."""
        data = {**job.facts, "run_at": text_of(run_at_us), **more}
        self.put(job, "job.retry_scheduled.v1", Rank.END, data, at_us)

    @guarded("emitter.job_dead")
    def job_dead(self, job: Job, error: dict[str, str], *, at_us: int | None = None, **more: Any) -> None:
        """The job gets no other attempt by itself."""
        self.put(job, "job.dead.v1", Rank.END, {**job.facts, "error": error, **more}, at_us)

    @guarded("emitter.job_cancelled")
    def job_cancelled(self, job: Job, reason: str, *, at_us: int | None = None, **more: Any) -> None:
        """Somebody stopped the attempt, waiting or running."""
        data = {**job.facts, "reason": bounds.name(reason), **more}
        self.put(job, "job.cancelled.v1", Rank.END, data, at_us)

    @guarded("emitter.job_discarded")
    def job_discarded(self, job: Job, reason: str, *, at_us: int | None = None, **more: Any) -> None:
        """The attempt was thrown away without an outcome: expired, unknown class, skipped."""
        data = {**job.facts, "reason": bounds.name(reason), **more}
        self.put(job, "job.discarded.v1", Rank.END, data, at_us)

    def preview(self, job: Job, args: Any, kwargs: Any) -> str | None:
        """The arguments of a job as far as the settings let them out; None by default."""
        return None if self.arguments.off else _preview(self.arguments, job.facts["job_class"], args or (), kwargs or {})

    def error(self, error: BaseException | None, *, backtrace: str | None = None) -> dict[str, str]:
        """An exception as `error` data, with as much as the setting `error_detail` lets out."""
        return _error_of(error, self.settings.error_detail, self.settings.error_masking, backtrace) or {"class": "Unknown"}


@guarded("emitter.tracing")
def _span_of(tracing: _Tracing) -> str | None:
    return tracing()


@guarded("emitter.preview")
def _preview(arguments: Arguments, job_class: str, args: Any, kwargs: Any) -> str | None:
    return arguments.preview(job_class, args, kwargs)


@guarded("emitter.error")
def _error_of(error: BaseException | None, detail: str, masking: str, backtrace: str | None) -> dict[str, str]:
    return bounds.error_of(error, detail, masking, backtrace=backtrace)

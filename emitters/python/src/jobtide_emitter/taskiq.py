"""taskiq: `broker.with_middlewares(JobtideMiddleware())`, last in the list, after the middlewares that retry.

The same middleware runs in the app, where tasks are sent, and in the worker. A retry is sent again under the task's id by a
retry middleware, while the failure is being handled. Tasks that a worker does not know reach no middleware.
"""

from __future__ import annotations

import os
import socket
from contextvars import ContextVar
from typing import Any

import taskiq
from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import now_us, text_of, us_of_text
from jobtide_emitter.process import emitter, prepare
from jobtide_emitter.runs import Run
from jobtide_emitter.workers import Worker

SYSTEM = "taskiq"
ENQUEUED_AT = "jobtide_enqueued_at"  # the label that says when this attempt was sent


class _Attempt:
    """A task that runs in this process. `outer` is the one within which it runs, where a broker runs tasks at once."""

    def __init__(self, run: Run, outer: _Attempt | None) -> None:
        self.run = run
        self.outer = outer
        self.error: dict[str, str] | None = None
        self.retry_at_us: int | None = None


# By context and not by task id: a retry may begin before the attempt that it follows has ended here.
_current: ContextVar[_Attempt | None] = ContextVar("jobtide_taskiq_attempt", default=None)


class JobtideMiddleware(TaskiqMiddleware):
    """Tells what happens to every task of a broker. `queue` names it where the broker has no `queue_name`."""

    def __init__(self, queue: str | None = None, concurrency: int = 0) -> None:
        super().__init__()
        prepare()
        self._queue = queue
        self._concurrency = concurrency
        self._open: dict[int, _Attempt] = {}
        self._worker: Worker | None = None

    # Tasks on their way out. A hook of taskiq's that returns a message must return it whatever happens in here.

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Stamps the message."""
        _stamp(message)
        return message

    def post_send(self, message: TaskiqMessage) -> None:
        """The broker has it."""
        _sent(self, message)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """The function comes next."""
        _begun(self, message)
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        """It raised; the retry middlewares decide next what follows."""
        _raised(self, exception)

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """It is decided what becomes of the task."""
        _ended(self, result)

    def startup(self) -> None:
        """In a worker: online."""
        _online(self)

    def shutdown(self) -> None:
        """In a worker: it takes no more tasks and has ended all."""
        _offline(self)

    def sent(self, message: TaskiqMessage) -> None:
        """An attempt waits for a worker, or is the retry of one that is being handled here."""
        at_us = us_of_text(message.labels[ENQUEUED_AT])
        delay_s = message.labels.get("delay")
        run_at_us = None if delay_s is None else at_us + int(float(delay_s) * 1_000_000)
        job, failed = self.job(message), _current.get()
        if failed is not None and failed.run.job.id == job.id and failed.run.job.attempt < job.attempt:
            failed.retry_at_us = at_us if run_at_us is None else run_at_us
        elif run_at_us is not None:
            emitter().job_scheduled(job, run_at_us, at_us=at_us)
        else:
            emitter().job_enqueued(job, at_us=at_us)

    def begun(self, message: TaskiqMessage) -> None:
        """The attempt starts."""
        enqueued_at = message.labels.get(ENQUEUED_AT)
        enqueued_us = us_of_text(enqueued_at) if isinstance(enqueued_at, str) else None
        delay_s = message.labels.get("delay")
        run_at_us = enqueued_us + int(float(delay_s) * 1_000_000) if enqueued_us is not None and delay_s is not None else None
        job = self.job(message)
        preview = emitter().preview(job, message.args, message.kwargs)
        run = emitter().job_started(job, _worker_id(), enqueued_at_us=enqueued_us, run_at_us=run_at_us, args_preview=preview)
        attempt = _Attempt(run, _current.get())
        self._open[id(attempt)] = attempt
        _current.set(attempt)

    def raised(self, exception: BaseException) -> None:
        """The attempt failed."""
        attempt = _current.get()
        if attempt is not None:
            attempt.run.body_returned()
            attempt.error = emitter().error(exception)

    def ended(self, result: TaskiqResult[Any]) -> None:
        """The attempt's end, and what follows from it."""
        attempt = _current.get()
        if attempt is None:
            return
        _current.set(attempt.outer)
        self._open.pop(id(attempt), None)
        run = attempt.run
        if attempt.error is None:
            run.finished()
            return
        if attempt.error["class"].endswith("NoResultError"):
            run.discarded("no result")  # raised by the task itself: neither success nor failure
            return
        run.failed(attempt.error)
        if attempt.retry_at_us is None and isinstance(result.error, NoResultError):
            attempt.retry_at_us = now_us()  # a scheduler will send it, and say when
        if attempt.retry_at_us is not None:
            emitter().job_retry_scheduled(run.job, attempt.retry_at_us, at_us=run.ended_us, worker_id=run.worker_id)
        else:
            emitter().job_dead(run.job, attempt.error, at_us=run.ended_us, worker_id=run.worker_id)

    def online(self) -> None:
        """The worker process, with all tasks it runs at once."""
        self._worker = emitter().worker(SYSTEM, _worker_id(), [self.queue({})], self._concurrency, self.held, _version())

    def offline(self) -> None:
        """The worker process ends."""
        if self._worker is not None:
            self._worker.stopping()
            self._worker = None
            emitter().end_worker()

    def held(self) -> list[Held]:
        """The tasks that run in this process. Called in another thread."""
        runs = [attempt.run for attempt in list(self._open.values())]
        return [Held(run.job.facts["queue"], run.job.id, run.job.attempt, text_of(run.started_us)) for run in runs]

    def job(self, message: TaskiqMessage) -> Job:
        """The attempt a message stands for: retry middlewares count in a label."""
        labels = message.labels
        retries = int(labels.get("_retries", 0))
        limit = labels.get("max_retries")
        return emitter().job(
            SYSTEM, self.queue(labels), message.task_name, message.task_id, retries + 1,
            max_attempts=None if limit is None else max(1, int(limit)), traceparent=labels.get("traceparent"),
        )  # fmt: skip

    def queue(self, labels: dict[str, Any]) -> str:
        """The queue of a task: its label, ours, the broker's, or the backend's name."""
        return str(labels.get("queue_name") or self._queue or getattr(self.broker, "queue_name", None) or SYSTEM)


@guarded("taskiq.pre_send")
def _stamp(message: TaskiqMessage) -> None:
    if emitter().enabled:
        message.labels[ENQUEUED_AT] = text_of(now_us())


@guarded("taskiq.post_send")
def _sent(middleware: JobtideMiddleware, message: TaskiqMessage) -> None:
    if emitter().enabled and ENQUEUED_AT in message.labels:
        middleware.sent(message)


@guarded("taskiq.pre_execute")
def _begun(middleware: JobtideMiddleware, message: TaskiqMessage) -> None:
    if emitter().enabled:
        middleware.begun(message)


@guarded("taskiq.on_error")
def _raised(middleware: JobtideMiddleware, exception: BaseException) -> None:
    middleware.raised(exception)


@guarded("taskiq.post_execute")
def _ended(middleware: JobtideMiddleware, result: TaskiqResult[Any]) -> None:
    middleware.ended(result)


@guarded("taskiq.startup")
def _online(middleware: JobtideMiddleware) -> None:
    if middleware.broker.is_worker_process:
        middleware.online()


@guarded("taskiq.shutdown")
def _offline(middleware: JobtideMiddleware) -> None:
    middleware.offline()


def _worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _version() -> str:
    return str(getattr(taskiq, "__version__", ""))

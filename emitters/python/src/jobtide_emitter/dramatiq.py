"""Dramatiq: `broker.add_middleware(JobtideMiddleware())`, once, after the others.

Last in the list means closest to the actor. A delayed message travels twice (to `<queue>.DQ`, then from the worker's
memory to `<queue>`): the second enqueue is no enqueue. A retry is an enqueue of the message that is being processed.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import dramatiq
from dramatiq.common import q_name
from dramatiq.middleware import Middleware

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import now_us, text_of, us_of_text
from jobtide_emitter.process import emitter, prepare
from jobtide_emitter.queues import watched
from jobtide_emitter.queues.of_dramatiq import DramatiqCounts
from jobtide_emitter.runs import Run
from jobtide_emitter.workers import Worker

SYSTEM = "dramatiq"
ENQUEUED_AT = "jobtide_enqueued_at"  # message options: when this attempt was enqueued,
RUN_AT = "jobtide_run_at"  # not before when it may start,
_HOP = "jobtide_hop"  # and, in memory only, that the message is on its second way


class _Current(threading.local):
    """What this thread is doing: the message it processes, and what its enqueue will have been."""

    run: Run | None = None
    error: dict[str, str] | None = None
    retried = False
    skipped: str | None = None  # id of the message that was skipped last
    enqueue: tuple[str, Job, int, int | None] | None = None


class JobtideMiddleware(Middleware):
    """Tells what happens to every message of a broker."""

    def __init__(self) -> None:
        prepare()
        self._current = _Current()
        self._held: dict[str, Held] = {}
        self._worker: Worker | None = None

    # Messages on their way into a queue.

    @guarded("dramatiq.before_delay_message")
    def before_delay_message(self, broker: Any, message: Any) -> None:
        """A worker took a message from the delay queue and keeps it until its time comes."""
        message.options[_HOP] = True

    @guarded("dramatiq.before_enqueue")
    def before_enqueue(self, broker: Any, message: Any, delay: int | None) -> None:
        """Stamps the message; decides what its arrival in the queue will mean."""
        current, options = self._current, message.options
        current.enqueue = None
        if options.pop(_HOP, None) or not emitter().enabled:
            return
        at_us = now_us()
        run_at_us = options["eta"] * 1000 if delay is not None and "eta" in options else None
        options[ENQUEUED_AT] = text_of(at_us)
        options.pop(RUN_AT, None)
        if run_at_us is not None:
            options[RUN_AT] = text_of(run_at_us)
        run = current.run
        if run is not None and run.job.id == message.message_id:
            current.enqueue = ("retry", run.job, at_us, run_at_us)
        else:
            kind = "enqueue" if run_at_us is None else "schedule"
            current.enqueue = (kind, _job(broker, message), at_us, run_at_us)

    @guarded("dramatiq.after_enqueue")
    def after_enqueue(self, broker: Any, message: Any, delay: int | None) -> None:
        """The queue has it."""
        current = self._current
        if current.enqueue is None:
            return
        (kind, job, at_us, run_at_us), current.enqueue = current.enqueue, None
        if kind == "retry":
            current.retried = True
            run_at_us = at_us if run_at_us is None else run_at_us
            emitter().job_retry_scheduled(job, run_at_us, at_us=at_us, worker_id=_worker_id())
        elif run_at_us is not None:
            emitter().job_scheduled(job, run_at_us, at_us=at_us)
        else:
            emitter().job_enqueued(job, at_us=at_us)

    # Messages in a worker's thread.

    @guarded("dramatiq.before_process_message")
    def before_process_message(self, broker: Any, message: Any) -> None:
        """The actor comes next, unless a middleware skips it."""
        current = self._current
        current.run, current.error, current.retried = None, None, False
        if not emitter().enabled:
            return
        job = _job(broker, message)
        enqueued_us = _us(message.options.get(ENQUEUED_AT))
        if enqueued_us is None:  # enqueued by somebody without our hook
            enqueued_us = message.options.get("requeue_timestamp", message.message_timestamp) * 1000
        run_at_us = _us(message.options.get(RUN_AT))
        preview = emitter().preview(job, message.args, message.kwargs)
        run = emitter().job_started(job, _worker_id(), enqueued_at_us=enqueued_us, run_at_us=run_at_us, args_preview=preview)
        current.run = run
        queue = run.job.facts["queue"]
        self._held[message.message_id] = Held(queue, run.job.id, run.job.attempt, text_of(run.started_us))

    @guarded("dramatiq.after_process_message")
    def after_process_message(self, broker: Any, message: Any, *, result: Any = None, exception: BaseException | None = None) -> None:
        """The actor returned or raised; the other middlewares decide next what follows."""
        current = self._current
        if current.run is None:
            return
        current.run.body_returned()
        if exception is None:
            current.run.finished()
        else:
            current.error = emitter().error(exception)
            current.run.failed(current.error)

    @guarded("dramatiq.after_skip_message")
    def after_skip_message(self, broker: Any, message: Any) -> None:
        """A middleware skipped it (too old, for example)."""
        run = self._current.run
        self._current.skipped = message.message_id
        if run is not None:
            run.discarded("skipped")
        elif emitter().enabled:
            emitter().job_discarded(_job(broker, message), "skipped")

    @guarded("dramatiq.after_ack")
    def after_ack(self, broker: Any, message: Any) -> None:
        """Done with this delivery. A failure that nobody retries is final: no Retries middleware is there."""
        run = self._of(message)
        if run is not None and self._current.error is not None and not self._current.retried:
            emitter().job_dead(run.job, self._current.error, worker_id=run.worker_id)
        self._done(message)

    @guarded("dramatiq.after_nack")
    def after_nack(self, broker: Any, message: Any) -> None:
        """The message went to the dead-letter queue."""
        run = self._of(message)
        if emitter().enabled:
            exception = getattr(message, "_exception", None)
            error = self._current.error if run is not None else None
            error = error or (emitter().error(exception) if exception is not None else {"class": "Rejected"})
            job = run.job if run is not None else _job(broker, message)
            if run is None and self._current.skipped != message.message_id:
                emitter().job_discarded(job, error["class"])
            emitter().job_dead(job, error, worker_id=_worker_id())
        self._done(message)

    def _of(self, message: Any) -> Run | None:
        run = self._current.run
        return run if run is not None and run.job.id == message.message_id else None

    def _done(self, message: Any) -> None:
        if self._of(message) is not None:
            self._held.pop(message.message_id, None)
            self._current.run = None

    # The worker process.

    @guarded("dramatiq.after_worker_boot")
    def after_worker_boot(self, broker: Any, worker: Any) -> None:
        """Online; its threads are the concurrency."""
        queues = sorted(worker.consumer_whitelist or broker.get_declared_queues())
        version = dramatiq.__version__
        self._worker = emitter().worker(SYSTEM, _worker_id(), queues, worker.worker_threads, self.held, version)
        if hasattr(broker, "namespace") and hasattr(broker, "client"):
            watched(emitter(), lambda: DramatiqCounts(broker, ENQUEUED_AT), {q_name(queue) for queue in queues})

    @guarded("dramatiq.before_worker_shutdown")
    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """Takes no more messages."""
        if self._worker is not None:
            self._worker.stopping()

    @guarded("dramatiq.after_worker_shutdown")
    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """All threads have ended."""
        self._worker = None
        emitter().end_worker()

    def held(self) -> list[Held]:
        """The messages its threads process. Called in another thread."""
        return list(self._held.values())


def _job(broker: Any, message: Any) -> Job:
    """The attempt a message stands for: Dramatiq counts retries in its options."""
    actor = broker.actors.get(message.actor_name)
    limit = message.options.get("max_retries", actor.options.get("max_retries") if actor is not None else None)
    return emitter().job(
        SYSTEM,
        q_name(message.queue_name),
        message.actor_name,
        message.message_id,
        message.options.get("retries", 0) + 1,
        max_attempts=limit + 1 if isinstance(limit, int) else None,
        traceparent=message.options.get("traceparent"),
    )


def _worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _us(text: Any) -> int | None:
    return us_of_text(text) if isinstance(text, str) else None

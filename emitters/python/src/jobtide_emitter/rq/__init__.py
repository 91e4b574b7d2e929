"""RQ: `install()` once per process, in the app that enqueues and in the worker.

For workers started from the command line there is a class that does it: `rq worker -w jobtide_emitter.rq.Worker`.
`enqueueing` sees jobs enter queues, `outcomes` sees them run and end, `lifecycle` is the worker, `attempts` is what has
to be kept.
"""

from __future__ import annotations

from typing import Any

import rq
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry
from rq.timeouts import BaseTimeoutException

from jobtide_emitter.guard import lets_through
from jobtide_emitter.process import prepare
from jobtide_emitter.rq import attempts, enqueueing, lifecycle, outcomes
from jobtide_emitter.rq.patching import around, installed, restore


def install() -> None:
    """Puts the hooks on RQ's classes; twice is the same as once."""
    if installed():
        return
    lets_through(BaseTimeoutException)
    prepare()
    around(Job, "to_dict", after=attempts.save_state)
    around(Job, "restore", after=attempts.load_state)
    around(Job, "cancel", before=enqueueing.before_removal, after=enqueueing.cancelled)
    around(Job, "delete", before=enqueueing.before_removal, after=enqueueing.deleted)
    around(Job, "retry", before=outcomes.before_retry, after=outcomes.abandoned_retry, always=outcomes.retry_done)
    around(FailedJobRegistry, "add", after=outcomes.abandoned_failure)
    around(Queue, "_enqueue_job", before=enqueueing.before_enqueue, after=enqueueing.after_enqueue)
    around(Queue, "schedule_job", before=enqueueing.before_schedule, after=enqueueing.after_schedule)
    _on_workers("prepare_execution", after=attempts.count_attempt)
    _on_workers("prepare_execution", after=lifecycle.hold)
    around(Job, "perform", before=outcomes.started)
    _on_workers("handle_execution_ended", before=outcomes.body_returned)
    _on_workers("handle_exception", before=outcomes.raised)
    _on_workers("handle_job_success", after=outcomes.succeeded)
    for method in ("handle_job_failure", "handle_job_retry"):
        _on_workers(method, before=outcomes.before_failure, after=outcomes.after_failure, always=outcomes.outcome_done)
    _on_workers("perform_job", always=lifecycle.horse_done)
    _on_workers("bootstrap", after=lifecycle.online)
    _on_workers("dequeue_job_and_maintain_ttl", before=lifecycle.release)
    _on_workers("handle_warm_shutdown_request", before=lifecycle.stopping)
    _on_workers("register_death", after=lifecycle.offline)


def uninstall() -> None:
    """Takes the hooks off again."""
    restore()


def _on_workers(name: str, **hooks: Any) -> None:
    """On the class that has the method: RQ moved them from Worker to BaseWorker over its versions."""
    for owner in (rq.worker.BaseWorker, rq.Worker):
        if name in owner.__dict__:
            around(owner, name, **hooks)
            return
    if name != "handle_job_retry":  # jobs that return a Retry: since RQ 2.1
        around(rq.worker.BaseWorker, name, **hooks)


class Worker(rq.Worker):
    """RQ's worker with the hooks: `rq worker -w jobtide_emitter.rq.Worker`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        install()
        super().__init__(*args, **kwargs)


class SimpleWorker(rq.SimpleWorker):
    """RQ's worker that does not fork, with the hooks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        install()
        super().__init__(*args, **kwargs)

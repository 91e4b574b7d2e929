"""Celery: `install()` once, where the app is made, and every task of the process tells what happens to it.

Signals only; no task class, no monkey patch. `publishing` sees tasks leave, `running` sees them run in the pool,
`lost` reports from the main process what a pool process could not, `lifecycle` is the worker itself.
"""

from __future__ import annotations

from typing import Any

from celery import signals
from celery.exceptions import SoftTimeLimitExceeded, Terminated

from jobtide_emitter.celery import lifecycle, lost, publishing, running
from jobtide_emitter.guard import lets_through
from jobtide_emitter.process import prepare

_RECEIVERS = {
    "before_task_publish": publishing.before_publish,
    "after_task_publish": publishing.after_publish,
    "task_received": lost.received,
    "task_prerun": running.prerun,
    "task_success": running.success,
    "task_failure": running.failure,
    "task_retry": running.retry,
    "task_postrun": running.postrun,
    "task_revoked": lost.revoked,
    "task_unknown": lost.unknown,
    "worker_ready": lifecycle.ready,
    "worker_shutting_down": lifecycle.shutting_down,
    "worker_shutdown": lifecycle.shutdown,
    "worker_process_shutdown": lifecycle.process_shutdown,
}


def install(app: Any = None) -> None:
    """Connects to Celery's signals; twice is the same as once. `app` is taken for readability: signals are global."""
    lets_through(SoftTimeLimitExceeded, Terminated)
    prepare()
    for name, receiver in _RECEIVERS.items():
        getattr(signals, name).connect(receiver, weak=False, dispatch_uid=f"jobtide.{name}")


def uninstall() -> None:
    """Disconnects again."""
    for name, receiver in _RECEIVERS.items():
        getattr(signals, name).disconnect(receiver, dispatch_uid=f"jobtide.{name}")

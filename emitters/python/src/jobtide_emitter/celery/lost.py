"""What only the worker's main process can tell: pool processes that were killed, tasks that never reached one.

The requests it received are remembered as long as Celery keeps them; they say when a pool process accepted the task.
"""

from __future__ import annotations

import socket
from typing import Any
from weakref import WeakValueDictionary

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.celery.messages import SYSTEM, job_of, queue_of
from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import text_of
from jobtide_emitter.process import emitter
from jobtide_emitter.runs import Run

_received: WeakValueDictionary[str, Any] = WeakValueDictionary()
_worker: list[str] = []


def this_worker(name: str | None = None) -> str:
    """The node name of this process's worker; a call with `name` sets it."""
    if name:
        _worker[:] = [name]
    return _worker[0] if _worker else f"{SYSTEM}@{socket.gethostname()}"


@guarded("celery.received")
def received(request: Any, **_: Any) -> None:
    """A message was taken from the broker."""
    if emitter().enabled:
        _received[request.id] = request


def run_of(task: Any, task_id: str) -> Run | None:
    """The run of a task whose process is gone; None if this process never received it, or was asked before: a hard
    time limit comes twice, as itself and as the loss of the process."""
    request = _received.pop(task_id, None)
    if request is None:
        return None
    job = _job(request, task.max_retries)
    return emitter().run_of(job, this_worker(request.hostname), _started_us(request))


@guarded("celery.revoked")
def revoked(request: Any, sender: Any, terminated: bool = False, expired: bool = False, **_: Any) -> None:
    """Somebody revoked the task, waiting or running, or it expired."""
    if not emitter().enabled:
        return
    waiting = _received.get(request.id)
    started_us = _started_us(waiting) if waiting is not None else None
    headers = {"task": sender.name, **vars(request)}
    job = job_of(headers, request.delivery_info or {}, sender.max_retries)
    if terminated and started_us is not None:
        emitter().run_of(job, this_worker(), started_us).cancelled("terminated")
    elif terminated:
        emitter().job_cancelled(job, "terminated")
    elif expired:
        emitter().job_discarded(job, "expired")
    else:
        emitter().job_cancelled(job, "revoked")


@guarded("celery.unknown")
def unknown(message: Any, name: str, id: str, **_: Any) -> None:
    """No task of that name is registered here: Celery throws the message away."""
    if emitter().enabled:
        headers = {**(message.headers or {}), "task": name, "id": id}
        emitter().job_discarded(job_of(headers, message.delivery_info or {}), "no such task")


def held() -> list[Held]:
    """The tasks the pool has accepted and not ended. Called in another thread."""
    from celery.worker import state  # heavy, and a process that only publishes has no use for it

    return [_held(request) for request in list(state.active_requests)]


def _held(request: Any) -> Held:
    started_us = _started_us(request)
    delivery = request.delivery_info or {}
    return Held(
        queue_of(delivery.get("exchange"), delivery.get("routing_key")),
        request.id,
        (request.request_dict.get("retries") or 0) + 1,
        None if started_us is None else text_of(started_us),
    )


def _job(request: Any, max_retries: int | None) -> Job:
    return job_of({"task": request.name, **request.request_dict}, request.delivery_info or {}, max_retries)


def _started_us(request: Any) -> int | None:
    return None if request.time_start is None else int(request.time_start * 1_000_000)

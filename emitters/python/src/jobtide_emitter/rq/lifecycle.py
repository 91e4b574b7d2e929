"""The RQ worker as one worker of the stream. It outlives its work horses, so it takes over what they emit (`relay`)."""

from __future__ import annotations

from typing import Any

import rq

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.process import emitter
from jobtide_emitter.queues import watched
from jobtide_emitter.queues.of_rq import RqCounts
from jobtide_emitter.rq.attempts import SYSTEM, state_of
from jobtide_emitter.workers import Worker

_current: list[Worker] = []
_held: dict[str, Held] = {}


@guarded("rq.bootstrap")
def online(_token: None, _result: Any, worker: Any, *_: Any, **__: Any) -> None:
    """After bootstrap."""
    emitter().open_relay()
    version = getattr(rq, "__version__", "")
    _current[:] = [emitter().worker(SYSTEM, worker.name, worker.queue_names(), 1, held, version)]
    watched(emitter(), lambda: RqCounts(worker), worker.queue_names())


def held() -> list[Held]:
    """The jobs this worker has begun. Called in another thread."""
    return list(_held.values())


@guarded("rq.hold")
def hold(_token: None, _result: Any, _worker: Any, job: Any, *_: Any, **__: Any) -> None:
    """After prepare_execution."""
    _held[job.id] = Held(job.origin or "default", job.id, max(1, state_of(job).attempts), text_of(now_us()))


@guarded("rq.release")
def release(_worker: Any, *_: Any, **__: Any) -> None:
    """Before the next job is waited for: the last one is done."""
    _held.clear()


@guarded("rq.stopping")
def stopping(_worker: Any, *_: Any, **__: Any) -> None:
    """Before handle_warm_shutdown_request. Runs in the signal handler."""
    for worker in _current:
        worker.stopping()


@guarded("rq.offline")
def offline(_token: None, _result: Any, _worker: Any, *_: Any, **__: Any) -> None:
    """After register_death."""
    _held.clear()
    _current.clear()
    emitter().end_worker()


@guarded("rq.horse_done")
def horse_done(worker: Any) -> None:
    """Always after perform_job: a work horse ends by os._exit right after."""
    if not worker.is_horse:
        return
    if emitter().in_relay:
        emitter().flush()
    else:
        emitter().close()

"""The emitter of this process: made from the environment when first asked for, left behind in forks, closed at the end.

Not how events are made or sent (`emitter`). Importing this registers the fork handler and nothing else.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from multiprocessing import util
from typing import Any

from jobtide_emitter.emitter import Emitter
from jobtide_emitter.errors import ConfigError
from jobtide_emitter.guard import guarded, log
from jobtide_emitter.settings import Settings, load
from jobtide_emitter.transports import Transport

_current: Emitter | None = None
_tracing: Callable[[], str | None] | None = None


def emitter() -> Emitter:
    """The process's emitter. The first call reads JOBTIDE_EMITTER_*; a wrong value is logged and turns it off."""
    if _current is not None:
        return _current
    try:
        return configure()
    except ConfigError as error:
        log.error("jobtide: the emitter is off: %s", error)
        return _install(Emitter(Settings(disabled=True)))


def configure(*, make_transport: Callable[[], Transport] | None = None, **settings: Any) -> Emitter:
    """Sets the process's emitter up; arguments win over JOBTIDE_EMITTER_*. Raises ConfigError naming what is wrong.

    `make_transport` replaces Kafka and HTTP, for tests: `configure(make_transport=MemoryTransport)`.
    """
    loaded, unknown = load(os.environ, **settings)
    if unknown:
        log.warning("jobtide: no such settings, ignored: %s", ", ".join(unknown))
    return _install(Emitter(loaded, make_transport))


def tracing(span: Callable[[], str | None] | None) -> None:
    """`span` says the W3C traceparent of the span that the calling thread is in, or None: it travels with the events of jobs
    whose backend carries none. Called where an attempt is named; an error in it is counted and costs the traceparent."""
    global _tracing
    _tracing = span
    emitter().tracing = span


def prepare() -> None:
    """What an install does before the first fork: reads the settings and loads the client, once for all children."""
    emitter().preload()


def flush(timeout_ms: int | None = None) -> bool:
    """See `Emitter.flush`."""
    return emitter().flush(timeout_ms)


def close(timeout_ms: int | None = None) -> None:
    """See `Emitter.close`. Called by itself when the process ends in order."""
    if _current is not None:
        _current.close(timeout_ms)


def _install(made: Emitter) -> Emitter:
    global _current
    if _current is not None:
        _current.close()
    _current = made
    made.tracing = _tracing
    return made


@guarded("process.after_fork")
def _after_fork() -> None:
    if _current is not None:
        _current.after_fork()


@guarded("process.at_exit")
def _at_exit() -> None:
    close()


def _finalize(_: object) -> None:
    util.Finalize(None, _at_exit, exitpriority=100)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
# multiprocessing ends its children by os._exit: only its own finalizers run there. Children that import this themselves
# get one now, children that inherit it when they begin.
_finalize(None)
util.register_after_fork(Emitter, _finalize)

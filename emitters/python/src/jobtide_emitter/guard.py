"""The promise that nothing in here reaches a job: every hook is called through a `guarded` function.

An error inside is counted per site and logged once per site; the hook returns None. What passes is what does not belong
to the emitter: KeyboardInterrupt and SystemExit, and the exceptions by which a backend interrupts a job at any
instruction (`lets_through`): they may strike while a hook runs, and swallowing one would take the job its time limit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("jobtide_emitter")

_interrupts: tuple[type[BaseException], ...] = ()


class Site:
    """One place where a backend or an app calls into the emitter. `function` is looked up at every call, so that a
    test can put a faulty one there."""

    __slots__ = ("errors", "function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.errors = 0

    def failed(self, error: Exception) -> None:
        """Lets an interrupt of the backend pass (raises it); counts anything else and logs the first of this site."""
        if isinstance(error, _interrupts):
            raise error
        self.errors += 1
        if self.errors == 1:
            try:
                log.error("jobtide: %s failed, the job is not affected: %r", self.name, error, exc_info=error)
            except Exception:  # a log handler that is broken too: the count stands
                self.errors += 1


# Every call site by name: "celery.prerun" and the like.
sites: dict[str, Site] = {}


def guarded(name: str) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
    """Decorates what a backend or an app calls: errors stay inside, counted under `name`, which is unique."""

    def decorate(function: Callable[P, R]) -> Callable[P, R | None]:
        sites[name] = site = Site(name, function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
            try:
                return site.function(*args, **kwargs)  # type: ignore[no-any-return]
            except Exception as error:
                site.failed(error)
                return None

        return call

    return decorate


def lets_through(*kinds: type[BaseException]) -> None:
    """Exceptions of a backend that interrupt a job from outside: never swallowed."""
    global _interrupts
    _interrupts = (*_interrupts, *(kind for kind in kinds if kind not in _interrupts))


def errors() -> int:
    """Errors in all sites of this process since it started."""
    return sum(site.errors for site in sites.values())

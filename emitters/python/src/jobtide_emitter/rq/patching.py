"""Puts hooks around methods of RQ's classes, and takes them off again.

RQ offers no signals, and its own parts (scheduler, `rq requeue`, registries) use its base classes whatever subclass an
app asks for. The method itself runs as if nothing were there: same arguments, same result, same exceptions. A method
that a version of RQ does not have is left out and logged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from jobtide_emitter.guard import log

Before = Callable[..., Any]
After = Callable[..., None]

_originals: list[tuple[type, str, Any]] = []


def around(owner: type, name: str, *, before: Before | None = None, after: After | None = None, always: After | None = None) -> None:
    """`before(self, *args, **kwargs)` gives a token; `after(token, result, self, *args, **kwargs)` follows a call that
    returned; `always(self)` follows every call. All three are guarded functions."""
    original = owner.__dict__.get(name)
    if original is None:
        log.warning("jobtide: this RQ has no %s.%s: its events will be missing", owner.__name__, name)
        return

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = before(self, *args, **kwargs) if before is not None else None
        try:
            result = original(self, *args, **kwargs)
        finally:
            if always is not None:
                always(self)
        if after is not None:
            after(token, result, self, *args, **kwargs)
        return result

    _originals.append((owner, name, original))
    setattr(owner, name, method)


def restore() -> bool:
    """Takes all hooks off. False if there were none."""
    had = bool(_originals)
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
    return had


def installed() -> bool:
    """Whether hooks are on."""
    return bool(_originals)

"""Puts hooks around methods of a backend that offers no signals there, plain ones and coroutines, and takes them off again.

The method itself runs as if nothing were there: same arguments, same result, same exceptions. All hooks are guarded
functions. A method that a version of the backend does not have is left out and logged. (RQ has its own, older one.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from jobtide_emitter.guard import log

Before = Callable[..., Any]
After = Callable[..., None]


class Patches:
    """The hooks on one backend's classes or objects."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._originals: list[tuple[Any, str, Any]] = []

    def installed(self, owner: Any) -> bool:
        """Whether there are hooks on this class or object."""
        return any(patched is owner for patched, _, _ in self._originals)

    def around(
        self, owner: Any, name: str, *, before: Before | None = None, after: After | None = None, always: After | None = None
    ) -> None:  # fmt: skip
        """`before(self, *args, **kwargs)` gives a token; `after(token, result, self, *args, **kwargs)` follows a call that
        returned; `always(token, self, *args)` every call. On an object, `self` is the object."""
        own = vars(owner).get(name)
        original = own if inspect.isclass(owner) else getattr(owner, name, None)
        if original is None:
            log.warning("jobtide: this %s has no %s.%s: its events will be missing", self._backend, owner, name)
            return
        make = _coroutine if inspect.iscoroutinefunction(original) else _plain
        self._originals.append((owner, name, own))
        setattr(owner, name, make(owner, original, before, after, always))

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """On an object: `make(original)` takes the place of a method."""
        own = vars(owner).get(name)
        self._originals.append((owner, name, own))
        setattr(owner, name, make(getattr(owner, name)))

    def restore(self) -> None:
        """Takes all hooks off."""
        while self._originals:
            owner, name, own = self._originals.pop()
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _plain(owner: Any, original: Any, before: Before | None, after: After | None, always: After | None) -> Any:
    bound = () if inspect.isclass(owner) else (owner,)  # a method looked up on an object is bound already

    @wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        token = before(*bound, *args, **kwargs) if before is not None else None
        try:
            result = original(*args, **kwargs)
        finally:
            if always is not None:
                always(token, *bound, *args)
        if after is not None:
            after(token, result, *bound, *args, **kwargs)
        return result

    return method


def _coroutine(owner: Any, original: Any, before: Before | None, after: After | None, always: After | None) -> Any:
    bound = () if inspect.isclass(owner) else (owner,)

    @wraps(original)
    async def method(*args: Any, **kwargs: Any) -> Any:
        token = before(*bound, *args, **kwargs) if before is not None else None
        try:
            result = await original(*args, **kwargs)
        finally:
            if always is not None:
                always(token, *bound, *args)
        if after is not None:
            after(token, result, *bound, *args, **kwargs)
        return result

    return method

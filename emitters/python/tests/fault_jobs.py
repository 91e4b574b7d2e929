"""Jobs for the fault tests: they note each call in a list, or in Redis where a fork runs them."""

from __future__ import annotations

import os
from typing import Any

calls: list[str] = []


class Expected(Exception):
    """What a job raises on purpose."""


def ok(name: str) -> str:
    """Succeeds."""
    _note(f"ok {name}")
    return name


def bad(name: str) -> None:
    """Raises, always."""
    _note(f"bad {name}")
    raise Expected(name)


def second_time(name: str) -> str:
    """Raises once."""
    _note(f"second {name}")
    if _count(f"second {name}") == 1:
        raise Expected(name)
    return name


def half(name: str) -> None:
    """Says how far it is."""
    import jobtide_emitter

    jobtide_emitter.progress(0.5, name)


def hard_exit(name: str) -> None:
    """Ends its process."""
    _note(f"exit {name}")
    os._exit(3)


def _redis() -> Any:
    import redis

    return redis.Redis.from_url(os.environ["FAULT_JOBS_REDIS"])


def _note(call: str) -> None:
    if os.environ.get("FAULT_JOBS_REDIS"):
        _redis().rpush("fault-calls", call)
    else:
        calls.append(call)


def _count(call: str) -> int:
    return all_calls().count(call)


def all_calls() -> list[str]:
    """Every call so far, in order."""
    if os.environ.get("FAULT_JOBS_REDIS"):
        return [call.decode() for call in _redis().lrange("fault-calls", 0, -1)]
    return list(calls)


def forget() -> None:
    """Begins anew."""
    calls.clear()
    if os.environ.get("FAULT_JOBS_REDIS"):
        _redis().delete("fault-calls")

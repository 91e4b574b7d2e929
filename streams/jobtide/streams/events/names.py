"""Which characters names may have: tenants and systems a strict pattern, every other name no control characters.

Not lengths (msgspec checks those in `fields`). Names become Redis fields joined by U+001F, Kafka keys and URLs; a
control character in one would make two different series look the same. In JSON a control character can only be written
with a backslash, so `decode` comes here for characters only when a value holds one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from jobtide.streams.errors import ContractError
from jobtide.streams.events import data as d
from jobtide.streams.events.reasons import Reason
from jobtide.streams.events.types import Event
from msgspec import Struct

TENANT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
SYSTEM_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"
ENVIRONMENT_PATTERN = r"^[^\u0000-\u001f]{1,64}$"
NAME_PATTERN = r"^[^\u0000-\u001f]*$"

_TENANT = re.compile(TENANT_PATTERN.replace("$", r"\Z"))
_SYSTEM = re.compile(SYSTEM_PATTERN.replace("$", r"\Z"))
_ENVIRONMENT = re.compile(ENVIRONMENT_PATTERN.replace("$", r"\Z"))
_CONTROL = re.compile(r"[\x00-\x1f]")
_ENVELOPE_NAMES = ("id", "source", "subject", "partitionkey", "epoch")
_DATA_NAMES = ("queue", "job_class", "job_id", "worker_id", "parent_job_id", "batch_id", "release", "epoch")
_CACHE_LIMIT = 65_536

# (tenant, environment, system) already found valid; never one with a null environment, which must be filled in first.
known: Final[set[tuple[str, str, str | None]]] = set()


def check_owner(data: Any) -> None:
    """Fills in the environment of an event's data, judges whose event it is, and remembers what is valid.

    Raises ContractError(BAD_NAME) if tenant, system or environment breaks its pattern or length.
    """
    if data.environment is None:
        data.environment = "default"
    if _TENANT.match(data.tenant) is None:
        raise ContractError(Reason.BAD_NAME, f"data.tenant {data.tenant[:80]!r} does not match {TENANT_PATTERN}")
    if data.system is not None and _SYSTEM.match(data.system) is None:
        raise ContractError(Reason.BAD_NAME, f"data.system {data.system[:80]!r} does not match {SYSTEM_PATTERN}")
    if _ENVIRONMENT.match(data.environment) is None:
        raise ContractError(Reason.BAD_NAME, f"data.environment {data.environment[:80]!r} is not 1-64 plain characters")
    if len(known) >= _CACHE_LIMIT:
        known.clear()
    known.add((data.tenant, data.environment, data.system))


def check_names(event: Event) -> None:
    """Raises ContractError(BAD_NAME) if any name in the event holds a control character (U+0000 to U+001F)."""
    for where, text in _names(event):
        if _CONTROL.search(text) is not None:
            raise ContractError(Reason.BAD_NAME, f"{where} holds a control character: {text[:80]!r}")


def _names(event: Event) -> Iterator[tuple[str, str]]:
    yield from _members(event, _ENVELOPE_NAMES, "")
    data = event.data
    yield from _members(data, _DATA_NAMES, "data.")
    if isinstance(data, d.JobData):
        if data.error is not None:
            yield "data.error.class", data.error.class_
    elif isinstance(data, d.WorkerData):
        yield from (("data.queues", queue) for queue in data.queues or ())
        for job in data.running or ():
            yield from _members(job, ("queue", "job_id"), "data.running.")


def _members(struct: Struct, names: tuple[str, ...], prefix: str) -> Iterator[tuple[str, str]]:
    for name in names:
        text = getattr(struct, name, None)
        if text is not None:
            yield prefix + name, text

"""What travels with a task through Huey's storage: which attempt it is, and when it was enqueued.

Huey's messages have no place for it and count retries down from a number the consumer does not know. A pickle ends at its
own last byte and ignores what follows, so the stamp is put there; a consumer without our hook never sees it. With
another serializer (signed, compressed, of the app) nothing is added: attempts are counted from the task's own default.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from huey.serializer import Serializer  # type: ignore[import-untyped, unused-ignore]

from jobtide_emitter.guard import guarded
from jobtide_emitter.patching import Patches

_STAMP = struct.Struct("<IQ8s")
_MAGIC = b"jobtide1"
_KEY = "_jobtide"


class Stamp(NamedTuple):
    """`attempt` 0: the message carried no stamp."""

    attempt: int
    enqueued_us: int


NONE = Stamp(0, 0)


def of(task: Any) -> Stamp | None:
    """The stamp of a task; None for one that has never been enqueued."""
    return task.__dict__.get(_KEY)  # type: ignore[no-any-return]


def put(task: Any, stamp: Stamp) -> None:
    """Gives a task its stamp."""
    task.__dict__[_KEY] = stamp


def wrap(huey: Any, patches: Patches) -> None:
    """Stamps leave with `serialize_task` and come back with `deserialize_task`."""
    patches.replace(huey, "serialize_task", lambda original: lambda task: _sealed(huey, task, original(task)))
    patches.replace(huey, "deserialize_task", lambda original: lambda data: _opened(data, original(data)))


def _sealed(huey: Any, task: Any, data: Any) -> Any:
    return _with_stamp(huey, task, data) or data


def _opened(data: Any, task: Any) -> Any:
    _stamped(data, task)
    return task


@guarded("huey.serialize")
def _with_stamp(huey: Any, task: Any, data: Any) -> bytes | None:
    stamp = of(task)
    plain = type(huey.serializer) is Serializer and not huey.serializer.comp
    if not plain or not stamp or type(data) is not bytes:
        return None
    return data + _STAMP.pack(stamp.attempt, stamp.enqueued_us, _MAGIC)


@guarded("huey.deserialize")
def _stamped(data: Any, task: Any) -> None:
    put(task, read(data))


def read(data: Any) -> Stamp:
    """The stamp behind a message."""
    if not isinstance(data, bytes) or not data.endswith(_MAGIC):
        return NONE
    attempt, enqueued_us, _ = _STAMP.unpack(data[-_STAMP.size :])
    return Stamp(attempt, enqueued_us)

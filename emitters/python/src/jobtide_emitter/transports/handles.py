"""Objects that a fork inherits and must never finalize: librdkafka's threads are not there to be joined, and an event
loop's epoll set is the parent's too."""

from __future__ import annotations

import ctypes


def never_finalize(handle: object) -> None:
    """Leaks one reference, so that not even the interpreter's end runs the destructor in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))

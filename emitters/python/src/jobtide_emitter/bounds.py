"""Fits what backends and people hand over into the contract's limits: names, errors, and the size of an event.

Pure. A name that is too long keeps its beginning and gets a checksum, so that two long names stay two. An event over
32 KiB loses its backtrace, then arguments and labels, then the end of its message; it says `truncated`, and it is sent.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any
from zlib import crc32

import orjson

from jobtide_emitter.masking import NAMES_CODE, fingerprint, masked, masked_backtrace, without_quoted

MAX_EVENT_BYTES = 32 * 1024
NUMBER_BYTES = 256  # room for id, epoch, lane and seq, which come later
MAX_NAME_CHARS = 256
MAX_MESSAGE_CHARS = 4096
MAX_BACKTRACE_CHARS = 16_384
MAX_FRAMES = 50
MAX_MS = 31_622_400_000.0

_CONTROL = re.compile(r"[\x00-\x1f]")
_SYSTEM = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ESSENTIAL = frozenset({
    "tenant", "environment", "system", "queue", "job_class", "job_id", "attempt", "worker_id", "error", "truncated",
    "enqueued_at", "started_at", "run_at", "duration_ms", "next", "emitted", "dropped", "spooled", "clean", "epoch",
})  # fmt: skip


def name(text: object, limit: int = MAX_NAME_CHARS) -> str:
    """A name as the contract takes it: 1 to `limit` characters, no control characters, no lone surrogates.

    >>> name("mail\\n"), name(""), len(name("x" * 1000))
    ('mail\\ufffd', 'unknown', 256)
    """
    if isinstance(text, str) and 0 < len(text) <= limit and text.isprintable():
        return text
    plain = _CONTROL.sub("\ufffd", encodable(printed(text))) or "unknown"
    if len(plain) > limit:
        plain = f"{plain[: limit - 9]}~{crc32(plain.encode()):08x}"
    return plain


def printed(value: object) -> str:
    """`str(value)`, whatever the app's class makes of it."""
    try:
        return str(value)
    except Exception:
        return f"(a {type(value).__name__} that cannot be printed)"


def encodable(text: str) -> str:
    """The text with lone surrogates replaced: they have no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def system_name(text: str) -> str:
    """The text, if it can name a backend; ValueError otherwise."""
    if _SYSTEM.fullmatch(text) is None:
        raise ValueError(f"system {text!r}: use a-z, 0-9 and _, at most 32 characters, a letter first")
    return text


def attempt(number: object) -> int:
    """An attempt number as the contract has it: 1 to 100 000."""
    return max(1, min(number, 100_000)) if isinstance(number, int) else 1


def milliseconds(us: int) -> float:
    """A duration as the contract has it: milliseconds with three decimals, never negative, at most 366 days."""
    return min(max(us, 0) / 1000, MAX_MS)


def error_of(error: BaseException | None, detail: str, masking: str = "strict", *, backtrace: str | None = None) -> dict[str, str]:
    """The contract's `error` of an exception. `detail` and `masking` are the settings.

    `backtrace` is the text the backend made already; without it one is made here.
    """
    if error is None:
        return {"class": "Unknown"}
    facts = {"class": name(class_of(type(error)))}
    if detail != "class":
        facts.update(message_of(facts["class"], printed(error), masking, isinstance(error, NAMES_CODE)))
    if detail == "full":
        text = backtrace if backtrace is not None else _backtrace(error, masking)
        if text:
            text = encodable(text)[-4 * MAX_BACKTRACE_CHARS :]  # what is masked below is bounded too
            facts["backtrace"] = masked_backtrace(text, masking, names_code=isinstance(error, NAMES_CODE))[-MAX_BACKTRACE_CHARS:]
    return facts


def message_of(error_class: str, text: str, masking: str, names_code: bool = False) -> dict[str, str]:
    """`message`, masked, and the `fingerprint` of class and message."""
    plain = encodable(text)[: 2 * MAX_MESSAGE_CHARS]
    safe = masked(plain, "secrets")  # fingerprints are of this, whatever the app lets out
    message = plain if masking == "off" else safe if masking == "secrets" or names_code else without_quoted(safe)
    return {"message": message[:MAX_MESSAGE_CHARS], "fingerprint": fingerprint(error_class, safe)}


def class_of(kind: type) -> str:
    """The name people look for: builtins bare, everything else with its module."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _backtrace(error: BaseException, masking: str) -> str:
    if error.__traceback__ is None:
        return ""
    if masking != "off":  # without reading any source
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), limit=-MAX_FRAMES, lookup_lines=False)
        text = "".join(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n' for frame in frames)
        return f"Traceback (most recent call last):\n{text}{class_of(type(error))}: {printed(error)}\n"
    return "".join(traceback.format_exception(error, limit=-MAX_FRAMES, chain=False))


def serialized(event: dict[str, Any], truncating: Callable[[], None]) -> bytes:
    """The event as JSON bytes that fit; calls `truncating` if that took something away. Values that are no JSON become
    text. Raises TypeError where even that fails."""
    try:
        raw = orjson.dumps(event)
    except TypeError:
        raw = orjson.dumps(_repaired(event), default=printed)
    if len(raw) <= MAX_EVENT_BYTES - NUMBER_BYTES:
        return raw
    truncating()
    return _shortened(event)


def _shortened(event: dict[str, Any]) -> bytes:
    limit = MAX_EVENT_BYTES - NUMBER_BYTES
    data = event["data"] = {**_repaired(event["data"]), "truncated": True}
    error = data["error"] = dict(data["error"]) if isinstance(data.get("error"), dict) else None
    if error is None:
        del data["error"]
    else:
        error.pop("backtrace", None)
    raw = orjson.dumps(event, default=printed)
    for member in ("args_preview", "labels"):
        if len(raw) > limit and data.pop(member, None) is not None:
            raw = orjson.dumps(event, default=printed)
    if len(raw) > limit and error and "message" in error:
        room = max(0, limit - (len(raw) - len(orjson.dumps(error["message"]))) - 2)
        while len(orjson.dumps(error["message"])) - 2 > room:  # escapes: \\u0000 is six bytes
            error["message"] = error["message"][: min(room, len(error["message"]) * 3 // 4)]
        raw = orjson.dumps(event, default=printed)
    if len(raw) > limit:  # only what an app put in itself can be left
        event["data"] = {member: value for member, value in data.items() if member in _ESSENTIAL}
        raw = orjson.dumps(event, default=printed)
    return raw


def _repaired(value: Any) -> Any:
    """The value with strings that can be encoded, string keys and numbers JSON has."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(str(key)): _repaired(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_repaired(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        return str(value)
    return value

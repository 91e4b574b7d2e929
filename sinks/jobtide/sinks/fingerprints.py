"""The fingerprint of an error whose emitter gave none: equal for errors that differ only in what varies. Pure.

The same rule as the emitters' own (class, newline, first line of the message without numbers, ids and quoted values), so that one cause
is one group whoever reports it.
"""

from __future__ import annotations

import re
from hashlib import sha256

MAX_CHARS = 512
_VARYING = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`']*'|\b(?=[0-9a-f-]*[0-9])[0-9a-f][0-9a-f-]{7,}\b|0x[0-9a-f]+|\d+", re.I | re.A)


def fingerprint(error_class: str, message: str) -> str:
    """Sixteen hex digits.

    >>> fingerprint("ValueError", "no invoice 17") == fingerprint("ValueError", "no invoice 4711")
    True
    """
    lines = message[: 4 * MAX_CHARS].splitlines()
    first = _VARYING.sub("*", lines[0][:MAX_CHARS].strip()) if lines else ""
    return sha256(f"{error_class}\n{first}".encode("utf-8", "replace")).hexdigest()[:16]

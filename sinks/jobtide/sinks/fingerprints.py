"""The fingerprint of an error whose emitter gave none: equal for errors that differ only in what varies. Pure.

The rule of all emitters (class, newline, first line of the message without numbers, ids and quoted values), so that one cause is one group
whoever reports it. `_VARYING` is that of `emitters/contract/masking.json`; a test holds the two together.
"""

from __future__ import annotations

import re
from hashlib import sha256

MAX_CHARS = 512
VARYING = (
    '\\"[^\\"\\r\\n]*\\"|(?<![A-Za-z0-9_])\'[^\'\\r\\n]*\'|`[^`\'\\r\\n]*[\'`]|\\{(?:[^{}\\r\\n]|\\{(?:[^{}\\r\\n]|\\{[^{}\\r\\n]*\\})*\\})*'
    '\\}|(?<![A-Za-z0-9_])(?=[0-9a-fA-F-]*[0-9])[0-9a-fA-F][0-9a-fA-F-]{7,}(?![A-Za-z0-9_])|0[xX][0-9a-fA-F]+|[0-9]+'
)
_VARYING = re.compile(VARYING)
_LINE_END = re.compile(r"[\r\n]")


def fingerprint(error_class: str, message: str) -> str:
    """Sixteen hex digits.

    >>> fingerprint("ValueError", "no invoice 17") == fingerprint("ValueError", "no invoice 4711")
    True
    """
    line = _LINE_END.split(message, maxsplit=1)[0][:MAX_CHARS].strip(" \t")
    return sha256(f"{error_class}\n{_VARYING.sub('*', line)}".encode("utf-8", "replace")).hexdigest()[:16]

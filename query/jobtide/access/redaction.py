"""What the audit log keeps of a text that somebody wrote: bounded, and without what has the shape of a secret. Pure.

The rules are those of all emitters, `emitters/contract/masking.json`; a test holds the two together.
"""

from __future__ import annotations

import re

MASK = "[masked]"
MAX_CHARS = 2000
RULES: tuple[tuple[str, bool], ...] = (  # pattern, whether the case of ASCII letters counts for nothing
    (
        '((?<![A-Za-z0-9_])(?:authorization|cookie)\\\\{0,3}[\'\\"]?[ \\t]*[:=][ \\t]*)[^\\r\\n]+',
        True,
    ),
    (
        r"((?<![A-Za-z0-9_])(?:bearer|basic)[ \t\r\n]+)[A-Za-z0-9_.~+/=-]{6,}",
        True,
    ),
    (
        r"((?<![^\x00-,./:-@\[-^`{-\x7f])[^\x00-,./:-@\[-^`{-\x7f]{0,40}?(?:passw|passphrase|pwd|secret|token(?!iz)|api[_-"
        r"]?key|access[_-]?key|private[_-]?key|credential|session|cookie|cvv|creditcard|debitcard|(?<![A-Za-z])(?:card(?!i"
        '|board)|iban|ssn(?![A-Za-z])))[^\\x00-,./:-@\\[-^`{-\\x7f]*\\\\{0,3}[\'\\"]?[ \\t\\r\\n]*(?:=>|[:=]|(?<![A-Za-z0-9_])is(?!'
        '[A-Za-z0-9_]))[ \\t\\r\\n]*)(?:\\[masked\\]|\\"[^\\"]*\\"|\'[^\']*\'|[^ \\t\\r\\n,;&)}\\]]+)',
        True,
    ),
    (
        r"(?<=://)[^/?# \t\r\n]*(?=@)",
        False,
    ),
    (
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
        False,
    ),
    (
        r"(?<![A-Za-z0-9_])(?:(?:[sp]k|rk|gh[pousr]|github_pat|xox[a-z]|glpat|whsec)[_-]|AKIA|ASIA|AIza)[A-Za-z0-9_-]{10,}",
        False,
    ),
    (
        r"-----BEGIN [A-Z ]+-----(?:[^-]|-(?!----END ))*(?:-----END [A-Z ]+-----)?",
        False,
    ),
    (
        r"(?<![^\x00-*,/:-@\[-^`{-\x7f])[^\x00-*,/:-@\[-^`{-\x7f]{1,64}@[^\x00-,./:-@\[-^`{-\x7f]{1,64}(?:\.[^\x00-,./:-@"
        r"\[-^`{-\x7f]{1,64}){1,8}",
        False,
    ),
    (
        r"(?<![A-Za-z0-9_])[0-9](?:[ -]?[0-9]){12,18}(?![A-Za-z0-9_])",
        False,
    ),
    (
        r"(?<![A-Za-z0-9_/.-])(?![0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?![A-Za-z0-9_"
        r"]))(?=[A-Za-z0-9_+=-]{0,256}[0-9])(?=[A-Za-z0-9_+=-]{0,256}[A-Za-z])[A-Za-z0-9_+=-]{20,}",
        False,
    ),
)
_COMPILED = [re.compile(pattern, re.I | re.A if fold else 0) for pattern, fold in RULES]


def kept(text: str) -> str:
    """The text as it may be kept.

    >>> kept("SELECT 1 FROM events WHERE error_message = 'password=hunter2'")
    "SELECT 1 FROM events WHERE error_message = 'password=[masked]"
    >>> len(kept("x " * 5000))
    2000
    """
    text = text[: 2 * MAX_CHARS]  # cut off first: what is thrown away is not worth looking at
    for pattern in _COMPILED:
        text = pattern.sub(lambda found: (found[1] or "" if found.re.groups else "") + MASK, text)
    return text[:MAX_CHARS]

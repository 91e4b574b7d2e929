"""What is taken out of texts and arguments before they leave: secrets, and what an app may have put into quotes.

Pure. A mask can only know the shapes of secrets, not secrets: where even a plain word of a message may be one, the setting
`error_detail` is `class`. Fingerprints are equal for errors that differ only in what varies; the same in every language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

MASK = "[masked]"
LEVELS = ("strict", "secrets", "off")
MAX_PREVIEW_CHARS = 2048
_MAX_TEXT_CHARS = 256
_MAX_ITEMS = 50
_MAX_DEPTH = 5

# The rules of contract/masking.json: equal there, here and in every other language's emitter, so they use only what all
# regular expressions share: no \w, \b, \d, \s, which differ beyond ASCII. What a rule finds becomes its first group and MASK.
# Every rule begins at the edge of a word or is bounded: a message of one endless word must cost no job its time.
_WORD = r"[^\x00-,./:-@\[-^`{-\x7f]"  # A-Z, a-z, 0-9, _, - and everything beyond ASCII
_LOCAL = r"[^\x00-*,/:-@\[-^`{-\x7f]"  # those, + and .
_SPACE = r"[ \t\r\n]"
_START, _END = r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])"
_NOT_WORD = r"(?<![^\x00-,./:-@\[-^`{-\x7f])"
_NAMES = (
    r"passw|passphrase|pwd|secret|token(?!iz)|api[_-]?key|access[_-]?key|private[_-]?key|credential|session|cookie|cvv"
    r"|creditcard|debitcard|(?<![A-Za-z])(?:card(?!i|board)|iban|ssn(?![A-Za-z]))"
)
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
RULES: tuple[tuple[str, str, bool], ...] = (  # name, pattern, whether the case of ASCII letters counts for nothing
    ("header", rf"({_START}(?:authorization|cookie)\\{{0,3}}['\"]?[ \t]*[:=][ \t]*)[^\r\n]+", True),
    ("bearer", rf"({_START}(?:bearer|basic){_SPACE}+)[A-Za-z0-9_.~+/=-]{{6,}}", True),
    (
        "named",
        rf"({_NOT_WORD}{_WORD}{{0,40}}?(?:{_NAMES}){_WORD}*\\{{0,3}}['\"]?{_SPACE}*(?:=>|[:=]|{_START}is{_END}){_SPACE}*)"
        r"(?:\[masked\]|\"[^\"]*\"|'[^']*'|[^ \t\r\n,;&)}\]]+)",
        True,
    ),
    ("url", r"(?<=://)[^/?# \t\r\n]*(?=@)", False),
    ("jwt", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", False),
    ("key", rf"{_START}(?:(?:[sp]k|rk|gh[pousr]|github_pat|xox[a-z]|glpat|whsec)[_-]|AKIA|ASIA|AIza)[A-Za-z0-9_-]{{10,}}", False),
    ("pem", r"-----BEGIN [A-Z ]+-----(?:[^-]|-(?!----END ))*(?:-----END [A-Z ]+-----)?", False),
    ("email", rf"(?<!{_LOCAL}){_LOCAL}{{1,64}}@{_WORD}{{1,64}}(?:\.{_WORD}{{1,64}}){{1,8}}", False),
    ("card", rf"{_START}[0-9](?:[ -]?[0-9]){{12,18}}{_END}", False),
    (
        "opaque",
        rf"(?<![A-Za-z0-9_/.-])(?!{_UUID}{_END})(?=[A-Za-z0-9_+=-]{{0,256}}[0-9])(?=[A-Za-z0-9_+=-]{{0,256}}[A-Za-z])[A-Za-z0-9_+=-]{{20,}}",
        False,
    ),
)
_BRACES = r"\{(?:[^{}\r\n]|\{(?:[^{}\r\n]|\{[^{}\r\n]*\})*\})*\}"  # three deep
QUOTED = rf"\"[^\"\r\n]*\"|(?<![A-Za-z0-9_])'[^'\r\n]*'|`[^`'\r\n]*['`]|{_BRACES}"
VARYING = rf"{QUOTED}|{_START}(?=[0-9a-fA-F-]*[0-9])[0-9a-fA-F][0-9a-fA-F-]{{7,}}{_END}|0[xX][0-9a-fA-F]+|[0-9]+"
_COMPILED = [re.compile(pattern, re.I | re.A if fold else 0) for _, pattern, fold in RULES]
_PEM = _COMPILED[[name for name, *_ in RULES].index("pem")]
_QUOTED = re.compile(QUOTED)
_VARYING = re.compile(VARYING)
_LINE_END = re.compile(r"[\r\n]")
_FIRST_LINE_CHARS = 512
_FRAME = re.compile(r'^\s*File "(.*)", line (\d+)(?:, in (.*))?$')
_INDENTED = re.compile(r"^\s{4}")
# What these quote are names of the program, not data.
NAMES_CODE = (ImportError, AttributeError, NameError)


def masked(text: str, level: str, *, names_code: bool = False) -> str:
    """The text as it may leave. `strict` also takes out what stands in quotes or braces.

    >>> masked("password=hunter2 for 'bob'", "strict"), masked("no such invoice 17", "strict")
    ("password=[masked] for '[masked]'", 'no such invoice 17')
    """
    if level == "off":
        return text
    for pattern in _COMPILED:
        text = pattern.sub(_kept, text)
    return without_quoted(text) if level == "strict" and not names_code else text


def without_quoted(text: str) -> str:
    """The text without what stands in quotes or braces."""
    return _QUOTED.sub(lambda found: f"{found[0][0]}{MASK}{found[0][-1]}", text)


def _kept(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}" if found.re.groups else MASK


def masked_backtrace(text: str, level: str, *, names_code: bool = False) -> str:
    """A traceback's text with its frames as they are, without lines of source, and its messages masked."""
    if level == "off":
        return text
    lines = []
    for line in _PEM.sub(MASK, text).splitlines(keepends=True):
        if _FRAME.match(line):
            lines.append(line)
        elif not _INDENTED.match(line):
            lines.append(masked(line, level, names_code=names_code))
    return "".join(lines)


def fingerprint(error_class: str, message: str) -> str:
    """Sixteen hex digits of a class and a message that has lost its secrets, but not yet what is in quotes.

    The first line of the message counts, without numbers, ids and quoted values. Frames do not: they change with each release.

    >>> fingerprint("ValueError", "no invoice 17") == fingerprint("ValueError", "no invoice 4711")
    True
    """
    line = _LINE_END.split(message, maxsplit=1)[0][:_FIRST_LINE_CHARS].strip(" \t")
    return sha256(f"{error_class}\n{_VARYING.sub('*', line)}".encode("utf-8", "replace")).hexdigest()[:16]


class Arguments:
    """`args_preview` of jobs: of the classes that are named, and masked by the names of members."""

    def __init__(self, classes: str, secret_names: str) -> None:
        named = {name.strip() for name in classes.split(",")} - {""}
        self._all = "*" in named
        self._classes = named
        self._secret = [part.strip().lower() for part in secret_names.split(",") if part.strip()]
        self.off = not named

    def preview(self, job_class: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """The arguments as JSON; None where they may not leave."""
        if self.off or not (self._all or job_class in self._classes):
            return None
        shown = {"args": self._shown(list(args), 0), "kwargs": self._shown(dict(kwargs), 0)}
        return orjson.dumps(shown).decode()[:MAX_PREVIEW_CHARS]

    def shown(self, value: Any) -> str:
        """One value as JSON, masked: the same text in every language."""
        return orjson.dumps(self._shown(value, 0)).decode()[:MAX_PREVIEW_CHARS]

    def _shown(self, value: Any, depth: int) -> Any:
        if isinstance(value, bool | float | None):
            return value
        if isinstance(value, int):
            return value if abs(value) < 2**53 else str(value)
        if isinstance(value, str):
            return masked(value.encode("utf-8", "replace").decode()[:_MAX_TEXT_CHARS], "secrets")
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, dict):
            return {
                str(name): MASK if self._hides(str(name)) else self._shown(member, depth + 1) for name, member in list(value.items())[:_MAX_ITEMS]
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._shown(member, depth + 1) for member in list(value)[:_MAX_ITEMS]]
        return type(value).__name__

    def _hides(self, name: str) -> bool:
        plain = name.lower()
        return any(part in plain for part in self._secret)

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

# Every pattern begins at the edge of a word or is bounded: a message of one endless word must cost no job its time.
_NAMES = "passw|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|session|cookie|card|cvv|iban|ssn"
_KEY = rf"(?:(?<![\w-])[\w-]{{0,40}}?(?:{_NAMES})[\w-]*)"
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.S)
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(authorization|proxy-authorization)(['\"]?\s*[:=]\s*).+", re.I), rf"\1\2{MASK}"),
    (re.compile(rf"({_KEY}['\"]?\s*(?:[:=]|=>|\bis\b)\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&)}}\]]+)", re.I), rf"\1{MASK}"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.I), rf"\1 {MASK}"),
    (re.compile(r"(?<=://)[^/\s@]{0,256}@"), f"{MASK}@"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"\b(?:[sp]k|rk|gh[pousr]|github_pat|xox[a-z]|AKIA|ASIA|AIza|glpat|whsec)[_-]?[\w-]{10,}"), MASK),
    (_PEM, MASK),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"), MASK),
    (re.compile(r"\b\d(?:[ -]?\d){12,18}\b"), MASK),
    (
        re.compile(
            r"(?<![\w/.-])(?!(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b))(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{20,}"
        ),
        MASK,
    ),
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|(?<!\w)'[^'\n]*'|`[^`\n]*'|\{[^{}\n]*\}")
_FRAME = re.compile(r'^\s*File "(.*)", line (\d+)(?:, in (.*))?$')
_INDENTED = re.compile(r"^\s{4}")
_VARYING = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`']*'|\b(?=[0-9a-f-]*[0-9])[0-9a-f][0-9a-f-]{7,}\b|0x[0-9a-f]+|\d+", re.I | re.A)
# What these quote are names of the program, not data.
NAMES_CODE = (ImportError, AttributeError, NameError)


def masked(text: str, level: str, *, names_code: bool = False) -> str:
    """The text as it may leave. `strict` also takes out what stands in quotes or braces.

    >>> masked("password=hunter2 for 'bob'", "strict"), masked("no such invoice 17", "strict")
    ("password=[masked] for '[masked]'", 'no such invoice 17')
    """
    if level == "off":
        return text
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    if level == "strict" and not names_code:
        text = _QUOTED.sub(lambda found: f"{found[0][0]}{MASK}{found[0][-1]}" if found[0][1:-1] != MASK else found[0], text)
    return text


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
    """Sixteen hex digits. The first line of the message counts, without numbers, ids and quoted values.

    >>> fingerprint("ValueError", "no invoice 17") == fingerprint("ValueError", "no invoice 4711")
    True
    """
    lines = message.splitlines()
    first = _VARYING.sub("*", lines[0][:512].strip()) if lines else ""
    return sha256(f"{error_class}\n{first}".encode("utf-8", "replace")).hexdigest()[:16]


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

"""Which series a rule is about: globs over the five parts of a series' name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate

from jobtide.streams.alerts.model import Match

PARTS = ("tenant", "environment", "system", "queue", "job_class")


def one_of(globs: Sequence[str]) -> Callable[[str], bool]:
    """
    >>> test = one_of(["mail*", "!mail-old"])
    >>> test("mail"), test("mail-old"), test("other"), one_of(["!x"])("y")
    (True, False, False, True)
    """
    wanted = [re.compile(_regex(g)) for g in globs if not g.startswith("!")]
    unwanted = [re.compile(_regex(g[1:])) for g in globs if g.startswith("!")]

    def matches(text: str) -> bool:
        return (not wanted or any(each.match(text) for each in wanted)) and not any(each.match(text) for each in unwanted)

    return matches


def _regex(glob: str) -> str:
    return translate(glob.replace("[", "[[]"))  # only * and ? are special: class names hold brackets


def matcher(match: Match, names: Sequence[str] = PARTS) -> Callable[[Sequence[str]], bool]:
    """Whether a name, whose parts are called `names`, matches."""
    tests = [(place, one_of(getattr(match, part))) for place, part in enumerate(names) if part in PARTS and getattr(match, part) != ["*"]]

    def matches(name: Sequence[str]) -> bool:
        return all(test(name[place]) for place, test in tests)

    return matches

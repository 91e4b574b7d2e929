"""Silences: alerts that nobody wants to hear of for a while; and inhibition: alerts that another alert already tells. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import msgspec
from jobtide.streams.alerts.matching import one_of
from jobtide.streams.alerts.transitions import Transition

MAX_SILENCE_MS = 366 * 86_400_000


class Silence(msgspec.Struct, omit_defaults=True):
    """Alerts whose labels match all of `match` (globs) are not told from `starts_ms` to `ends_ms`."""

    id: str
    match: dict[str, str]
    starts_ms: int
    ends_ms: int
    created_by: str = ""
    comment: str = ""

    def active(self, now_ms: int) -> bool:
        return self.starts_ms <= now_ms < self.ends_ms


def labels_of(transition: Transition) -> dict[str, str]:
    """What silences, inhibitions and routes look at."""
    return {**transition.labels, "rule": transition.rule, "severity": transition.severity}


def matches(match: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """
    >>> matches({"queue": "mail*"}, {"queue": "mail-fast"}), matches({"queue": "mail*"}, {}), matches({}, {"a": "b"})
    (True, False, True)
    """
    return all(name in labels and _test(glob)(labels[name]) for name, glob in match.items())


@lru_cache(4096)
def _test(glob: str) -> Callable[[str], bool]:
    return one_of([glob])


def silenced(transition: Transition, silences: Iterable[Silence], now_ms: int) -> str:
    """The id of a silence that holds it back; empty if none does."""
    labels = labels_of(transition)
    return next((each.id for each in silences if each.active(now_ms) and matches(each.match, labels)), "")


class Inhibition(msgspec.Struct):
    """While an alert that matches `source` fires, one that matches `target` and is equal in `equal` is not told."""

    source: dict[str, str]
    target: dict[str, str]
    equal: list[str]


class Inhibitors:
    """The firing alerts that inhibit others, by what has to be equal: asked for every alert that waits, so nothing is searched then."""

    def __init__(self, rules: Iterable[Inhibition]) -> None:
        self._rules: list[tuple[Inhibition, dict[tuple[str | None, ...], dict[str, None]]]] = [(rule, {}) for rule in rules]

    def add(self, firing: Transition) -> None:
        labels = labels_of(firing)
        for rule, found in self._rules:
            if matches(rule.source, labels):
                found.setdefault(tuple(labels.get(name) for name in rule.equal), {})[firing.fingerprint] = None

    def remove(self, firing: Transition) -> None:
        """What was added before, with the same labels."""
        labels = labels_of(firing)
        for rule, found in self._rules:
            place = tuple(labels.get(name) for name in rule.equal)
            prints = found.get(place, {})
            prints.pop(firing.fingerprint, None)
            if not prints:
                found.pop(place, None)

    def of(self, transition: Transition) -> str:
        """The fingerprint of the alert that tells it already; empty if none does."""
        labels = labels_of(transition)
        for rule, found in self._rules:
            if matches(rule.target, labels):
                for print_ in found.get(tuple(labels.get(name) for name in rule.equal), ()):
                    if print_ != transition.fingerprint:
                        return print_
        return ""

"""Silences: alerts that nobody wants to hear of for a while; and inhibition: alerts that another alert already tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    return all(name in labels and one_of([glob])(labels[name]) for name, glob in match.items())


def silenced(transition: Transition, silences: Iterable[Silence], now_ms: int) -> str:
    """The id of a silence that holds it back; empty if none does."""
    labels = labels_of(transition)
    return next((each.id for each in silences if each.active(now_ms) and matches(each.match, labels)), "")


class Inhibition(msgspec.Struct):
    """While an alert that matches `source` fires, one that matches `target` and is equal in `equal` is not told."""

    source: dict[str, str]
    target: dict[str, str]
    equal: list[str]


def inhibited(transition: Transition, firing: Iterable[Transition], rules: Iterable[Inhibition]) -> str:
    """The fingerprint of the alert that tells it already; empty if none does."""
    labels = labels_of(transition)
    for rule in rules:
        if not matches(rule.target, labels):
            continue
        for other in firing:
            its = labels_of(other)
            if other.fingerprint != transition.fingerprint and matches(rule.source, its) and all(its.get(n) == labels.get(n) for n in rule.equal):
                return other.fingerprint
    return ""

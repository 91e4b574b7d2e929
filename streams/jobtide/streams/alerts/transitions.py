"""What an alert says when its state changes: a record whose id depends on the log alone.

The id is the hash of rule, fingerprint, episode and state, so whoever evaluates the same log again, after a crash or in a replay, says the
same thing under the same id. An episode is named by the event time at which its condition was first true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec

RULES_KEY = b"rules\x1f"  # in job.alerts, beside the alerts by fingerprint: begins the keys under which workers tell which rules they use

State = Literal["pending", "firing", "resolved", "inactive"]  # inactive: a pending alert that did not become one


class Reason(StrEnum):
    """Why a transition happened."""

    BREACHED = "breached"  # the condition is true; `for` runs
    HELD = "held"  # it was true for as long as `for` says
    BREACHED_AT_ONCE = "breached_at_once"  # it is true and the rule has no `for`
    NO_DATA_FIRES = "no_data_fires"  # nothing is there, and the rule's no_data is alert
    NOT_HELD = "not_held"  # over before `for` had passed
    RECOVERED = "recovered"
    KEPT_LONG_ENOUGH = "kept_long_enough"  # over for as long as keep_firing_for says
    TOO_FEW_SAMPLES = "too_few_samples"
    NO_DATA = "no_data"
    RULE_REMOVED = "rule_removed"
    GIVEN_UP = "given_up"  # absent for so long that nobody expects it back


class Transition(msgspec.Struct, omit_defaults=True):
    """One change of one alert. Times are event time, µs since the epoch."""

    id: str
    rule: str
    kind: str
    fingerprint: str
    labels: dict[str, str]
    severity: str
    state: State
    reason: str
    episode_us: int
    at_us: int  # the watermark at which it was decided
    value: float | None
    samples: int
    condition: str  # what value was compared with, for people
    from_us: int  # the window the value is of
    to_us: int
    query: str  # path and parameters of the API that give the number again
    summary: str = ""
    runbook: str = ""
    examples: list[dict[str, str]] = []


encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Transition).decode


def fingerprint(rule: str, labels: Mapping[str, str]) -> str:
    """The identity of an alert over all its episodes.

    >>> fingerprint("R", {"a": "1", "b": "2"}) == fingerprint("R", {"b": "2", "a": "1"})
    True
    """
    parts = [rule, *(f"{name}={value}" for name, value in sorted(labels.items()))]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def transition_id(rule: str, print_: str, episode_us: int, state: State) -> str:
    return hashlib.sha256(f"{rule}\x1f{print_}\x1f{episode_us}\x1f{state}".encode()).hexdigest()

"""When whom is told what: alerts collected into notifications. Pure; the time is an argument.

Every transition is told once, in order. A new group is told after `wait`, a known one at most every `interval`, what still fires again after
`repeat`. What is silenced or inhibited waits: told when it is free and still fires, forgotten when it resolves before anybody heard of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from jobtide.streams.alerts.transitions import Transition

SEEN_IDS = 8
MOST_TOLD = 100  # transitions in one notification; what is more goes into the next, at once
MOST_HELD = 1000  # what one group remembers; what is more opens another group


class Alert(msgspec.Struct):
    """An alert as one group knows it. `told`: somebody heard that it fires."""

    newest: Transition
    told: bool = False


class Group(msgspec.Struct):
    """The alerts that one receiver is told of together."""

    receiver: str
    key: str
    wait_ms: int
    interval_ms: int
    repeat_ms: int
    since_ms: int
    alerts: dict[str, Alert] = {}
    waiting: list[Transition] = []  # to be told, in order
    sent_ms: int = 0
    repeats: int = 0

    @property
    def full(self) -> bool:
        return len(self.alerts) + len(self.waiting) >= MOST_HELD

    @property
    def over(self) -> bool:
        return not self.alerts and not self.waiting


class Notification(msgspec.Struct):
    """What one message says. `id` depends on what it says, not on when or by whom it was decided."""

    id: str
    receiver: str
    group: str
    transitions: list[Transition]
    repeat: bool = False


Held = Callable[[Transition], bool]


class Seen(msgspec.Struct):
    """Of one alert: what came last, to tell what is new from what is sent again."""

    at_us: int
    ids: list[str]


def is_news(seen: dict[str, Seen], transition: Transition) -> bool:
    """Whether a record of job.alerts is not one that came before; remembers it."""
    known = seen.get(transition.fingerprint)
    if known is not None and (transition.at_us < known.at_us or transition.id in known.ids):
        return False
    ids = [*(known.ids if known else []), transition.id][-SEEN_IDS:]
    seen[transition.fingerprint] = Seen(transition.at_us, ids)
    return True


def take(group: Group, transition: Transition, held: Held) -> None:
    """A firing or resolved transition joins its group."""
    known = group.alerts.get(transition.fingerprint)
    if transition.state == "firing":
        if known is None:
            group.alerts[transition.fingerprint] = Alert(transition)
        else:
            known.newest, known.told = transition, False
        group.waiting.append(transition)
        return
    if transition.state != "resolved" or known is None:
        return
    untold = [each for each in group.waiting if each.fingerprint == transition.fingerprint and each.state == "firing"]
    if not known.told and (not untold or held(untold[-1])):
        group.waiting = [each for each in group.waiting if each is not (untold[-1] if untold else None)]
        if not any(each.fingerprint == transition.fingerprint for each in group.waiting):
            del group.alerts[transition.fingerprint]
        return
    known.newest = transition
    group.waiting.append(transition)


def due(group: Group, now_ms: int, held: Held) -> list[Notification]:
    """What the group's receiver is to be told now, in order; notes that it was. `held` is asked only when the clock says that it is time."""
    at_ms = group.sent_ms + group.interval_ms if group.sent_ms else group.since_ms + group.wait_ms
    if group.waiting and (now_ms >= at_ms or len(group.waiting) >= MOST_HELD):
        ready = _ready(group, held)
        if ready:
            return _told(group, ready, now_ms)
    if group.sent_ms and now_ms >= group.sent_ms + group.repeat_ms:
        firing = [alert.newest for alert in group.alerts.values() if alert.told and alert.newest.state == "firing" and not held(alert.newest)]
        if firing:
            group.repeats, group.sent_ms = group.repeats + 1, now_ms
            return _notifications(group, firing, f"repeat {group.repeats}")
    return []


def _ready(group: Group, held: Held) -> list[Transition]:
    blocked: set[str] = set()
    ready: list[Transition] = []
    for each in group.waiting:  # what follows a held transition of the same alert waits with it
        if each.fingerprint in blocked or (each.state == "firing" and held(each)):
            blocked.add(each.fingerprint)
        else:
            ready.append(each)
    return ready


def _told(group: Group, ready: list[Transition], now_ms: int) -> list[Notification]:
    ids = {each.id for each in ready}
    group.waiting = [each for each in group.waiting if each.id not in ids]
    for each in ready:
        alert = group.alerts.get(each.fingerprint)
        if alert is not None:
            alert.told = each.state == "firing"
            if each.state == "resolved" and alert.newest.id == each.id:
                del group.alerts[each.fingerprint]
    group.sent_ms = now_ms
    return _notifications(group, ready, "")


def _notifications(group: Group, transitions: list[Transition], what: str) -> list[Notification]:
    parts = [transitions[start : start + MOST_TOLD] for start in range(0, len(transitions), MOST_TOLD)]
    return [Notification(_id(group, part, what), group.receiver, group.key, part, bool(what)) for part in parts]


def _id(group: Group, transitions: list[Transition], what: str) -> str:
    parts = [group.receiver, group.key, what, *(each.id for each in transitions)]
    return "msg_" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]

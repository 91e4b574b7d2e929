"""Everything the notifier knows, and what it decides from it. Pure: records and times in, letters and records to save out.

A letter is written (and saved) before it is sent, with the bytes it will always have. The shell around (`notifier`) reads the topics, saves
what changed as one batch, and sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from jobtide.sinks.webhook import grouping
from jobtide.sinks.webhook.grouping import Group, Notification, Seen
from jobtide.sinks.webhook.payloads import Request, requests
from jobtide.sinks.webhook.receivers import ReceiversFile, StatusPage
from jobtide.sinks.webhook.retrying import Decision, Outcome
from jobtide.sinks.webhook.silences import Inhibitors, Silence, labels_of, silenced
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.folds.records import SEPARATOR, Record

DAY_MS = 86_400_000
KEPT_DELIVERED_MS = DAY_MS
KEPT_DEAD_MS = 30 * DAY_MS
KEPT_SEEN_US = 8 * DAY_MS * 1000
CLEAN_EVERY_MS = 60_000
KEPT_WAITING_MS = 7 * DAY_MS  # due for so long and still not sent: nobody wants to hear of it any more
MOST_LETTERS = 50_000  # waiting and dead; beyond it the oldest dead are let go
MOST_TOLD = 200  # notifications that are decided at once
HEAVY_BYTES = 4 << 20  # of changes: time to save them; one save has to fit into a batch of 15 MiB
DISABLED = "receiver disabled"

_encode = msgspec.msgpack.Encoder().encode


class Letter(msgspec.Struct):
    """A request and its fate. `number`: letters of one group and receiver are sent in this order."""

    request: Request
    number: int
    created_ms: int
    state: str = "waiting"  # waiting, delivered, dead
    attempts: int = 0
    next_ms: int = 0
    reason: str = ""
    ended_ms: int = 0


class Disabled(msgspec.Struct):
    at_ms: int
    reason: str


class Desk:
    """`positions`: partition of job.alerts → next offset to read."""

    def __init__(self, file: ReceiversFile, public_url: str) -> None:
        self.file, self.public_url = file, public_url.rstrip("/")
        self._inhibitors = Inhibitors(file.inhibitions())
        self.positions: dict[int, int] = {}
        self.groups: dict[tuple[str, str], Group] = {}
        self.seen: dict[str, Seen] = {}
        self.firing: dict[str, Transition] = {}
        self.letters: dict[str, Letter] = {}
        self.disabled: dict[str, Disabled] = {}
        self.silences: dict[str, Silence] = {}
        self._next_number = 0
        self._unsaved: dict[str, None] = {}
        self._saving: set[str] = set()  # taken to be saved, but not saved yet
        self._weight = 0  # about how many bytes the unsaved are
        self._cleaned_ms = 0

    # -- what comes in

    def read(self, partition: int, offset: int, transition: Transition | None, now_ms: int, stale: bool) -> None:
        """A record of job.alerts. `stale`: from before this notifier began its work; known, but not told."""
        self.positions[partition] = offset + 1
        self._unsaved["p"] = None
        if transition is None or not grouping.is_news(self.seen, transition):
            return
        print_ = transition.fingerprint
        self._unsaved[f"s{SEPARATOR}{print_}"] = None
        size = len(_encode(transition))
        self._weight += size
        if transition.state in ("firing", "resolved"):
            self._is_firing(print_, transition if transition.state == "firing" else None)
        if stale or transition.state not in ("firing", "resolved"):
            return
        for group in self._groups_of(transition, now_ms):
            grouping.take(group, transition, lambda each: self.held(each, now_ms))
            self._touch(group, 2 * size)

    def _is_firing(self, print_: str, transition: Transition | None) -> None:
        before = self.firing.pop(print_, None)
        if before is not None:
            self._inhibitors.remove(before)
        if transition is not None:
            self.firing[print_] = transition
            self._inhibitors.add(transition)
        if transition is not None or before is not None:
            self._unsaved[f"f{SEPARATOR}{print_}"] = None

    def _groups_of(self, transition: Transition, now_ms: int) -> list[Group]:
        print_ = transition.fingerprint
        if transition.state == "resolved":  # whoever was told, or is to be, whatever the routes say now
            return [group for group in self.groups.values() if print_ in group.alerts]
        labels, found = labels_of(transition), []
        for route, receiver in self.file.routes_of(transition, labels):
            key = ", ".join(f"{name}={labels[name]}" for name in route.group_by if name in labels)
            key = self._with_room(receiver, key, print_)
            group = self.groups.get((receiver, key))
            if group is None:
                group = self.groups[receiver, key] = Group(receiver, key, route.wait, route.interval, route.repeat, now_ms)
            found.append(group)
        return found

    def _with_room(self, receiver: str, key: str, print_: str) -> str:
        """The group of that key that knows the alert; or else the first, or its first continuation, that is not full."""
        name, number, room = key, 1, ""
        while (group := self.groups.get((receiver, name))) is not None:
            if print_ in group.alerts:
                return name
            if not room and not group.full:
                room = name
            number += 1
            name = f"{key} ({number})"
        return room or name

    def command(self, key: str, value: bytes | None, now_ms: int) -> None:
        """A record of job.alert.commands: what people want. Read again from its beginning after every start."""
        kind, _, rest = key.partition(SEPARATOR)
        if kind == "silence":
            if value is None:
                self.silences.pop(rest, None)
            else:
                self.silences[rest] = msgspec.json.decode(value, type=Silence)
            return
        at_ms = msgspec.json.decode(value, type=dict[str, int]).get("at_ms", 0) if value is not None else 0
        if kind == "redeliver":
            letter = self.letters.get(rest)
            if letter is not None and letter.state == "dead" and at_ms > letter.ended_ms:
                letter.state, letter.attempts, letter.next_ms, letter.reason = "waiting", 0, now_ms, "redelivered by hand"
                self._changed(letter)
        elif kind == "enable":
            known = self.disabled.get(rest)
            if known is not None and at_ms > known.at_ms:
                del self.disabled[rest]
                self._unsaved[f"d{SEPARATOR}{rest}"] = None

    # -- decisions

    def held(self, transition: Transition, now_ms: int) -> bool:
        return bool(silenced(transition, self.silences.values(), now_ms) or self._inhibitors.of(transition))

    def due(self, now_ms: int) -> list[Notification]:
        """What is to be told now; each has to be handed to `write`, and all of it saved at once. What is too much for that is due again."""
        out: list[Notification] = []
        for group in self.groups.values():
            if len(out) >= MOST_TOLD or self.heavy:
                break
            told = grouping.due(group, now_ms, lambda each: self.held(each, now_ms)) if group.waiting or group.alerts else []
            if told:
                self._touch(group)
                self._weight += sum(self._weight_of(each) for each in told)
                out += told
        if now_ms - self._cleaned_ms >= CLEAN_EVERY_MS and not self.heavy:
            self._clean(now_ms)
            if not self.heavy:  # else there is more to do
                self._cleaned_ms = now_ms
        return out

    def _weight_of(self, told: Notification) -> int:
        """About how many bytes its letters will be."""
        if isinstance(self.file.receiver(told.receiver), StatusPage):  # tells all that fires
            return 200 * len(self.firing)
        return 2 * sum(len(_encode(each)) for each in told.transitions)

    def write(self, told: Notification, now_ms: int) -> None:
        """Write the letters of a notification."""
        receiver = self.file.receiver(told.receiver)
        if receiver is None:  # not in the file any more
            return
        for request in requests(receiver, told, self.public_url, list(self.firing.values())):
            if request.id not in self.letters:
                letter = self.letters[request.id] = Letter(request, self._next_number, now_ms, next_ms=now_ms)
                self._next_number += 1
                self._changed(letter)
                if told.receiver in self.disabled:
                    self._die(letter, DISABLED, now_ms)

    def next_letter(self, receiver: str, now_ms: int) -> Letter | None:
        """The first that is saved, due, and not behind another of its group."""
        if receiver in self.disabled:
            return None
        behind: set[str] = set()
        for letter in sorted((each for each in self.letters.values() if each.request.receiver == receiver), key=lambda each: each.number):
            if letter.state != "waiting" or letter.request.group in behind:
                continue
            behind.add(letter.request.group)
            key = f"o{SEPARATOR}{letter.request.id}"
            if letter.next_ms <= now_ms and key not in self._unsaved and key not in self._saving:
                return letter
        return None

    def note(self, letter: Letter, decision: Decision, now_ms: int) -> None:
        """What came of an attempt."""
        letter.attempts += 1
        letter.reason = decision.reason
        match decision.outcome:
            case Outcome.DELIVERED:
                letter.state, letter.ended_ms = "delivered", now_ms
            case Outcome.AGAIN:
                letter.next_ms = now_ms + decision.wait_ms
            case Outcome.DEAD:
                letter.state, letter.ended_ms = "dead", now_ms
            case Outcome.GONE:
                self.disabled[letter.request.receiver] = Disabled(now_ms, decision.reason)
                self._unsaved[f"d{SEPARATOR}{letter.request.receiver}"] = None
                letter.state, letter.ended_ms = "dead", now_ms
        self._changed(letter)

    def _die(self, letter: Letter, reason: str, now_ms: int) -> None:
        letter.state, letter.ended_ms, letter.reason = "dead", now_ms, reason
        self._changed(letter)

    def _changed(self, letter: Letter) -> None:
        key = f"o{SEPARATOR}{letter.request.id}"
        if key not in self._unsaved:
            self._unsaved[key] = None
            self._weight += len(letter.request.body) + 300

    def _unwanted(self, letter: Letter, now_ms: int) -> str:
        """Why a letter that waits will never be sent; empty if it may be."""
        if self.file.receiver(letter.request.receiver) is None:
            return "receiver not in the file"
        if letter.request.receiver in self.disabled:
            return DISABLED
        return "waited for seven days" if now_ms - letter.next_ms > KEPT_WAITING_MS else ""

    def _clean(self, now_ms: int) -> None:
        for group in [each for each in self.groups.values() if each.over and now_ms > each.sent_ms + each.interval_ms]:
            del self.groups[group.receiver, group.key]
            self._touch(group)
        dead = sorted((each for each in self.letters.values() if each.state == "dead"), key=lambda each: each.ended_ms)
        too_many = len(self.letters) - MOST_LETTERS
        for letter in list(self.letters.values()):
            if self.heavy:
                return
            if letter.state == "waiting" and (reason := self._unwanted(letter, now_ms)):
                self._die(letter, reason, now_ms)
            kept_ms = KEPT_DELIVERED_MS if letter.state == "delivered" else KEPT_DEAD_MS
            if letter.state != "waiting" and now_ms - letter.ended_ms > kept_ms:
                self._forget(letter)
        for letter in dead[: max(0, too_many)]:
            self._forget(letter)
        newest_us = max((each.at_us for each in self.seen.values()), default=0)
        for print_ in [name for name, each in self.seen.items() if each.at_us < newest_us - KEPT_SEEN_US and name not in self.firing]:
            del self.seen[print_]
            self._unsaved[f"s{SEPARATOR}{print_}"] = None

    def _forget(self, letter: Letter) -> None:
        self.letters.pop(letter.request.id, None)
        self._unsaved[f"o{SEPARATOR}{letter.request.id}"] = None
        self._weight += 150

    def _touch(self, group: Group, more: int = 0) -> None:
        """`more`: bytes by which it has grown."""
        key = f"g{SEPARATOR}{group.receiver}{SEPARATOR}{group.key}"
        self._weight += more if key in self._unsaved else len(_encode(group))
        self._unsaved[key] = None

    # -- what must not be forgotten

    def take_unsaved(self) -> list[Record]:
        """What changed, as records for the checkpoint. None of these letters is sent before `saved` says that they are there."""
        unsaved, self._unsaved = self._unsaved, {}
        self._saving.update(unsaved)
        self._weight = 0
        return [(key.encode(), self._value(key)) for key in unsaved]

    def saved(self) -> None:
        """All that was taken is durable."""
        self._saving.clear()

    @property
    def heavy(self) -> bool:
        """Whether what is unsaved should be saved before anything else is read or decided."""
        return self._weight >= HEAVY_BYTES

    @property
    def dirty(self) -> bool:
        return bool(self._unsaved)

    def _value(self, key: str) -> bytes | None:
        kind, _, rest = key.partition(SEPARATOR)
        found: Any
        if kind == "p":
            found = self.positions
        elif kind == "g":
            receiver, _, name = rest.partition(SEPARATOR)
            found = self.groups.get((receiver, name))
        elif kind == "o":
            found = self.letters.get(rest)
            if found is not None and found.state == "delivered":  # its bytes are not needed any more
                found = msgspec.structs.replace(found, request=msgspec.structs.replace(found.request, body=b""))
        else:
            known: dict[str, dict[str, Any]] = {"s": self.seen, "f": self.firing, "d": self.disabled}
            found = known[kind].get(rest)
        return None if found is None else _encode(found)

    def load(self, key: bytes, value: bytes | None) -> None:
        """A record that was saved."""
        if value is None:
            return
        kind, _, rest = key.decode().partition(SEPARATOR)
        decode = msgspec.msgpack.decode
        match kind:
            case "p":
                self.positions = decode(value, type=dict[int, int])
            case "g":
                group = decode(value, type=Group)
                self.groups[group.receiver, group.key] = group
            case "o":
                letter = self.letters[rest] = decode(value, type=Letter)
                self._next_number = max(self._next_number, letter.number + 1)
            case "s":
                self.seen[rest] = decode(value, type=Seen)
            case "f":
                self.firing[rest] = decode(value, type=Transition)
                self._inhibitors.add(self.firing[rest])
            case "d":
                self.disabled[rest] = decode(value, type=Disabled)

    def receivers(self) -> Iterable[Any]:
        return self.file.receivers

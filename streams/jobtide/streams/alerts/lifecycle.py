"""The life of one alert: inactive → pending → firing → resolved, one step per assessment. Pure; every step has a reason.

A step is a function of what is remembered (`Instance`), the verdict and the watermark. It says what to remember, which states were
entered and when to look again even if nothing changes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec
from jobtide.streams.alerts.model import NoData
from jobtide.streams.alerts.transitions import Reason, State


class Verdict(IntEnum):
    CLEAR = 0
    BREACH = 1
    TOO_FEW = 2  # some data, fewer samples than the rule wants
    NO_DATA = 3
    UNKNOWN = 4  # not known yet: nothing changes
    GONE = 5  # nobody expects anything of it any more


class Instance(msgspec.Struct, array_like=True):
    """What is remembered of one alert of one rule: an episode, or until when there is none to be."""

    state: str  # pending, firing or muted
    episode_us: int
    clear_us: int = 0  # firing: since when the condition is over, 0 if it is not
    until_us: int = 0  # muted: until when


class Timing(NamedTuple):
    """The parts of a rule that a step needs, in µs."""

    for_us: int
    keep_us: int
    mute_us: int
    no_data: NoData


class Step(NamedTuple):
    """`entered`: states with reasons, in order. `again_us`: assess again at this watermark, 0 for never."""

    instance: Instance | None
    entered: tuple[tuple[State, Reason], ...] = ()
    again_us: int = 0


_OVER = {
    Verdict.CLEAR: Reason.RECOVERED,
    Verdict.TOO_FEW: Reason.TOO_FEW_SAMPLES,
    Verdict.NO_DATA: Reason.NO_DATA,
    Verdict.GONE: Reason.GIVEN_UP,
}


def step(instance: Instance | None, verdict: Verdict, now_us: int, timing: Timing) -> Step:
    """One assessment at watermark `now_us`."""
    if verdict is Verdict.UNKNOWN:
        return Step(instance)
    breach, reason = verdict is Verdict.BREACH, Reason.BREACHED_AT_ONCE
    if verdict is Verdict.NO_DATA and timing.no_data == "alert":
        breach, reason = True, Reason.NO_DATA_FIRES
    if instance is not None and instance.state == "muted":
        if now_us < instance.until_us:
            return Step(instance, (), instance.until_us)
        instance = None
    if instance is None:
        return _begin(now_us, timing, reason) if breach else Step(None)
    if instance.state == "pending":
        return _pending(instance, breach, verdict, now_us, timing)
    return _firing(instance, breach, verdict, now_us, timing)


def _begin(now_us: int, timing: Timing, reason: Reason) -> Step:
    if timing.for_us:
        return Step(Instance("pending", now_us), (("pending", Reason.BREACHED),), now_us + timing.for_us)
    return Step(Instance("firing", now_us), (("firing", reason),))


def _pending(instance: Instance, breach: bool, verdict: Verdict, now_us: int, timing: Timing) -> Step:
    if not breach:
        return Step(None, (("inactive", Reason.NOT_HELD if verdict is Verdict.CLEAR else _OVER[verdict]),))
    if now_us >= instance.episode_us + timing.for_us:
        return Step(Instance("firing", instance.episode_us), (("firing", Reason.HELD),))
    return Step(instance, (), instance.episode_us + timing.for_us)


def _firing(instance: Instance, breach: bool, verdict: Verdict, now_us: int, timing: Timing) -> Step:
    if breach or (verdict in (Verdict.NO_DATA, Verdict.TOO_FEW) and timing.no_data == "keep"):
        return Step(Instance("firing", instance.episode_us) if instance.clear_us else instance)
    reason = _OVER[verdict]
    if timing.keep_us and verdict is not Verdict.GONE:
        if not instance.clear_us:
            return Step(Instance("firing", instance.episode_us, now_us), (), now_us + timing.keep_us)
        if now_us < instance.clear_us + timing.keep_us:
            return Step(instance, (), instance.clear_us + timing.keep_us)
        reason = Reason.KEPT_LONG_ENOUGH if reason is Reason.RECOVERED else reason
    if timing.mute_us:
        return Step(Instance("muted", instance.episode_us, 0, now_us + timing.mute_us), (("resolved", reason),), now_us + timing.mute_us)
    return Step(None, (("resolved", reason),))

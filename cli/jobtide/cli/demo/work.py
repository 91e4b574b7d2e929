"""What the demo's jobs do: succeed, fail, fail and be retried, hang, or take their whole process with them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass


class GatewayTimeoutError(Exception):
    """A payment that may be tried again."""


class CorruptImageError(Exception):
    """An input that no retry will mend."""


@dataclass(frozen=True)
class Profile:
    """One job class: median run time, how often an attempt goes wrong and how, how often it comes."""

    run_s: float
    fails: float = 0.0
    retried: float = 0.0
    hangs: float = 0.0
    dies: float = 0.0
    per_second: float = 1.0


RETRIES = 2
HANG_S = 25.0

CELERY: Mapping[str, Profile] = {
    "mail.send": Profile(run_s=0.05, per_second=3.0),
    "image.resize": Profile(run_s=0.25, fails=0.08, per_second=1.0),
    "payment.charge": Profile(run_s=0.12, retried=0.25, per_second=1.0),
    "report.build": Profile(run_s=0.6, hangs=0.04, dies=0.02, per_second=0.4),
}
RQ: Mapping[str, Profile] = {
    "index_product": Profile(run_s=0.1, per_second=1.2),
    "sync_stock": Profile(run_s=0.2, retried=0.3, per_second=0.4),
    "export_orders": Profile(run_s=0.8, fails=0.1, dies=0.03, per_second=0.2),
}


def perform(profile: Profile) -> None:
    """One attempt: takes its time, then ends as the dice say."""
    # Both backends fork their workers: dice made before would throw the same in every child.
    dice = random.Random()  # noqa: S311  # nothing secret
    time.sleep(profile.run_s * dice.lognormvariate(0, 0.4))
    roll = dice.random()
    for chance, end in (
        (profile.fails, _fail),
        (profile.retried, _fail_for_now),
        (profile.hangs, _hang),
        (profile.dies, _die),
    ):
        if roll < chance:
            end()
        roll -= chance
        if roll < 0:
            return


def _fail() -> None:
    raise CorruptImageError("unexpected end of data at byte 4096")


def _fail_for_now() -> None:
    raise GatewayTimeoutError("no answer from the payment provider in 5 s")


def _hang() -> None:
    time.sleep(HANG_S)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

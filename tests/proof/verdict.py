"""The verdict of a fault run: the ledger beside what jobtide published and what the hot state says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.proof.installation import Installation
from tests.proof.ledger import BySpan, Counted, Ledger, by_series
from tests.proof.load import Load
from tests.proof.readout import PanesReader, dead_letters, hot_hour, settle
from tests.proof.traffic import TENANT

SETTLE_S = 90.0
HOT_S = 10.0  # the hot state follows the panes within


@dataclass
class Verdict:
    """`lost` and `doubled`: transitions and samples that are missing or too many, over all series and minutes."""

    facts: int = 0
    lost: int = 0
    doubled: int = 0
    settled_s: float = 0.0
    differences: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return self.facts > 0 and not (self.lost or self.doubled or self.differences)

    def figures(self) -> dict[str, Any]:
        return {
            "facts": self.facts,
            "lost": self.lost,
            "doubled": self.doubled,
            "settled_s": round(self.settled_s, 1),
            "differences": self.differences[:5],
        }

    def compare(self, what: str, truth: Mapping[Any, Counted], seen: Mapping[Any, Counted]) -> None:
        """Count and note every difference."""
        for key in sorted({*truth, *seen}):
            is_, should = seen.get(key, Counted()), truth.get(key, Counted())
            for kind in {*is_.counts, *should.counts}:
                more = is_.counts.get(kind, 0) - should.counts.get(kind, 0)
                self.lost += max(0, -more)
                self.doubled += max(0, more)
            if differences := should.differs(is_):
                self.differences.append(f"{what} {key} (is: should be, found): {'; '.join(differences)}")

    def add(self, more: Verdict) -> None:
        """Put another judgement of the same facts with this one."""
        self.lost += more.lost
        self.doubled += more.doubled
        self.differences += more.differences

    def letters(self, should: set[str], found: set[str]) -> None:
        """Dead letters; they may be there twice, but none must be missing and no good event among them."""
        self.lost += len(should - found)
        self.doubled += len(found - should)
        if should != found:
            missing, wrong = sorted(should - found)[:3], sorted(found - should)[:3]
            self.differences.append(f"dead letters: missing {missing}, not refused by the contract {wrong}")


async def judge(installation: Installation, load: Load) -> Verdict:
    """Wait until the workers have nothing more to say, and compare. The load must have ended and a worker must run."""
    verdict = Verdict()
    ledger = Ledger(load.ledger_path)
    truth = ledger.truth(60)
    verdict.facts = sum(n for counted in truth.values() for n in counted.counts.values())
    async with PanesReader(installation.broker, installation.panes, installation.partitions) as reader:
        end_us = (max(start_s for _, start_s in truth) + 60) * 1_000_000
        verdict.settled_s = await settle(reader, installation, end_us, SETTLE_S)
        for size_s in (60, 1):
            verdict.compare(f"{size_s} s panes", ledger.truth(size_s), reader.sums(size_s))
        verdict.differences += reader.contradictions
    verdict.letters(ledger.refused(), await dead_letters(installation))
    await _hot(installation, truth, verdict)
    return verdict


async def _hot(installation: Installation, truth: BySpan, verdict: Verdict) -> None:
    """The hot state's hour, which follows by a publish interval: what it says at last counts."""
    deadline_s = time.monotonic() + HOT_S
    should = by_series(truth)
    while True:
        hot = Verdict()
        hot.compare("hot state, 1h", should, await hot_hour(installation.redis_url, installation.prefix, TENANT))
        if not hot.differences or time.monotonic() > deadline_s:
            verdict.add(hot)
            return
        await asyncio.sleep(0.25)

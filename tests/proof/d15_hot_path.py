"""D15, what an event costs the job: the three emitters' own benches one after the other, in one table.

    python -m tests.proof.d15_hot_path [--full]

Each bench measures building, serialising, numbering and buffering of one event in the caller's thread, while the background delivers, and
serialising the same event alone, in the same process. The bar is the median. The ratio to serialising alone is a bar where a serialiser of
the language itself is what it is compared with (Ruby, Node); orjson is a compiled program that takes a third of a microsecond, which no
line of Python can be a small multiple of: there it is shown and not judged. The short form runs one of them only to see that it still works.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.proof import languages, report

EMITTERS = Path(__file__).parents[2] / "emitters"
ROUNDS = {False: 1, True: 3}
SLACK = {False: 10.0, True: 1.0}  # a short form finds what is broken, on a machine that does other things
RATIO = 3.0


@dataclass(frozen=True)
class Bench:
    """A bench: its command, its goal in µs, and how it names its lines."""

    language: str
    argv: list[str]
    goal_us: float
    costs: str  # the line, or lines, of the emitter's own cost
    alone: str
    ratio_judged: bool


BENCHES = [
    Bench(
        "Ruby", ["ruby", "-I", str(EMITTERS / "ruby/lib"), str(EMITTERS / "ruby/bench/hot_path.rb")], 15.0,
        r"^(?:enqueued|started|finished)\b.*?(\d+\.\d+)", r"^serialising alone\D+(\d+\.\d+)", True,
    ),
    Bench(
        "Node", ["node", str(EMITTERS / "node/bench/hot_path.mjs")], 10.0,
        r"^job, enqueued.*?p50 +(\d+\.\d+)", r"^building an object.*?p50 +(\d+\.\d+)", True,
    ),
    Bench(
        "Python", [sys.executable, str(EMITTERS / "python/bench/hot_path.py")], 8.0,
        r"^job, enqueued.*?p50 +(\d+\.\d+)", r"^building a dict.*?p50 +(\d+\.\d+)", False,
    ),
]  # fmt: skip


def run(full: bool) -> report.Result:
    """See the module. Of several rounds the best median counts: what a busy neighbour adds is not the emitter's."""
    rows = []
    for bench in BENCHES:
        if shutil.which(bench.argv[0]) is None:
            rows.append(report.row(f"D15 hot path, {bench.language}", "", f"{bench.argv[0]} is not installed", None))
            continue
        if bench.language == "Node":
            languages.build_node()
        rounds = [_measured(bench) for _ in range(ROUNDS[full])]
        cost_us, alone_us = min(rounds)
        ratio = min(cost / alone for cost, alone in rounds)
        required = f"p50 ≤ {bench.goal_us:.0f} µs" + (f", ≤ {RATIO:.0f} × serialising alone" if bench.ratio_judged else "")
        passes = cost_us <= bench.goal_us * SLACK[full] and (not bench.ratio_judged or ratio <= RATIO * SLACK[full])
        measured = f"p50 {cost_us:.2f} µs an event; serialising alone {alone_us:.2f} µs, ratio {ratio:.1f}"
        rows.append(report.row(f"D15 hot path, {bench.language}", required, measured, passes))
    return report.result("D15 hot path", rows, wrong=[])


def _measured(bench: Bench) -> tuple[float, float]:
    """(µs an event, the worst of the events where the bench has several; µs of building and serialising alone)."""
    done = subprocess.run(bench.argv, cwd=Path(bench.argv[-1]).parents[1], capture_output=True, text=True, check=False, timeout=300)
    costs = [float(text) for text in re.findall(bench.costs, done.stdout, re.MULTILINE)]
    alone = re.search(bench.alone, done.stdout, re.MULTILINE)
    assert costs and alone, f"{bench.language}: {done.stdout[-800:]}{done.stderr[-800:]}"
    return max(costs), float(alone[1])


if __name__ == "__main__":
    report.main(run)

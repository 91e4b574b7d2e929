"""How much of a core the rules cost: 10 000 live series, 50 rules that all match them, a tenth of the series changing each second.

    python -m tests.proof.alert_speed [--full]

Only the evaluation is measured, in CPU time of this process: the windows' fold is stage 2's and costs the same without rules. Passes at half
a core or less.
"""

from __future__ import annotations

import random
import time

from jobtide.streams.alerts.evaluator import Evaluator
from jobtide.streams.alerts.loading import load_rules
from jobtide.streams.alerts.replay import Replay
from jobtide.streams.folds.panes import Pane

from tests.proof import report

SERIES = 10_000
START_S = 1_763_000_040
WINDOWS = ("1m", "5m", "15m", "1h")
LIMIT = 0.5


def fifty_rules() -> str:
    """Of every kind that looks at windows, in the shares of the shipped file."""
    lines = []
    for n in range(50):
        window = WINDOWS[n % 4]
        kind = n % 10
        if kind < 4:
            metric = ("job_failure_rate", "attempt_failure_rate", "retry_rate", "job_failure_rate")[kind]
            lines.append(f"{{name: R{n}, kind: ratio, metric: {metric}, window: {window}, value: 0.{5 + kind}, min_samples: 1, for: 1m}}")
        elif kind < 6:
            lines.append(f"{{name: R{n}, kind: percentile, metric: wait, quantile: 0.95, window: {window}, value: {n}m, min_samples: 1}}")
        elif kind < 8:
            lines.append(f"{{name: R{n}, kind: threshold, metric: {('dead', 'throughput')[kind % 2]}, window: {window}, op: gt, value: {1000 + n}}}")
        elif kind == 8:
            window = window if window != "1h" else "5m"
            lines.append(f"{{name: R{n}, kind: change, metric: finished, window: {window}, baseline: 1h, op: lt, value: 0.0{n}, min_samples: 1}}")
        else:
            lines.append(f"{{name: R{n}, kind: burn_rate, objective: 0.99, tiers: [14.4], min_samples: 1}}")
    return "rules:\n" + "".join(f"  - {line}\n" for line in lines)


def run(full: bool) -> report.Result:
    """60 measured seconds of event time, or 10; both after every series has been seen."""
    replay, rng = Replay(load_rules(fifty_rules(), "speed").rules), random.Random(1)
    names = [f"acme\x1fprod\x1fcelery\x1fq{n // 50}\x1fClass{n}".encode() for n in range(SERIES)]
    spent = _Stopwatch(replay.evaluator)

    def pane() -> Pane:
        waits = {rng.randint(500, 700): 1 for _ in range(4)}
        return Pane(counts=[5, 5, 4, 1, 0, 0, int(rng.random() < 0.1), 0], wait=waits, run_ok={rng.randint(500, 700): 1 for _ in range(4)})

    second = START_S
    for first in range(0, SERIES, 1000):
        replay.second(second, {name: pane() for name in names[first : first + 1000]})
        second += 1
    seconds = 60 if full else 10
    spent.cpu_s = 0.0
    for _ in range(seconds):
        replay.second(second, {name: pane() for name in rng.sample(names, SERIES // 10)})
        second += 1
    share = spent.cpu_s / seconds
    measured = f"{share:.1%} of a core over {seconds} s, {len(replay.transitions)} transitions"
    return report.result("alert speed", [report.row("alert speed", "≤ 50 % of a core", measured, share <= LIMIT)], share=share)


class _Stopwatch:
    """CPU time spent inside an evaluator's seconds."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.cpu_s, self._at_second = 0.0, evaluator.at_second
        evaluator.at_second = self  # type: ignore[method-assign, assignment]

    def __call__(self, *arguments: object) -> None:
        begun = time.process_time()
        self._at_second(*arguments)  # type: ignore[arg-type]
        self.cpu_s += time.process_time() - begun


if __name__ == "__main__":
    report.main(run)

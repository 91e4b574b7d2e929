"""Rules on 10 000 random series: laws that hold whatever comes, and the same transitions when the log is read again.

    python -m tests.proof.random_series [--full]

Logs of 500 series each over 10 minutes of event time, with late revisions, ledgers of emitters and watermarks that jump and stand still, go through
the windows and the rules that run live. Passes when no alert resolves inside its `keep_firing_for` or comes back inside its `mute`, none begins
under its `min_samples`, every alert's states follow each other as they must, ids are unique, and the same log read again, in batches of any size by
processes that die between their effects, gives the same transitions under the same ids.
"""

from __future__ import annotations

import random
from collections import Counter

from tests.proof import report
from tests.properties.alert_series import broken_laws, each_once, random_log, rules, straight, with_crashes

SERIES, LENGTH_S = 500, 600
SEED = 1000


def run(full: bool) -> report.Result:
    """10 000 series, or 1 000."""
    logs, wrong, said, series = (20 if full else 2), list[str](), Counter[str](), 0
    for number in range(logs):
        seed = SEED + number
        log, of = random_log(seed, SERIES, LENGTH_S), rules()
        series += SERIES
        once = straight(log, of)
        wrong += [f"seed {seed}: {line}" for line in broken_laws(once)]
        if len({each.id for each in once}) != len(once):
            wrong.append(f"seed {seed}: an id came twice")
        again = each_once(with_crashes(log, of, random.Random(seed), 0.05, 4000))
        if again != each_once(once):
            wrong.append(f"seed {seed}: read again it says something else")
        said.update(each.rule for each in once)
    silent = [rule.name for rule in rules().rules if not said[rule.name]]
    wrong += [f"rule {name} never said anything" for name in silent]
    measured = f"{series} series, {sum(said.values())} transitions of {len(said)} rules, {len(wrong)} laws broken"
    row = report.row("random series", "0 laws broken, replay = same ids", measured, not wrong)
    return report.result("random series", [row], wrong=wrong, series=series)


if __name__ == "__main__":
    report.main(run)

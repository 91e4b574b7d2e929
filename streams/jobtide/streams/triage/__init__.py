"""Late, slow, lost: which attempts are stuck, by limits learned from their own class. Pure.

`Triage` is what stage 2 holds of one partition of job.panes; `baselines` what it learns, `limits` the rules. Which attempts are looked at at
all is stage 1's choice (`folds.watch`).
"""

from jobtide.streams.triage.triage import Triage

__all__ = ["Triage"]

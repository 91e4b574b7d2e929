"""How hypothesis searches in these tests: in CI the same examples every time, at a desk new ones each run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from jobtide.streams import compiled


def searching(examples: int) -> settings:
    """Settings for one test, in examples: fewer for the pure form of the hot path, which is the same source interpreted."""
    return settings(
        max_examples=max(10, examples // 8) if compiled.PURE else examples,
        derandomize=bool(os.environ.get("CI")),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

"""How hypothesis searches in these tests: in CI the same examples every time, at a desk new ones each run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def searching(examples: int) -> settings:
    """Settings for one test, in examples."""
    return settings(
        max_examples=examples,
        derandomize=bool(os.environ.get("CI")),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

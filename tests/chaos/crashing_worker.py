"""An ordinary worker that can be told, by a signal, to end or to stand still inside its next flush.

    python -m tests.chaos.crashing_worker

The only thing changed is `Stage1.point`, which marks the moments between a flush's effects and does nothing
otherwise.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

POINTS = ("published", "submitted", "durable")
KILL_AT = {point: signal.SIGRTMIN + index for index, point in enumerate(POINTS)}
FREEZE_AT_PUBLISHED = signal.SIGRTMIN + len(POINTS)


def install() -> None:
    """Listen for the signals."""
    from jobtide.streams.agents.stage1 import Stage1

    armed: dict[str, int] = {}

    def point(self: Stage1, name: str) -> None:
        if name in armed:
            os.kill(os.getpid(), armed.pop(name))

    Stage1.point = point  # type: ignore[method-assign]

    def arm(name: str, what: int) -> Any:
        return lambda *_: armed.setdefault(name, what)

    for name, number in KILL_AT.items():
        signal.signal(number, arm(name, signal.SIGKILL))
    signal.signal(FREEZE_AT_PUBLISHED, arm("published", signal.SIGSTOP))


if __name__ == "__main__":
    from jobtide.cli.main import main

    install()
    sys.argv[1:] = ["worker"]
    main()

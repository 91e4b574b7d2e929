"""A worker whose rules can be killed at the points between their effects: SIGUSR1 "sent" (transitions are out, nothing is saved), SIGUSR2
"saved"."""

import os
import signal
import sys

from jobtide.cli.main import main
from jobtide.streams.agents.ruling import Ruling

AT = {"sent": signal.SIGUSR1, "saved": signal.SIGUSR2}
_armed: set[str] = set()


class CrashingRuling(Ruling):
    def point(self, name: str) -> None:
        if name in _armed:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for name, number in AT.items():
        signal.signal(number, lambda *_, name=name: _armed.add(name))
    Ruling.point = CrashingRuling.point  # type: ignore[method-assign]
    sys.argv = ["jobtide", "worker"]
    main()

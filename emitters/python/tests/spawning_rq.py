"""RQ's worker that starts its work horses as fresh processes, with the hooks installed in those too."""

from typing import Any

import jobtide_emitter.rq
from rq.worker import SpawnWorker


class Worker(SpawnWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        jobtide_emitter.rq.install()
        super().__init__(*args, **kwargs)

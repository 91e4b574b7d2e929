"""Tells jobtide what happens to each background job. Hooks: `.celery`, `.rq`, `.dramatiq`, `.huey`, `.arq` …

`configure` (or JOBTIDE_EMITTER_* in the environment) says where events go; `emitter()` is the process's emitter, for
events of one's own. Nothing here waits for I/O in a job, raises into it, or slows it; see `guard` and `flusher`.
"""

from jobtide_emitter.emitter import Emitter
from jobtide_emitter.errors import ConfigError
from jobtide_emitter.jobs import Job
from jobtide_emitter.own_jobs import job, running
from jobtide_emitter.process import close, configure, emitter, flush, tracing
from jobtide_emitter.runs import Run, progress
from jobtide_emitter.settings import Settings

__version__ = "0.1.0"

__all__ = ["ConfigError", "Emitter", "Job", "Run", "Settings", "close", "configure", "emitter", "flush", "job", "progress", "running", "tracing"]

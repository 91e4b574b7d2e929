"""RQ's worker with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_emitter import rq

rq.install()
break_all()
Worker = rq.Worker

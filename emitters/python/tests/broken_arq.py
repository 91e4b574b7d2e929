"""The shop on arq, with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_example.arq_app import WorkerSettings

__all__ = ["WorkerSettings"]
break_all()

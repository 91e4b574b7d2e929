"""The shop on huey, with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_example.huey_app import huey

__all__ = ["huey"]
break_all()

"""The shop on taskiq, with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_example.taskiq_app import broker

__all__ = ["broker"]
break_all()

"""The shop on Dramatiq with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_example.dramatiq_app import broker

break_all()
__all__ = ["broker"]

"""The shop on procrastinate, with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_example.procrastinate_app import app

__all__ = ["app"]
break_all()

"""The shop on Celery with every call site of the emitter broken."""

from broken_hooks import break_all
from jobtide_example.celery_app import app

break_all()
__all__ = ["app"]

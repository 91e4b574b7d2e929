"""A small shop on Celery, RQ or Dramatiq, with the emitter installed, whose jobs also write down the truth themselves.

`plan` decides what every job will do, `shop` does it, `oracle` is the log, `celery_app`, `rq_app`, `dramatiq_app` are
the three apps, `drive` enqueues, `workers` knows the command lines. Nothing here asks the emitter anything.
"""

"""A small shop on each supported backend, with the emitter installed, whose jobs also write down the truth themselves.

`plan` decides what every job will do, `shop` does it, `oracle` is the log, `celery_app`, `rq_app` and so on
are the apps, `drive` enqueues, `workers` knows the command lines. Nothing here asks the emitter anything.
"""

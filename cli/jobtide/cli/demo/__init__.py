"""`jobtide up --demo`: a small shop on real Celery and RQ workers, and a table of what they do.

`work` says what its jobs do, `celery_app` and `warehouse` are the two backends, `load` enqueues, `table` and `view`
draw what the API answers. Nothing here is special to jobtide but the emitter's installation.
"""

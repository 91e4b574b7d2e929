"""Jobs whose arguments, errors and source lines hold secrets, on Celery: `celery -A secrets_celery worker`, or `python secrets_celery.py`
to enqueue one of each. The texts come in PLANTED, as JSON; the names of the job class in CANARY."""

import json
import os
import sys

import jobtide_emitter.celery
from celery import Celery

PLANTED = json.loads(os.environ["PLANTED"])
app = Celery("secrets", broker=os.environ["JOBTIDE_EXAMPLE_REDIS"])
app.conf.update(task_default_queue="secrets", task_ignore_result=True, broker_connection_retry_on_startup=True)
jobtide_emitter.celery.install(app)


@app.task(bind=True, name=os.environ["CANARY"], max_retries=1)
def fail(task, number, text, *, password):
    account = {"password": password}
    try:
        log_in(number, account)
    except LookupError as error:
        raise task.retry(exc=ValueError(PLANTED[number]), countdown=0) from error


def log_in(number, account):
    if number % 2:
        raise LookupError(f"cannot log in with {account!r}")
    token = "hunter2-Zq83kd0Lw7"; raise LookupError(f"cannot log in with 'hunter2-Zq83kd0Lw7' or {token!r}")  # noqa: E702


if __name__ == "__main__":
    for number, text in enumerate(PLANTED):
        fail.delay(number, text, password=text)
    sys.exit(0)

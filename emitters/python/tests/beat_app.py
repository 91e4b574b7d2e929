"""The shop on Celery with a schedule, for `celery beat`; jobtide's hooks are the app's own."""

from jobtide_example.celery_app import app
from jobtide_example.plan import Plan

PLAN = Plan(number=1, job_class="mail", kind="ok", failures=0, retries=0, run_ms=5, retry_ms=0)
app.conf.beat_schedule = {"often": {"task": "shop.mail", "schedule": 0.4, "args": (PLAN.as_argument(),)}}
__all__ = ["app"]

"""One question per path that always has an answer: shown in the OpenAPI document, run by a test against real stores.

Data only; `openapi` puts them where readers look.
"""

from __future__ import annotations

EXAMPLES: dict[str, str] = {
    "/v1/overview": "/v1/overview?last=15m",
    "/v1/queues": "/v1/queues?last=1h&system=celery",
    "/v1/classes": "/v1/classes?last=24h&queue=mail",
    "/v1/series": "/v1/series?metric=run_p95&last=24h&by=job_class",
    "/v1/jobs": "/v1/jobs?state=failed&last=24h&limit=10",
    "/v1/workers": "/v1/workers?last=24h",
    "/v1/completeness": "/v1/completeness?last=24h",
    "/v1/completeness/steps": "/v1/completeness/steps?last=24h&step=1h",
    "/v1/errors": "/v1/errors?last=24h&category=network",
    "/v1/failures": "/v1/failures?last=24h&recovered=false&limit=10",
    "/v1/batches": "/v1/batches?last=7d",
    "/v1/alerts/history": "/v1/alerts/history?last=7d&state=firing&severity=critical",
    "/v1/why-slow": "/v1/why-slow?queue=bulk&last=3h",
    "/v1/stuck": "/v1/stuck",
    "/v1/health/queues": "/v1/health/queues",
    "/v1/scaling": "/v1/scaling",
    "/v1/forecast": "/v1/forecast",
    "/v1/trends": "/v1/trends?queue=mail",
    "/v1/peaks": "/v1/peaks?last=7d&by=queue",
    "/v1/latency": "/v1/latency?last=7d&step=6h",
    "/v1/slowest": "/v1/slowest?measure=wait_p95&last=24h",
    "/v1/cost": "/v1/cost?last=7d",
    "/v1/query/views": "/v1/query/views",
    "/v1/deploys": "/v1/deploys?last=30d",
    "/v1/deploys/compare": "/v1/deploys/compare?release=v42&window=1h",
    "/v1/reruns": "/v1/reruns?last=24h",
    "/v1/reconciliation/workers": "/v1/reconciliation/workers?last=24h",
    "/v1/reconciliation/queues": "/v1/reconciliation/queues?last=24h",
}

"""What the gateway counts, for /metrics. Names are a closed list; label values come from code, never from events."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

accepted = Counter("jobtide_gateway_events_accepted", "Events acknowledged by Kafka and answered 202")
rejected = Counter("jobtide_gateway_events_rejected", "Events refused by the contract", ["reason"])
requests = Counter("jobtide_gateway_requests", "Requests to POST /v1/events", ["status"])
in_flight_bytes = Gauge("jobtide_gateway_in_flight_bytes", "Request bytes waiting for Kafka")

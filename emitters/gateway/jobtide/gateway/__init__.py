"""HTTP to Kafka for every language that has no emitter of ours: `POST /v1/events`.

Not a queue and not a store: it keeps nothing between requests. Events come from clients, full or in the flat short
form, and go to `job.events`, each on the partition of its lane; a 202 is sent only after Kafka has acknowledged them.
"""

from jobtide.gateway.app import Gateway, create_app

__all__ = ["Gateway", "create_app"]

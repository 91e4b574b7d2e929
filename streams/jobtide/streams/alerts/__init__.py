"""Alert rules and what they say about a stream of windows: model, evaluation, lifecycle. Pure.

Rules come from YAML (`loading`), are evaluated at every second of the watermark (`evaluator`) and end in transitions
(`transitions`) whose ids depend on nothing but the log. Not here: reading files, Kafka, telling anybody.
"""

"""Telling people about alerts: grouping, silences, signed and guarded deliveries.

Decisions are pure (`grouping`, `silences`, `inhibition`, `retrying`, `signing`, `payloads`, `addresses`, `receivers`); `http`, `smtp`,
`evidence` and `notifier` do what they decide.
"""

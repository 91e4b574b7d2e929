"""The stream side of jobtide: Kafka bytes to events, attempts, panes and windows.

What the layers above may import from here: `events`, `snapshots`, `sketches`, `errors`, `settings`, `topics`, `logs`.
"""

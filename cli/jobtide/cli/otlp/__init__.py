"""Metrics by OTLP, where `JOBTIDE_OTLP_ENDPOINT` names a collector: the numbers of /metrics, pushed instead of scraped.

Needs the extra `jobtide[otlp]`.
"""

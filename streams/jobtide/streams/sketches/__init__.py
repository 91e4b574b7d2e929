"""Mergeable summaries of many values. Pure."""

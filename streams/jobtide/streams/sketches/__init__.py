"""Mergeable summaries of many values. Pure."""

from jobtide.streams import compiled

__path__ = compiled.path(__name__, __path__)

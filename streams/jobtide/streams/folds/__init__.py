"""State as folds: `state, event → state`. Pure: no clock, network, environment, log or randomness; time comes with the events."""

from jobtide.streams import compiled

__path__ = compiled.path(__name__, __path__)

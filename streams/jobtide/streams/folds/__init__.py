"""State as folds: `state, event → state`. Pure: no clock, network, environment, log or randomness; time comes with the events."""

"""The thin shells: Faust and Kafka around the pure folds. They move bytes and keep the order of effects; they decide nothing."""

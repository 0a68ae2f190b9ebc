"""From examples to a model that knows how good it is: choice of trainer, calibration, limits."""

"""Learning curves: how quality grows with labels, how many it takes, and what that costs."""
from micro_models.learning_curves.curve import LEAST_POINTS, LEVEL, Forecast, LearningCurve, fit_curve
from micro_models.learning_curves.points import Point, points

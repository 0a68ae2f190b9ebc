"""Learning curves: how quality grows with labels, how many a target takes, and what that costs.

>>> scored = [(8, 0.55), (8, 0.60), (16, 0.70), (16, 0.68), (32, 0.79), (32, 0.78), (64, 0.85)]
>>> curve = fit_curve(points(scored))
>>> needed = labels_needed(curve, 0.9)
>>> needed.likely > 64
True
"""

from micro_models.learning_curves.curve import (
    LEAST_POINTS,
    LEVEL,
    Forecast,
    LearningCurve,
    fit_curve,
)
from micro_models.learning_curves.needed import (
    MOST_TIMES,
    Crossing,
    Needed,
    Reach,
    crossing,
    labels_needed,
    reach,
)
from micro_models.learning_curves.planning import (
    Noise,
    Option,
    Plan,
    Prices,
    Way,
    noise_of,
    plan,
)
from micro_models.learning_curves.points import Point, points

__all__ = [
    "LEAST_POINTS",
    "LEVEL",
    "MOST_TIMES",
    "Crossing",
    "Forecast",
    "LearningCurve",
    "Needed",
    "Noise",
    "Option",
    "Plan",
    "Point",
    "Prices",
    "Reach",
    "Way",
    "crossing",
    "fit_curve",
    "labels_needed",
    "noise_of",
    "plan",
    "points",
    "reach",
]

"""What predictions do to people's labels, told by tasks that were served without any.

Tasks are drawn by lot, so a comparison needs no model of how tasks differ: what the lot alone could
do is known. Every test here asks that question, and draws whole tasks, as the lot did.
"""

from micro_models.impact.power import blind_needed
from micro_models.impact.shifts import Shift, shifts
from micro_models.impact.speed import SpeedUp, speed_up
from micro_models.impact.standing import Standing, left_standing
from micro_models.impact.trial import Trial

__all__ = [
    "Shift",
    "SpeedUp",
    "Standing",
    "Trial",
    "blind_needed",
    "left_standing",
    "shifts",
    "speed_up",
]

"""What several people, and a model, say together: classes by votes, regions by joining.

Each method is one file. What needs regions and images is imported from its own module.
"""

from micro_models.consensus.dawid_skene import dawid_skene
from micro_models.consensus.glad import glad
from micro_models.consensus.mace import mace
from micro_models.consensus.majority import majority
from micro_models.consensus.one_coin import one_coin
from micro_models.consensus.result import Consensus, Quality
from micro_models.consensus.votes import Votes
from micro_models.consensus.with_model import with_model

__all__ = [
    "Consensus",
    "Quality",
    "Votes",
    "dawid_skene",
    "glad",
    "mace",
    "majority",
    "one_coin",
    "with_model",
]

"""The trainers that come with the library; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from micro_models.fitting.committee import CommitteeTrainer
from micro_models.interface import ModelFileError, Trainer

# In ascending order of trust: the first is quick, the last gets most of the time.
_DEFAULT = {
    "forest": ("micro_models.trainers.forest", "ForestTrainer"),
    "tiny": ("micro_models.trainers.tiny", "TinyTrainer"),
}


_ON_DEVICE = {"tiny"}


def default_trainers(*, device: str = "cpu") -> list[Trainer]:
    """What `fit` chooses from if it is not told: the quick one first, the thorough one last.

    `device`: where those train that can use a GPU, see `micro_models.devices.present`.

    >>> [trainer.name for trainer in default_trainers()]
    ['forest', 'tiny']
    """
    return [_made(name, **({"device": device} if name in _ON_DEVICE else {})) for name in _DEFAULT]


def trainer_named(name: str, others: Sequence[Trainer] = ()) -> Trainer:
    """The one among `others`, or else of the library's own.

    Errors: `ModelFileError` if there is none.

    >>> trainer_named("tiny").name
    'tiny'
    """
    for trainer in others:
        if trainer.name == name:
            return trainer
    if name in _DEFAULT:
        return _made(name)
    first, both, second = name.partition("+")
    if both:
        return CommitteeTrainer(trainer_named(first, others), trainer_named(second, others))
    raise ModelFileError(
        f"the model was made by the trainer {name!r}, which is not known here; hand it over: "
        "load(folder, trainers=[...])"
    )


def _made(name: str, **how: str) -> Trainer:
    module, cls = _DEFAULT[name]
    trainer: Trainer = getattr(import_module(module), cls)(**how)
    return trainer

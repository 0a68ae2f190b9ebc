"""From a few examples to a micro-model, within a budget: try trainers, choose, train, calibrate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.budget import Budget, Told, ignore
from micro_models.examples import Example, Picture, image_of
from micro_models.fitting.album import UNLABELLED_COUNT, Album, opened
from micro_models.fitting.builtin import default_trainers
from micro_models.fitting.calibrating import LEAST_RAW, calibrated_by
from micro_models.fitting.certified import CertifiedTrainer, chosen
from micro_models.fitting.committee import Committee, CommitteeTrainer
from micro_models.fitting.course import Course, Stage
from micro_models.fitting.enriched import EnrichedTrainer
from micro_models.fitting.folds import folds
from micro_models.fitting.limits import Limits
from micro_models.fitting.model import Answers, MicroModel
from micro_models.fitting.report import Report, fingerprint, label_counts, versions
from micro_models.fitting.scaling import scaled_region
from micro_models.fitting.storage import assembled
from micro_models.fitting.trials import Trial, tried, winner, with_committee
from micro_models.fitting.validation import HeldOut, calibrated_apart, precision_and_recall
from micro_models.interface import Learned, Trainer
from micro_models.regions import Image, Region, WholeImage

# Shares of the budget. What the quick trainer does not use the last stage gets.
_QUICK_TRIAL, _QUICK_FIT, _TRIALS = 0.1, 0.12, 0.28
# Of the time, for looking at this many unlabelled images with a new model to calibrate it.
_LOOKING, _LOOKED_AT, _AT_LEAST = 0.05, 40, 8
# Of the time, after which no more unlabelled pictures are read; and how many are worth it where
# they are learned from.
_READING, _ENRICHING_COUNT = 0.1, 200
# A first model is worth showing if it is right more often than not.
_GOOD_ENOUGH = 0.5
# Of what was found in held-out images the rest is not worth its memory.
_LEAST_TOLD = 0.05
# If the thorough trainer could not be tried, a quick one like this is taken.
_OF_USE = 0.2


@dataclass(frozen=True)
class FitOptions:
    """How `fit` goes about it.

    `folds`: how often a trainer is tried, each time without another part of the examples.
    `copy_paste`: objects are pasted into unlabelled pictures too; `pseudo_labels`: unlabelled
    pictures that a first model is sure of are examples too. See `EnrichedTrainer`.
    """

    folds: int = 3
    copy_paste: bool = False
    pseudo_labels: bool = False


# Is handed a model that is useful already, while a better one is trained.
OnBetter = Callable[[MicroModel], None]


def fit(
    examples: Sequence[Example],
    *,
    unlabelled: Sequence[Picture] = (),
    pseudo: Sequence[Example] = (),
    budget: Budget = Budget(seconds=60),
    seed: int = 0,
    trainers: Sequence[Trainer] | None = None,
    options: FitOptions = FitOptions(),
    told: Told = ignore,
    on_better: OnBetter | None = None,
) -> MicroModel:
    """A model of the examples, within 10% of the budget, pictures' decoding and all included.

    Trainers (ours, or those given: the quick one first, the thorough one last) are tried on
    held-out examples, alone and together; the best trains on all of them, and its scores are
    calibrated by what it found when they were held out. `unlabelled` are more pictures of the same
    project: they tell what is usual in it, and where the scores lie. `pseudo` are answers that
    somebody vouches for and nobody drew: some of them are trained on, always, and none is held out
    or counts as a label. `on_better` gets the quick trainer's model as soon as it is ready, if it
    is any good. The same examples, seed, budget of steps and threads of torch give the same model.
    `told` is called from this thread at least twice a second or so; to cancel, raise from it.

    Errors: `ValueError` for examples without any region or of kinds that no trainer learns;
    `UnreadableImage` and `FileNotFoundError`, which name an example's file.

    >>> import numpy as np
    >>> from micro_models import Box, Budget, Example, Image, Region, fit
    >>> pixels = np.full((48, 64, 3), 90, np.uint8)
    >>> pixels[10:30, 20:40] = 250
    >>> batman = Example(Image(pixels), [Region("batman", Box(20, 10, 40, 30))])
    >>> fit([batman], budget=Budget(steps=2)).labels
    ('batman',)
    """
    _check(examples)
    seed %= 2**63
    course = Course(budget, told)
    course.tell("reading pictures")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    enriched = options.copy_paste or options.pseudo_labels
    album = opened(
        examples,
        unlabelled,
        rng=rng,
        unlabelled_count=_ENRICHING_COUNT if enriched else UNLABELLED_COUNT,
        told=lambda number, count: course.tell(f"reading picture {number} of {count}"),
        is_late=lambda: course.used(_READING),
    )
    suited = _suited(default_trainers() if trainers is None else trainers, album)
    if enriched:
        suited = [
            EnrichedTrainer(trainer, options.copy_paste, options.pseudo_labels)
            for trainer in suited
        ]
    more = chosen(pseudo, album, rng=np.random.default_rng([seed, 2])) if pseudo else ()
    if more:
        suited = [CertifiedTrainer(trainer, more) for trainer in suited]
    training = _Training(album, suited, course, seed, options.folds, pseudo=len(more))
    return training.run(on_better)


def _check(examples: Sequence[Example]) -> None:
    if not examples:
        raise ValueError("there are no examples; label a picture or two first")
    if not any(example.regions for example in examples):
        raise ValueError(
            f"none of the {len(examples)} examples has a region, so there is nothing to learn; "
            "label an object in at least one of them"
        )


def _suited(trainers: Sequence[Trainer], album: Album) -> list[Trainer]:
    suited = [trainer for trainer in trainers if trainer.suits(album.examples)]
    if not suited:
        kinds = {type(one.shape).__name__ for some in album.examples for one in some.regions}
        names = ", ".join(trainer.name for trainer in trainers) or "none was given"
        raise ValueError(
            f"no trainer ({names}) learns {', '.join(sorted(kinds))} from these examples; "
            "hand over another one: fit(..., trainers=[...])"
        )
    return suited


@dataclass(frozen=True)
class _Choice:
    """Who trains the model, what it found when it was tried (nothing: it was not), and why."""

    trainer: Trainer
    held: HeldOut
    why: str


class _Training:
    """One run of `fit`; its parts share what was decoded and measured."""

    def __init__(
        self,
        album: Album,
        trainers: Sequence[Trainer],
        course: Course,
        seed: int,
        folds_: int,
        *,
        pseudo: int,
    ) -> None:
        self._pseudo = pseudo
        self._album, self._trainers, self._course, self._seed = album, trainers, course, seed
        self._groups = folds(album.examples, count=folds_)
        self._limits = Limits.of([*map(_image, album.examples), *album.unlabelled])
        self._data = fingerprint(album.examples)
        self._trials: list[Trial] = []
        self._early: Learned | None = None

    def run(self, on_better: OnBetter | None) -> MicroModel:
        *quick, thorough = self._trainers
        if quick:
            self._try(quick[0], _QUICK_TRIAL)
            self._fit_early(quick[0], on_better)
        for trainer in [*quick[1:], thorough]:
            self._try(trainer, _TRIALS / max(len(quick), 1))
        self._trials = with_committee(self._trials)
        choice = self._choice()
        return self._model(self._learned(choice.trainer), choice)

    def _try(self, trainer: Trainer, share: float) -> None:
        if not self._groups or self._course.late(share):
            return
        trial = tried(
            trainer,
            self._album.examples,
            self._groups,
            course=self._course,
            share=share,
            seed=self._seed,
            unlabelled=self._album.unlabelled,
        )
        self._trials.append(trial)

    def _fit_early(self, trainer: Trainer, on_better: OnBetter | None) -> None:
        """The quick trainer's model: to be shown, and perhaps all there will be."""
        stage = self._course.stage(f"{trainer.name}, for now", _QUICK_FIT)
        self._early = self._fit(trainer, stage)
        if on_better is None or not self._trials or self._course.over:
            return
        trial = self._trials[0]
        if trial.quality.score >= _GOOD_ENOUGH:
            on_better(self._model(self._early, _Choice(trial.trainer, trial.held, "for now")))

    def _learned(self, trainer: Trainer) -> Learned:
        """Trained on all examples with what is left of the budget."""
        if self._early is not None and trainer is self._trainers[0]:
            return self._early
        if self._early is not None and isinstance(trainer, CommitteeTrainer):
            return Committee(self._early, self._learned(trainer.second))
        kept = _LOOKING if self._album.unlabelled else 0.0
        return self._fit(trainer, self._course.last(trainer.name, kept=kept))

    def _fit(self, trainer: Trainer, stage: Stage) -> Learned:
        album = self._album
        return trainer.fit(
            album.examples,
            budget=stage.budget,
            seed=self._seed,
            unlabelled=album.unlabelled,
            told=stage.told,
        )

    def _choice(self) -> _Choice:
        thorough = self._trainers[-1]
        was_tried = any(trial.trainer is thorough for trial in self._trials)
        if was_tried or (self._trials and self._trials[0].quality.score >= _OF_USE):
            best, why = winner(self._trials)
            return _Choice(best.trainer, best.held, why)
        reason = "too little time" if self._groups else "a single example"
        why = f"untried: {reason} leaves nothing to hold out"
        if self._early is not None:
            thorough = CommitteeTrainer(self._trainers[0], thorough)
        return _Choice(thorough, HeldOut(), why)

    def _model(self, learned: Learned, choice: _Choice) -> MicroModel:
        held = choice.held
        examples, others = self._album.examples, self._found_in_others(learned)
        calibration = calibrated_by(held.found, held.truth, examples, others)
        told = calibrated_apart(held, examples, others)
        return assembled(
            learned,
            trainer=choice.trainer.name,
            calibration=calibration,
            limits=self._limits,
            report=self._report(choice, told),
            factor=self._album.factor,
            held_out=self._held_out(held, told),
        )

    def _held_out(self, held: HeldOut, told: Sequence[tuple[Region, ...]]) -> Answers:
        """Per example, in pixels of its picture; of classes all, for their sum is 1."""
        answers: list[tuple[Region, ...] | None] = [None] * len(self._album.examples)
        for index, found in zip(held.index, told, strict=True):
            size, factor = self._album.sizes[index], 1 / self._album.factor
            answers[index] = tuple(
                scaled_region(one, factor, size=size)
                for one in found
                if one.score >= _LEAST_TOLD or isinstance(one.shape, WholeImage)
            )
        return tuple(answers)

    def _found_in_others(self, learned: Learned) -> list[tuple[Region, ...]]:
        """With raw scores, in unlabelled images spread over all; in fewer if time is short."""
        found: list[tuple[Region, ...]] = []
        for image in self._album.unlabelled[:_LOOKED_AT]:  # they were drawn at random
            if len(found) >= _AT_LEAST and self._course.over:
                break
            found.append(tuple(learned.detect([image], min_score=LEAST_RAW)[0]))
        return found

    def _report(self, choice: _Choice, told: Sequence[tuple[Region, ...]]) -> Report:
        album, budget = self._album, self._course.budget
        at_half = precision_and_recall(told, choice.held.truth)
        return Report(
            winner=choice.trainer.name,
            why=choice.why,
            examples=len(album.examples),
            labels=label_counts(album.examples),
            unlabelled=len(album.unlabelled),
            seconds=round(self._course.seconds, 2),
            budget={"seconds": budget.seconds, "steps": budget.steps},
            seed=self._seed,
            trials=tuple(trial.report for trial in self._trials),
            precision=None if at_half is None else round(at_half[0], 4),
            recall=None if at_half is None else round(at_half[1], 4),
            factor=album.factor,
            data=self._data,
            versions=versions(),
            notes=tuple(_notes(album, choice, self._pseudo)),
        )


def _image(example: Example) -> Image:
    return image_of(example.picture)


def _notes(album: Album, choice: _Choice, pseudo: int) -> Iterator[str]:
    if pseudo:
        yield f"{pseudo} pictures with pseudo-labels were learned from too"
    if not choice.held.truth:
        yield "its scores are rough: no example could be held out to calibrate them"
    if album.factor < 1:
        yield f"pictures were made {1 / album.factor:.1f} times smaller, for time and memory"
    if album.skipped:
        yield f"{album.skipped} unlabelled pictures could not be read and were left out"

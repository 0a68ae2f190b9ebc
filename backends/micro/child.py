"""The process that trains: `python -m backends.micro.child FOLDER`.

It reads the request in the folder, tells how far it is as lines of JSON on its standard output,
leaves models and answers in the folder, and ends when whoever started it is gone. It imports no web
framework and no database, so that it starts quickly.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from backends.micro.exchange import (
    REQUEST,
    Answers,
    Material,
    Request,
    keys,
    progress_to_json,
    read_request,
    write_answers,
    write_held_out,
    write_json,
)

log = logging.getLogger(__name__)

EARLY, FINAL = "early", "final"
# Of the budget, for looking at pictures with the old model and then with the new one; and at least.
_LOOKING, _LEAST_LOOKING_S = 0.03, 1.0
# More of them tell little more about what to look at first.
_MOST_LOOKED_AT = 200
# Where something else computes all the time, a much lower priority left a training without models.
_NICE, _OOM_SCORE = 5, 500

Tell = Callable[[dict[str, Any]], None]


class Failure(StrEnum):
    """What a person can mend, as the process tells it to the one that started it."""

    EMPTY = "nothing to learn"
    MEMORY = "out of memory"
    DISK = "disk full"
    DEVICE = "no such device"


class _Failed(Exception):
    def __init__(self, why: Failure) -> None:
        super().__init__(why)
        self.why = why


def main(folder: Path) -> int:
    """Train what the folder asks for; 0 if there is a model, or a failure was told."""
    with begun() as tell:
        _Work(read_request(folder / REQUEST), folder, tell).run()
    return 0


@contextmanager
def begun() -> Iterator[Tell]:
    """This process is one that computes for another: it is modest, and ends when that one does.

    What is told goes to that one; so does a failure that a person can mend.
    """
    tell = _teller()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _be_modest()
    try:
        yield tell
    except _Failed as failed:
        tell({"failed": failed.why})
    except MemoryError:
        tell({"failed": Failure.MEMORY})
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # of torch, which is not always imported
            raise
        tell({"failed": Failure.MEMORY})
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        tell({"failed": Failure.DISK})


class _Work:
    """One request; what is used of its examples is `_used`, by their indices."""

    def __init__(self, request: Request, folder: Path, tell: Tell) -> None:
        self._request, self._folder, self._tell = request, folder, tell
        self._began = time.monotonic()
        self._used = [n for n, one in enumerate(request.examples) if _fits(one)]
        self._device = device(request.device)

    def run(self) -> None:
        model = self._fitted()
        self._told("comparing with the model before")
        old, later = self._old(model)
        self._told("looking at other pictures")
        self._leave(model, FINAL, old=old, later=later, certainty=self._certainty(model))

    def _fitted(self) -> Any:
        """A model of all examples that can be read; usually that is known at the first attempt.

        A device without the memory is left for the CPU.
        """
        import torch

        from micro_models.pictures import UnreadableImage

        while True:
            try:
                return self._fit()
            except torch.OutOfMemoryError:
                if self._device == "cpu":
                    raise
                log.warning("%s is out of memory; this training goes to the CPU", self._device)
                self._device = "cpu"
            except (UnreadableImage, FileNotFoundError):
                rest = [n for n in self._used if _is_readable(self._request.examples[n])]
                if rest == self._used:
                    raise
                self._used = rest

    def _fit(self) -> Any:
        from micro_models.budget import Budget
        from micro_models.examples import Example
        from micro_models.fitting.builtin import default_trainers
        from micro_models.fitting.training import fit

        request = self._request
        some = [request.examples[n] for n in self._used]
        if not any(one.regions for one in some):
            raise _Failed(Failure.EMPTY)
        return fit(
            [Example(one.picture, one.regions) for one in some],
            unlabelled=[picture for _, picture in request.unlabelled],
            pseudo=[Example(one.picture, one.regions) for one in request.pseudo],
            budget=Budget(steps=request.steps) if request.steps else Budget(seconds=self._left_s),
            seed=request.seed,
            trainers=default_trainers(device=self._device),
            told=lambda progress: self._tell({"progress": progress_to_json(progress)}),
            on_better=lambda model: self._leave(model, EARLY),
        )

    @property
    def _left_s(self) -> float:
        """How long it may train: not as long where a first attempt failed, but long enough."""
        request = self._request
        kept_s = (2 if request.rival_folder else 1) * self._looking_s
        left_s = self._began + request.budget_s - kept_s - time.monotonic()
        return max(left_s, request.budget_s / 2)

    @property
    def _looking_s(self) -> float:
        """How long to look at pictures with one model."""
        budget_s = self._request.budget_s
        return max(_LOOKING * budget_s, min(_LEAST_LOOKING_S, budget_s / 4))

    def _old(self, model: Any) -> tuple[Answers, Sequence[int]]:
        from backends.micro.predecessor import old_answers

        request = self._request
        if request.rival_folder is None:
            return (), ()
        return old_answers(
            request.rival_folder,
            request.examples,
            self._aligned(model),
            seed=request.seed,
            until=time.monotonic() + self._looking_s,
        )

    def _aligned(self, model: Any) -> Answers:
        answers: list[Any] = [None] * len(self._request.examples)
        for index, found in zip(self._used, model.held_out, strict=True):
            answers[index] = found
        return tuple(answers)

    def _certainty(self, model: Any) -> dict[int, float]:
        """Of unlabelled tasks, 0..1, as many as there is time for."""
        from micro_models.active_learning.detection_uncertainty import detection_uncertainty
        from micro_models.pictures import UnreadableImage
        from micro_models.regions import WholeImage

        examples, until = self._request.examples, time.monotonic() + self._looking_s
        regions = [one for n in self._used for one in examples[n].regions]
        objects = sum(not isinstance(one.shape, WholeImage) for one in regions)
        sure: dict[int, float] = {}
        for task_id, picture in self._request.unlabelled[:_MOST_LOOKED_AT]:
            if sure and time.monotonic() > until:
                break
            try:
                found = model.detect([picture])[0]
            except (UnreadableImage, FileNotFoundError):
                continue
            unsure = detection_uncertainty(
                found,
                threshold=self._request.threshold,
                expected=objects / len(self._used),
                exclusive=model.calibration.exclusive,
            )
            # A task with several pictures is as certain as the worst of them.
            sure[task_id] = min(1 - unsure, sure.get(task_id, 1.0))
        return sure

    def _leave(
        self,
        model: Any,
        name: str,
        *,
        old: Answers = (),
        later: Sequence[int] = (),
        certainty: dict[int, float] | None = None,
    ) -> None:
        """The model in a folder of its own, with all that goes with it, and then the word of it."""
        folder, examples = self._folder / name, self._request.examples
        model.save(folder)
        names = keys(examples)
        write_held_out(
            folder,
            {names[n]: found for n, found in zip(self._used, model.held_out, strict=True)},
        )
        write_answers(self._folder / f"{name}-old.json", old)
        left_out = sorted({examples[n].task_id for n in {*range(len(examples))} - {*self._used}})
        stored = {
            "version": model.version,
            "report": model.report.as_dict(),
            "certainty": sorted((certainty or {}).items()),
            "left_out": left_out,
            "later": list(later),
        }
        write_json(self._folder / f"{name}.json", stored)
        self._tell({"model": name})

    def _told(self, stage: str) -> None:
        self._tell({"progress": {"stage": stage, "spent": 1.0, "remaining_s": 0.0}})


def _fits(example: Material) -> bool:
    """Whether its file is there and its masks are as large as the picture."""
    from micro_models.pictures import UnreadableImage, upright_size
    from micro_models.regions import Mask

    try:
        width, height = upright_size(example.picture)
    except (UnreadableImage, OSError):
        return False
    shapes = [one.shape for one in example.regions]
    return all(one.pixels.shape == (height, width) for one in shapes if isinstance(one, Mask))


def _is_readable(example: Material) -> bool:
    """Whether its file can be decoded to its end."""
    from micro_models.pictures import UnreadableImage, read_upright

    try:
        read_upright(example.picture)
    except (UnreadableImage, FileNotFoundError):
        return False
    return True


def device(name: str) -> str:
    """Where to train, once threads are set up; a device that is not there is told."""
    from micro_models.devices import NoSuchDevice, present
    from micro_models.threads import wait_passively

    wait_passively()
    try:
        return present(name)
    except NoSuchDevice as error:
        raise _Failed(Failure.DEVICE) from error


def _teller() -> Tell:
    """Writes lines to what was standard output, which whatever else prints no longer reaches."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return lambda message: print(json.dumps(message), file=lines)


def _end_with_parent() -> None:
    """Standard input ends when its other end is closed, however the process there ended."""
    while os.read(0, 64):
        pass
    os._exit(1)


def _be_modest() -> None:
    """Let clicks go first, and be the one that is killed where memory runs out."""
    os.nice(_NICE)
    with suppress(OSError, AttributeError):  # not on every system
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # A session has a share of its own where the kernel groups by them, whatever its processes' own
    # priority is.
    for name, value in (("autogroup", _NICE), ("oom_score_adj", _OOM_SCORE)):
        with suppress(OSError):
            Path(f"/proc/self/{name}").write_text(str(value))


def _arguments(given: Sequence[str]) -> Path:
    if len(given) != 1:
        raise SystemExit("usage: python -m backends.micro.child FOLDER")
    return Path(given[0])


if __name__ == "__main__":
    sys.exit(main(_arguments(sys.argv[1:])))

"""What people are told about models, controls and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from backends.errors import LabelpilotError
from backends.yolo.mapping import shortened
from backends.yolo.plan import Filling, Run, prepare
from backends.yolo.targets import Kind, Target
from micro_models.detections import Detector

Loaded = Callable[[str], Detector | None]


def lines(runs: Sequence[Run], loaded: Loaded) -> list[str]:
    """A line for each control: its model, and which class goes to which label.

    `loaded(model)` gives the model, None while it is not loaded.
    """
    found: list[str] = []
    for run in runs:
        try:
            detector = loaded(run.model)
        except LabelpilotError as error:
            found += [f"{target} ← {run.model[:80]}: {error}" for target in run.targets]
            continue
        if detector is None:
            found += [f"{target} ← {run.model[:80]}: not loaded yet" for target in run.targets]
            continue
        filled = {id(one.target): one for one in prepare(run, detector).fillings}
        for target in run.targets:
            filling = filled.get(id(target))
            told = filling.labels if filling else _unfit(run, target, detector)
            found.append(f"{target} ← {run.model[:80]} ({detector.task}): {told}")
    return found


def findings_of_model(run: Run, error: LabelpilotError) -> str:
    """What a missing model costs."""
    controls = ", ".join(str(target) for target in run.targets)
    return f"{controls} cannot be pre-labelled: {error.message}; {error.advice}."


def findings_of_run(run: Run, detector: Detector) -> list[str]:
    """What a loaded model cannot fill, and labels and classes that found no partner."""
    ready = prepare(run, detector)
    fit = {id(filling.target) for filling in ready.fillings}
    found = [
        f"{target} is not pre-labelled: {_unfit(run, target, detector)}."
        for target in run.targets
        if id(target) not in fit
    ]
    for filling in ready.fillings:
        found += _mapping_problems(run, filling, detector)
    return found


def _mapping_problems(run: Run, filling: Filling, detector: Detector) -> Iterator[str]:
    target, labels = filling.target, filling.labels
    if not labels.labels:
        cure = (
            'write model_index="0" (its place in the skeleton) and predicted_values="'
            f'{detector.labels[0] if detector.labels else "class"}" on each label'
            if target.kind == Kind.POINTS
            else 'write predicted_values="class, class" on a label'
        )
        yield (
            f"YOLO leaves {target} empty: no class of {run.model[:80]} has a label "
            f"(it knows {shortened(detector.labels)}); {cure}."
        )
        return
    if labels.labels_without_class:
        yield (
            f"{target}: no class for {shortened(labels.labels_without_class)} in {run.model[:80]}; "
            "give the label predicted_values, or leave it to people."
        )
    for one in labels.ambiguous:
        yield (
            f"{target}: class {one.class_name} is wanted by "
            f"{shortened((one.label, *one.losers))}, and {one.label} gets it; "
            "name it in the predicted_values of one label."
        )


def _unfit(run: Run, target: Target, detector: Detector) -> str:
    wanted = " or ".join(task.value for task in target.kind.tasks)
    return (
        f"{run.model[:80]} is a {detector.task} model and gives no {target.kind.value}; "
        f"let model_path name a {wanted} model"
    )

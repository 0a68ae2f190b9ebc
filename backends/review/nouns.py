"""The nouns of a review: labels under suspicion, and what a person says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from micro_models.label_errors import ErrorKind
from micro_models.regions import Region

TOOL = "review"  # predictions of a review carry versions "review-" and ten hex digits
FIELD = "labelpilot_review"
TAB = "Suspicious labels"


@dataclass(frozen=True)
class Suspect:
    """A label of a task that is perhaps wrong, or perhaps missing.

    `score`, 0..1: how surely. `given` is what people say, None where they say nothing; `suggested`
    what a model says that has not seen this label, None where it sees nothing. `id` stays the same
    as long as the label does.
    """

    id: str
    task_id: int
    scope: str
    kind: ErrorKind
    score: float
    reason: str
    given: Region | None = None
    suggested: Region | None = None
    iou: float | None = None

    def __post_init__(self) -> None:
        if self.given is None and self.suggested is None:
            raise ValueError("a suspect has a region that is there, or one that is missing")

    @property
    def region(self) -> Region:
        """What it is about: the suggestion, else what is given."""
        shown = self.suggested or self.given
        assert shown is not None  # noqa: S101 - checked when made
        return shown

    @property
    def headline(self) -> str:
        """For people: "Missing label: Pedestrian 99.9%", "Low IoU: 88.5%"."""
        labels = [None if one is None else one.label for one in (self.given, self.suggested)]
        return headline(self.kind, self.score, *labels)


def headline(kind: ErrorKind, score: float, given: str | None, suggested: str | None) -> str:
    """For people, from the labels of what is given and suggested.

    >>> headline(ErrorKind.WRONG_LABEL, 0.885, "cat", "dog")
    'Wrong label: cat, not dog? 88.5%'
    """
    percent = f"{score * 100:.1f}%"
    match kind:
        case ErrorKind.LOW_IOU:
            return f"Low IoU: {percent}"
        case ErrorKind.WRONG_LABEL if given is not None and suggested is not None:
            return f"Wrong label: {given}, not {suggested}? {percent}"
        case _:
            label = given if suggested is None else suggested
            return f"{str(kind).capitalize()}: {label} {percent}"


@dataclass(frozen=True)
class Case:
    """What a person is asked about: a suspect, or one whose answer is known beforehand.

    `known` is None for a real suspect, else whether the label is wrong; `verdict` is None while
    nobody has answered, else whether somebody says so.
    """

    suspect: Suspect
    known: bool | None = None
    verdict: bool | None = None


@dataclass(frozen=True)
class Review:
    """What a review of a project found; `cases` in the order in which people are asked.

    `version` is that of its predictions, `judged` how many tasks models looked at; `problems` says
    by task id why others were not. `host` is Label Studio's address for people, "" if unknown.
    """

    project_key: str
    version: str
    made_at: float
    judged: int
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()
    problems: Mapping[int, str] = field(default_factory=dict)
    host: str = ""

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """The real ones that nobody has called right, the surest first."""
        real = [one for one in self.cases if one.known is None and one.verdict is not False]
        return tuple(sorted((one.suspect for one in real), key=lambda one: -one.score))


@dataclass(frozen=True)
class Line:
    """A case as a list of them shows it: without its shapes, of which masks are large."""

    id: str
    task_id: int
    kind: ErrorKind
    headline: str
    iou: float | None
    verdict: bool | None


@dataclass(frozen=True)
class Summary:
    """The last review of a project: some of its cases, and how many there are.

    `suspects` are the real ones; `unanswered` cases wait, those of `lines` among them.
    """

    version: str
    made_at: float
    judged: int
    suspects: int
    unanswered: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    host: str


@dataclass(frozen=True)
class Tally:
    """How a reviewer answered.

    Of `real` suspects `called_wrong` ones; of `known_right` labels that were shown as suspicious
    `false_yes` were called wrong; of `known_wrong` ones `false_no` were called right.
    """

    real: int = 0
    called_wrong: int = 0
    known_right: int = 0
    false_yes: int = 0
    known_wrong: int = 0
    false_no: int = 0

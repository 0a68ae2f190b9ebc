"""A plan's figures in plain words, the same for the command and the status page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class OptionRow:
    """One way to the target, as people read it."""

    way: str
    family: str
    labels: str
    cost: str
    days: str
    is_best: bool


def sentences(figures: Figures) -> list[str]:
    """What is to be done and why, what it rests on, what cannot be known."""
    return list(_sentences(figures))


def options(figures: Figures) -> list[OptionRow]:
    """The ways to the target, the cheapest first."""
    made = figures["plan"]
    if made is None:
        return []
    rows = []
    taken = False
    for one in made["options"]:
        is_best = not taken and one["way"] == made["best"]
        taken |= is_best
        labels = "" if one["way"] != "label more" else spread(one["labels"])
        days = "" if one["days"] is None else f"{one['days']:.1f}"
        cost = spread(one["cost"], money=True)
        rows.append(OptionRow(one["way"], one["family"], labels, cost, days, is_best))
    return rows


def spread(three: Sequence[float | None], *, money: bool = False) -> str:
    """Likely, and from least to most; "open": there is no end in sight.

    >>> spread([10, 40, 1200]), spread([10, 40, None]), spread([5.0, 5.0, 5.0], money=True)
    ('40 (10 to 1,200)', '40 (10 to open)', '5.00')
    >>> spread([10, None, None]), spread([None, None, None])
    ('over 10', 'not in sight')
    """

    def one(value: float) -> str:
        return f"{value:,.2f}" if money else f"{value:,}"

    least, likely, most = three
    if least is None:
        return "not in sight"
    if likely is None:
        return f"over {one(least)}"
    if least == likely == most:
        return one(likely)
    return f"{one(likely)} ({one(least)} to {'open' if most is None else one(most)})"


def _sentences(figures: Figures) -> Iterator[str]:
    target = f"{figures['target']['metric']} {figures['target']['value']:g}"
    made = figures["plan"]
    if made is not None:
        yield f"For {target}: {_advice(made)}. Why: {made['why']}."
        yield from (_reached(*item) for item in figures["families"].items())
        yield from _worth(made, figures["prices"])
    if (found := figures["crossing"]) is not None:
        ends = [str(found[end]) if found[end] else "?" for end in ("low", "high")]
        yield (
            f"Crossing at about {found['labels']} labels (80% sure between {ends[0]} and "
            f"{ends[1]}): from there on {found['rising']} is the better one."
        )
    elif len(figures["families"]) > 1:
        yield "The two families do not cross within reach: the better one stays it."
    if (noise := figures["noise"]) is not None and noise["suspects"]:
        capped = f": no model can be measured above about {noise['ceiling']:.2f} by them"
        is_reached = made is not None and made["best"] == "nothing"
        yield (
            f"{noise['suspects']} of {noise['labels']} labels seem wrong ({noise['low']:.1%} to "
            f"{noise['high']:.1%}){'' if is_reached else capped}. `labelpilot review` shows which."
        )
    if made is not None:
        each = " and ".join(f"{s:g} s ({name})" for name, s in figures["training_s"].items())
        yield (
            f"Measured with trainings of at most {each}; the models that answer may train longer, "
            "and are rather better than the curve."
        )
    yield from (f"{note[0].upper()}{note[1:]}." for note in figures["notes"])


def _advice(made: Figures) -> str:
    first = next((one for one in made["options"] if one["way"] == "label more"), None)
    match made["best"]:
        case "nothing":
            return "nothing more has to be labelled"
        case "fix labels":
            return "fix labels instead of adding more"
        case "label more" if first is not None:
            count = spread(first["labels"])
            return f"label {count} more pictures for {first['family']}"
        case _:
            return "more labels of this kind are not the way; change the model or the task"


def _reached(family: str, one: Figures) -> str:
    last, far, needed = one["points"][-1], one["reach"], one["needed"]
    takes = spread([needed["least"], needed["likely"], needed["most"]])
    takes = f"is {takes}" if needed["least"] is None else f"takes {takes} labels in all"
    return (
        f"{family}: {last['score']:.3f} at {last['labels']} labels; the target {takes}. If the "
        f"curve goes on like that, {far['labels']:,} labels give {far['score']:.3f} "
        f"({far['low']:.3f} to {far['high']:.3f})."
    )


def _worth(made: Figures, prices: Figures) -> Iterator[str]:
    worth = made["hours_worth"]
    if worth:
        yield (
            f"The labels cost as much as {worth:,.1f} hours of engineering; assumed are "
            f"{prices['engineer_hours']:g} for another model, and "
            f"{prices['labels_per_day']:g} labels a day."
        )

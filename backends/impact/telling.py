"""What a comparison says, in words: the same for the command and for the status page."""

from __future__ import annotations

from backends.impact.nouns import Impact
from micro_models.impact import Shift, SpeedUp, Standing

_KINDS = {
    "all": "mistakes",
    "spurious": "regions that are not there",
    "missing": "regions that it missed",
}


def speed_line(speed: SpeedUp) -> str:
    """The speed-up in a sentence, with its interval."""
    if speed.ratio is None or speed.blind_s is None or speed.shown_s is None:
        return "The speed-up cannot be told yet: nobody has labelled both kinds of tasks."
    medians = f"{speed.blind_s:.1f} s without, {speed.shown_s:.1f} s with them (medians)"
    of = f"{speed.blind} blind annotations against {speed.shown}"
    if not speed.is_known:
        return f"No speed-up is shown: {times(speed)}, which may be chance; {medians}; {of}."
    word = "faster" if speed.ratio > 1 else "slower"
    return f"With predictions people are {word}: {times(speed)}; {medians}; {of}."


def times(speed: SpeedUp) -> str:
    """The ratio and its interval: "1.50 times as fast (95%: 1.20 to 1.90)"."""
    if speed.ratio is None:
        return "unknown"
    high = f"{speed.high:.2f}" if speed.high < 1e6 else "any"
    return f"{speed.ratio:.2f} times as fast ({speed.confidence:.0%}: {speed.low:.2f} to {high})"


def shift_lines(impact: Impact) -> list[str]:
    """What differs between blind and other tasks beyond chance; one line where nothing does."""
    if not impact.shifts:
        return ["Shifts in what is labelled cannot be told yet."]
    if not impact.shifted:
        many = len(impact.shifts)
        return [f"No shift in what is labelled is shown by {many} measures, tested together."]
    return [shift_line(one) for one in impact.shifted]


def shift_line(shift: Shift) -> str:
    """One shift, with its interval."""
    return (
        f"{shift.name}: {shift.blind:.2f} without, {shift.shown:.2f} with predictions; difference "
        f"{shift.difference:+.2f} ({shift.low:+.2f} to {shift.high:+.2f}), p {shift.p_of_all:.3f} "
        "of all measures together"
    )


def standing_lines(impact: Impact) -> list[str]:
    """Mistakes of the model that people left standing, by kind."""
    if not impact.standing:
        return ["Mistakes left standing cannot be told yet."]
    return [standing_line(kind, one) for kind, one in impact.standing.items()]


def standing_line(kind: str, standing: Standing) -> str:
    """One kind of mistakes, with its interval."""
    return (
        f"Of the model's {_KINDS.get(kind, kind)} {max(standing.share, 0):.0%} were left standing "
        f"(95%: {max(standing.low, 0):.0%} to {max(standing.high, 0):.0%}): "
        f"{standing.blind_rate:.2f} a task by labels of {standing.blind} blind tasks, "
        f"{standing.shown_rate:.2f} by those of {standing.shown} others."
    )


def needed_lines(impact: Impact) -> list[str]:
    """How many more blind tasks each question needs."""
    questions = {
        "speed": f"a speed-up of {impact.worth:g} would be seen in four of five cases",
        "shifts": "a shift of 0.3 standard deviations would be seen in four of five cases",
    }
    return [_needed_line(impact, question, text) for question, text in questions.items()]


def _needed_line(impact: Impact, question: str, text: str) -> str:
    missing = impact.missing(question)
    if missing is None:
        return f"How many blind tasks it takes until {text} cannot be told: none is blind."
    if not missing:
        return f"{impact.blind_tasks} blind tasks are enough: {text}."
    share = impact.blind_tasks / max(impact.blind_tasks + impact.shown_tasks, 1) or impact.share
    tasks = f", about {missing / share:,.0f} tasks" if share else ""
    return f"{missing} more blind tasks{tasks}: then {text}."

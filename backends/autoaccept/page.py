"""What the project's page says of accepting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backends.autoaccept.nouns import Entry, Fate, Issued
from backends.autoaccept.store import AutoacceptStore

_LINES = 10


@dataclass(frozen=True)
class Line:
    """A line of the log, for people."""

    at: str
    task_id: int
    score: str
    version: str
    certificate: str
    fate: str


@dataclass(frozen=True)
class AutoacceptPage:
    """`certificate` is the one in force, None without; `log` has the newest lines.

    `open` of `audits` are to be labelled, as the last run found it, at `looked_at`.
    """

    certificate: Issued | None
    suspended: str
    looked_at: str
    why: str
    audits: int
    open: int
    checks: int
    checks_wrong: int
    checks_open: int
    accepted: int
    taken_back: int
    changed: int
    log: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def page(store: AutoacceptStore, project_key: str) -> AutoacceptPage | None:
    """What is known of a project, None where the command was never run. Errors: `StateError`."""
    last, counts = store.last(project_key), store.counts(project_key)
    if not last and not counts:
        return None
    issued = (one for one in store.certificates(project_key) if one.withdrawn_at is None)
    watch = last.get("watch", {})
    made = last.get("certificate") or {}
    return AutoacceptPage(
        certificate=next(issued, None),
        suspended=store.standing(project_key).suspended,
        looked_at=_time(last["at"]) if last else "",
        why=made.get("why", ""),
        audits=last.get("audits", 0),
        open=last.get("open", 0),
        checks=watch.get("answered", 0),
        checks_wrong=watch.get("wrong", 0),
        checks_open=watch.get("open", 0),
        accepted=counts.get(Fate.ACCEPTED, 0),
        taken_back=counts.get(Fate.TAKEN_BACK, 0),
        changed=counts.get(Fate.CHANGED, 0),
        log=tuple(map(_line, store.log(project_key, limit=_LINES))),
        notes=tuple(last.get("notes", ())),
    )


def _line(one: Entry) -> Line:
    score = f"{one.score:.3f}"
    return Line(_time(one.at), one.task_id, score, one.version, one.certificate, str(one.fate))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")

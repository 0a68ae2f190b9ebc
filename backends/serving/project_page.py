"""A project's page: what is known of its labels, a section for each tool."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial

from starlette.exceptions import HTTPException

from backends.advise.page import page as advise_page
from backends.advise.store import AdviseStore
from backends.autoaccept.page import page as autoaccept_page
from backends.autoaccept.store import AutoacceptStore
from backends.consensus.page import page as consensus_page
from backends.consensus.store import ConsensusStore
from backends.errors import LabelpilotError
from backends.impact.page import page as impact_page
from backends.impact.store import ImpactStore
from backends.review.page import page as review_page
from backends.review.store import ReviewStore
from backends.serving.templating import TEMPLATES
from backends.settings import Settings

_KEY = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


@dataclass(frozen=True)
class Tool:
    """A tool's place on the page. `name` is its command's, and its template's.

    `page` gives what the template shows of a project, by its key, or None for nothing yet.
    """

    name: str
    title: str
    page: Callable[[str], object | None]


@dataclass(frozen=True)
class Section:
    """A tool's part of one project's page; `fault` where it cannot be read."""

    tool: Tool
    page: object | None = None
    fault: str = ""


@dataclass(frozen=True)
class ToolStores:
    """What the tools keep."""

    review: ReviewStore
    consensus: ConsensusStore
    autoaccept: AutoacceptStore
    advise: AdviseStore
    impact: ImpactStore

    @classmethod
    def of(cls, settings: Settings) -> ToolStores:
        """All of one database."""
        return cls(
            ReviewStore(settings),
            ConsensusStore(settings),
            AutoacceptStore(settings),
            AdviseStore(settings),
            ImpactStore(settings),
        )

    def close(self) -> None:
        """Close connections to the database."""
        for one in fields(self):
            getattr(self, one.name).close()

    def pages(self) -> list[Tool]:
        """In the order of the page."""
        return [
            Tool("review", "Label errors", partial(review_page, self.review)),
            Tool("consensus", "Consensus", partial(consensus_page, self.consensus)),
            Tool("autoaccept", "Automatic acceptance", partial(autoaccept_page, self.autoaccept)),
            Tool("advise", "More labels, or another model?", partial(advise_page, self.advise)),
            Tool("impact", "What predictions change", partial(impact_page, self.impact)),
        ]


def project_page(tools: Sequence[Tool], project_key: str) -> str:
    """The page as HTML; what cannot be read is said to be so. Errors: 404 for what is no key."""
    if not _KEY.fullmatch(project_key):
        raise HTTPException(404, "there is no such project")
    return TEMPLATES.get_template("project.html").render(
        root="../",
        project_id=project_key.split(".")[0],
        key=project_key,
        sections=[_section(tool, project_key) for tool in tools],
        fault="",
    )


def _section(tool: Tool, project_key: str) -> Section:
    try:
        return Section(tool, tool.page(project_key))
    except LabelpilotError as error:
        return Section(tool, fault=str(error))
    except Exception as error:  # noqa: BLE001 - the rest of the page is true all the same
        return Section(tool, fault=f"it cannot be shown ({type(error).__name__})")

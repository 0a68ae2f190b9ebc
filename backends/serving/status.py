"""The status page: what a person wants to know when nothing appears in Label Studio."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, select_autoescape

from backends.errors import LabelpilotError
from backends.label_studio.config import check_label_config, describe_mapping
from backends.serving.services import Services, parsed

PAGE = Environment(
    loader=PackageLoader("backends.serving", "templates"), autoescape=select_autoescape(["html"])
).get_template("status.html")


@dataclass(frozen=True)
class ProjectRow:
    """One project: what each prompt becomes, and what to mend in its label config."""

    key: str
    host: str
    mapping: list[str]
    problems: list[str]


def status_page(services: Services) -> str:
    """The page as HTML."""
    return PAGE.render(
        settings=services.settings,
        engine=services.engine.now(),
        engine_error=services.engine.error(),
        use=services.embeddings.use(),
        clicks=services.clicks,
        bulk=services.bulk,
        projects=[_row(one.key, one.host, one.label_config) for one in services.projects.all()],
        requests=services.journal.requests(),
        problems=services.journal.problems(),
    )


def _row(key: str, host: str, label_config: str) -> ProjectRow:
    try:
        config = parsed(label_config)
    except LabelpilotError as error:
        return ProjectRow(key, host, [], [str(error)])
    return ProjectRow(
        key,
        host,
        [str(line) for line in describe_mapping(config)],
        list(check_label_config(config)),
    )

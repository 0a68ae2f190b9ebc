"""`labelpilot consensus`: what several annotators of the same tasks say together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from backends.terminal import (
    ProjectOption,
    Tell,
    console,
    load_settings,
    mistakes_explained,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from backends.consensus.joining import Result
    from backends.consensus.nouns import Overlap, Report
    from backends.consensus.store import ConsensusStore
    from backends.interface import Project
    from backends.serving.services import Services
    from micro_models.regions import Region

_PROBLEMS_TOLD = 5
_WORST_KEPT = 20


def consensus(
    project: ProjectOption,
    model: Annotated[
        bool,
        typer.Option(
            "--model/--no-model",
            help="Let a model vote that never saw the task's labels; without it is faster.",
        ),
    ] = True,
    as_annotations: Annotated[
        bool,
        typer.Option(
            "--as-annotations",
            help="Store it as annotations of labelpilot's own account instead of predictions. "
            "They never count as labels of people, but Label Studio counts them in a task's "
            "overlap: use it when every person has submitted.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell: write nothing to Label Studio.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Take predictions, annotations, field and tab out again."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Join what several people submitted for the same tasks; no label of a person is changed.

    Everybody counts by how reliable the others find them (Dawid-Skene for classes; for regions an
    EM over each one's misses and false alarms, drawn by a weighted robust mean), and so does the
    model, whose voice is worth nothing where it agrees by chance only. Agreement is the mean
    likeness with the others of a task (IoU, or the same class), with Wilson's 90% interval; misses
    and false alarms are estimated against the consensus.

    In Label Studio each task with two or more annotators gets a prediction `consensus-...`, the
    fields `labelpilot_agreement` (0 to 100) and `labelpilot_differences` (how many things not all
    labelled, or called differently, or drew less alike than is usual), and the Data Manager's tab
    "Disagreements" those with such differences, the least agreed on first. A repeat replaces them.
    Overlap may be added at any time.
    """
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    with mistakes_explained():
        check_state(settings)
        with closing(make_services(settings)) as services, closing(_store(services)) as store:
            if undo:
                _undo(services, store, project)
                return
            _consensus(
                services,
                store,
                project,
                with_model=model,
                as_annotations=as_annotations,
                is_dry=dry_run,
                as_json=as_json,
            )


def _consensus(
    services: Services,
    store: ConsensusStore,
    project_id: int,
    *,
    with_model: bool,
    as_annotations: bool,
    is_dry: bool,
    as_json: bool,
) -> None:
    from backends.consensus.reading import emails, names, overlapping, without_audits
    from backends.label_studio.tasks import read_project

    client = services.studios.sdk()
    with progress() as tell:
        tell("reads the project", 0.0)
        project, _ = read_project(client, project_id)
        overlaps, problems = overlapping(
            client,
            project,
            services.images,
            tell=lambda text, part: tell(text, 0.2 * part),
            go_on=lambda: None,
        )
        overlaps, withheld = without_audits(overlaps, services.audits.blind(project.key))
        problems |= withheld
        found = _found(services, project_id, overlaps, problems, tell) if with_model else None
        tell("joins", 0.7)
        people = sorted({person for one in overlaps for person in one.answers})
        result = _joined(project, overlaps, found, names(client, people))
        addresses = emails(client, people)
        report = _report(services, store, project, result, problems)
        tab, written = None, 0
        if not is_dry:
            tab, written, failed = _written(
                services, store, project, result, report, tell, as_annotations=as_annotations
            )
            problems |= failed
    if as_json:
        told = {**asdict(report), "tab": tab, "written": written, "problems": problems}
        told["emails"] = addresses
        print(json.dumps(told, indent=1, ensure_ascii=False))  # noqa: T201 - for programs
        return
    _told(report, problems, addresses)
    if tab is not None:
        from backends.label_studio.tabs import tab_address

        kind = "annotations" if as_annotations else "predictions"
        console.print(
            f"in Label Studio: {written} {kind} {report.version}, tab "
            f"{tab_address(report.host, project_id, tab)}; to take it back: labelpilot consensus "
            f"--project {project_id} --undo",
            highlight=False,
        )


def _found(
    services: Services,
    project_id: int,
    overlaps: list[Overlap],
    problems: dict[int, str],
    tell: Tell,
) -> Mapping[int, list[Region]] | None:
    """By task id what a model finds that never saw its labels; None where there is no model."""
    from backends.errors import TrainingFailed
    from backends.micro.out_of_fold import judged_labels

    if not overlaps:
        return None
    try:
        _, scopes = judged_labels(
            services.micro.tools,
            services.studios,
            project_id,
            tell=lambda text, part: tell(text, 0.2 + 0.5 * part),
        )
    except TrainingFailed as error:
        problems[0] = f"the model has no vote: {error}"
        return None
    found: dict[int, list[Region]] = {}
    for scope in scopes:
        for one in scope.judged:
            found.setdefault(one.task_id, []).extend(one.found)
    return found or None


def _joined(
    project: Project,
    overlaps: list[Overlap],
    found: Mapping[int, list[Region]] | None,
    people: Mapping[int, str],
) -> Result:
    from backends.consensus.joining import joined
    from backends.micro.controls import Controls

    controls = Controls(project.config)
    return joined(overlaps, one_of=controls.one_of(controls.classes()), found=found, names=people)


def _report(
    services: Services,
    store: ConsensusStore,
    project: Project,
    result: Result,
    problems: Mapping[int, str],
) -> Report:
    from backends.consensus.nouns import Report
    from backends.consensus.publishing import version_of

    differ = sorted(
        (one for one in result.tasks if one.differences),
        key=lambda one: (one.agreement, one.task_id),
    )
    known = services.projects.get(project.key)
    return Report(
        project_key=project.key,
        version=version_of(result.tasks, project.config),
        made_at=store.now(),
        tasks=len(result.tasks),
        disagreements=len(differ),
        people=result.people,
        worst=tuple((one.task_id, one.agreement) for one in differ[:_WORST_KEPT]),
        host=(known.host if known else "") or services.settings.label_studio_url or "",
        alpha=result.alpha,
        trust=result.trust,
        lift=result.lift,
        problems=dict(problems),
    )


def _written(
    services: Services,
    store: ConsensusStore,
    project: Project,
    result: Result,
    report: Report,
    tell: Tell,
    *,
    as_annotations: bool,
) -> tuple[int | None, int, dict[int, str]]:
    """The tab's id, how many tasks have the consensus now, and why others have not."""
    from backends.consensus.annotating import annotate, take_back
    from backends.consensus.nouns import TOOL
    from backends.consensus.publishing import mark, publish
    from backends.label_studio.suggestions import drop_predictions

    client = services.studios.sdk()

    def go_on() -> None:
        """Nothing stops it but the keyboard."""

    store.put(report)
    tell("stores the consensus", 0.75)
    if as_annotations:
        drop_predictions(client, project.id, TOOL, go_on=go_on)
        done, failed = annotate(client, project, result.tasks, report.version, store, go_on=go_on)
    else:
        take_back(client, project, store, go_on=go_on)
        done, why = publish(client, project, result.tasks, report.version, go_on=go_on)
        failed = dict(why)
    tab = mark(
        client,
        project.id,
        result.tasks,
        tell=lambda text, part: tell(text, 0.85 + 0.15 * part),
        go_on=go_on,
    )
    return tab, done, failed


def _undo(services: Services, store: ConsensusStore, project_id: int) -> None:
    from backends.consensus.annotating import take_back
    from backends.consensus.publishing import withdraw
    from backends.label_studio.tasks import read_project

    client = services.studios.sdk()
    project, _ = read_project(client, project_id)
    removed = withdraw(client, project.id, go_on=lambda: None)
    annotations = take_back(client, project, store, go_on=lambda: None)
    store.drop(project.key)
    tab = ", and the tab" if removed.tab else ""
    console.print(
        f"taken back: predictions of {removed.predictions} tasks, {annotations} annotations, the "
        f"field of {removed.fields}{tab}",
        highlight=False,
    )


def _told(report: Report, problems: Mapping[int, str], addresses: Mapping[int, str]) -> None:
    from backends.consensus.page import person_row, told

    if report.people:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("annotator", "tasks", "labels", "agreement", "90%", "misses", "false alarms"):
            table.add_column(name, overflow="fold")
        for person, one in zip(report.people, map(person_row, report.people), strict=True):
            address = addresses.get(person.person)
            table.add_row(
                escape(f"{one.name} <{address}>" if address else one.name),
                str(one.tasks),
                str(one.regions),
                one.agreement,
                one.interval,
                escape(one.misses),
                escape(one.false_alarms),
            )
        print_table(table)
    for line in told(report.alpha, report.trust, report.lift):
        console.print(line, highlight=False)
    for task_id, why in list(problems.items())[:_PROBLEMS_TOLD]:
        about = f"task {task_id}" if task_id else "note"
        console.print(f"[yellow]{about}:[/yellow] {escape(why)}", highlight=False)
    if len(problems) > _PROBLEMS_TOLD:
        console.print(f"and {len(problems) - _PROBLEMS_TOLD} more such tasks", highlight=False)
    if not report.tasks:
        console.print(
            "no task has been submitted by two people yet: raise the project's overlap, or have "
            "a second person label some"
        )
        return
    console.print(
        f"{report.tasks} tasks of several annotators, people differ on {report.disagreements}",
        highlight=False,
    )


def _store(services: Services) -> ConsensusStore:
    from backends.consensus.store import ConsensusStore

    return ConsensusStore(services.settings)

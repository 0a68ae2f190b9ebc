"""The two calls that do work, free of HTTP: /setup and /predict."""

from __future__ import annotations

import logging
from typing import Any

from backends.errors import BadLabelConfig, LabelpilotError
from backends.interface import Backend, Interaction, Project
from backends.label_studio.requests import PredictRequest, SetupRequest, decode_interaction
from backends.label_studio.results import encode_prediction
from backends.serving.opened import opened
from backends.serving.services import Services, parsed
from backends.settings import Settings

log = logging.getLogger(__name__)

Json = dict[str, Any]


def set_up(services: Services, backend: Backend, decoded: SetupRequest) -> Json:
    """Remember a project, warn of what its label config lacks, and name the model version."""
    services.projects.remember(
        decoded.project_key,
        host=decoded.hostname or "",
        # Kept only where it is needed: who has a token of their own uses that.
        access_token=None if _has_own_token(services.settings) else decoded.access_token,
        label_config=decoded.label_config_text,
    )
    try:
        project = Project(decoded.project_key, parsed(decoded.label_config_text))
    except BadLabelConfig as error:
        # A new project has no label config yet; refusing it would keep it from being connected.
        log.warning("project %s: %s", decoded.project_id, error)
        return {"model_version": backend.version(None)}
    findings, mapping = list(backend.check(project.config)), services.yolo.describe(project)
    if backend is services.copilot:
        mapping, findings = opened(services, project, findings)
    # /setup comes at every page view; the log tells what is new.
    if services.told.is_news(f"{backend.name} {project.key}", (*findings, *mapping)):
        for line in mapping if backend is not services.sam else ():
            log.info("project %s: %s", project.id, line)
        for finding in findings:
            log.warning("project %s: %s", project.id, finding)
    return {"model_version": backend.version(project)}


def _has_own_token(settings: Settings) -> bool:
    return bool(settings.label_studio_url and settings.label_studio_api_key)


def answer(services: Services, backend: Backend, decoded: PredictRequest) -> list[Json]:
    """One JSON object per task, in order; without `result` where nothing is to be stored.

    Errors: every `LabelpilotError` of an interactive request; of others only those that concern
    all tasks.
    """
    project = services.project(decoded.project_key, decoded.label_config_text)
    interaction: Interaction | None = None
    if decoded.context:
        interaction = decode_interaction(decoded.context, project.config)
    to_name = interaction.to_name if interaction else None
    predictions = backend.predict(project, decoded.tasks, interaction)
    results: list[Json] = []
    # Without `result` Label Studio stores nothing; the editor, however, waits for one.
    nothing: Json = {"result": [], "score": 0.0} if decoded.context else {}
    for task, prediction in zip(decoded.tasks, predictions, strict=True):
        if prediction is None:
            results.append(nothing)
            continue
        try:
            results.append(
                encode_prediction(prediction, project.config, to_name=to_name, data=task.data)
            )
        except (LabelpilotError, ValueError, ArithmeticError) as error:
            if interaction is not None:
                raise
            reason = str(error) if isinstance(error, LabelpilotError) else type(error).__name__
            log.warning("project %s, task %s: %s", project.id, task.id, reason)
            results.append(nothing)
    return results

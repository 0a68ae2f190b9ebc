"""Runs the same backends inside label-studio-ml 2.x, for those who host that.

In the `_wsgi.py` of such a project:

    from backends.hosted import host
    from label_studio_ml.api import init_app

    app = init_app(model_class=host())

`host("sam")` serves one backend alone. Where Label Studio is, and its token, come from
LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from backends.errors import LabelpilotError
from backends.interface import Backend, EventKind
from backends.label_studio.requests import decode_event, decode_predict
from backends.serving.answers import answer
from backends.serving.services import Services, make_services
from backends.settings import Settings

log = logging.getLogger(__name__)


@cache
def _services() -> Services:
    made = make_services(Settings())
    made.start()
    return made


_first = threading.Lock()


def services() -> Services:
    """The one set of models and caches of this process: the host makes a model per request."""
    with _first:  # `cache` alone would build one set for each of the first threads
        return _services()


def close_services() -> None:
    """Stop the threads of `services`; the next request starts anew."""
    with _first:
        if _services.cache_info().currsize:
            _services().close()
            _services.cache_clear()


def host(name: str = "") -> type[LabelStudioMLBase]:
    """The model class that serves the backend of this name; "" is the one that does everything.

    Errors: `LookupError` for a name that no backend has.
    """

    def backend() -> Backend:
        for one in services().backends:
            if one.name == name:
                return one
        raise LookupError(f"no backend is named {name!r}")

    class Hosted(LabelStudioMLBase):  # type: ignore[misc]
        """A labelpilot backend as label-studio-ml sees it; keeps nothing of its own."""

        TRAIN_EVENTS = tuple(EventKind.__members__)

        def setup(self) -> None:
            """Tell the host which version answers."""
            self.set("model_version", backend().version(None))

        def predict(
            self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any
        ) -> list[dict[str, Any]]:
            """One dict per task; one without `result` where there is nothing to store."""
            body = {
                "tasks": tasks,
                "project": self.project_id or None,
                "label_config": self.label_config,
                "params": {"context": context},
            }
            return answer(services(), backend(), decode_predict(body))

        def fit(self, event: str, data: Mapping[str, Any], **_: Any) -> None:
            """Pass an annotation event on; training itself happens in the background."""
            try:
                decoded = decode_event({**data, "action": event})
            except LabelpilotError as error:
                log.warning("%s: %s", event, error)
                return
            if decoded is not None:
                backend().notify(decoded)

    return Hosted

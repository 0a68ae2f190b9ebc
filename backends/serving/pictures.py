"""Pictures of what a model says of its least certain tasks, drawn when the status page asks."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from backends.interface import ImageSource
from backends.label_studio.client import LabelStudios
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.projects import ProjectBook
from backends.label_studio.tasks import read_tasks
from backends.micro.store import MicroStore
from backends.serving.drawing import drawn
from backends.serving.work import Lane

_KEY = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_ID = re.compile(r"[0-9]{1,18}")
# Pages of several people wait in it; what is asked for beyond comes with the next look.
_QUEUE_LENGTH = 32
_KEPT_BY_BROWSERS_S = 3600


class Pictures:
    """Draws the few tasks that the store says are shown, one at a time, and no others."""

    def __init__(
        self,
        store: MicroStore,
        images: ImageSource,
        studios: LabelStudios,
        projects: ProjectBook,
    ) -> None:
        self._store, self._images = store, images
        self._studios, self._projects = studios, projects
        self._lane = Lane("picture", threads=1, queue_length=_QUEUE_LENGTH)

    async def jpeg(self, project_key: str, task_id: int) -> bytes:
        """The picture. Errors: 404, `MediaError`, `LabelStudioError`, `Busy`."""
        key = f"{project_key} {task_id}"
        return await self._lane.run(lambda: self._draw(project_key, task_id), key=key)

    def close(self) -> None:
        """Finish the picture in hand."""
        self._lane.close()

    def _draw(self, project_key: str, task_id: int) -> bytes:
        shown = self._store.shown(project_key)
        one = next((one for one in shown if one.task_id == task_id), None)
        if one is None:
            raise _missing()
        file = self._images.locate(self._address(project_key, task_id), project_key, task_id)
        labels = {region.label for each in shown for region in each.regions}
        return drawn(self._images.read(file), one.regions, labels)

    def _address(self, project_key: str, task_id: int) -> str:
        """Where the first image of a task is."""
        known = self._projects.get(project_key)
        if known is None:
            raise HTTPException(404, f"project {project_key} is not known here")
        tasks = read_tasks(self._studios.sdk(project_key), known.id, [task_id])
        media = parse_label_config(known.label_config).media
        keys = [medium.data_key for medium in media if medium.tag == "Image"]
        address = tasks[0].data.get(keys[0]) if tasks and keys else None
        if not isinstance(address, str):
            raise HTTPException(404, f"task {task_id} is gone, or has no image")
        return address


def _missing() -> HTTPException:
    return HTTPException(
        404,
        "there is no picture of this task: it is not among those that a model is least sure of",
    )


def pictures_router() -> APIRouter:
    """The one route; the page's addresses change with the models, so browsers may keep answers."""
    router = APIRouter()

    @router.get("/pictures/{project_key}/{task_id}.jpg", include_in_schema=False)
    async def picture(request: Request, project_key: str, task_id: str) -> Response:
        request.state.kind = "picture"
        if not (_KEY.fullmatch(project_key) and _ID.fullmatch(task_id)):
            raise _missing()
        pictures: Pictures = request.app.state.services.pictures
        content = await pictures.jpeg(project_key, int(task_id))
        headers = {
            "Cache-Control": f"private, max-age={_KEPT_BY_BROWSERS_S}",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(content, media_type="image/jpeg", headers=headers)

    return router

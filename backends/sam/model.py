"""The SAM backend: one click or one box becomes a region of the kind that the config asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from backends.errors import BadLabelConfig, MediaError
from backends.interface import (
    AnnotationEvent,
    Drawn,
    ImageFile,
    ImageSource,
    Interaction,
    LabelConfig,
    Medium,
    PlacedRegion,
    Prediction,
    Project,
    Task,
)
from backends.label_studio.config import check_label_config, choose_output
from backends.sam.embeddings import EmbeddingCache
from backends.sam.engine import EngineSlot
from backends.sam.memory import PromptMemory
from backends.sam.others import Others
from backends.sam.pointing import Place
from backends.sam.prefetch import Prefetcher
from micro_models.geometry import mask_to_ellipse, mask_to_polygons, tight_box
from micro_models.interface import Segmenter
from micro_models.regions import Box, Click, Embedding, Mask, Region, RotatedBox, Shape

NextTasks = Callable[[Project, Task], Sequence[Task]]


class SamBackend:
    """Point2Label and Bbox2Label.

    Collaborators are shared with the rest of the server; only prompts of open objects are kept.
    `others`: what other servers are told of them.
    """

    name = "sam"

    def __init__(
        self,
        *,
        engine: EngineSlot,
        images: ImageSource,
        embeddings: EmbeddingCache,
        next_tasks: NextTasks,
        polygon_tolerance_px: float,
        others: Others | None = None,
    ) -> None:
        self._engine = engine
        self._images = images
        self._embeddings = embeddings
        self._tolerance_px = polygon_tolerance_px
        self._memory = PromptMemory(others)
        self._prefetcher = Prefetcher(self.warm, next_tasks)

    def version(self, project: Project | None) -> str:  # noqa: ARG002 - one engine for all
        """The engine's version; while it loads, that it loads."""
        engine = self._engine.now()
        return engine.version if engine else "sam-loading"

    def versions(self) -> Sequence[str]:
        """The one version."""
        return [self.version(None)]

    def check(self, config: LabelConfig) -> Sequence[str]:
        """What in the label config keeps a click from becoming a region."""
        return check_label_config(config)

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """Answer the prompts; without prompts there is nothing to store, but images are warmed."""
        if interaction is None or not interaction.drawn:
            self._prefetcher.want(project, tasks)
            return [None] * len(tasks)
        self._prefetcher.pause()
        try:
            return [self._answer(project, task, interaction) for task in tasks]
        finally:
            self._prefetcher.resume()

    def notify(self, event: AnnotationEvent) -> None:
        """SAM does not learn from annotations."""

    def close(self) -> None:
        """Stop the background threads."""
        self._prefetcher.close()
        self._memory.close()

    def warm(self, project: Project, task: Task) -> None:
        """Embed a task's images unless they are. Errors: `MediaError`, `ModelMissing`."""
        engine = self._engine.wait()
        for medium in project.config.media:
            if medium.tag == "Image":
                file = self._images.locate(_image_url(medium, task), project.key, task.id)
                if not self._embeddings.has(engine.version, file.digest):
                    self._embed(engine, file)

    def _embed(self, engine: Segmenter, file: ImageFile) -> Embedding:
        return self._embeddings.get(
            engine.version, file.digest, lambda: engine.embed(self._images.read(file))
        )

    def _answer(self, project: Project, task: Task, interaction: Interaction) -> Prediction:
        medium = _medium(project.config, interaction.to_name)
        file = self._images.locate(_image_url(medium, task), project.key, task.id)
        size_px = (file.width_px, file.height_px)
        drawn = prompts(scaled(interaction, size_px))
        place = Place(project.key, task.id, medium.name, file.digest)
        pointed = self._memory.resolve(
            place, drawn, accepted=task.stored_regions, size_px=size_px, user=task.user
        )
        output = choose_output(
            project.config, interaction.to_name, pointed.label, prompt=drawn[-1].control
        )
        engine = self._engine.wait()
        embedding = self._embed(engine, file)
        answer = engine.segment(embedding, pointed.prompt(engine.version))
        self._memory.remember(place, pointed, answer, engine=engine.version)

        shapes = shapes_of(answer.mask, output.kind, tolerance_px=self._tolerance_px)
        regions = tuple(
            PlacedRegion(
                # Several parts of one mask are several regions; the largest keeps the id.
                pointed.region_id if part == 0 else f"{pointed.region_id}_{part}",
                Region(pointed.label or "", shape, answer.score),
                output.control.name,
            )
            for part, shape in enumerate(shapes)
        )
        return Prediction(regions, answer.score, engine.version, *size_px)


def shapes_of(mask: Mask, kind: str, *, tolerance_px: float) -> list[Shape]:
    """A mask as shapes of one answer kind; an empty mask gives none."""
    if kind in ("brush", "bitmask"):
        return [mask] if mask.area_px else []
    if kind == "polygon":
        return list(mask_to_polygons(mask, tolerance_px=tolerance_px))
    whole: Shape | None = tight_box(mask) if kind == "rectangle" else mask_to_ellipse(mask)
    return [whole] if whole else []


def prompts(drawn: Sequence[Drawn]) -> Sequence[Drawn]:
    """What was drawn with smart tools; if nothing was, everything.

    Key points that somebody sets by hand are labels of their own, and no clicks at an object.
    """
    return [one for one in drawn if one.smart] or drawn


def scaled(interaction: Interaction, size_px: tuple[int, int]) -> tuple[Drawn, ...]:
    """The drawn prompts in pixels of the image as it is here.

    The editor may have measured another rendition of the image, say a thumbnail.
    """
    scale_x = size_px[0] / interaction.width_px
    scale_y = size_px[1] / interaction.height_px
    if scale_x == scale_y == 1.0:
        return interaction.drawn
    return tuple(
        replace(one, shape=_scaled(one.shape, scale_x, scale_y)) for one in interaction.drawn
    )


def _scaled(
    shape: Click | Box | RotatedBox, scale_x: float, scale_y: float
) -> Click | Box | RotatedBox:
    if isinstance(shape, Click):
        return replace(shape, x=shape.x * scale_x, y=shape.y * scale_y)
    if isinstance(shape, Box):
        return Box(shape.x0 * scale_x, shape.y0 * scale_y, shape.x1 * scale_x, shape.y1 * scale_y)
    return RotatedBox(
        shape.center_x * scale_x,
        shape.center_y * scale_y,
        shape.width_px * scale_x,
        shape.height_px * scale_y,
        shape.angle_deg,
    )


def _medium(config: LabelConfig, name: str) -> Medium:
    for medium in config.media:
        if medium.name == name:
            return medium
    names = ", ".join(medium.name for medium in config.media) or "none"
    raise BadLabelConfig(
        f"the prompt was drawn on {name!r}, but the label config has: {names}",
        advice="reload the task; the label config was changed since it was opened",
    )


def _image_url(medium: Medium, task: Task) -> str:
    url = task.data.get(medium.data_key)
    if isinstance(url, str) and url:
        return url
    raise MediaError(
        f"the task's data has no image under {medium.data_key!r}",
        advice=f'the label config says value="${medium.data_key}": import tasks with that key',
    )

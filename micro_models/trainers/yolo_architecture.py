"""The build of a YOLO, as data that is checked before ultralytics sees it.

ultralytics describes its networks by rows of module names and arguments, looks the names up
anywhere, and evaluates some strings. A stored model is from anywhere, so only known names and
plain numbers pass, and a network is first put together without memory, to learn what it weighs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from micro_models.engines.ultralytics_runtime import module, undisturbed
from micro_models.interface import ModelFileError

# The heads, with the loss of `ultralytics.utils.loss` that teaches each.
HEADS = {
    "Detect": "v8DetectionLoss",
    "v10Detect": "v8DetectionLoss",
    "Segment": "v8SegmentationLoss",
    "Segment26": "SegmentLoss26",
    "Pose": "v8PoseLoss",
    "Pose26": "PoseLoss26",
    "OBB": "v8OBBLoss",
    "OBB26": "v8OBBLoss",
    "Classify": "v8ClassificationLoss",
}
_POSE_HEADS = ("Pose", "Pose26")
# Blocks of YOLO v3 to 26.
_BLOCKS = frozenset(
    {"Bottleneck", "CBFuse", "CBLinear", "Concat", "Conv", "DWConv", "SPP", "SPPF"}
    | {"A2C2f", "C2", "C2f", "C2fCIB", "C2PSA", "C3", "C3k2", "PSA", "SCDown"}
    | {"AConv", "ADown", "ELAN1", "RepNCSPELAN4", "SPPELAN"}
    | {"nn.Identity", "nn.MaxPool2d", "nn.Upsample", "nn.ZeroPad2d"}
)
_WORDS = frozenset({"nc", "kpt_shape", "nearest", "None", "True", "False"})
_ACTIVATIONS = frozenset(
    f"{place}nn.{kind}"
    for place in ("", "torch.")
    for kind in ("SiLU()", "ReLU()", "Hardswish()", "GELU()", "LeakyReLU(0.1)")
)
_MOST_ROWS, _MOST_BLOCKS, _LARGEST = 200, 300, 4096
# An argument that is a number of repeats in disguise.
_REPEATS_AT = {"RepNCSPELAN4": 3}
_MOST_REPEATS = 16
_PROBE_PX = 256
# Numbers in a layer's output for the probe: the largest YOLO has a tenth of it.
_LARGEST_OUTPUT = 2**26


@dataclass(frozen=True, eq=False)
class Structure:
    """A network whose tensors have shapes but no memory yet, ready for its weights.

    `shapes`: of every weight by name; `class_layers`, `point_layers`: names of the last layers
    that tell classes and key points; `head` is a key of `HEADS`.
    """

    network: Any
    head: str
    shapes: Mapping[str, tuple[int, ...]]
    class_layers: tuple[str, ...]
    point_layers: tuple[str, ...]


def checked(described: object) -> dict[str, Any]:
    """A copy of ultralytics' description with what a network needs, all of it harmless.

    >>> rows = {"backbone": [[-1, 1, "Conv", [16, 3, 2]]], "head": [[-1, 1, "Classify", ["nc"]]]}
    >>> checked({"nc": 3, **rows})["head"]
    [[-1, 1, 'Classify', ['nc']]]

    Errors: `ModelFileError` for a name or an argument that is not known to be harmless.
    """
    if not isinstance(described, Mapping):
        raise _refused("it is no description of a network")
    kept: dict[str, Any] = {"nc": _whole(described.get("nc"), 1, _LARGEST)}
    kept["reg_max"] = _whole(described.get("reg_max", 16), 1, 64)
    kept["end2end"] = bool(described.get("end2end"))
    kept["scale"], kept["scales"] = _scale(described)
    if described.get("activation") is not None:
        kept["activation"] = _one_of(described["activation"], _ACTIVATIONS)
    if described.get("kpt_shape") is not None:
        kept["kpt_shape"] = _keypoint_shape(described["kpt_shape"])
    backbone, head = described.get("backbone"), described.get("head")
    if not isinstance(backbone, list) or not isinstance(head, list) or not backbone or not head:
        raise _refused("it has no layers")
    rows = [_row(row, index) for index, row in enumerate([*backbone, *head])]
    if len(rows) > _MOST_ROWS or sum(row[1] for row in rows) > _MOST_BLOCKS:
        raise _refused("it has too many layers")
    if rows[-1][2] not in HEADS or any(row[2] in HEADS for row in rows[:-1]):
        raise _refused("its head is not known")
    kept["backbone"], kept["head"] = rows[: len(backbone)], rows[len(backbone) :]
    return kept


def assemble(
    architecture: Mapping[str, Any],
    *,
    classes: int,
    points: tuple[int, int] | None = None,
    folded: bool,
) -> Structure:
    """The network of a checked description for `classes`, no weights yet.

    `points`: the number of key points and of numbers for each; `folded`: its normalization is part
    of its convolutions, which is faster, and learns worse. Of two heads, the one that lets several
    places answer for an object stays, which learns faster.

    Errors: `ModelFileError` for layers that do not fit together.
    """
    import torch

    name = architecture["head"][-1][2]
    with undisturbed(), torch.device("meta"):
        try:
            network = _network(architecture, name, folded=folded)
            class_layers = _reshaped(network, _class_layers, classes)
            point_layers: tuple[str, ...] = ()
            if name in _POSE_HEADS and points is not None:
                head = network.model[-1]
                head.kpt_shape, head.nk = list(points), points[0] * points[1]
                point_layers = _reshaped(network, _point_layers, head.nk)
        except ModelFileError:
            raise
        except Exception as error:  # whatever a layer says to arguments that make no sense
            raise _refused("its layers do not fit together") from error
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return Structure(network, name, shapes, class_layers, point_layers)


def _network(architecture: Mapping[str, Any], name: str, *, folded: bool) -> Any:
    tasks = module("nn.tasks")
    network = tasks.BaseModel()
    # It writes into what it is given.
    network.model, network.save = tasks.parse_model(deepcopy(dict(architecture)), 3, verbose=False)
    head = network.model[-1]
    strides = _strides(network)
    if name != "Classify":
        head.inplace = True
        head.end2end = False
        head.stride = strides
        head.fuse()
    network.stride = strides
    module("utils.torch_utils").initialize_weights(network)
    if folded:
        network.fuse(verbose=False)
    return network.eval()


def _strides(network: Any) -> Any:
    """(levels,) pixels of the input per cell of what the head looks at."""
    import torch

    x: Any = torch.zeros(1, 3, _PROBE_PX, _PROBE_PX)
    kept: list[Any] = []
    for layer in network.model:
        if layer.f != -1:
            x = kept[layer.f] if isinstance(layer.f, int) else [_at(kept, x, j) for j in layer.f]
        if layer is network.model[-1]:
            break
        x = layer(x)
        if (
            sum(one.numel() for one in (x if isinstance(x, list | tuple) else [x]))
            > _LARGEST_OUTPUT
        ):
            raise _refused("it needs too much memory")
        kept.append(x)
    levels = x if isinstance(x, list) else [x]
    return torch.tensor([_PROBE_PX / level.shape[-2] for level in levels], device="cpu")


def _at(kept: Sequence[Any], last: Any, index: int) -> Any:
    return last if index == -1 else kept[index]


def _class_layers(head: Any) -> dict[str, Any]:
    if hasattr(head, "linear"):
        return {"linear": head.linear}
    return {f"cv3.{level}.{len(one) - 1}": one[-1] for level, one in enumerate(head.cv3)}


def _point_layers(head: Any) -> dict[str, Any]:
    if hasattr(head, "cv4_kpts"):
        return {f"cv4_kpts.{level}": one for level, one in enumerate(head.cv4_kpts)}
    return {f"cv4.{level}.{len(one) - 1}": one[-1] for level, one in enumerate(head.cv4)}


def _reshaped(
    network: Any, layers: Callable[[Any], dict[str, Any]], outputs: int
) -> tuple[str, ...]:
    """The layers' names, after each got that many outputs."""
    from torch import nn

    head, place = network.model[-1], f"model.{len(network.model) - 1}"
    names = []
    for name, old in layers(head).items():
        owner, _, at = name.rpartition(".")
        new: nn.Module
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, outputs)
        else:
            new = nn.Conv2d(old.in_channels, outputs, 1)
        setattr(head.get_submodule(owner), at, new)
        names.append(f"{place}.{name}")
    if layers is _class_layers:
        head.nc = outputs
        head.no = outputs + 4 * getattr(head, "reg_max", 0)
    return tuple(names)


def _row(row: object, index: int) -> list[Any]:
    if not isinstance(row, list | tuple) or len(row) != 4:
        raise _refused(f"layer {index} is no row of four")
    source, repeats, name, arguments = row
    one = isinstance(source, int)
    if not one and not (isinstance(source, list | tuple) and 0 < len(source) <= 8):
        raise _refused(f"layer {index} has no input")
    places = [_whole(at, -1 - index, index - 1) for at in ([source] if one else source)]
    known = _one_of(name, _BLOCKS | HEADS.keys())
    if not isinstance(arguments, list | tuple) or len(arguments) > 8:
        raise _refused(f"the arguments of layer {index} are no short list")
    checked_arguments = [_argument(one) for one in arguments]
    at = _REPEATS_AT.get(known)
    if at is not None and len(arguments) > at:
        _whole(checked_arguments[at], 1, _MOST_REPEATS)
    repeated = _whole(repeats, 1, _MOST_BLOCKS)
    return [places[0] if one else places, repeated, known, checked_arguments]


def _argument(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, -1, _LARGEST)
    if isinstance(value, str):
        return _one_of(value, _WORDS)
    if isinstance(value, list | tuple) and len(value) <= 8:
        return [_number(one, -1, _LARGEST) for one in value]
    raise _refused("an argument is neither a number nor a known word")


def _scale(described: Mapping[str, Any]) -> tuple[str, dict[str, list[float]]]:
    """The name of the size, and depth, width and most channels of that size alone."""
    scales, scale = described.get("scales"), described.get("scale")
    factors: Any
    if not scales:
        factors = [described.get(f"{what}_multiple", 1.0) for what in ("depth", "width")]
        scale, factors = scale or "n", [*factors, _LARGEST]
    else:
        scale = scale or next(iter(scales), None) if isinstance(scales, Mapping) else None
        factors = scales.get(scale) if scale is not None else None
    if not isinstance(scale, str) or not re.fullmatch(r"[a-z]{1,3}", scale):
        raise _refused("its size has no known name")
    if not isinstance(factors, list | tuple) or len(factors) != 3:
        raise _refused("its size is not told")
    depth, width = (_number(value, 0.01, 4) for value in factors[:2])
    return scale, {scale: [depth, width, _number(factors[2], 1, _LARGEST)]}


def _keypoint_shape(shape: object) -> list[int]:
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        raise _refused("its key points are not told")
    return [_whole(shape[0], 1, 1024), _whole(shape[1], 2, 3)]


def _number(value: object, least: float, most: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _refused(f"a number is not between {least:g} and {most:g}")
    return value


def _whole(value: object, least: int, most: int) -> int:
    if not isinstance(value, int):
        raise _refused("a whole number is missing")
    return int(_number(value, least, most))


def _one_of(word: object, known: frozenset[str] | set[str]) -> str:
    if not isinstance(word, str) or word not in known:
        raise _refused(f"{str(word)[:40]!r} is not known to be harmless")
    return word


def _refused(reason: str) -> ModelFileError:
    return ModelFileError(
        f"the YOLO's build is refused: {reason}; train the model again with this program"
    )

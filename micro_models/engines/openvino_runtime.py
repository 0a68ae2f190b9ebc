"""SAM on the CPU through OpenVINO: the one file that imports openvino.

The converted model lies in a folder of its own; a second start neither converts nor reads the
checkpoint. Compiled kernels are cached beside it by OpenVINO itself.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from micro_models.engines.sam_spec import Spec

if TYPE_CHECKING:
    from micro_models.engines.sam_decoder import Decoder
    from micro_models.engines.sam_torch import Encoder

log = logging.getLogger(__name__)
Array = NDArray[Any]
_SPEC = "model.json"


class OpenVinoNetwork:
    """A converted SAM in `folder` (see `convert`), compiled for this machine's CPU.

    Errors: RuntimeError where the folder's files are damaged.
    """

    device = "cpu (openvino)"

    def __init__(self, folder: Path, *, precision: str = "auto") -> None:
        import openvino

        core = openvino.Core()
        core.set_property({"CACHE_DIR": str(folder / "compiled")})
        if precision == "auto":
            # Features are kept as float16 anyway, and bfloat16 is twice as fast where it exists.
            able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "bf16" if "BF16" in able else "f32"

        def compiled(part: str, precision: str) -> Any:
            how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
            return core.compile_model(folder / f"{part}.xml", "CPU", how)

        self._encoder = compiled("encoder", precision)
        # bfloat16 cannot tell 700 px from 700.5, and a decoder in it moves masks by up to 7 %.
        self._points = compiled("points", "f32")
        self._decoder = compiled("decoder", "f32")
        self._encode_request = self._encoder.create_infer_request()
        self._one_image = threading.Lock()
        self._decode_requests: deque[Any] = deque()

    def encode(self, image: Array) -> list[Array]:
        """One image at a time: one already uses all cores."""
        with self._one_image:
            return _infer(self._encode_request, [image])

    def decode(self, inputs: Sequence[Array], maps: Sequence[Array]) -> tuple[Array, Array]:
        """`Decoder.forward` on arrays; as many requests exist as threads ever met here."""
        points, labels, *hint = inputs
        try:
            requests = self._decode_requests.pop()
        except IndexError:
            requests = (self._points.create_infer_request(), self._decoder.create_infer_request())
        try:
            sparse = _infer(requests[0], [points, labels])
            logits, scores = _infer(requests[1], [*sparse, *hint, *maps])
        finally:
            self._decode_requests.append(requests)
        return logits[0], scores[0]


def _infer(request: Any, inputs: Sequence[Array]) -> list[Array]:
    request.infer([np.ascontiguousarray(array) for array in inputs], share_inputs=True)
    return [tensor.data.copy() for tensor in request.output_tensors]


def stored_spec(folder: Path) -> Spec | None:
    """The spec of the model converted into `folder`, or None where there is none."""
    try:
        values = json.loads((folder / _SPEC).read_text())
        return Spec(**{**values, "maps": tuple(values["maps"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def convert(
    folder: Path, read: Callable[[], tuple[Spec, Encoder, Decoder]]
) -> tuple[Spec, OpenVinoNetwork]:
    """Compile the model in `folder`, converted there first from what `read` gives if need be.

    The folder appears complete or not at all. Errors: those of `read`, OSError (disk full).
    """
    spec = stored_spec(folder)
    if spec is not None:
        try:
            return spec, OpenVinoNetwork(folder)
        except RuntimeError as error:
            log.warning("the converted model is damaged (%s); converting again", error)
    spec, encoder, decoder = read()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as place:
        ready = Path(place) / "ready"
        _save(ready, spec, encoder, decoder)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            ready.rename(folder)
        except OSError:  # another process was faster: what it made is the same
            if stored_spec(folder) is None:
                raise
    return spec, OpenVinoNetwork(folder)


def _save(folder: Path, spec: Spec, encoder: Encoder, decoder: Decoder) -> None:
    import openvino

    from micro_models.engines.sam_torch import parts

    log.info("converting %s for this machine's CPU; this is done once", spec.model)
    folder.mkdir()
    for part in parts(spec, encoder, decoder):
        with warnings.catch_warnings():  # tracing warns of its own deprecation, and of constants
            warnings.simplefilter("ignore")
            model = openvino.convert_model(part.module, example_input=part.example)
        shapes = [list(tensor.shape) for tensor in part.example]
        for shape in shapes[: part.growing]:
            shape[1] = -1
        model.reshape(dict(zip(model.inputs, shapes, strict=True)))
        # float16 weights halve the disk; the encoder's are most of them, and it rounds most.
        half = part.name == "encoder"
        openvino.save_model(model, folder / f"{part.name}.xml", compress_to_fp16=half)
    (folder / _SPEC).write_text(json.dumps(asdict(spec)))

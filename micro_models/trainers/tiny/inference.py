"""A trained tiny network as an OpenVINO graph made of its arrays: torch is not even imported."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.trainers.tiny.layout import (
    COARSE,
    FINE,
    LONGEST,
    MIDDLE,
    MIX,
    POOLED,
    SHORTEST,
    Layer,
)

Arrays = Mapping[str, NDArray[np.float32]]


class Inference:
    """Runs the network with `heads` (name -> channels) and `arrays`. Safe from many threads."""

    def __init__(self, heads: Mapping[str, int], arrays: Arrays, *, exclusive: bool) -> None:
        self._heads, self._arrays, self._exclusive = dict(heads), arrays, exclusive
        self._compiled: Any = None
        self._requests: deque[Any] = deque()
        self._lock = threading.Lock()

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """(n, h, w, 3) uint8 -> by head float32 (n, channels, h / 4, w / 4).

        h and w are multiples of 16. `heat`, `mask`, `point_heat` and `classes` (n, channels) are
        probabilities.
        """
        compiled = self._ready()
        try:
            request = self._requests.pop()
        except IndexError:
            request = compiled.create_infer_request()
        try:
            request.infer([np.ascontiguousarray(images)], share_inputs=True)
            found = [tensor.data.copy() for tensor in request.output_tensors]
        finally:
            self._requests.append(request)
        return dict(zip(self._heads, found, strict=True))

    def _ready(self) -> Any:
        """One graph for images of all sizes."""
        with self._lock:
            if self._compiled is None:
                graph = _Graph(self._heads, self._arrays, exclusive=self._exclusive)
                self._compiled = _compile(graph.model())
            return self._compiled


def _compile(model: Any) -> Any:
    import openvino

    # bfloat16, where a CPU has it, would answer differently from other machines.
    how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(model, "CPU", how)


class _Graph:
    """The network once more, layer by layer as in `network.Network.forward`."""

    def __init__(self, heads: Mapping[str, int], arrays: Arrays, *, exclusive: bool) -> None:
        import openvino.opset13 as ops

        self._ops: Any = ops
        self._heads, self._arrays, self._exclusive = heads, arrays, exclusive

    def model(self) -> Any:
        import openvino

        ops = self._ops
        images = ops.parameter([-1, -1, -1, 3], np.uint8, name="images")
        x = ops.transpose(ops.convert(images, np.float32), np.array([0, 3, 1, 2]))
        mean, std = (self._arrays[name].reshape(1, 3, 1, 1) for name in ("mean", "std"))
        fine = self._layers(ops.divide(ops.subtract(x, mean), std), FINE)
        middle = self._layers(fine, MIDDLE)
        coarse = self._layers(middle, COARSE)
        outputs = {}
        if "dense.weight" in self._arrays:
            middle = ops.add(middle, self._twice(self._point_wise(coarse, "to_middle")))
            fine = ops.add(fine, self._twice(self._point_wise(middle, "to_fine")))
            outputs = self._dense(self._point_wise(self._layers(fine, MIX), "dense"))
        if "classes" in self._heads:
            outputs["classes"] = self._classes(coarse)
        # Without its name an output could be taken for another's.
        results = [ops.result(outputs[name], name=name) for name in self._heads]
        return openvino.Model(results, [images])

    def _layers(self, x: Any, layers: Sequence[Layer]) -> Any:
        ops = self._ops
        for layer in layers:
            pad, turn = [layer.padding] * 2, [layer.dilation] * 2
            weight = self._arrays[f"{layer.name}.weight"]
            x = ops.convolution(x, weight, [layer.stride] * 2, pad, pad, turn)
            x = ops.swish(ops.add(x, self._arrays[f"{layer.name}.bias"].reshape(1, -1, 1, 1)))
        return x

    def _point_wise(self, x: Any, name: str) -> Any:
        one, none = [1, 1], [0, 0]
        x = self._ops.convolution(x, self._arrays[f"{name}.weight"], one, none, none, one)
        return self._ops.add(x, self._arrays[f"{name}.bias"].reshape(1, -1, 1, 1))

    def _twice(self, x: Any) -> Any:
        """Each cell becomes four."""
        return self._ops.interpolate(
            x,
            np.array([2.0, 2.0], np.float32),
            "nearest",
            "scales",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
            axes=np.array([2, 3]),
        )

    def _dense(self, x: Any) -> dict[str, Any]:
        ops = self._ops
        names = [name for name in self._heads if name not in POOLED]
        sizes = np.array([self._heads[name] for name in names])
        outputs = dict(zip(names, ops.variadic_split(x, np.int64(1), sizes).outputs(), strict=True))
        for name in {"heat", "mask", "point_heat"} & set(names):
            outputs[name] = ops.sigmoid(outputs[name])
        if "sides" in outputs:
            sides = ops.exp(ops.clamp(outputs["sides"], SHORTEST, LONGEST))
            outputs["sides"] = ops.multiply(sides, self._arrays["half_side"])
        return outputs

    def _classes(self, coarse: Any) -> Any:
        ops = self._ops
        both = [
            f(coarse, np.array([2, 3]), keep_dims=False) for f in (ops.reduce_mean, ops.reduce_max)
        ]
        weight, bias = (self._arrays[f"classes.{name}"] for name in ("weight", "bias"))
        logits = ops.add(
            ops.matmul(ops.concat(both, 1), weight, transpose_a=False, transpose_b=True), bias
        )
        return ops.softmax(logits, 1) if self._exclusive else ops.sigmoid(logits)

"""Weights from wherever they are: mappings, lists and files."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_weights"]

_KERAS = ("kernel", "recurrent_kernel", "bias")
_ADVICE = {
    ".pt": "give torch.load(path, weights_only=True)",
    ".h5": "give its arrays, read with h5py or a Keras layer's get_weights()",
    ".msgpack": "it is Flax's own: read it with flax.serialization",
}
_ADVICE |= dict.fromkeys((".pth", ".bin", ".ckpt"), _ADVICE[".pt"])
_ADVICE |= dict.fromkeys((".hdf5", ".keras"), _ADVICE[".h5"])


def read_weights(
    weights: Any, *, prefix: str = "", layer: int = 0
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The arrays by name, and of an ONNX node its attributes (with its type, ``op_type``).

    Args:
        weights: A mapping, a list in the order of Keras, or the path of a file.
        prefix: Of an ONNX file, the name of the node.
        layer: Of an ONNX file, which of the nodes of that name.
    """
    if isinstance(weights, str | Path):
        path = Path(weights)
        if path.suffix == ".onnx":
            return _onnx(path, prefix, layer)
        return _file(path), {}
    if isinstance(weights, list | tuple):
        if len(weights) not in (2, 3):
            raise ValueError(
                f"A list of weights is that of a Keras layer, {', '.join(_KERAS)}; it has "
                f"{len(weights)} arrays, not 2 or 3."
            )
        return dict(zip(_KERAS, weights, strict=False)), {}
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"Weights are a mapping of names to arrays, a list or a path, not a "
            f"{type(weights).__name__}; of a PyTorch module, give its state_dict()."
        )
    return weights, {}


def _file(path: Path) -> dict[str, Any]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    if path.suffix == ".safetensors":
        return importlib.import_module("safetensors.numpy").load_file(path)
    advice = _ADVICE.get(path.suffix, "give its arrays as a mapping")
    raise ValueError(
        f"{path.name} is not read here, only .safetensors, .npz and .onnx files: {advice}."
    )


def _onnx(path: Path, name: str, layer: int) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        onnx = importlib.import_module("onnx")
        helper = importlib.import_module("onnx.numpy_helper")
    except ImportError as error:
        raise ImportError(
            f"Reading {path.name} needs the package onnx (pip install onnx); or give the node's "
            "W, R and B as arrays."
        ) from error
    graph = onnx.load(str(path)).graph
    cells = [node for node in graph.node if node.op_type in ("LSTM", "GRU")]
    nodes = [node for node in cells if not name or node.name == name]
    if not 0 <= layer < len(nodes):
        raise KeyError(
            f"{path.name} has no LSTM or GRU node number {layer}"
            + (f" of the name {name!r}" if name else "")
            + f"; it has {[f'{node.op_type} {node.name}' for node in cells]}."
        )
    node = nodes[layer]
    # An LSTM's inputs are X, W, R, B, sequence_lens, initial_h, initial_c, P; a GRU's end with h.
    inputs = dict(zip(("X", "W", "R", "B", "", "", "", "P"), node.input, strict=False))
    constants = {tensor.name: tensor for tensor in graph.initializer} | {
        constant.output[0]: constant.attribute[0].t
        for constant in graph.node
        if constant.op_type == "Constant" and constant.attribute[0].name == "value"
    }
    arrays = {}
    for key in ("W", "R", "B", "P"):
        if tensor := inputs.get(key):
            if tensor not in constants:
                raise KeyError(
                    f"{key} of node {node.name!r} in {path.name} is computed ({tensor!r}), not "
                    "stored; fold constants when exporting, or give W, R and B as arrays."
                )
            arrays[key] = helper.to_array(constants[tensor])
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return arrays, attributes | {"op_type": node.op_type}

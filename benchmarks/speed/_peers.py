"""What a user might take instead: other runtimes, on the same weights and inputs.

A library that is not installed, or refuses, is a row that says so.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from structlin.bench import Case, Contender, dense_weights, drawn, inputs

__all__ = ["PAUSE", "peers"]

PAUSE = 5e-3
"""Seconds in which the threads of other runtimes come to rest before the next sample."""

GATES = (0, 3, 1, 2)
"""Where ONNX has the gates: i, o, f, g of i, f, g, o."""

Call = Callable[[], Any]
Weights = tuple[np.ndarray, ...]


def peers(case: Case, seed: int) -> dict[str, Contender | str]:
    """The peers of a case by name, or why one is missing.

    Args:
        case: A product, a layer or a training step.
        seed: Of weights and inputs, the same as of the other contenders.
    """
    weights, x = tuple(map(np.asarray, dense_weights(case, seed))), np.asarray(inputs(case, seed))
    found: dict[str, Contender | str] = {}
    for name, make in MAKERS.get(case.kind, {}).items():
        found[name] = _contender(lambda make=make: make(weights, x))
    if case.kind in ("product", "density"):
        for structure in case.structures:
            if structure.startswith("Sparse") and "blocks" not in structure:
                make = functools.partial(_scipy, case, structure, seed, x)
                found[f"scipy.sparse, {structure}"] = _contender(make, structure)
    return found


def _contender(make: Callable[[], Call], structure: str = "") -> Contender | str:
    """What ``make`` makes, once it has run; or why it cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what other libraries will drop one day
            call = make()
            call()
    except ImportError as error:
        return f"{(error.name or str(error)).partition('.')[0]} is not installed"
    except Exception as error:  # whatever a peer cannot do here must not end the others
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return Contender(call, structure=structure)


def _scipy(case: Case, structure: str, seed: int, x: np.ndarray) -> Call:
    sparse = importlib.import_module("scipy.sparse")
    matrix = drawn(structure, (case.hidden, 4 * case.hidden), seed).to_dense()
    rows, columns = sparse.csr_array(np.asarray(matrix).T), np.ascontiguousarray(x.T)
    if case.batch == 1:
        columns = columns[:, 0]
    return lambda: rows @ columns


def _onnx(threads: int, weights: Weights, x: np.ndarray) -> Call:
    """An LSTM as one node, run by ONNX Runtime in single precision."""
    onnx, runtime = map(importlib.import_module, ("onnx", "onnxruntime"))
    kernel, recurrent, bias = weights
    h, helper, kind = recurrent.shape[0], onnx.helper, onnx.TensorProto.FLOAT

    def gates(w: np.ndarray) -> np.ndarray:
        parts = np.split(w.T, 4)
        return np.concatenate([parts[i] for i in GATES])[None]

    arrays = {"W": gates(kernel), "R": gates(recurrent)}
    arrays["B"] = np.concatenate([gates(bias), np.zeros((1, 4 * h), np.float32)], axis=1)
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], hidden_size=h)],
        "lstm",
        [helper.make_tensor_value_info("x", kind, list(x.shape))],
        [helper.make_tensor_value_info("y", kind, [x.shape[0], 1, x.shape[1], h])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    call = functools.partial(session.run, None, {"x": x})
    _agree(weights, x, call()[0][:, 0])
    return call


def _torch(dynamic: bool, weights: Weights, x: np.ndarray) -> Call:
    """``torch.nn.LSTM``, in single precision or with kernels of 8 bits."""
    torch = importlib.import_module("torch")
    model, given = _torch_lstm(weights), torch.from_numpy(x)
    if dynamic:
        quantize = torch.ao.quantization.quantize_dynamic
        model = quantize(torch.nn.ModuleList([model]), {torch.nn.LSTM}, dtype=torch.qint8)[0]

    def call() -> Any:
        with torch.inference_mode():
            return model(given)[0]

    if not dynamic:
        _agree(weights, x, call().numpy())
    return call


def _torch_training(weights: Weights, x: np.ndarray) -> Call:
    torch = importlib.import_module("torch")
    model, given = _torch_lstm(weights), torch.from_numpy(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)  # weights of later steps are the same

    def call() -> Any:
        optimizer.zero_grad()
        loss = (model(given)[0] ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return call


def _torch_lstm(weights: Weights) -> Any:
    torch = importlib.import_module("torch")
    kernel, recurrent, bias = weights
    model = torch.nn.LSTM(kernel.shape[0], recurrent.shape[0])
    with torch.no_grad():
        for name, value in zip(
            ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
            (kernel.T, recurrent.T, bias, np.zeros_like(bias)),
            strict=True,
        ):
            getattr(model, name).copy_(torch.from_numpy(value.copy()))
    return model


def _agree(weights: Weights, x: np.ndarray, found: np.ndarray) -> None:
    """That a peer computes what the dense form does, from the last gate to the first step."""
    want = _lstm(weights, x)
    if np.abs(found - want).max() > 1e-4:
        raise ValueError("it computes something else")


def _lstm(weights: Weights, x: np.ndarray) -> np.ndarray:
    kernel, recurrent, bias = weights
    h = c = np.zeros((x.shape[1], recurrent.shape[0]), np.float32)
    states = []
    for row in x:
        i, f, g, o = np.split(row @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        states.append(h)
    return np.stack(states)


ONNX = {
    f"ONNX Runtime, {threads} thread{'s' * (threads > 1)}": functools.partial(_onnx, threads)
    for threads in (1, 2)
}
MAKERS: Mapping[str, Mapping[str, Callable[[Weights, np.ndarray], Call]]] = {
    "layer": ONNX
    | {
        "PyTorch": functools.partial(_torch, False),
        "PyTorch, dynamic int8": functools.partial(_torch, True),
    },
    "training": {"PyTorch": _torch_training},
}
"""Kind of case -> name -> what makes a call of weights and inputs."""

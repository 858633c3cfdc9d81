"""What PyTorch, Keras and TensorFlow 1 call a cell's weights, and how they keep them."""

import re

import numpy as np

from structlin.surgery.conversion._cell import BEFORE, Choice, Weights, ratio, refused
from structlin.surgery.conversion._keys import Keys, expect, listed

__all__ = ["detect", "from_keras", "from_pytorch", "from_tf1"]


def detect(keys: Keys) -> str:
    """The source that names its weights like this."""
    names = sorted(keys.arrays)
    if any(re.search(r"weight_ih(_l\d+(_reverse)?)?$", name) for name in names):
        return "pytorch"
    if any(name.endswith("recurrent_kernel") for name in names):
        return "keras"
    if any(
        re.search(r"(lstm_cell|gates|candidate)[./_:]+(kernel|weights)$", name) for name in names
    ):
        return "tf1"
    if any(re.search(r"(^|[._/:])R$", name) for name in names):
        return "onnx"
    raise ValueError(
        f"No known source names its weights like this: {listed(names)}. Give source=, or rename "
        "them to weight_ih_l0, weight_hh_l0, ... (PyTorch) or kernel, recurrent_kernel, bias "
        "(Keras)."
    )


def from_pytorch(keys: Keys, choice: Choice) -> Weights:
    """``torch.nn.LSTM``, ``GRU`` and their cells: ``(k h, in)``, gates i, f, g, o or r, z, n."""
    end = f"_l{choice.layer}" + "_reverse" * choice.reverse
    alone = ["weight_ih"] if not choice.layer and not choice.reverse else []
    end = keys.need("weight_ih" + end, *alone).removeprefix("weight_ih")
    recurrent = keys.get("weight_hh" + end, (None, None))
    if keys.has("weight_hr" + end):
        raise refused("it has a projection (proj_size), which Flax's LSTM cells have not")
    rows, hidden = recurrent.shape
    cell = choice.kind(ratio(rows, hidden), "weight_hh" + end, recurrent.shape)
    kernel = keys.get("weight_ih" + end, (rows, None))
    biased = keys.has("bias_ih" + end) or keys.has("bias_hh" + end)
    biases = [
        keys.get(name + end, (rows,)) if biased else np.zeros(rows, kernel.dtype)
        for name in ("bias_ih", "bias_hh")
    ]
    return Weights(cell, choice.order("pytorch", cell), kernel.T, recurrent.T, *biases)


def from_keras(keys: Keys, choice: Choice) -> Weights:
    """Keras' layers and cells: ``(in, k h)``, gates i, f, c, o or z, r, h."""
    keys.need("recurrent_kernel")
    recurrent = keys.get("recurrent_kernel", (None, None))
    hidden, columns = recurrent.shape
    cell = choice.kind(ratio(columns, hidden), "recurrent_kernel", recurrent.shape)
    kernel = keys.get("kernel", (None, columns))
    order = choice.order("keras", cell)
    zeros = np.zeros(columns, kernel.dtype)
    bias = keys.get("bias") if keys.has("bias") else None
    if bias is not None and bias.shape == (2 * columns,):  # CuDNNLSTM and CuDNNGRU
        if choice.reset_after is False:
            raise ValueError(
                "reset_after is False, but the bias is that of a CuDNNGRU: it is True."
            )
        kernels = _from_cudnn(kernel, recurrent, columns // hidden)
        return Weights(cell, order, *kernels, *np.split(bias, 2))
    if cell == "lstm":
        if bias is not None:
            expect(keys.prefix + "bias", bias, (columns,))
        return Weights(cell, order, kernel, recurrent, zeros if bias is None else bias, zeros)
    after = choice.reset_after
    if bias is not None:
        expect(keys.prefix + "bias", bias, (2, columns) if bias.ndim == 2 else (columns,))
        told, after = after, bias.ndim == 2
        if told not in (None, after):
            raise ValueError(
                f"reset_after is {told}, but the bias has shape {bias.shape}: that of a GRU with "
                f"reset_after={after}."
            )
    if after is None:
        raise ValueError(
            "A Keras GRU without biases does not say whether its reset gate acts after the "
            "recurrent product: give reset_after=True if it was made so (the default of Keras)."
        )
    if not after:
        raise refused(BEFORE.format("reset_after=True"))
    return Weights(cell, order, kernel, recurrent, *((zeros, zeros) if bias is None else bias))


def from_tf1(keys: Keys, choice: Choice) -> Weights:
    """``tf.nn.rnn_cell.BasicLSTMCell``: one kernel ``(in + h, 4 h)``, gates i, j, f, o."""
    gru = any("gru_cell" in n or n.endswith("candidate/kernel") for n in keys.arrays)
    lstm = any("lstm" in n for n in keys.arrays)
    if choice.cell == "gru" or (gru and not lstm):
        raise refused(BEFORE.format("a GRU of PyTorch's kind"))
    marker = keys.need("kernel", "weights")
    for name in ("w_i_diag", "w_f_diag", "w_o_diag", "projection/kernel"):
        if keys.has(name):
            raise refused(f"it has {name!r}: Flax's LSTM cells have no peepholes or projections")
    whole = keys.get(marker, (None, None))
    rows, columns = whole.shape
    hidden = columns // 4
    if columns % 4 or rows <= hidden:
        raise ValueError(
            f"{keys.prefix + marker!r} has shape {whole.shape}; (in + h, 4 h) is expected."
        )
    bias = keys.get(keys.first("bias", "biases"), (columns,))
    order = choice.order("tf1", "lstm")
    extra = np.zeros(columns, bias.dtype)
    at = order.index("f") * hidden
    extra[at : at + hidden] = 1.0 if choice.forget_bias is None else choice.forget_bias
    return Weights("lstm", order, whole[:-hidden], whole[-hidden:], bias, extra)


def _from_cudnn(
    kernel: np.ndarray, recurrent: np.ndarray, gates: int
) -> tuple[np.ndarray, np.ndarray]:
    """The kernels of Keras' CuDNN layers, each gate's kept as the library reads it, row by row."""
    inputs = [k.reshape(k.shape[::-1]).T for k in np.split(kernel, gates, axis=1)]
    states = [k.T for k in np.split(recurrent, gates, axis=1)]
    return np.concatenate(inputs, axis=1), np.concatenate(states, axis=1)

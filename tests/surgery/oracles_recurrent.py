"""The published equations of other frameworks' cells, in NumPy, on their own arrays."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(gates, c):
    """The cell's own equations from the four sums, named as in Flax."""
    c = sigmoid(gates["f"]) * c + sigmoid(gates["i"]) * np.tanh(gates["g"])
    return c, sigmoid(gates["o"]) * np.tanh(c)


def named(z, order):
    return dict(zip(order, np.split(z, len(order), axis=-1), strict=True))


def pytorch_lstm(w, x, h, c):
    z = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
    return lstm(named(z, "ifgo"), c)[::-1]


def pytorch_gru(w, x, h):
    a = named(x @ w["weight_ih"].T + w["bias_ih"], "rzn")
    b = named(h @ w["weight_hh"].T + w["bias_hh"], "rzn")
    r, z = sigmoid(a["r"] + b["r"]), sigmoid(a["z"] + b["z"])
    n = np.tanh(a["n"] + r * b["n"])
    return (1 - z) * n + z * h


def keras_lstm(w, x, h, c):
    z = x @ w["kernel"] + h @ w["recurrent_kernel"] + w.get("bias", 0)
    return lstm(named(z, "ifgo"), c)[::-1]  # i, f, c, o


def keras_gru(w, x, h):
    """With ``reset_after=True``; its h is called n here."""
    inside, outside = w["bias"]
    a = named(x @ w["kernel"] + inside, "zrn")
    b = named(h @ w["recurrent_kernel"] + outside, "zrn")
    z, r = sigmoid(a["z"] + b["z"]), sigmoid(a["r"] + b["r"])
    n = np.tanh(a["n"] + r * b["n"])
    return z * h + (1 - z) * n


def cudnn_kernels(w, inputs, size):
    """Keras' CuDNN layers: the library reads each gate's kernel as ``(h, in)``, row by row."""
    kernels = []
    for name, rows in (("kernel", inputs), ("recurrent_kernel", size)):
        gates = np.split(w[name], w[name].shape[1] // size, axis=1)
        kernels.append(np.concatenate([g.ravel().reshape(size, rows).T for g in gates], axis=1))
    return dict(zip(("kernel", "recurrent_kernel"), kernels, strict=True))


def cudnn_lstm(w, x, h, c):
    biases = {"bias": sum(np.split(w["bias"], 2))}
    return keras_lstm(cudnn_kernels(w, x.shape[-1], h.shape[-1]) | biases, x, h, c)


def cudnn_gru(w, x, h):
    biases = {"bias": np.split(w["bias"], 2)}
    return keras_gru(cudnn_kernels(w, x.shape[-1], h.shape[-1]) | biases, x, h)


def tf1_lstm(w, x, h, c, forget_bias=1.0):
    z = named(np.concatenate([x, h], axis=-1) @ w["kernel"] + w["bias"], "igfo")  # i, j, f, o
    z["f"] = z["f"] + forget_bias
    return lstm(z, c)[::-1]


def onnx_lstm(w, x, h, c, direction=0):
    kernel, state, bias = (w[name][direction] for name in "WRB")
    size = h.shape[-1]
    z = x @ kernel.T + h @ state.T + bias[: 4 * size] + bias[4 * size :]
    return lstm(named(z, "iofg"), c)[::-1]


def onnx_gru(w, x, h, direction=0):
    """With ``linear_before_reset=1``; its h is called n here."""
    kernel, state, bias = (w[name][direction] for name in "WRB")
    size = h.shape[-1]
    a = named(x @ kernel.T + bias[: 3 * size], "zrn")
    b = named(h @ state.T + bias[3 * size :], "zrn")
    z, r = sigmoid(a["z"] + b["z"]), sigmoid(a["r"] + b["r"])
    n = np.tanh(a["n"] + r * b["n"])
    return (1 - z) * n + z * h

"""The recurrent cells by their definitions, entry by entry, in double precision.

Each takes the parameters as nested dictionaries of NumPy arrays with fused kernels, the carry and
one input vector, and returns the new carry and the output.
"""

import math

import numpy as np

__all__ = ["ORACLES"]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def product(x, kernel, column):
    """``sum_k x_k kernel_{k, column}``."""
    return sum(x[k] * kernel[k, column] for k in range(len(x)))


def sums(params, x, h, gate, j, size):
    """The two sides of gate number ``gate``, entry ``j``, without biases."""
    column = gate * size + j
    recurrent = product(h, params["h"]["kernel"], column) if "h" in params else 0.0
    return product(x, params["i"]["kernel"], column), recurrent


def lstm(params, carry, x):
    c, h = carry
    size = len(c)
    peep = params.get("peephole", {g: np.zeros(size) for g in "ifo"})
    new_c, m = np.zeros(size), np.zeros(size)
    for j in range(size):
        bias = params["h"]["bias"]
        i, f, g, o = (sum(sums(params, x, h, k, j, size)) + bias[k * size + j] for k in range(4))
        i, f = i + peep["i"][j] * c[j], f + peep["f"][j] * c[j]
        new_c[j] = sigmoid(f) * c[j] + sigmoid(i) * math.tanh(g)
        m[j] = sigmoid(o + peep["o"][j] * new_c[j]) * math.tanh(new_c[j])
    if "projection" in params:
        kernel = params["projection"]["kernel"]
        m = np.array([product(m, kernel, j) for j in range(kernel.shape[1])])
    return (new_c, m), m


def coupled(params, carry, x):
    c, h = carry
    size, bias = len(c), params["h"]["bias"]
    new_c, new_h = np.zeros(size), np.zeros(size)
    for j in range(size):
        i, g, o = (sum(sums(params, x, h, k, j, size)) + bias[k * size + j] for k in range(3))
        new_c[j] = (1 - sigmoid(i)) * c[j] + sigmoid(i) * math.tanh(g)
        new_h[j] = sigmoid(o) * math.tanh(new_c[j])
    return (new_c, new_h), new_h


def simple(params, carry, x, residual=False):
    size, bias = len(carry), params["i"]["bias"]
    h = np.zeros(size)
    for j in range(size):
        inside = sum(sums(params, x, carry, 0, j, size)) + bias[j]
        h[j] = math.tanh(inside + (carry[j] if residual else 0))
    return h, h


def gru(params, carry, x):
    size, bias = len(carry), params["i"]["bias"]
    h = np.zeros(size)
    for j in range(size):
        (rx, rh), (zx, zh), (nx, nh) = (sums(params, x, carry, k, j, size) for k in range(3))
        r = sigmoid(rx + bias[j] + rh)
        z = sigmoid(zx + bias[size + j] + zh)
        n = math.tanh(nx + bias[2 * size + j] + r * (nh + params["h"]["bias"][j]))
        h[j] = (1 - z) * n + z * carry[j]
    return h, h


def mgu(params, carry, x):
    size, bias = len(carry), params["i"]["bias"]
    h = np.zeros(size)
    for j in range(size):
        (fx, fh), (nx, nh) = (sums(params, x, carry, k, j, size) for k in range(2))
        f = sigmoid(fx + bias[j] + fh)
        inner = f * (nh + params["h"]["bias"][j]) if "bias" in params["h"] else nh
        n = math.tanh(nx + bias[size + j] + inner)
        h[j] = (1 - f) * n + f * carry[j]
    return h, h


def fast(params, carry, x):
    size = len(carry)
    zeta, nu = sigmoid(params["zeta"]), sigmoid(params["nu"])
    h = np.zeros(size)
    for j in range(size):
        s = sum(sums(params, x, carry, 0, j, size))
        z = sigmoid(s + params["gate"]["bias"][j])
        candidate = math.tanh(s + params["candidate"]["bias"][j])
        h[j] = (zeta * (1 - z) + nu) * candidate + z * carry[j]
    return h, h


def sru(params, carry, x):
    size, bias, memory = len(carry), params["i"]["bias"], params["memory"]
    c, h = np.zeros(size), np.zeros(size)
    for j in range(size):
        u, f, r = (product(x, params["i"]["kernel"], k * size + j) for k in range(3))
        wide = params["i"]["kernel"].shape[1] == 4 * size
        s = product(x, params["i"]["kernel"], 3 * size + j) if wide else x[j]
        f = sigmoid(f + memory["f"][j] * carry[j] + bias[j])
        r = sigmoid(r + memory["r"][j] * carry[j] + bias[size + j])
        c[j] = f * carry[j] + (1 - f) * u
        h[j] = r * c[j] + (1 - r) * s
    return c, h


def qrnn(params, carry, x):
    c, past = carry
    size, bias, window = len(c), params["i"]["bias"], np.concatenate([past, x])
    new_c, h = np.zeros(size), np.zeros(size)
    for j in range(size):
        kernel = params["i"]["kernel"]
        z, f, o = (product(window, kernel, k * size + j) + bias[k * size + j] for k in range(3))
        new_c[j] = sigmoid(f) * c[j] + (1 - sigmoid(f)) * math.tanh(z)
        h[j] = sigmoid(o) * new_c[j]
    return (new_c, window[len(x) :]), h


ORACLES = {
    "LSTMCell": lstm,
    "ProjectedLSTMCell": lstm,
    "CoupledLSTMCell": coupled,
    "SimpleCell": simple,
    "GRUCell": gru,
    "MGUCell": mgu,
    "FastGRNNCell": fast,
    "SRUCell": sru,
    "QRNNCell": qrnn,
}
"""Linen cell -> its definition."""

"""Other frameworks' recurrent cells: their published equations against Flax's cells."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracles_recurrent as oracles
import pytest
from flax import nnx
from safetensors.numpy import save_file

import structlin as sl

IN, H, BATCH = 5, 4, 3
STEPS = 3


def draw(rng, **shapes):
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def pytorch(rng, k, end="_l0", prefix=""):
    shapes = {"weight_ih": (k * H, IN), "weight_hh": (k * H, H)}
    shapes |= {"bias_ih": (k * H,), "bias_hh": (k * H,)}
    return {prefix + name + end: v for name, v in draw(rng, **shapes).items()}


def bare(weights, end="_l0", prefix=""):
    return {n.removeprefix(prefix).removesuffix(end): v for n, v in weights.items()}


def keras(rng, k, bias):
    return draw(rng, kernel=(IN, k * H), recurrent_kernel=(H, k * H), bias=bias)


def onnx_arrays(rng, k, directions=1):
    d = directions
    return draw(rng, W=(d, k * H, IN), R=(d, k * H, H), B=(d, 2 * k * H))


def states(rng):
    x, h, c = (rng.normal(size=(BATCH, n)).astype(np.float32) for n in (IN, H, H))
    return x, h, c


def check(params, oracle, weights, rng, target="linen", **options):
    """Three steps of Flax's own cell against the oracle in double precision."""
    wide = {n: v.astype(np.float64) for n, v in weights.items()}
    x, h, c = states(rng)
    lstm = "lstm" in oracle.__name__
    carry = (c, h) if lstm else h
    if target == "linen":
        cell = nn.OptimizedLSTMCell(H) if lstm else nn.GRUCell(H)
        step = jax.jit(lambda p, s: cell.apply({"params": p}, s, x)[0])
    else:
        make = nnx.OptimizedLSTMCell if lstm else nnx.GRUCell
        graph, state = nnx.split(make(IN, H, rngs=nnx.Rngs(0)))
        nnx.replace_by_pure_dict(state, params)
        step = jax.jit(lambda p, s: nnx.merge(graph, state)(s, x)[0])
    h, c, x = h.astype(np.float64), c.astype(np.float64), x.astype(np.float64)
    for _ in range(STEPS):
        carry = step(params, carry)
        if lstm:
            h, c = oracle(wide, x, h, c, **options)
            np.testing.assert_allclose(carry[0], c, atol=2e-6)
        else:
            h = oracle(wide, x, h, **options)
        np.testing.assert_allclose(carry[1] if lstm else carry, h, atol=1e-6)


def same_tree(params, cell):
    """The parameters have the names and shapes of a cell made by Flax."""
    carry = cell.initialize_carry(jax.random.key(0), (BATCH, IN))
    made = jax.eval_shape(cell.init, jax.random.key(0), carry, jnp.zeros((BATCH, IN)))["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)


def test_pytorch_lstm(rng):
    weights = pytorch(rng, 4)
    params = sl.convert(weights)
    same_tree(params, nn.LSTMCell(H))
    same_tree(params, nn.OptimizedLSTMCell(H))
    check(params, oracles.pytorch_lstm, bare(weights), rng)
    check(sl.convert(weights, target="nnx"), oracles.pytorch_lstm, bare(weights), rng, "nnx")


def test_pytorch_gru(rng):
    weights = pytorch(rng, 3)
    params = sl.convert(weights)
    same_tree(params, nn.GRUCell(H))
    check(params, oracles.pytorch_gru, bare(weights), rng)


def test_pytorch_layers_directions_and_prefixes(rng):
    ends = {(i, r): f"_l{i}" + "_reverse" * r for i in (0, 1) for r in (False, True)}
    parts = {at: pytorch(rng, 4, end, "encoder.rnn.") for at, end in ends.items()}
    whole = {n: v for part in parts.values() for n, v in part.items()}
    for (layer, reverse), end in ends.items():
        params = sl.convert(whole, layer=layer, reverse=reverse)
        again = sl.convert(whole, layer=layer, reverse=reverse, prefix="encoder.rnn.")
        alone = sl.convert(bare(parts[layer, reverse], end, "encoder.rnn."))
        for other in (again, alone):
            jax.tree.map(np.testing.assert_array_equal, params, other)


def test_pytorch_cells_have_no_layer(rng):
    weights = pytorch(rng, 3, end="", prefix="cell.")
    check(sl.convert(weights), oracles.pytorch_gru, bare(weights, "", "cell."), rng)


def test_without_biases_they_are_zeros(rng):
    weights = pytorch(rng, 3)
    zeros = {n: 0 * v if "bias" in n else v for n, v in weights.items()}
    without = {n: v for n, v in weights.items() if "bias" not in n}
    jax.tree.map(np.testing.assert_array_equal, sl.convert(without), sl.convert(zeros))
    # Then nnx.GRUCell, whose hidden side has no bias, can hold it.
    nnx_params = sl.convert(without, target="nnx")
    check(nnx_params, oracles.pytorch_gru, bare(zeros), rng, "nnx")


def test_the_gru_of_nnx_needs_a_bias_that_it_has_not(rng):
    weights = pytorch(rng, 3)
    with pytest.raises(ValueError, match="recurrent_bias=True"):
        sl.convert(weights, target="nnx")
    params = sl.convert(weights, target="nnx", recurrent_bias=True)
    cell = nnx.GRUCell(IN, H, rngs=nnx.Rngs(0))
    cell.dense_h = nnx.Linear(H, 3 * H, rngs=nnx.Rngs(0))
    nnx.update(cell, params)
    x, h, _ = states(rng)
    new, _ = cell(h, x)
    np.testing.assert_allclose(new, oracles.pytorch_gru(bare(weights), x, h), atol=1e-6)


def test_keras_lstm(rng):
    weights = keras(rng, 4, 4 * H)
    check(sl.convert(weights), oracles.keras_lstm, weights, rng)
    check(sl.convert(list(weights.values())), oracles.keras_lstm, weights, rng)
    named = {f"lstm/lstm_cell/{n}:0": v for n, v in weights.items()}
    check(sl.convert(named), oracles.keras_lstm, weights, rng)
    del weights["bias"]
    check(sl.convert(weights), oracles.keras_lstm, weights, rng)


def test_keras_gru_with_reset_after(rng):
    weights = keras(rng, 3, (2, 3 * H))
    check(sl.convert(weights), oracles.keras_gru, weights, rng)
    flat = weights | {"bias": None}
    del flat["bias"]
    with pytest.raises(ValueError, match="give reset_after=True"):
        sl.convert(flat)
    zeros = flat | {"bias": np.zeros((2, 3 * H), np.float32)}
    check(sl.convert(flat, reset_after=True), oracles.keras_gru, zeros, rng)


def test_keras_cudnn_layers(rng):
    weights = keras(rng, 4, 8 * H)
    check(sl.convert(weights), oracles.cudnn_lstm, weights, rng)
    weights = keras(rng, 3, 6 * H)
    check(sl.convert(weights), oracles.cudnn_gru, weights, rng)


@pytest.mark.parametrize("names", [("kernel", "bias"), ("weights", "biases")])
def test_tensorflow_1(names, rng):
    weights = draw(rng, kernel=(IN + H, 4 * H), bias=(4 * H,))
    stored = {
        f"rnn/multi_rnn_cell/cell_{at}/basic_lstm_cell/{name}": value * (at + 1)
        for at in (0, 1)
        for name, value in zip(names, weights.values(), strict=True)
    }
    first = "rnn/multi_rnn_cell/cell_0/basic_lstm_cell"
    check(sl.convert(stored, prefix=first), oracles.tf1_lstm, weights, rng)
    zero = sl.convert(stored, prefix=first, forget_bias=0.0)
    check(zero, oracles.tf1_lstm, weights, rng, forget_bias=0.0)


def test_onnx_arrays(rng):
    weights = onnx_arrays(rng, 4)
    check(sl.convert(weights), oracles.onnx_lstm, weights, rng)
    both = onnx_arrays(rng, 3, directions=2)
    for at, reverse in enumerate((False, True)):
        params = sl.convert(both, reverse=reverse, reset_after=True)
        check(params, oracles.onnx_gru, both, rng, direction=at)


def onnx_file(path, weights, kind, **attributes):
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    constants = [onnx.numpy_helper.from_array(v, f"rnn_{n}") for n, v in weights.items()]
    node = make.make_node(
        kind, ["x", *(f"rnn_{n}" for n in weights)], ["y"], "rnn", hidden_size=H, **attributes
    )
    value = make.make_tensor_value_info
    ends = [[value(n, onnx.TensorProto.FLOAT, [None] * r)] for n, r in (("x", 3), ("y", 4))]
    onnx.save(make.make_model(make.make_graph([node], "graph", *ends, constants)), str(path))
    return path


def test_onnx_files(rng, tmp_path):
    weights = onnx_arrays(rng, 4)
    path = onnx_file(tmp_path / "a.onnx", weights, "LSTM")
    check(sl.convert(path), oracles.onnx_lstm, weights, rng)
    check(sl.convert(path, prefix="rnn", layer=0), oracles.onnx_lstm, weights, rng)
    with pytest.raises(KeyError, match="no LSTM or GRU node number 1.*LSTM rnn"):
        sl.convert(path, layer=1)
    weights = onnx_arrays(rng, 3)
    path = onnx_file(tmp_path / "b.onnx", weights, "GRU", linear_before_reset=1)
    check(sl.convert(path), oracles.onnx_gru, weights, rng)
    refused("linear_before_reset is 1", path, reset_after=False)
    refused("linear_before_reset=1", onnx_file(tmp_path / "c.onnx", weights, "GRU"))
    weights = onnx_arrays(rng, 4)
    odd = ["Sigmoid", "Relu", "Tanh"]
    with pytest.raises(ValueError, match="activations are .*relu"):
        sl.convert(onnx_file(tmp_path / "d.onnx", weights, "LSTM", activations=odd))
    with pytest.raises(ValueError, match="clip"):
        sl.convert(onnx_file(tmp_path / "e.onnx", weights, "LSTM", clip=1.0))
    backwards = onnx_file(tmp_path / "f.onnx", weights, "LSTM", direction="reverse")
    with pytest.raises(ValueError, match="one direction, reverse"):
        sl.convert(backwards)
    check(sl.convert(backwards, reverse=True), oracles.onnx_lstm, weights, rng)


def test_an_onnx_file_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        sl.convert(tmp_path / "a.onnx")


def test_files(rng, tmp_path):
    weights = pytorch(rng, 4, prefix="rnn.")
    expected = sl.convert(weights)
    np.savez(tmp_path / "w.npz", **weights)
    save_file(weights, tmp_path / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        jax.tree.map(np.testing.assert_array_equal, sl.convert(tmp_path / name), expected)
        jax.tree.map(np.testing.assert_array_equal, sl.convert(str(tmp_path / name)), expected)
    with pytest.raises(ValueError, match="torch.load"):
        sl.convert(tmp_path / "w.pt")


def test_tensors_that_need_detaching(rng):
    class Tensor:
        """What of a PyTorch tensor is used: on another device, with a gradient."""

        def __init__(self, array):
            self.array, self.dtype = array, "torch.bfloat16"

        def detach(self):
            return self

        def cpu(self):
            return self

        def float(self):
            return self.array.astype(np.float32)

    weights = pytorch(rng, 4)
    tensors = {n: Tensor(v) for n, v in weights.items()}
    jax.tree.map(np.testing.assert_array_equal, sl.convert(tensors), sl.convert(weights))


def test_dtypes(rng):
    half = {n: v.astype(np.float16) for n, v in pytorch(rng, 4).items()}
    brain = {n: v.astype(jnp.bfloat16) for n, v in half.items()}
    dtypes = {v.dtype for tree in (half, brain) for v in jax.tree.leaves(sl.convert(tree))}
    assert dtypes == {jnp.dtype("float16"), jnp.dtype("bfloat16")}
    asked = sl.convert(half, dtype=jnp.float32)
    assert {v.dtype for v in jax.tree.leaves(asked)} == {jnp.dtype("float32")}
    with pytest.raises(ValueError, match="dtype int8.*scale"):
        sl.convert({n: v.astype(np.int8) for n, v in half.items()})


def test_gates_in_another_order(rng):
    weights = pytorch(rng, 4)
    turned = {
        n: np.concatenate([np.split(v, 4)["ifgo".index(g)] for g in "ogfi"])
        for n, v in weights.items()
    }
    jax.tree.map(
        np.testing.assert_array_equal, sl.convert(turned, gates="ojfi"), sl.convert(weights)
    )
    for wrong in ("ifg", "iffo", "rzno"):
        with pytest.raises(ValueError, match="g/c/j"):
            sl.convert(weights, gates=wrong)


def refused(match, weights, error=ValueError, **options):
    with pytest.raises(error, match=match):
        sl.convert(weights, **options)


def test_what_flax_cannot_express_is_refused(rng):
    before = keras(rng, 3, 3 * H)
    refused(r"before the recurrent product.*reset_after=True", before)
    refused("a GRU with reset_after=False", before, reset_after=True)
    refused("that of a CuDNNGRU", keras(rng, 3, 6 * H), reset_after=False)
    refused("linear_before_reset", onnx_arrays(rng, 3))
    refused("linear_before_reset", onnx_arrays(rng, 3), reset_after=False)
    gru = {"rnn/gru_cell/gates/kernel": np.zeros((IN + H, 2 * H), np.float32)}
    refused("before the recurrent product", gru)
    projected = pytorch(rng, 4) | {"weight_hr_l0": np.zeros((2, H), np.float32)}
    refused("proj_size", projected)
    peepholes = onnx_arrays(rng, 4) | {"P": np.ones((1, 3 * H), np.float32)}
    refused("peepholes", peepholes)
    peepholes = draw(rng, kernel=(IN + H, 4 * H), bias=(4 * H,), w_f_diag=(H,))
    refused("peepholes", peepholes, source="tf1")


def test_messages(rng):
    weights = pytorch(rng, 4, prefix="a.")
    two = weights | pytorch(rng, 4, prefix="b.")
    refused(r"2 cells.*prefix=.*'a\.', 'b\.'", two)
    refused(r"no weight 'weight_ih_l3'; there are .*'a\.bias_hh_l0'", weights, KeyError, layer=3)
    refused(r"no weight 'c\.weight_ih_l0'", weights, KeyError, prefix="c.")
    del two["b.bias_hh_l0"]
    refused(r"no weight 'b\.bias_hh_l0'", two, KeyError, prefix="b")
    short = weights | {"a.bias_hh_l0": np.zeros(3, np.float32)}
    refused(r"'a\.bias_hh_l0' has shape \(3,\); \(16,\) is expected", short)
    refused("that is a lstm, not a gru", weights, cell="gru")
    odd = weights | {"a.weight_hh_l0": np.zeros((5, H), np.float32)}
    refused("4 times .LSTM. or 3 times", odd)
    refused("No known source", {"w": np.zeros((2, 2))})
    refused("source is 'jax'", weights, source="jax")
    refused("target is 'haiku'", weights, target="haiku")
    refused("no use for forget_bias=", weights, forget_bias=1.0)
    refused("no use for reset_after=", weights, reset_after=True)
    refused("no use for layer=", keras(rng, 4, 4 * H), layer=1)
    refused("recurrent_bias= is for", weights, recurrent_bias=True)
    refused("not 2 or 3", [np.zeros((2, 2))])
    refused("state_dict", object(), TypeError)
    refused(r"\(in \+ h, 4 h\)", {"kernel": np.zeros((2, 16), np.float32)}, source="tf1")
    refused("one direction, forward", onnx_arrays(rng, 4), reverse=True)

"""An LSTM trained in PyTorch goes into a Flax model, is compressed within a budget and saved.

Give the ``.safetensors`` file of a state dict; by default it is that of Silero's speech detector.
"""

import os
import sys
import tempfile
from pathlib import Path

import flax.linen as nn
import numpy as np
from safetensors.numpy import load_file

import structlin as sl

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA = Path(os.environ.get("STRUCTLIN_DATA") or BESIDE)
SILERO = DATA / "models/silero_vad/silero_vad_16k.safetensors"


def by_definition(weights, x):
    """The states that the equations in PyTorch's documentation give for inputs ``(time, in)``."""
    names = {name.rpartition(".")[2].removesuffix("_l0"): w for name, w in weights.items()}
    bias = names.get("bias_ih", 0) + names.get("bias_hh", 0)
    h = c = np.zeros(names["weight_hh"].shape[1])
    states = []
    for inputs in x:
        i, f, g, o = np.split(names["weight_ih"] @ inputs + names["weight_hh"] @ h + bias, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        states.append(h := np.tanh(c) / (1 + np.exp(-o)))
    return np.array(states)


def main():
    """Converts, checks, plans, compresses, packs, saves and loads."""
    path = Path([*sys.argv, SILERO][1])
    if not path.is_file():
        sys.exit(f"There is no {path}: give a .safetensors file with the LSTM of a state dict.")
    params = {"cell": sl.convert(path)}
    inputs, hidden = (params["cell"][name]["kernel"].shape[0] for name in ("ii", "hi"))
    model = nn.RNN(nn.OptimizedLSTMCell(hidden))
    x = np.random.default_rng(0).normal(size=(100, inputs)).astype(np.float32)
    dense = np.asarray(model.apply({"params": params}, x))
    print(f"Flax and PyTorch differ by {abs(dense - by_definition(load_file(path), x)).max():.0e}")

    small = sl.compress(params, sl.plan(params, compression=4, fuse=True))
    print(small.report)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lstm.slin"
        sl.save(file, sl.pack(small.params), {"inputs": inputs, "hidden": hidden})
        states = np.asarray(sl.Structured(model).apply({"params": sl.load(file)}, x))
        change = np.linalg.norm(states - dense) / np.linalg.norm(dense)
        size = sl.matrices.cost(params).bytes
        print(f"{size:,} bytes became {file.stat().st_size:,}; the states change by {change:.1%}")


if __name__ == "__main__":
    main()

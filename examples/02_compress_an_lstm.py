"""A trained Flax LSTM becomes a small one: fit its kernels, tune, pack, save, load."""

import pydoc_data.topics
import tempfile
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import structlin as sl
from structlin.functional import LSTM

HIDDEN, STREAMS, STEPS = 64, 16, 48
TEXT = "\n".join(pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics))
CHARACTERS = sorted(set(TEXT))
IDS = np.array([CHARACTERS.index(c) for c in TEXT[:120_000]], np.int32)


class CharacterModel(nn.Module):
    """The logits of every next character."""

    cell: nn.RNNCellBase

    @nn.compact
    def __call__(self, tokens):
        return nn.Dense(len(CHARACTERS))(sl.RNN(self.cell)(nn.Embed(len(CHARACTERS), 32)(tokens)))


def windows(first, last):
    """Random stretches of text between two places."""
    starts = np.random.default_rng(first).integers(first, last - STEPS, (400, STREAMS, 1))
    return IDS[starts + np.arange(STEPS + 1)]


@partial(jax.jit, static_argnums=0)
def bits(model, params, tokens):
    """The mean bits a character of a batch."""
    logits = model.apply({"params": params}, tokens[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return losses.mean() / jnp.log(2)


def train(model, params, optimiser, steps, dropout=0.0):
    """Training; the doped kernel's parts are dropped at random when ``dropout`` is given."""

    @jax.jit
    def step(params, state, tokens, key):
        def total(p):
            return bits(
                model, sl.train.co_matrix_dropout(p, key, dropout) if dropout else p, tokens
            )

        updates, state = optimiser.update(jax.grad(total)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    keys = jax.random.split(jax.random.key(1), steps)
    for tokens, key in zip(windows(0, 100_000)[:steps], keys, strict=True):
        params, state = step(params, state, tokens, key)
    return params


def compress(params, spec):
    """The same parameters with the recurrent kernel of the cell fitted by ``spec``."""
    weights = LSTM().weights(params["cell"])
    cell = {
        "i": {"kernel": weights.input},
        "h": {"kernel": spec.fit(weights.recurrent), "bias": weights.bias},
    }
    return {**params, "cell": cell}


def main():
    """Trains, compresses and prints the loss at every stage."""
    test = windows(100_000, 120_000).reshape(-1, STEPS + 1)[:256]
    dense = CharacterModel(nn.OptimizedLSTMCell(HIDDEN, name="cell"))
    params = dense.init(jax.random.key(0), test)["params"]
    params = train(dense, params, optax.adam(1e-2), 300)
    print(f"dense     {bits(dense, params, test):.4f} bits a character")

    small = CharacterModel(sl.LSTMCell(HIDDEN, name="cell"))  # reads whatever its parameters hold
    spec = sl.specs.DopedKron(compression=8, anneal=True)
    params = compress(params, spec)
    optimiser = sl.train.sparsify(optax.adam(1e-2), sl.train.targets(params), end=100)
    params = sl.pack(train(small, params, optimiser, 200, dropout=0.05))
    print(f"packed    {bits(small, params, test):.4f}  {params['cell']['h']['kernel']}")

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "characters.slin"
        sl.save(file, params, {"characters": "".join(CHARACTERS)})
        print(f"reloaded  {bits(small, sl.load(file), test):.4f}  {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""A next-character model whose wide layer is replaced by a doped Kronecker one, by name.

The text is the reference that every CPython carries.
"""

import pydoc_data.topics

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import structlin as sl

CONTEXT = 12
TEXT = "\n".join(pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics))
CHARACTERS = sorted(set(TEXT))
IDS = np.array([CHARACTERS.index(c) for c in TEXT[:120_000]], np.int32)


class Net(nn.Module):
    """The next character from the last ones; ``wide`` is the layer to replace."""

    wide: nn.Module

    @nn.compact
    def __call__(self, context):
        x = nn.Embed(len(CHARACTERS), 16)(context).reshape(len(context), -1)
        return nn.Dense(len(CHARACTERS))(nn.relu(self.wide(x)))


def windows(starts):
    """Contexts and the character after each."""
    return IDS[starts[:, None] + np.arange(CONTEXT)], IDS[starts + CONTEXT]


def bits(model, params, context, target):
    """The mean bits a character."""
    logits = model.apply({"params": params}, context)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return losses.mean() / jnp.log(2)


def train(model, params, optimiser, steps=400):
    """Plain training with any optax transformation."""

    @jax.jit
    def step(params, state, context, target):
        grads = jax.grad(lambda p: bits(model, p, context, target))(params)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state, rng = optimiser.init(params), np.random.default_rng(0)
    for _ in range(steps):
        params, state = step(params, state, *windows(rng.integers(0, 100_000, 256)))
    return params


def main():
    """Trains both and prints what they cost."""
    test = windows(np.arange(101_000, 119_000, 7))
    layers = {"nn.Dense": nn.Dense(512), "sl.DopedKron": sl.DopedKron(512, compression=10)}
    for name, layer in layers.items():
        model = Net(layer)
        params = model.init(jax.random.key(0), test[0])["params"]
        optimiser = optax.adam(3e-3)
        if name != "nn.Dense":
            optimiser = sl.train.sparsify(optimiser, sl.train.targets(params), end=200)
        params = sl.pack(train(model, params, optimiser))
        size = sl.matrices.cost(params["wide"]["kernel"]).bytes
        print(
            f"{name:13s} kernel {size:7,} bytes, {bits(model, params, *test):.3f} bits a character"
        )


if __name__ == "__main__":
    main()

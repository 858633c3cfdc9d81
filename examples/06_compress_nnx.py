"""A trained NNX model is compressed by recipe, tuned, packed and evaluated."""

import pydoc_data.topics

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import structlin as sl

TEXT = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
BYTES = np.frombuffer(TEXT, np.uint8)[:200_000]
BATCHES = BYTES[np.random.default_rng(0).integers(0, 180_000, (240, 16, 1)) + np.arange(49)]


def bits(model, batch):
    """The mean bits a character."""
    logits = model(batch[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:])
    return losses.mean() / jnp.log(2)


def train(model, optimiser, batches):
    """Trains in place."""
    optimizer = nnx.Optimizer(model, optimiser, wrt=nnx.Param)
    step = nnx.jit(lambda m, o, batch: o.update(m, nnx.grad(bits)(m, batch)))
    for batch in batches:
        step(model, optimizer, batch)


rngs = nnx.Rngs(0)
cell = nnx.OptimizedLSTMCell(32, 64, rngs=rngs)
model = nnx.Sequential(nnx.Embed(128, 32, rngs=rngs), nnx.RNN(cell), nnx.Linear(64, 128, rngs=rngs))
train(model, optax.adam(1e-2), BATCHES[:140])

doped = sl.specs.DopedKron(compression=8, anneal=True)
small = sl.compress(model, {".*/dense_h/kernel": doped, ".*": sl.specs.LowRank(compression=2)})
print(small.report)
pruning = sl.train.sparsify(optax.adam(1e-2), sl.train.targets(small.model), end=60)
train(small.model, pruning, BATCHES[140:])

packed = sl.pack(small.model)
for name, kind in {"dense": model, "tuned": small.model, "packed": packed}.items():
    loss = nnx.jit(bits)(kind, BYTES[-9_800:].reshape(200, 49))
    print(f"{name:6} {loss:.4f} bits a character")

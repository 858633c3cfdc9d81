"""A Linen model of somebody else is trained, compressed by recipe, tuned, packed and evaluated."""

import pydoc_data.topics

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import structlin as sl

TEXT = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
BYTES = np.frombuffer(TEXT, np.uint8)[:200_000]
BATCHES = BYTES[np.random.default_rng(0).integers(0, 180_000, (500, 16, 1)) + np.arange(49)]
TEST = BYTES[-19_600:].reshape(400, 49)


def bits(model, params, batch):
    """The mean bits a character."""
    logits = model.apply({"params": params}, batch[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:])
    return losses.mean() / jnp.log(2)


def train(model, params, optimiser, batches):
    """The parameters after a step for each batch."""

    @jax.jit
    def step(params, state, batch):
        grads = jax.grad(lambda p: bits(model, p, batch))(params)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    for batch in batches:
        params, state = step(params, state, batch)
    return params


model = nn.Sequential([nn.Embed(128, 32), nn.RNN(nn.OptimizedLSTMCell(64)), nn.Dense(128)])
params = model.init(jax.random.key(0), TEST)["params"]
dense = train(model, params, optax.adam(1e-2), BATCHES[:300])

doped = sl.specs.DopedKron(compression=8, anneal=True)
recipe = {".*/h/kernel": doped, ".*(kernel|embedding)": sl.specs.LowRank(compression=2)}
small = sl.compress(dense, recipe, fuse=True)
print(small.report)

model = sl.Structured(model)  # the same model on parameters that hold matrices
pruning = sl.train.sparsify(optax.adam(1e-2), sl.train.targets(small.params), end=100)
tuned = train(model, small.params, pruning, BATCHES[300:])
for name, params in {"dense": dense, "tuned": tuned, "packed": sl.pack(tuned)}.items():
    print(f"{name:6} {bits(model, params, TEST):.4f} bits a character")

"""A trained model gets the structures and sizes that fit a number of bytes best, with no tuning."""

import pydoc_data.topics
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import structlin as sl
from structlin import specs

CONTEXT = 12
TEXT = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
BYTES = np.frombuffer(TEXT, np.uint8)[:200_000]
STARTS = np.random.default_rng(0).integers(0, 180_000, (400, 128, 1))
TEST = np.arange(180_001, 199_900, 7)[:, None]


class Net(nn.Module):
    """The next byte from the last ones."""

    @nn.compact
    def __call__(self, context):
        x = nn.Embed(128, 16, name="embed")(context).reshape(len(context), -1)
        for width in (128, 128):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(128, name="out")(x)


@jax.jit
def bits(params, windows):
    """The mean bits a byte of windows of text."""
    logits: Any = Net().apply({"params": params}, windows[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, -1])
    return losses.mean() / jnp.log(2)


@jax.jit
def step(params, state, windows):
    """One step of training."""
    updates, state = OPTIMISER.update(jax.grad(bits)(params, windows), state)
    return optax.apply_updates(params, updates), state


OPTIMISER = optax.adam(3e-3)


def main():
    """Trains, plans for three importances, and compares with one structure for all weights."""
    batches, test = (BYTES[starts + np.arange(CONTEXT + 1)] for starts in (STARTS, TEST))
    params = Net().init(jax.random.key(0), test[:, :-1])["params"]
    state = OPTIMISER.init(params)
    for windows in batches:
        params, state = step(params, state, windows)
    size = sl.matrices.cost(params).bytes
    print(f"dense {size:,} bytes, {bits(params, test):.3f} bits a byte")

    seen = batches[:10]
    importances = {
        "uniform": "uniform",
        "activations": sl.activations(lambda w: Net().apply({"params": params}, w[:, :-1]), seen),
        "fisher": sl.fisher(bits, params, seen),
    }
    for name, importance in importances.items():
        plan = sl.plan(params, bytes=size // 6, importance=importance)
        small = sl.compress(params, plan)
        print(f"\nplanned by {name}\n{small.report}")
        found = bits(small.densify(), test)
        print(f"planned, {name} {small.report.total.bytes:,} bytes, {found:.3f} bits a byte")

    low_rank = sl.compress(params, {".*kernel|.*embedding": specs.LowRank(compression=6.3)})
    total = low_rank.report.total.bytes
    print(f"\nlow rank {total:,} bytes, {bits(low_rank.densify(), test):.3f} bits a byte")


if __name__ == "__main__":
    main()

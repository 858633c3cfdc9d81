"""Structured matrices as values: products, fits, sums, gradients, with nothing dense in between."""

import jax
import jax.numpy as jnp

import structlin as sl
from structlin import matrices, specs


def main():
    """Prints each matrix with its cost and its relative error."""
    key = jax.random.key(0)
    smooth = jnp.exp(-((jnp.arange(96)[:, None] / 96 - jnp.arange(128) / 128) ** 2) * 8)
    dense = smooth + 0.02 * jax.random.normal(key, smooth.shape)
    for spec in (
        specs.LowRank(compression=8),
        specs.Kron(compression=8),
        specs.HMD(compression=8, rank_blocks=4),
        specs.Sparse(compression=8),
        specs.Doped(specs.LowRank(rank=3), compression=8),
        specs.DopedKron(compression=8),
    ):
        fitted = sl.pack(spec.fit(dense))
        error = jnp.linalg.norm(fitted.to_dense() - dense) / jnp.linalg.norm(dense)
        print(f"{error:.3f}  {fitted.cost().compression:4.1f}x  {fitted}")

    kron = specs.Kron().fit(dense)
    x = jax.random.normal(key, (5, 96))
    y = x @ (2 * kron + matrices.LowRank(jnp.ones((96, 1)), jnp.ones((1, 128))))
    grads = jax.grad(lambda k: ((x @ k - y) ** 2).sum())(kron)
    print(f"{y.shape}, gradient: {grads}")


if __name__ == "__main__":
    main()

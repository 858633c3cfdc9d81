"""Products with a packed sparse matrix, one slot of every column at a time.

The slots are scanned, so no array of ``slots * columns * batch`` elements ever exists, forward or
backward; the backward pass is written out because the derivative of a scan would stack one.
"""

import jax
import jax.numpy as jnp

__all__ = ["slot_matmul", "slot_rmatmul"]


@jax.custom_vjp
def slot_rmatmul(x: jax.Array, values: jax.Array, indices: jax.Array) -> jax.Array:
    """``y[..., j] = sum_s x[..., indices[s, j]] * values[s, j]``.

    Args:
        x: Rows, ``(..., m)``.
        values: ``(k, n)``: the ``k`` slots of each of ``n`` columns.
        indices: The row of each slot, ``(k, n)``, integers below ``m``.

    Returns:
        ``(..., n)``.
    """

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        value, index = slot
        return y + _gather(x, index) * value, None

    start = jnp.zeros((*x.shape[:-1], values.shape[1]), jnp.result_type(x, values))
    return jax.lax.scan(add_slot, start, (values, indices))[0]


def _forward(x: jax.Array, values: jax.Array, indices: jax.Array):
    return slot_rmatmul(x, values, indices), (x, values, indices)


def _backward(residuals, dy: jax.Array):
    x, values, indices = residuals

    def slot(dx: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        value, index = slot
        dx = dx.at[..., index.astype(jnp.int32)].add((dy * value).astype(dx.dtype))
        dvalue = (_gather(x, index) * dy).reshape(-1, value.shape[0]).sum(0)
        return dx, dvalue.astype(value.dtype)

    dx, dvalues = jax.lax.scan(slot, jnp.zeros_like(x), (values, indices))
    return dx, dvalues, None


slot_rmatmul.defvjp(_forward, _backward)


def slot_matmul(x: jax.Array, values: jax.Array, indices: jax.Array, rows: int) -> jax.Array:
    """``y[..., i] = sum over the slots that name row i of x[..., j] * values[s, j]``.

    Args:
        x: Rows, ``(..., n)``.
        values: ``(k, n)``.
        indices: The row of each slot, ``(k, n)``, integers below ``rows``.
        rows: ``m``.

    Returns:
        ``(..., m)``: the product with the transpose.
    """

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        value, index = slot
        return y.at[..., index.astype(jnp.int32)].add(x * value), None

    start = jnp.zeros((*x.shape[:-1], rows), jnp.result_type(x, values))
    return jax.lax.scan(add_slot, start, (values, indices))[0]


def _gather(x: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.asarray(x).at[..., index.astype(jnp.int32)].get(mode="promise_in_bounds")

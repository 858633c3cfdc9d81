"""The scan of a recurrent cell, and one gradient for all cells.

The gradient of the recurrent kernel, of its bias and of a cell's own parameters is one product
after the backward scan. Derivatives are of any mode and order.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from structlin.functional._dense import Kernel
from structlin.functional._native import in_xla, native_recurrence, runs_natively
from structlin.kernels import merge_rows

__all__ = ["affine", "recurrence"]


def affine(state: jax.Array, recurrent: Kernel | None, bias: jax.Array | None) -> Any:
    """``state @ recurrent + bias``, a short bias being that of the last columns."""
    if recurrent is None:
        return None
    product = state.astype(recurrent.dtype) @ recurrent
    if bias is None:
        return product
    short = product.shape[-1] - bias.shape[-1]
    return product + (jnp.pad(bias, (short, 0)) if short else bias)


def _apply(how: tuple, extra: Any, terms: Any, carry: Any) -> tuple[Any, Any]:
    """A step of the projection and the hidden product, or of their sum and ``None``."""
    cell, _, history = how
    projected, hidden = terms
    hidden = 0.0 if hidden is None else hidden
    carry, output = cell.apply(extra, projected, hidden, carry)
    return carry, (carry, output) if history else output


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def recurrence(how, parts, projected, carry):
    """The last carry and the outputs, time first, natively where it can be.

    Args:
        how: The cell, steps for each iteration of the loop, and whether carries are put out too.
        parts: The recurrent kernel, its bias, and the cell's own parameters.
        projected: The inputs' projection, time first.
        carry: Before the first step.
    """
    cell, _, history = how
    if not history and runs_natively(cell.native, parts, projected, carry):
        definition = functools.partial(_scanned, how)
        return native_recurrence(cell.native, definition, parts, projected, carry)
    return _scanned(how, parts, projected, carry)


def _scanned(how: tuple, parts: Any, projected: jax.Array, carry: Any) -> tuple[Any, Any]:
    """The last carry, and what `_apply` puts out in every step."""
    recurrent, bias, extra = parts

    def step(carry: Any, x: jax.Array):
        return _apply(how, extra, (x, affine(how[0].state(carry), recurrent, bias)), carry)

    return jax.lax.scan(step, carry, projected, unroll=how[1])


@recurrence.defjvp
def _recurrence_jvp(how, primals, tangents):
    (parts, projected, carry), (dparts, dprojected, dcarry) = primals, tangents
    parts, dparts = in_xla(parts), in_xla(dparts)
    recurrent, _, extra = parts
    last, (outputs, carries, saved) = _saved_run(how, parts, projected, carry)
    summed = _summed(how[0], recurrent)
    terms = (saved, None) if summed else (projected, saved)
    dhidden, own = _of_weights(how, parts, dparts, terms, carries)
    dterms = (_beside(dprojected, dhidden) + dhidden, None) if summed else (dprojected, dhidden)

    # What is saved of a step is its carry and products; the gates are computed again backward.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(dcarry: Any, saved: Any):
        carry, terms, dterms, own = saved
        if recurrent is not None:
            state, dstate = jax.jvp(how[0].state, (carry,), (dcarry,))
            # By its derivative, though it is linear: what is transposed then follows its rules.
            product = functools.partial(affine, recurrent=recurrent, bias=None)
            _, more = jax.jvp(product, (state,), (dstate,))
            first, second = dterms
            dterms = (first + more, None) if summed else (first, second + more)
        inner = functools.partial(_apply, how, extra)
        _, found = jax.jvp(inner, (terms, carry), (dterms, dcarry))
        return found if own is None else jax.tree.map(jnp.add, found, own)

    all_saved = carries, terms, dterms, own
    dlast, doutputs = jax.lax.scan(step, dcarry, all_saved, unroll=how[1])
    return (last, outputs), (dlast, doutputs)


def _summed(cell: Any, recurrent: Any) -> bool:
    return cell.summed and recurrent is not None


def _beside(steps: jax.Array, other: jax.Array) -> jax.Array:
    """``steps``, time first, with the leading axes of ``other`` that it lacks."""
    return jnp.expand_dims(steps, tuple(range(1, 1 + other.ndim - steps.ndim)))


def _saved_run(how: tuple, parts: Any, projected: jax.Array, carry: Any) -> Any:
    """The last carry, and of every step the output, the carry before and the hidden product.

    Where the cell needs no more than the sum of projection and product, that is in the product's
    place: one array to read and one to write instead of two, backward too.
    """
    recurrent, bias, extra = parts
    summed = _summed(how[0], recurrent)

    def step(carry: Any, x: jax.Array):
        hidden = affine(how[0].state(carry), recurrent, bias)
        terms = (x + hidden, None) if summed else (x, hidden)
        after, output = _apply(how, extra, terms, carry)
        return after, (output, carry, terms[0] if summed else hidden)

    return jax.lax.scan(step, carry, projected, unroll=how[1])


def _of_weights(
    how: tuple, parts: Any, dparts: Any, terms: tuple[Any, Any], carries: Any
) -> tuple[Any, Any]:
    """What tangents of the weights add to every step, all at once.

    They add to the hidden product, and to what `_apply` puts out. Carries are known by now, so
    these are products over all steps; transposed, they are the gradients of the weights, after the
    backward scan and not in it.
    """
    (recurrent, bias, extra), (drecurrent, dbias, dextra) = parts, dparts
    dhidden = own = None
    if recurrent is not None:
        states = how[0].state(carries)
        product = functools.partial(affine, merge_rows(states))
        _, dhidden = jax.jvp(product, (recurrent, bias), (drecurrent, dbias))
        dhidden = dhidden.reshape(*states.shape[:-1], dhidden.shape[-1])
    if jax.tree.leaves(extra):

        def inner(extra: Any) -> Any:
            return _apply(how, extra, terms, carries)

        _, own = jax.jvp(inner, (extra,), (dextra,))
    return dhidden, own

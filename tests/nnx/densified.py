"""The gradient of a loss of a model, directly and through the densified model."""

import functools

import jax
from flax import nnx
from numpy.testing import assert_allclose

import structlin as sl


@functools.partial(jax.jit, static_argnums=(0, 1))
def _both(loss, graph, params, rest):
    def gradient(form):
        def of(params):
            copied = jax.tree.map(lambda x: x, rest)  # variables of this trace, which may change
            return loss(form(nnx.merge(graph, params, copied)))

        return jax.grad(of)(params)

    return gradient(lambda model: model), gradient(sl.densify)


def assert_gradient_is_that_of_the_densified(loss, model):
    """Every trainable leaf of ``model`` gets the gradient that it gets through `densify`."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    ours, through = _both(loss, graph, params, rest)
    assert any((abs(x) > 1e-6).any() for x in jax.tree.leaves(ours))
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-3, atol=1e-4), ours, through)

"""A Linen module in NNX, with structured weights that train there."""

from typing import Any

import jax
from flax import nnx
from flax.nnx import bridge

from structlin.matrices import is_matrix
from structlin.nnx._variables import of_variables, value

__all__ = ["ToNNX"]


class ToNNX(bridge.ToNNX):
    """``nnx.bridge.ToNNX``, with a variable for each array of a structured matrix.

    Flax's puts the whole matrix in one variable, which runs, but which ``nnx.Optimizer`` cannot
    update. Fields, methods and paths are those of Flax's.
    """

    def lazy_init(self, *args: Any, **kwargs: Any) -> "ToNNX":
        """Makes the variables of the module for inputs like these."""
        super().lazy_init(*args, **kwargs)
        for name, held in _attributes(self).items():
            setattr(self, name, nnx.data(_apart(held)))
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the Linen module."""
        if self._pytree__state.initializing:
            return super().__call__(*args, **kwargs)
        inner = bridge.ToNNX(self.to_nnx__module)
        inner.to_nnx__rngs = nnx.data(self.to_nnx__rngs)  # shared: its streams advance
        given = {name: _whole(held) for name, held in _attributes(self).items()}
        for name, held in given.items():
            setattr(inner, name, nnx.data(held))
        outputs = inner(*args, **kwargs)
        for name, held in _attributes(inner).items():
            if held is not given.get(name):  # what the module may write, such as statistics
                setattr(self, name, nnx.data(_apart(held)))
        return outputs


def _attributes(module: bridge.ToNNX) -> dict[str, Any]:
    return {
        name: held
        for name, held in vars(module).items()
        if not name.startswith(("to_nnx__", "_pytree__"))
    }


def _apart(held: Any) -> Any:
    def one(node: Any) -> Any:
        if isinstance(node, nnx.Variable) and is_matrix(node.get_value()):
            return of_variables(node.get_value())
        return node

    return jax.tree.map(one, held, is_leaf=lambda x: isinstance(x, nnx.Variable))


def _whole(held: Any) -> Any:
    return jax.tree.map(
        lambda x: nnx.Param(value(x)) if is_matrix(x) else x,
        held,
        is_leaf=lambda x: is_matrix(x) or isinstance(x, nnx.Variable),
    )

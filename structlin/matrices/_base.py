"""The interface of a structured matrix and what follows from it."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, dataclass_transform

import jax

from structlin.matrices._cost import Cost, leaf_bytes, leaf_params
from structlin.matrices._export import register_for_export
from structlin.matrices._factorizations import Factorizations
from structlin.matrices._plot import plot
from structlin.matrices._registry import REGISTRY
from structlin.matrices._show import Summary, short

__all__ = ["Matrix", "static"]


def static(**kwargs: Any) -> Any:
    """A dataclass field that describes the matrix rather than holding its numbers.

    Its value is a number, a string, or a tuple of those: it is hashed and compared when ``jit``
    looks up a trace, so arrays have no place in it.
    """
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
class Matrix(Factorizations):
    """An ``(m, n)`` matrix that is never formed: a frozen dataclass that is a pytree.

    A subclass is made a dataclass and registered on definition; it writes ``shape``, ``rmatmul``,
    ``transpose``, ``to_dense`` and ``flops``, and may do better than the rest of what is here.
    Fields made by `static` are metadata; all others hold arrays or matrices. A field's shape is
    read from its last axes, so that matrices stacked by ``vmap`` or ``scan`` keep their ``shape``.
    Nothing is validated on construction, since pytree operations rebuild matrices from tracers,
    ``None`` and shapes; specs and factory functions check.

    A product has the dtype to which the matrix and the operand promote. Contractions accumulate as
    ``jax.numpy.matmul`` does in that dtype; sums of terms, and of the slots of a sparse matrix, are
    taken in it.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # of each subclass

    label: ClassVar[str] = ""
    """The name of this structure in the path of a sum's terms; the class name in lower case."""

    needs: ClassVar[Mapping[str, str]] = {}
    """What a matrix of this structure must have for an operation that not all of its kind can."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        taken = REGISTRY.get(cls.__name__)
        if taken is not None and taken.__module__ != cls.__module__:
            raise TypeError(
                f"A structure named {cls.__name__} is already defined in {taken.__module__}. Saved "
                "files find structures by name: give this one another name."
            )
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        cls.label = cls.__dict__.get("label", cls.__name__.lower())
        cls._register()
        register_for_export(cls)
        REGISTRY[cls.__name__] = cls

    @classmethod
    def _register(cls) -> None:
        fields = dataclasses.fields(cls)
        meta = [f.name for f in fields if f.metadata.get("static")]
        data = [f.name for f in fields if not f.metadata.get("static")]
        jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=meta)

    def pack(self) -> "Matrix":
        """The form for inference: trained values with integer indices in place of exact zeros."""
        return jax.tree.map(
            lambda t: t.pack() if isinstance(t, Matrix) else t,
            self,
            is_leaf=lambda t: isinstance(t, Matrix) and t is not self,
        )

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array] | None:
        """Rows, columns and values, of one size, each entry once or padded by zeros; if it can."""
        return None

    def summary(self) -> Summary:
        """What each part of this matrix holds and costs: print it, or let rich draw the table."""
        return Summary(self)

    def plot(self, ax: Any = None, path: Any = None) -> Any:
        """Draws the magnitudes of the entries, zeros white, without forming a large matrix.

        Args:
            ax: Axes of matplotlib to draw on; new ones if not given.
            path: Where to save the picture as well, such as ``"w.png"``.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return plot(self, ax, path)

    def cost(self) -> Cost:
        """What it takes to store and to apply this matrix."""
        m, n = self.shape
        return Cost(
            params=sum(self._leaf_params()),
            bytes=sum(map(leaf_bytes, jax.tree.leaves(self))),
            flops=self.flops(),
            dense_params=m * n,
            dense_bytes=m * n * self.dtype.itemsize,
        )

    def _leaf_params(self) -> list[int]:
        """The stored numbers in each leaf, a code counted as one."""
        parts = jax.tree.leaves(self, is_leaf=lambda t: isinstance(t, Matrix) and t is not self)
        each = (p._leaf_params() if isinstance(p, Matrix) else [leaf_params(p)] for p in parts)
        return list(itertools.chain.from_iterable(each))

    def __repr__(self) -> str:
        return short(self)

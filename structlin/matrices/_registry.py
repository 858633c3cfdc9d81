"""Where structures are found by name, and how an operation that one lacks is refused."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlin.matrices._base import Matrix

__all__ = [
    "HOOKS",
    "REGISTRY",
    "SQUARE_ALONE",
    "UnsupportedError",
    "able",
    "combinator",
    "unsupported",
]

REGISTRY: dict[str, "type[Matrix]"] = {}
"""Every structure by its class name; filled as classes are defined."""

HOOKS: dict[str, tuple[str, ...]] = {
    "solve": ("_solve",),
    "inverse": ("_inverse",),
    "pinv": ("_pinv", "_svd"),
    "slogdet": ("_slogdet",),
    "cholesky": ("_cholesky",),
    "eigh": ("_eigh",),
    "svd": ("_svd",),
    "exp": ("_exp", "_function", "_eigh"),
    "sqrt": ("_sqrt", "_function", "_eigh"),
    "power": ("_power", "_function", "_eigh"),
}
"""Each operation that only some structures have -> the methods of which one must be written."""


SQUARE_ALONE = ("solve", "inverse", "slogdet", "cholesky", "eigh", "exp", "sqrt", "power")
"""The operations that only square matrices have, and parts of them that are square."""


class UnsupportedError(NotImplementedError):
    """An operation that this structure has no structured way to do."""


def combinator(name: str) -> Any:
    """The class of that name; combinators import the base, so the base asks for them by name."""
    return REGISTRY[name]


def able(operation: str) -> list[str]:
    """The structures that can do ``operation``, at least for some of their shapes."""
    base = REGISTRY["Dense"].__base__  # Matrix, which imports this file
    return sorted(
        name
        for name, cls in REGISTRY.items()
        if any(getattr(cls, hook) is not getattr(base, hook) for hook in HOOKS[operation])
    )


def unsupported(matrix: Any, operation: str, needs: str = "") -> UnsupportedError:
    """The error for an operation that ``matrix`` has no structured way to do.

    Args:
        matrix: The matrix that was asked.
        operation: A key of ``HOOKS``.
        needs: What this structure needs for it, where some of its kind can.
    """
    m, n = matrix.shape
    why = f": it needs {needs}" if needs else ""
    by_products = " `structlin.matrices.solve` solves by products alone." * (operation == "solve")
    return UnsupportedError(
        f"{type(matrix).__name__} of shape {matrix.shape} has no structured `{operation}`{why}. "
        f"Structures that do: {', '.join(able(operation))}.{by_products} Call `.to_dense()` first "
        f"if {m:,} x {n:,} numbers fit in memory."
    )

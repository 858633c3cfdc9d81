"""Linear systems with any structure: in closed form where there is one, else by products alone.

The iterations are lineax's, which also has their derivatives; it is loaded when first needed.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.matrices._arithmetic import operand
from structlin.matrices._base import Matrix, static
from structlin.matrices._reductions import wide_dtype

__all__ = ["Solution", "load_lineax", "solve"]

METHODS = ("auto", "direct", "cg", "gmres", "bicgstab", "normal_cg", "lsmr")
SQUARE_ONLY = ("cg", "gmres", "bicgstab")
RESTART = 30
"""The products in one cycle of GMRES, which keeps as many vectors."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
    """What `solve` found, and how good it is.

    Attributes:
        value: ``x``, ``(n,)`` or ``(n, k)``, in the dtype to which the matrix and ``b`` promote.
        residual_norm: ``|b - W x| / |b|``, measured by one more product: ``()`` or ``(k,)``, real,
            in single precision or wider.
        iterations: Steps taken, ``()`` or ``(k,)``: products, or cycles of GMRES; zero if direct.
        converged: Whether ``|b - W x|`` is at most ``max(rtol |b|, atol)``, or, for more rows than
            columns, ``|W^H (b - W x)|`` at most that times the norm of ``W``: ``()`` or ``(k,)``.
            Nothing raises where it is false; `check` does.
        rtol: The tolerance asked for, relative to ``b``.
        atol: The tolerance asked for, absolute.
        method: How it was solved; never ``"auto"``.
    """

    value: jax.Array
    residual_norm: jax.Array
    iterations: jax.Array
    converged: jax.Array
    rtol: float = static()
    atol: float = static()
    method: str = static()

    def check(self) -> "Solution":
        """This solution.

        Raises:
            ArithmeticError: It, or one of its columns, did not converge.
            TypeError: Under ``jit``, where it is not known.
        """
        if isinstance(self.converged, Tracer):
            raise TypeError(
                "check needs to know whether the solution converged: call it outside jit, or use "
                "the field `converged`."
            )
        if not jnp.all(self.converged):
            raise ArithmeticError(
                f"solve by {self.method!r} stopped after {int(jnp.max(self.iterations))} steps at "
                f"a residual of {float(jnp.max(self.residual_norm)):.2g} of b, where rtol="
                f"{self.rtol:g} and atol={self.atol:g} were asked for. Give a larger rtol or "
                "max_steps, a preconditioner, wider numbers, or another of the methods "
                f"{', '.join(METHODS[1:])}."
            )
        return self


def solve(
    W: Matrix,  # noqa: N803 (the field's name)
    b: Any,
    method: str = "auto",
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    max_steps: int | None = None,
    preconditioner: Matrix | None = None,
    x0: Any = None,
) -> Solution:
    """``x`` with ``W @ x == b``, or nearest to it, for a matrix of any structure.

    Works under ``jit``, ``vmap`` and ``grad``; derivatives with respect to ``W`` and ``b`` are
    those of the exact solution, by the implicit function theorem. Half precision is solved in
    single; where 64-bit types are enabled, LSMR computes in them. Complex systems go to CG and
    BiCGStab as real ones of twice the size.

    Args:
        W: ``(m, n)``.
        b: ``(m,)``, or ``(m, k)`` for ``k`` systems.
        method: ``"direct"`` is `Matrix.solve`, or `Matrix.pinv` where ``m`` is not ``n``.
            ``"lsmr"`` and ``"normal_cg"`` are for any shape: they find the least squares solution,
            of several the shortest. ``"cg"`` is for Hermitian positive definite matrices, on the
            caller's word. ``"gmres"`` and ``"bicgstab"`` are for square ones whose eigenvalues keep
            together away from zero, such as the identity plus a little; they stagnate on most
            others. ``"auto"`` is direct where the structure permits, else LSMR.
        rtol: How far ``W @ x`` may be from ``b``, as a share of ``|b|``; see `Solution`.
        atol: The same in absolute terms; the larger of the two counts.
        max_steps: The most steps to take; ten for each unknown if not given.
        preconditioner: ``(n, n)``, nearly the inverse of ``W``; for ``"cg"``, which needs it
            Hermitian positive definite, ``"gmres"`` and ``"bicgstab"``, which use it on the right.
        x0: Where to start, of the shape of ``x``; zeros if not given. Not for ``"direct"``.

    Returns:
        The solution. One that did not converge is returned as well: look at its ``converged``, or
        call its ``check``.

    Raises:
        ValueError: The shapes, the method and its options do not fit each other.
        UnsupportedError: ``method="direct"`` where the structure has no closed form.
        ImportError: An iterative method without lineax.
    """
    b = _right_side(W, b)
    _check_options(W, method, rtol, atol, max_steps)
    dtype = jnp.result_type(W.dtype, b)
    wide = W if W.dtype == wide_dtype(dtype) else W.astype(wide_dtype(dtype))
    b = b.astype(wide.dtype)
    x = _direct(wide, b, needed=method == "direct") if method in ("auto", "direct") else None
    chosen = "direct" if x is not None else "lsmr" if method == "auto" else method
    how = _How(chosen, float(rtol), float(atol), max_steps)
    if x is not None:
        _check_none(chosen, preconditioner=preconditioner, x0=x0)
        return _measured(wide, b, x, jnp.zeros(b.shape[1:], jnp.int32), dtype, how)
    if chosen not in SQUARE_ONLY:
        _check_none(chosen, preconditioner=preconditioner)
    first = None if x0 is None else _guess(wide, b, x0)
    inverse = None if preconditioner is None else _inverse_like(wide, preconditioner)
    x, steps = _iterate(wide, b, first, inverse, how)
    return _measured(wide, b, x.astype(b.dtype), steps, dtype, how)


def load_lineax() -> Any:
    """The package lineax.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import lineax
    except ImportError as error:
        raise ImportError(
            f"This needs lineax ({error.name} is missing): pip install 'structlin[solve]'"
        ) from error
    return lineax


@dataclasses.dataclass(frozen=True)
class _How:
    """How to solve."""

    method: str
    rtol: float
    atol: float
    max_steps: int | None


# What was given.


def _right_side(w: Matrix, b: Any) -> jax.Array:
    b, m = operand(b), w.shape[0]
    if b.ndim > 2 or b.shape[0] != m:
        raise ValueError(f"solve needs b of shape ({m},) or ({m}, k); given {b.shape}.")
    return b


def _check_options(w: Matrix, method: str, rtol: float, atol: float, max_steps: int | None) -> None:
    if method not in METHODS:
        raise ValueError(f"solve has the methods {', '.join(METHODS)}; given {method!r}.")
    if method in SQUARE_ONLY and w.shape[0] != w.shape[1]:
        raise ValueError(
            f"{method!r} solves square systems; the matrix is {w.shape}. For least squares take "
            "'lsmr' or 'normal_cg'."
        )
    if method == "bicgstab" and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "'bicgstab' needs 64-bit types enabled, since lineax takes a negative product for a "
            "breakdown without them: jax.config.update('jax_enable_x64', True), or take 'gmres'."
        )
    if not (rtol >= 0 and atol >= 0 and rtol + atol > 0):
        raise ValueError(f"solve needs a tolerance above zero; given rtol={rtol}, atol={atol}.")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is at least 1, or None for the default; given {max_steps}.")


def _check_none(method: str, **options: Any) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"{method!r} has no use for {' and '.join(given)}: leave it out, or choose one of the "
            f"methods {', '.join(SQUARE_ONLY)}."
        )


def _guess(w: Matrix, b: jax.Array, x0: Any) -> jax.Array:
    x0, shape = operand(x0), (w.shape[1], *b.shape[1:])
    if x0.shape != shape:
        raise ValueError(f"x0 has the shape of the solution, {shape}; given {x0.shape}.")
    return jax.lax.stop_gradient(x0.astype(b.dtype))


def _inverse_like(w: Matrix, preconditioner: Matrix) -> Matrix:
    if preconditioner.shape != w.shape:
        raise ValueError(
            f"A preconditioner is nearly the inverse of the matrix, {w.shape}; given one of "
            f"{preconditioner.shape}."
        )
    return jax.lax.stop_gradient(preconditioner.astype(w.dtype))


# Ways to a solution.


def _direct(w: Matrix, b: jax.Array, *, needed: bool) -> jax.Array | None:
    """The solution in closed form, or ``None`` where there is none and it is not ``needed``."""

    def closed(w: Matrix, b: jax.Array) -> jax.Array:
        return w.solve(b) if w.shape[0] == w.shape[1] else w.pinv().matmul(b)

    if not needed:
        # A combinator can or cannot, as its parts decide: trace it without computing it.
        try:
            jax.eval_shape(closed, w, b)
        except (NotImplementedError, ValueError):
            return None
    return closed(w, b)


def _iterate(
    w: Matrix, b: jax.Array, x0: jax.Array | None, inverse: Matrix | None, how: _How
) -> tuple[jax.Array, jax.Array]:
    """``x`` and the steps taken; to steps of lineax the matrix and ``b`` have a size of one."""
    if how.method == "lsmr" and jax.config.read("jax_enable_x64"):
        # With them enabled, lineax mixes its constants, in double, with numbers in single.
        wider = jnp.promote_types(b.dtype, jnp.float64)
        w, b, x0 = w.astype(wider), b.astype(wider), None if x0 is None else x0.astype(wider)
    size = jax.lax.stop_gradient(_size(w))

    def one(b: jax.Array, x0: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        allowed = jnp.maximum(how.rtol * _length(b), how.atol)
        rest = b if x0 is None else b - w.matmul(x0)
        length, allowed = jax.lax.stop_gradient((_length(rest), allowed))
        length = jnp.where(length > 0, length, 1)
        share = jnp.clip(allowed / length, jnp.finfo(b.dtype).tiny, 1)
        x, steps = _unit(w, rest / length, inverse, size, share, how)
        return (x * length if x0 is None else x0 + x * length), steps

    if b.ndim == 1:
        return one(b, x0)
    columns = 1, (None if x0 is None else 1)
    return jax.vmap(one, in_axes=columns, out_axes=(1, 0))(b, x0)


def _unit(
    w: Matrix,
    b: jax.Array,
    inverse: Matrix | None,
    size: jax.Array,
    share: jax.Array,
    how: _How,
) -> tuple[jax.Array, jax.Array]:
    """``x`` for a ``b`` of length one, to a residual of ``share``; and the steps taken.

    The operator is enlarged: that makes ``x`` small, and lineax, which stops when both the residual
    and the last change of ``x`` are below the tolerance, decides by the residual; LSMR decides by
    ``|W^H r|`` too, which must not come first where a solution is exact.
    """
    (m, n), adjoint = w.shape, w.H
    larger = 1 / jnp.maximum(share, jnp.finfo(b.dtype).eps)
    run = functools.partial(_lineax, share=share, how=how)
    if how.method == "normal_cg" and m > n:
        scale = larger / size**2
        normal = adjoint.matmul(b) / size
        y, steps = run(lambda x: adjoint.matmul(w.matmul(x)) * scale, normal, n)
        return y * (scale * size), steps
    if how.method == "normal_cg":
        scale = larger / size**2
        y, steps = run(lambda x: w.matmul(adjoint.matmul(x)) * scale, b, m)
        return adjoint.matmul(y) * scale, steps
    if inverse is not None and how.method != "cg":
        y, steps = run(lambda x: w.matmul(inverse.matmul(x)) * larger, b, n)
        return inverse.matmul(y) * larger, steps
    scale = (jnp.sqrt(larger) if how.method == "lsmr" and m > n else larger) / size
    before = None if inverse is None else inverse.matmul
    y, steps = run(lambda x: w.matmul(x) * scale, b, n, inverse=before)
    return y * scale, steps


def _lineax(
    product: Callable[[jax.Array], jax.Array],
    b: jax.Array,
    count: int,
    share: jax.Array,
    how: _How,
    inverse: Callable[[jax.Array], jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """``x`` of ``count`` numbers with ``product(x) == b``, and the steps it took."""
    lx = load_lineax()
    solver = {
        "cg": lx.CG,
        "normal_cg": lx.CG,
        "gmres": functools.partial(lx.GMRES, restart=RESTART),
        "bicgstab": lx.BiCGStab,
        "lsmr": lx.LSMR,
    }[how.method](0.0, share, norm=_length, max_steps=how.max_steps)
    tags = lx.positive_semidefinite_tag if how.method in ("cg", "normal_cg") else ()
    pairs = jnp.iscomplexobj(b) and how.method in ("cg", "normal_cg", "bicgstab")
    shape = (2, count) if pairs else (count,)
    like = jax.ShapeDtypeStruct(shape, _real(b) if pairs else b.dtype)

    def linear(function: Callable[[jax.Array], jax.Array]) -> Any:
        of_pairs = (lambda x: _split(function(_join(x)))) if pairs else function
        return lx.FunctionLinearOperator(of_pairs, like, tags)

    options = {} if inverse is None else {"preconditioner": linear(inverse)}

    def run(apply: Callable[..., jax.Array], right: jax.Array) -> tuple[jax.Array, jax.Array]:
        right = _split(right) if pairs else right
        found = lx.linear_solve(linear(apply), right, solver, options=options, throw=False)
        value = _join(found.value) if pairs else found.value
        return value, jnp.asarray(found.stats["num_steps"]).astype(jnp.int32)

    def scaled(apply: Callable[..., jax.Array], right: jax.Array) -> tuple[jax.Array, jax.Array]:
        # The tolerance is that of a right side of length one, which a cotangent is not.
        length = _length(right)
        length = jnp.where(length > 0, length, 1)
        value, steps = run(apply, right / length)
        return value * length, steps

    if how.method == "lsmr":
        return run(product, b)
    return jax.lax.custom_linear_solve(product, b, scaled, scaled, has_aux=True)


# What was found.


def _measured(
    w: Matrix, b: jax.Array, x: jax.Array, steps: jax.Array, dtype: Any, how: _How
) -> Solution:
    w, b, known = jax.lax.stop_gradient((w, b, x))
    rest = b - w.matmul(known)
    left, length = _length(rest, axis=0), _length(b, axis=0)
    allowed = jnp.maximum(how.rtol * length, how.atol)
    good = left <= allowed
    if w.shape[0] > w.shape[1]:
        good |= _length(w.H.matmul(rest), axis=0) <= allowed * _size(w)
    share = left / jnp.where(length > 0, length, 1)
    return Solution(x.astype(dtype), share, steps, good, how.rtol, how.atol, how.method)


def _size(w: Matrix) -> jax.Array:
    """About the largest singular value: two rounds of power iteration; one for a zero matrix."""
    v = jax.random.normal(jax.random.key(0), (w.shape[1],), _real(w)).astype(w.dtype)
    adjoint = w.H
    for _ in range(2):
        v = adjoint.matmul(w.matmul(v / _length(v)))
        v = jnp.where(_length(v) > 0, v, jnp.ones_like(v))
    size = _length(w.matmul(v / _length(v)))
    return jnp.where(size > 0, size, 1)


def _length(x: jax.Array, axis: int | None = None) -> jax.Array:
    return jnp.linalg.norm(x, axis=axis)


def _real(x: Any) -> Any:
    return jnp.finfo(x.dtype).dtype


def _split(x: jax.Array) -> jax.Array:
    return jnp.stack([x.real, x.imag])


def _join(pair: jax.Array) -> jax.Array:
    return jax.lax.complex(pair[0], pair[1])

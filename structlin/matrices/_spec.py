"""The interface of a spec: how to make a matrix of a given shape."""

import abc
import dataclasses
import json
import math
from typing import Any, ClassVar, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.matrices._base import Matrix
from structlin.matrices._cost import Cost
from structlin.matrices._majorize import majorized
from structlin.matrices._weights import Fisher, Rows, as_weights

__all__ = ["SPECS", "Spec", "from_json"]

SPECS: dict[str, "type[Spec]"] = {}
"""Every spec by its class name; filled as classes are defined."""


@dataclass_transform(frozen_default=True)
class Spec(abc.ABC):
    """A frozen, hashable description that makes matrices of any shape that it permits.

    A subclass is made a frozen dataclass and registered on definition. It writes `init`, `_fit`
    and `sized`. Its fields are numbers, strings, tuples and other specs, so that it can be a static
    field of a layer and a line of JSON.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # of each subclass

    weighs: ClassVar[tuple[type, ...]] = ()
    """The kinds of weights that `_fit` takes: those with which it is exact or nearly so."""

    size_field: ClassVar[str] = ""
    """The field that sets the size when ``compression`` does not; empty if there is none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, repr=False)(cls)
        SPECS[cls.spec_name()] = cls

    @classmethod
    def spec_name(cls) -> str:
        """The name in ``structlin.specs`` and in JSON: the class name without ``Spec``."""
        return cls.__name__.removesuffix("Spec")

    def __repr__(self) -> str:
        given = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        fields = (f"{name}={value!r}" for name, value, default in given if value != default)
        return f"{self.spec_name()}({', '.join(fields)})"

    @abc.abstractmethod
    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        """A random matrix of ``shape`` whose product keeps the variance of its input.

        Args:
            key: A random key.
            shape: ``(m, n)``.
            dtype: The dtype of the numbers.

        Raises:
            ValueError: The spec cannot make this shape, or not at the compression asked for.
        """

    def fit(self, dense: Any, weights: Any = None) -> Matrix:
        """The matrix of this kind that is near to ``dense``.

        Args:
            dense: The matrix to fit, ``(m, n)``, of a floating or complex dtype.
            weights: What matters more: `Rows` (or an array ``(m,)``), `Fisher` (or an array
                ``(m, n)``), `Covariance` (or an array ``(m, m)``); ``None`` weighs all alike.
                Kinds for which a structure has no fit of its own go by majorisation: each round
                fits a target that bounds the weighted error, which never grows.

        Raises:
            TypeError: ``dense`` is a matrix of this library.
            ValueError: The spec cannot make this shape, ``dense`` is not a finite matrix, or the
                weights do not fit it.
        """
        dense = check_fit(self, dense)
        m, n = dense.shape
        given = as_weights(self.spec_name(), weights, (m, n))
        if given is None or isinstance(given, self.weighs):
            return self._fit(dense, given)
        start = Rows(jnp.mean(given.values, axis=1)) if isinstance(given, Fisher) else None
        start = self._fit(dense, start if Rows in self.weighs else None)
        return majorized(dense, given, start, lambda target: self._fit(target, None))

    @abc.abstractmethod
    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        """The fit to a checked ``dense``; ``weights`` is ``None`` or of a kind in ``weighs``."""

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> Self:
        """The same spec with ``compression`` turned into a size of its own for ``shape``."""
        del shape, dtype
        return self

    def sized_for(self, dense: jax.Array) -> Self:
        """`sized` for the shape and the dtype of ``dense``."""
        m, n = dense.shape
        return self.sized((m, n), dense.dtype)

    def cost(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> Cost:
        """What a packed matrix of this kind takes, indices and padding included."""
        made = jax.eval_shape(lambda key: self.init(key, shape, dtype), jax.random.key(0))
        return made.pack().cost()

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(_record(self))


def from_json(text: str) -> Spec:
    """The spec that `Spec.to_json` wrote.

    Raises:
        ValueError: ``text`` is not JSON, names no known spec or field, or leaves one out.
    """
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"A spec is one JSON object; this is not JSON: {error}") from None
    spec = _restore(record)
    if not isinstance(spec, Spec):
        raise ValueError(f"A spec is an object with the key 'spec'; given {text[:80]!r}.")
    return spec


def check_fit(spec: Spec, dense: Any) -> jax.Array:
    """``dense`` as an array that can be fitted; a clear error otherwise."""
    name = spec.spec_name()
    if isinstance(dense, Matrix):
        raise TypeError(f"{name}.fit takes an array, given {dense!r}: call `.to_dense()` first.")
    dense = jnp.asarray(dense)
    if dense.ndim != 2 or 0 in dense.shape:
        raise ValueError(
            f"{name}.fit needs a matrix (m, n) with entries; given shape {dense.shape}."
        )
    if not jnp.issubdtype(dense.dtype, jnp.inexact):
        raise ValueError(f"{name}.fit needs floating point numbers; given {dense.dtype}.")
    if not isinstance(dense, Tracer) and not bool(jnp.isfinite(dense).all()):
        raise ValueError(f"{name}.fit was given a matrix that holds NaN or infinity.")
    return dense


def check_size(spec: Any, *, required: bool) -> None:
    """That a size is given in at most one way, in exactly one when ``required``, and positive."""
    name, field = spec.spec_name(), spec.size_field
    size, compression = getattr(spec, field), spec.compression
    if size is not None and compression is not None:
        raise ValueError(f"{name} takes {field} or compression, not both; given {spec}.")
    if required and size is None and compression is None:
        raise ValueError(f"{name} needs a size: give {field}= or compression=.")
    if compression is not None and not 0 < compression < math.inf:
        raise ValueError(f"{name}: compression must be a positive number; given {compression}.")


def budget(spec: Any, shape: tuple[int, int], dtype: Any) -> int:
    """The bytes that ``spec.compression`` leaves for a matrix of ``shape``."""
    return int(math.prod(shape) * jnp.dtype(dtype).itemsize / spec.compression)


def too_small(spec: Any, shape: tuple[int, int], dtype: Any, least: int, what: str) -> ValueError:
    """The error for a compression out of reach, with the one that is in reach."""
    m, n = shape
    best = math.prod(shape) * jnp.dtype(dtype).itemsize / least
    scale = 10 ** (3 - math.floor(math.log10(best)))
    best = math.floor(best * scale) / scale  # four digits, rounded to the side that is in reach
    return ValueError(
        f"{spec} leaves {budget(spec, shape, dtype):,} bytes for a {m} x {n} {jnp.dtype(dtype)} "
        f"matrix; the smallest, {what}, takes {least:,}. Ask for compression={best:.4g} or less."
    )


def _record(value: Any) -> Any:
    if isinstance(value, Spec):
        fields = {f.name: _record(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"spec": value.spec_name(), **{k: v for k, v in fields.items() if v is not None}}
    if isinstance(value, np.generic):
        return value.item()
    return [_record(v) for v in value] if isinstance(value, tuple) else value


def _restore(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_restore(v) for v in value)
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    name = fields.pop("spec", None)
    if not isinstance(name, str) or name not in SPECS:
        raise ValueError(f"No spec is named {name!r}. Known specs: {', '.join(sorted(SPECS))}.")
    known = {f.name for f in dataclasses.fields(SPECS[name])}
    if unknown := set(fields) - known:
        raise ValueError(f"{name} has no field {sorted(unknown)}; its fields are {sorted(known)}.")
    try:
        return SPECS[name](**{k: _restore(v) for k, v in fields.items()})
    except TypeError as error:
        raise ValueError(f"No {name} can be made from {fields}: {error}") from None

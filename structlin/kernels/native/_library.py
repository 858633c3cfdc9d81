"""The library in this process: loaded once, checked once, and never in the way."""

import contextlib
import ctypes
import functools
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax

from structlin.kernels.native._build import BuildError, build, library_path
from structlin.kernels.native._check import wrong_results

__all__ = ["Library", "forget", "instructions", "ready", "status", "target"]

TARGETS = ("structlin_product", "structlin_lstm", "structlin_gru")


class Library(NamedTuple):
    """What came of loading.

    Attributes:
        path: The library's file, if it is in use.
        problem: Why it is not.
        handle: The library.
    """

    path: Path | None = None
    problem: str = ""
    handle: Any = None


def ready() -> bool:
    """Whether native code runs in this process; the first call builds and loads it.

    A failure is one warning, and false from then on.
    """
    if not _enabled():
        return False
    library = _loaded()
    if library.path is None:
        _warn(library.problem)
    return library.path is not None


def status() -> Library:
    """What came of loading, or would come of it; nothing is built that is not in the cache."""
    if not _enabled():
        return Library(problem="STRUCTLIN_NATIVE=0 turns it off")
    try:
        known = library_path().exists() or _loaded.cache_info().currsize > 0
    except BuildError as error:
        return Library(problem=str(error))
    return _loaded() if known else Library(problem="it is not built: the first use builds it")


def target(name: str) -> str:
    """The name by which XLA knows a function of the library in use."""
    return f"{name}_{(_loaded().path or Path()).stem.rpartition('-')[2]}"


def instructions(name: str | None = None) -> str:
    """The instruction set in use.

    Args:
        name: The one to use from now on: ``"baseline"``, ``"avx2"`` or ``"avx512"``.

    Returns:
        Its name; empty if there is no library.

    Raises:
        ValueError: This processor has no such instructions.
    """
    library = _loaded().handle
    if library is None:
        return ""
    found = library.structlin_instructions(None if name is None else name.encode())
    if found is None:
        raise ValueError(f"This processor has no instructions {name!r} that the library knows.")
    return found.decode()


def forget() -> None:
    """Forgets what came of loading, so that the next call tries again."""
    _loaded.cache_clear()
    _warn.cache_clear()


def _enabled() -> bool:
    return os.environ.get("STRUCTLIN_NATIVE") != "0"


@functools.cache
def _loaded() -> Library:
    # Whatever goes wrong in a compiler, a loader or a foreign binary, XLA's path is there.
    try:
        return _load()
    except BuildError as error:
        return Library(problem=str(error))
    except Exception as error:
        return Library(problem=f"{type(error).__name__}: {error}")


@functools.cache
def _warn(problem: str) -> None:
    warnings.warn(
        f"structlin runs without native code, by XLA alone: {problem}. STRUCTLIN_NATIVE=0 in the "
        "environment turns native code off, and this warning.",
        RuntimeWarning,
        stacklevel=3,
    )


def _load() -> Library:
    # Before anything is registered there must be a CPU backend: one that comes later refuses to
    # start if a handler's version is not its own; one that is there refuses the handler.
    jax.devices("cpu")
    path = build()
    library = ctypes.CDLL(str(path))
    library.structlin_instructions.restype = ctypes.c_char_p
    library.structlin_instructions.argtypes = [ctypes.c_char_p]
    names = {name: f"{name}_{path.stem.rpartition('-')[2]}" for name in TARGETS}
    for name, registered in names.items():
        capsule = jax.ffi.pycapsule(getattr(library, name))
        jax.ffi.register_ffi_target(registered, capsule, platform="cpu")
    with jax.ensure_compile_time_eval(), _plain_settings():
        problem = wrong_results(names)
    if problem:
        return Library(problem=f"its self-check failed: {problem}")
    return Library(path, handle=library)


@contextlib.contextmanager
def _plain_settings() -> Any:
    """The self-check's numbers are single precision, whatever the caller's settings."""
    with jax.numpy_dtype_promotion("standard"), jax.debug_nans(False):
        yield

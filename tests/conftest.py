"""Settings and fixtures that every test shares."""

import os
from pathlib import Path

# Nearly all of the time goes into compiling tiny programs: compile them lightly. JAX reads this
# when it is imported.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

# Native code is compiled for the tests that are about it, in tests/native.
os.environ.setdefault("STRUCTLIN_NATIVE", "0")

import jax
import numpy as np
import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "structlin-tests"

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """What a file compiled is of no use to the next one, and thousands of programs fill memory."""
    yield
    jax.clear_caches()


@pytest.fixture
def strict_promotion():
    """Mixed dtypes raise; a module asks for it where mixing is not what it tests."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Runs a test in both precisions, the wider one with 64-bit types enabled."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def x64():
    """64-bit types are enabled."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    """A seeded NumPy generator."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data sets; tests that need one skip where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STRUCTLIN_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}: set STRUCTLIN_DATA to the folder that holds them")
    return folder

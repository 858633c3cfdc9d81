"""Native code, built once and turned on for the tests that ask for it."""

import pytest

from structlin.kernels import native


@pytest.fixture
def native_code(monkeypatch):
    """Native code is on; a test that needs it skips where there is no compiler."""
    monkeypatch.setenv("STRUCTLIN_NATIVE", "1")
    try:
        native.library_path()
    except native.BuildError as error:
        pytest.skip(str(error))
    assert native.ready(), native.status().problem
    return native

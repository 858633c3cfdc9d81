"""Small classifiers of texts or arrays from a file of examples, and their predictions.

`Build` is what ``structlin train`` runs, `load` what ``structlin predict`` asks.
"""

from structlin.builder._data import Examples, read
from structlin.builder._errors import DataError, DivergedError, FolderError, ModelError
from structlin.builder._model import Model, load
from structlin.builder._networks import SIZES
from structlin.builder._report import draw
from structlin.builder._run import Build
from structlin.builder._settings import DISTILL, Settings

__all__ = [
    "DISTILL",
    "SIZES",
    "Build",
    "DataError",
    "DivergedError",
    "Examples",
    "FolderError",
    "Model",
    "ModelError",
    "Settings",
    "draw",
    "load",
    "read",
]

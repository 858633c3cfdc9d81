"""The main job of ``structlin demo``: a dense LSTM becomes a small one, on real text."""

from structlin.demo._contenders import CONTENDERS
from structlin.demo._corpus import TextError
from structlin.demo._run import Settings, run
from structlin.demo._training import DivergedError

__all__ = ["CONTENDERS", "DivergedError", "Settings", "TextError", "run"]

"""Whole models: compressed by recipe or within a budget, converted, packed, formed again."""

from structlin.surgery._compress import Compressed, compress
from structlin.surgery._importance import fisher
from structlin.surgery._model_recipe import recipe
from structlin.surgery._pack import densify, pack
from structlin.surgery._plan import CANDIDATES, SIZES, Plan, plan
from structlin.surgery._prepare import prepare
from structlin.surgery._quantize import quantize
from structlin.surgery._recipe import Recipe
from structlin.surgery._report import Report, Row
from structlin.surgery.conversion import convert

__all__ = [
    "CANDIDATES",
    "SIZES",
    "Compressed",
    "Plan",
    "Recipe",
    "Report",
    "Row",
    "compress",
    "convert",
    "densify",
    "fisher",
    "pack",
    "plan",
    "prepare",
    "quantize",
    "recipe",
]

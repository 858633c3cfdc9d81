"""Whole models: their trees packed for inference or formed again as dense arrays."""

from structlin.surgery._convert import convert
from structlin.surgery._pack import densify, pack

__all__ = ["convert", "densify", "pack"]

"""Weights of other frameworks as parameters for Flax's cells."""

from structlin.surgery.conversion._convert import convert

__all__ = ["convert"]
